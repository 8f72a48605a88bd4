using System.Net.Http.Json;
using System.Reflection;
using Aglow.Packages.Tests;
using Aglow.Stores.Tests;

namespace Aglow.Client.Tests;

/// <summary>The receivers of <c>samples/webhooks</c>, which verify with the public libraries of Standard Webhooks.</summary>
public class SampleReceiverTests
{
    private const string OtherSecret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    [Theory]
    [InlineData("node")]
    [InlineData("dotnet")]
    public async Task A_sample_verifies_what_comes_and_sends_a_push_to_somebody_who_is_offline(string sample)
    {
        await using var server = await AglowProcess.StartAsync();
        var port = Ports.Free();
        var added = await CallAsync(server, "/webhooks", new { url = $"http://127.0.0.1:{port}/presence" });
        var (id, secret) = (added.GetProperty("id").GetString()!, added.GetProperty("secret").GetString()!);
        await using (await ReceiverAsync(sample, OtherSecret, port))
            (await CallAsync(server, $"/webhooks/{id}/test", new { })).GetProperty("http_status").GetInt32().ShouldBe(400);

        await using var receiver = await ReceiverAsync(sample, secret, port);
        (await CallAsync(server, $"/webhooks/{id}/test", new { })).GetProperty("acknowledged").GetBoolean().ShouldBeTrue();
        await CallAsync(server, "/heartbeat", new { user_ids = new object[] { "bob", 42 } });
        await CallAsync(server, "/offline", new { user_id = "bob" });
        await Eventually.TrueAsync(
            () => receiver.Lines.Contains("bob is offline") && receiver.Lines.Contains("42 is online"), "both changes are printed");
        using var app = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        foreach (var user in new[] { "42", "bob" })
            (await app.PostAsync($"/messages/{user}", new StringContent("Lunch?"))).StatusCode.ShouldBe(HttpStatusCode.NoContent);
        await Eventually.TrueAsync(() => receiver.Lines.Contains("push to bob: Lunch?"), "the push is printed");
        receiver.Lines.ShouldNotContain("push to 42: Lunch?");
    }

    private static Task<Listening> ReceiverAsync(string sample, string secret, int port)
    {
        string[] command = sample == "node"
            ? ["node", "node/receiver.js"]
            :
            [
                "dotnet",
                typeof(SampleReceiverTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
                    .Single(static a => a.Key == "WebhookReceiver").Value!,
                "--urls", $"http://127.0.0.1:{port}",
            ];
        return Listening.StartAsync(
            Path.Combine(AglowProcess.Root, "samples", "webhooks"),
            new Dictionary<string, string> { ["WEBHOOK_SECRET"] = secret, ["PORT"] = $"{port}" },
            "Now listening on: ",
            command);
    }

    private static async Task<JsonElement> CallAsync(AglowProcess server, string path, object body)
    {
        using var answer = await server.Http.PostAsJsonAsync(path, body);
        answer.IsSuccessStatusCode.ShouldBeTrue(await answer.Content.ReadAsStringAsync());
        return await answer.Content.ReadFromJsonAsync<JsonElement>();
    }
}
