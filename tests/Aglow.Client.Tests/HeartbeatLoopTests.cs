namespace Aglow.Client.Tests;

/// <summary>When a client without a connection sends heartbeats, on a clock that the test moves.</summary>
public class HeartbeatLoopTests
{
    [Fact]
    public async Task Heartbeats_come_as_the_server_asks_and_after_refusals_when_it_says()
    {
        var calls = new List<(TimeSpan At, string Body)>();
        var answers = new Queue<HttpResponseMessage>(
        [
            Answer(HttpStatusCode.OK, "{\"status\":\"success\",\"next_heartbeat_seconds\":20,\"offline_after_seconds\":60}"),
            Busy(HttpStatusCode.ServiceUnavailable, 7),
            Busy(HttpStatusCode.TooManyRequests, 3),
            Answer(HttpStatusCode.OK, "{\"status\":\"success\",\"next_heartbeat_seconds\":10,\"offline_after_seconds\":30}"),
            Answer(
                HttpStatusCode.Forbidden,
                "{\"type\":\"urn:aglow:problem:not-yours\",\"status\":403,\"title\":\"Not yours\",\"detail\":\"Speak for yourself.\"}",
                "application/problem+json"),
        ]);
        var time = new ManualTimeProvider();
        var began = time.GetTimestamp();
        using var http = new HttpClient(new Stub(async request =>
        {
            calls.Add((time.GetElapsedTime(began), await request.Content!.ReadAsStringAsync()));
            return answers.Dequeue();
        }));
        await using var client = new AglowClient(new AglowClientOptions(new Uri("http://presence.example"))
        {
            User = "ann",
            Device = new ClientDevice("d", DeviceKind.Mobile),
            HttpClient = http,
            TimeProvider = time,
            Random = new Random(1),
        });
        var complaints = new List<int>();
        client.Failed += e => complaints.Add(e.Status);
        var beating = client.RunHeartbeatsAsync(() => calls.Count == 1);
        while (!beating.IsCompleted)
        {
            // time stands still while the client is at work
            await Eventually.TrueAsync(() => time.ArmedTimers > 0 || beating.IsCompleted, "the client waits for the next heartbeat");
            time.Advance(TimeSpan.FromSeconds(0.1));
        }

        (await Should.ThrowAsync<AglowException>(() => beating)).Message.ShouldBe("Not yours: Speak for yourself.");

        calls.Select(static c => c.Body).ShouldBe(
            Enumerable.Range(0, 5).Select(
                static i =>
                    $"{{\"user_id\":\"ann\"{(i == 1 ? ",\"active\":true" : "")},\"device\":{{\"id\":\"d\",\"kind\":\"mobile\"}}}}"));
        // time passes by tenths of a second here
        var waits = calls.Zip(calls.Skip(1), static (a, b) => (b.At - a.At).TotalSeconds).ToArray();
        waits[0].ShouldBeInRange(18, 20.1);
        waits[1].ShouldBeInRange(7, 8.1);
        waits[2].ShouldBeInRange(3, 5.1);
        waits[3].ShouldBeInRange(9, 10.1);
        complaints.ShouldBe([503, 429]);
    }

    [Fact]
    public async Task Activity_that_did_not_reach_the_server_is_sent_by_the_next_call()
    {
        var answers = new Queue<HttpResponseMessage>(
        [
            Busy(HttpStatusCode.ServiceUnavailable, 1),
            Answer(HttpStatusCode.OK, "{\"status\":\"success\",\"next_heartbeat_seconds\":10,\"offline_after_seconds\":30}"),
        ]);
        using var http = new HttpClient(new Stub(_ => Task.FromResult(answers.Dequeue())));
        await using var client = new AglowClient(new AglowClientOptions(new Uri("http://presence.example"))
        {
            User = "ann",
            HttpClient = http,
            TimeProvider = new ManualTimeProvider(),
        });
        (await Should.ThrowAsync<AglowException>(() => client.ActiveAsync())).Status.ShouldBe(503);
        await client.ActiveAsync();
        answers.ShouldBeEmpty();
        // once sent, it is not sent again for a while
        await client.ActiveAsync();
    }

    private static HttpResponseMessage Answer(HttpStatusCode status, string json, string type = "application/json") =>
        new(status) { Content = new StringContent(json, Encoding.UTF8, type) };

    private static HttpResponseMessage Busy(HttpStatusCode status, int seconds)
    {
        var answer = Answer(
            status, $"{{\"status\":{(int)status},\"title\":\"Later\",\"detail\":\"In {seconds} s.\"}}", "application/problem+json");
        answer.Headers.RetryAfter = new(TimeSpan.FromSeconds(seconds));
        return answer;
    }

    private sealed class Stub(Func<HttpRequestMessage, Task<HttpResponseMessage>> answer) : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            answer(request);
    }
}
