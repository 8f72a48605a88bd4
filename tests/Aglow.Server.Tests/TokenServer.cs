namespace Aglow.Server.Tests;

/// <summary>A server that requires tokens, with a key for each scope.</summary>
public sealed class TokenServer : IAsyncLifetime
{
    internal AglowProcess Server { get; private set; } = null!;

    /// <summary>Keys by scope.</summary>
    internal Dictionary<string, string> Keys { get; } = [];

    public async Task InitializeAsync()
    {
        var folder = AglowProcess.NewFolder();
        foreach (var scope in new[] { "heartbeat", "read", "users", "operate" })
            Keys[scope] = await AddKeyAsync(folder, scope, scope);
        // the lease outlasts the slowest test: none waits for its end
        string[] limits = ["--rate-limit", "0", "--rate-limit-key", "0", "--rate-limit-address", "0"];
        Server = await AglowProcess.StartAsync(folder, [.. Token.ServerFlags, .. limits, "--lease-seconds", "600"]);
    }

    /// <summary>Creates a key with <c>./aglow keys add</c>.</summary>
    internal static async Task<string> AddKeyAsync(string folder, string name, string scopes)
    {
        var (code, output, errors) = await AglowProcess.RunToEndAsync(["keys", "add", "--data", folder, "--name", name, "--scope", scopes]);
        code.ShouldBe(0, errors);
        errors.ShouldBeEmpty();
        output.ShouldEndWith("\n");
        return output[..^1];
    }

    public async Task DisposeAsync()
    {
        await Server.DisposeAsync();
        Directory.Delete(Server.Folder, recursive: true);
    }
}

[CollectionDefinition(Name)]
public sealed class TokenCalls : ICollectionFixture<TokenServer>
{
    public const string Name = "token calls";
}

/// <summary>Calls and sockets with a token.</summary>
internal static class CallingWithToken
{
    public static Task<Answer> CallAsync(this AglowProcess server, string? token, string method, string path, string? json = null) =>
        server.SendAsync(
        HttpMethod.Parse(method), path, json is null ? null : Encoding.UTF8.GetBytes(json), json is null ? null : "application/json",
        token: token);

    /// <summary>Opens a socket with a token and more headers, and reads the welcome.</summary>
    public static async Task<RawSocket> OpenSocketAsync(this AglowProcess server, string token, string more = "")
    {
        var socket = await RawSocket.HandshakeAsync(server.Address, "/ws", $"Authorization: Bearer {token}\r\n{more}");
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
        (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("welcome");
        return socket;
    }
}
