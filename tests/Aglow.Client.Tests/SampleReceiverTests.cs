using System.Net.Http.Json;

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
        var port = SampleReceiver.FreePort();
        var added = await CallAsync(server, "/webhooks", new { url = $"http://127.0.0.1:{port}/presence" });
        var (id, secret) = (added.GetProperty("id").GetString()!, added.GetProperty("secret").GetString()!);
        await using (await SampleReceiver.StartAsync(sample, OtherSecret, port))
            (await CallAsync(server, $"/webhooks/{id}/test", new { })).GetProperty("http_status").GetInt32().ShouldBe(400);

        await using var receiver = await SampleReceiver.StartAsync(sample, secret, port);
        (await CallAsync(server, $"/webhooks/{id}/test", new { })).GetProperty("acknowledged").GetBoolean().ShouldBeTrue();
        await CallAsync(server, "/heartbeat", new { user_ids = new object[] { "bob", 42 } });
        await CallAsync(server, "/offline", new { user_id = "bob" });
        await receiver.UntilAsync(static lines => lines.Contains("bob is offline") && lines.Contains("42 is online"));
        using var app = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        foreach (var user in new[] { "42", "bob" })
            (await app.PostAsync($"/messages/{user}", new StringContent("Lunch?"))).StatusCode.ShouldBe(HttpStatusCode.NoContent);
        await receiver.UntilAsync(static lines => lines.Contains("push to bob: Lunch?"));
        receiver.Lines.ShouldNotContain("push to 42: Lunch?");
    }

    private static async Task<JsonElement> CallAsync(AglowProcess server, string path, object body)
    {
        using var answer = await server.Http.PostAsJsonAsync(path, body);
        answer.IsSuccessStatusCode.ShouldBeTrue(await answer.Content.ReadAsStringAsync());
        return await answer.Content.ReadFromJsonAsync<JsonElement>();
    }
}
