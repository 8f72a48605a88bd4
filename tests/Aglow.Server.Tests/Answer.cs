using System.Buffers.Binary;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;

namespace Aglow.Server.Tests;

/// <summary>The answer to a call.</summary>
internal sealed record Answer(int Status, string? ContentType, HttpResponseHeaders Headers, HttpContentHeaders ContentHeaders, byte[] Bytes)
{
    public string Text => Encoding.UTF8.GetString(Bytes);

    public JsonNode Json => JsonNode.Parse(Text)!;

    public uint[] Words => [.. Bytes.Chunk(4).Select(static four => BinaryPrimitives.ReadUInt32LittleEndian(four))];

    /// <summary>Asserts 200 and exactly this JSON.</summary>
    public Answer ShouldBeJson(string json)
    {
        Status.ShouldBe(200, Text);
        ContentType.ShouldBe("application/json");
        Json.ToJsonString().ShouldBe(JsonNode.Parse(json)!.ToJsonString());
        return this;
    }

    /// <summary>Asserts a problem document with exactly type, status, title and detail. The detail contains this text.</summary>
    public Answer ShouldBeProblem(int status, string? detail = null)
    {
        Status.ShouldBe(status, Text);
        ContentType.ShouldBe("application/problem+json");
        var problem = Json.AsObject();
        problem.Select(static m => m.Key).ShouldBe(["type", "status", "title", "detail"]);
        problem["type"]!.GetValue<string>().ShouldMatch("^urn:aglow:problem:[a-z0-9?'-]+$");
        problem["status"]!.GetValue<int>().ShouldBe(status);
        problem["title"]!.GetValue<string>().ShouldNotBeNullOrWhiteSpace();
        problem["detail"]!.GetValue<string>().Length.ShouldBeGreaterThan(10);
        problem["detail"]!.GetValue<string>().ShouldNotContain("Exception");
        // RFC 9110 asks for it
        if (status == 401)
            Headers.WwwAuthenticate.ShouldNotBeEmpty();
        if (detail is not null)
            problem["detail"]!.GetValue<string>().ShouldContain(detail);
        return this;
    }

    /// <summary>The members of an object, in order.</summary>
    public string[] Members => [.. Json.AsObject().Select(static m => m.Key)];
}

/// <summary>Short forms of calls.</summary>
internal static class Calling
{
    public const string Packed = "application/octet-stream";

    public static Task<Answer> GetAsync(this AglowProcess server, string path) => server.SendAsync(HttpMethod.Get, path);

    public static Task<Answer> PostAsync(this AglowProcess server, string path, string json, string contentType = "application/json") =>
        server.SendAsync(HttpMethod.Post, path, Encoding.UTF8.GetBytes(json), contentType);

    public static Task<Answer> PutAsync(this AglowProcess server, string path, string json) =>
        server.SendAsync(HttpMethod.Put, path, Encoding.UTF8.GetBytes(json), "application/json");

    public static Task<Answer> DeleteAsync(this AglowProcess server, string path, string? json = null) =>
        server.SendAsync(
            HttpMethod.Delete, path, json is null ? null : Encoding.UTF8.GetBytes(json), json is null ? null : "application/json");

    public static Task<Answer> PostPackedAsync(this AglowProcess server, string path, params ReadOnlySpan<uint> users) =>
        server.SendAsync(HttpMethod.Post, path, Pack(users), Packed);

    public static async Task<Answer> SendAsync(
        this AglowProcess server,
        HttpMethod method,
        string path,
        byte[]? body = null,
        string? contentType = null,
        bool chunked = false,
        string? token = null)
    {
        // sent as written: Uri would decode escapes that it considers equal
        using var request = new HttpRequestMessage(
            method,
            new Uri(
                server.Address.AbsoluteUri.TrimEnd('/') + path,
                new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }));
        if (body is not null)
        {
            request.Content = new ByteArrayContent(body);
            request.Headers.TransferEncodingChunked = chunked;
            if (contentType is not null)
                request.Content.Headers.TryAddWithoutValidation("Content-Type", contentType);
        }

        if (token is not null)
            request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {token}");
        using var response = await server.Http.SendAsync(request);
        return new Answer(
            (int)response.StatusCode, response.Content.Headers.ContentType?.ToString(), response.Headers, response.Content.Headers,
            await response.Content.ReadAsByteArrayAsync());
    }

    /// <summary>The status of a user: online, away, busy, offline.</summary>
    public static async Task<string> StatusOfAsync(this AglowProcess server, string user) =>
        (await server.GetAsync($"/status/{user}")).Json["status"]!.GetValue<string>();

    public static byte[] Pack(ReadOnlySpan<uint> users)
    {
        var bytes = new byte[users.Length * 4];
        for (var i = 0; i < users.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(i * 4), users[i]);
        return bytes;
    }
}

/// <summary>Waits for a condition: checks repeatedly until a deadline.</summary>
internal static class Eventually
{
    public static async Task TrueAsync(Func<Task<bool>> holds, double withinSeconds, string what)
    {
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (!await holds())
        {
            clock.Elapsed.TotalSeconds.ShouldBeLessThan(withinSeconds, what);
            await Task.Delay(50);
        }
    }
}

/// <summary>One server for all tests of calls; each test uses its own users.</summary>
public sealed class SharedServer : IAsyncLifetime
{
    private static int _next = 1000;

    internal AglowProcess Server { get; private set; } = null!;

    /// <summary>Numbers that no other test uses.</summary>
    internal static uint NewUsers(int count = 1) => (uint)(Interlocked.Add(ref _next, count) - count);

    /// <summary>A key that no other test uses.</summary>
    internal static string NewKey(string prefix = "key") => $"{prefix}-{Guid.NewGuid():N}";

    public async Task InitializeAsync() => Server = await AglowProcess.StartAsync();

    public Task DisposeAsync() => Server.DisposeAsync().AsTask();
}

[CollectionDefinition(Name)]
public sealed class Calls : ICollectionFixture<SharedServer>
{
    public const string Name = "calls";
}
