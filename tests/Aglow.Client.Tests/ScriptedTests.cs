using Aglow.AspNetCore.Endpoints;
using Aglow.Model;

namespace Aglow.Client.Tests;

/// <summary>What the client does when a server does what a test says, on a clock that a test moves.</summary>
public class ScriptedTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private readonly ManualTimeProvider _time = new();
    private readonly ScriptedServer _server = new();

    private AglowClient Client(int seed = 1) => new(new AglowClientOptions(new Uri("http://presence.example"))
    {
        User = 1,
        ConnectSocket = _server.ConnectAsync,
        TimeProvider = _time,
        Random = new Random(seed),
    });

    // Lets time pass in small steps, so that waiting code goes on, until something holds.
    private Task PassUntilAsync(Func<bool> holds, string what, double step = 0.1) => Eventually.TrueAsync(
        () =>
        {
            _time.Advance(step * Second);
            return holds();
        },
        what);

    [Fact]
    public async Task A_token_is_made_anew_before_it_ends_and_shown_on_the_open_socket()
    {
        var made = 0;
        await using var client = new AglowClient(new AglowClientOptions(new Uri("http://presence.example"))
        {
            AccessToken = _ => ValueTask.FromResult($"token {++made}"),
            ConnectSocket = _server.ConnectAsync,
            TimeProvider = _time,
            SilenceLimit = TimeSpan.FromMinutes(10),
        });
        var connected = client.ConnectAsync();
        var socket = await _server.AcceptAsync();
        await connected;
        // of a minute thirty seconds before its end, of ten seconds at half of them
        foreach (var (left, waits) in new[] { (70, 40), (10, 5) })
        {
            await socket.SayAsync($"{{\"type\":\"token\",\"expires_in_seconds\":{left}}}");
            var began = _time.GetTimestamp();
            var heard = socket.HearAsync();
            await PassUntilAsync(() => heard.IsCompleted, "the next token is shown", step: 0.5);
            (await heard).ShouldBe("token");
            _time.GetElapsedTime(began).TotalSeconds.ShouldBeGreaterThanOrEqualTo(waits);
        }

        made.ShouldBe(3);
        _server.Connections.ShouldBe(1);
    }

    [Fact]
    public async Task While_the_servers_store_is_away_known_users_are_unknown_and_then_as_they_were()
    {
        await using var client = Client();
        await using var seen = Watching.Of(client, 2, 3, 4);
        var socket = await _server.AcceptAsync();
        (await socket.HearAsync()).ShouldBe("watch:[2,3,4]");
        await socket.SayAsync(2, "online");
        await socket.SayAsync(3, "busy");
        (await seen.NextTextAsync()).ShouldBe("2:Online");
        (await seen.NextTextAsync()).ShouldBe("3:Busy");

        await socket.SayAsync("{\"type\":\"stale\",\"as_of\":1763763300}");
        var unknown = await seen.NextAsync();
        (await seen.NextTextAsync()).ShouldBe("3:Unknown");
        unknown.ShouldBe(new PresenceRecord(2, PresenceStatus.Unknown, DateTimeOffset.FromUnixTimeSeconds(1763763300)));
        client.State.ShouldBe(ConnectionState.Stale);
        // of the fourth nothing was known, so nothing is unknown; who begins to watch now is told what the others were
        await using var later = Watching.Of(client, 3);
        (await later.NextTextAsync()).ShouldBe("3:Unknown");

        // the server sends only the users who changed meanwhile
        await socket.SayAsync("{\"type\":\"fresh\"}");
        await socket.SayAsync(3, "offline");
        await seen.UntilAsync(2, PresenceStatus.Online);
        await seen.UntilAsync(3, PresenceStatus.Offline);
        await later.UntilAsync(3, PresenceStatus.Offline);
        client.State.ShouldBe(ConnectionState.Open);
    }

    [Fact]
    public async Task Two_and_a_half_ticks_of_silence_are_the_end_of_a_connection()
    {
        await using var client = Client();
        await using var seen = Watching.Of(client, 2);
        var socket = await _server.AcceptAsync();
        await socket.HearAsync();
        await socket.SayAsync(2, "online");
        (await seen.NextTextAsync()).ShouldBe("2:Online");
        _time.Advance(24 * Second);
        await socket.SayAsync("{\"type\":\"tick\"}");
        await socket.SayAsync(2, "away");
        (await seen.NextTextAsync()).ShouldBe("2:Away");
        // 48 s after the welcome, but 24 after the last word
        _time.Advance(24 * Second);
        await socket.SayAsync(2, "busy");
        (await seen.NextTextAsync()).ShouldBe("2:Busy");
        _time.Advance(26 * Second);
        (await seen.NextTextAsync()).ShouldBe("2:Unknown");

        await PassUntilAsync(() => _server.Connections == 2, "it connects again");
        socket = await _server.AcceptAsync();
        (await socket.HearAsync()).ShouldBe("watch:[2]");
        await socket.SayAsync(2, "busy");
        (await seen.NextTextAsync()).ShouldBe("2:Busy");
    }

    [Fact]
    public async Task A_welcome_that_does_not_come_is_not_waited_for_for_ever()
    {
        await using var client = Client();
        var connecting = client.ConnectAsync();
        await Eventually.TrueAsync(() => _server.Connections == 1, "it connects");
        await PassUntilAsync(() => connecting.IsCompleted, "it gives up");
        (await Should.ThrowAsync<AglowException>(() => connecting)).Detail.ShouldContain("no welcome within 10 s");
    }

    [Fact]
    public async Task A_planned_stop_is_followed_by_a_return_at_the_time_the_server_chose()
    {
        await using var client = Client();
        var connecting = client.ConnectAsync();
        var socket = await _server.AcceptAsync();
        await connecting;
        await socket.SayAsync("{\"type\":\"reconnect\",\"after_ms\":7000}");
        await socket.CloseAsync(1001);
        await Eventually.TrueAsync(() => client.State == ConnectionState.Connecting, "the connection is gone");
        var closed = _time.GetTimestamp();
        await PassUntilAsync(() => _server.Connections == 2, "it is back");
        // the usual wait is a second at most; closing takes up to one, too
        _time.GetElapsedTime(closed).ShouldBeInRange(7 * Second, 9 * Second);
    }

    [Fact]
    public async Task A_slow_loop_hears_the_latest_and_nothing_older()
    {
        await using var client = Client();
        await using var watch = client.WatchAsync([2, 3]).GetAsyncEnumerator();
        var first = watch.MoveNextAsync();
        var socket = await _server.AcceptAsync();
        await socket.HearAsync();
        await socket.SayAsync(2, "online");
        (await first).ShouldBeTrue();
        for (var i = 0; i < 1_000; i++)
            await socket.SayAsync(2, i % 2 == 0 ? "busy" : "away");
        await socket.SayAsync(3, "online");
        // what is read next was marked long ago, and is the state of now
        await using var quick = Watching.Of(client, 3);
        await quick.UntilAsync(3, PresenceStatus.Online);
        var heard = new List<string>();
        do
        {
            (await watch.MoveNextAsync()).ShouldBeTrue();
            heard.Add($"{watch.Current.User}:{watch.Current.Status}");
        }
        while (watch.Current.User != 3);
        heard.ShouldBe(["2:Away", "3:Online"]);
    }

    [Fact]
    public async Task A_change_and_its_opposite_between_two_reads_are_nothing()
    {
        await using var client = Client();
        await using var watch = client.WatchAsync([2, 3]).GetAsyncEnumerator();
        var first = watch.MoveNextAsync();
        var socket = await _server.AcceptAsync();
        await socket.HearAsync();
        await socket.SayAsync(2, "online");
        await first;
        await socket.SayAsync(2, "busy");
        await socket.SayAsync(2, "online");
        await using var quick = Watching.Of(client, 3);
        await socket.SayAsync(3, "online");
        await quick.UntilAsync(3, PresenceStatus.Online);
        await watch.MoveNextAsync();
        watch.Current.User.ShouldBe<UserId>(3);
    }

    [Fact]
    public async Task Watches_that_end_while_there_is_no_connection_are_not_asked_for_again()
    {
        await using var client = Client();
        await using var kept = Watching.Of(client, 2);
        var ended = Watching.Of(client, 3);
        var socket = await _server.AcceptAsync();
        var asked = await socket.HearAsync();
        if (asked != "watch:[2,3]" && asked != "watch:[3,2]")
        {
            var more = socket.HearAsync();
            await PassUntilAsync(() => more.IsCompleted, "the second watch");
        }

        await socket.CloseAsync(1011);
        await Eventually.TrueAsync(() => client.State == ConnectionState.Connecting, "the connection is gone");
        await ended.DisposeAsync();
        client.WatchedUsers.ShouldBe(1);
        await PassUntilAsync(() => _server.Connections == 2, "it connects again");
        socket = await _server.AcceptAsync();
        (await socket.HearAsync()).ShouldBe("watch:[2]");
    }

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
        var began = _time.GetTimestamp();
        using var http = new HttpClient(new Stub(async request =>
        {
            calls.Add((_time.GetElapsedTime(began), await request.Content!.ReadAsStringAsync()));
            return answers.Dequeue();
        }));
        await using var client = new AglowClient(new AglowClientOptions(new Uri("http://presence.example"))
        {
            User = "ann",
            Device = new ClientDevice("d", DeviceKind.Mobile),
            HttpClient = http,
            TimeProvider = _time,
            Random = new Random(1),
        });
        var complaints = new List<int>();
        client.Failed += e => complaints.Add(e.Status);
        var beating = client.RunHeartbeatsAsync(() => calls.Count == 1);
        await PassUntilAsync(() => beating.IsCompleted, "the refusal", step: 0.5);
        (await Should.ThrowAsync<AglowException>(() => beating)).Message.ShouldBe("Not yours: Speak for yourself.");

        calls.Select(static c => c.Body).ShouldBe(
            Enumerable.Range(0, 5).Select(
                static i =>
                    $"{{\"user_id\":\"ann\"{(i == 1 ? ",\"active\":true" : "")},\"device\":{{\"id\":\"d\",\"kind\":\"mobile\"}}}}"));
        // time passes by half seconds here, and one or two may pass before a loop runs
        var waits = calls.Zip(calls.Skip(1), static (a, b) => (b.At - a.At).TotalSeconds).ToArray();
        waits[0].ShouldBeInRange(18, 22);
        waits[1].ShouldBeInRange(7, 10);
        waits[2].ShouldBeInRange(3, 7);
        waits[3].ShouldBeInRange(9, 12);
        complaints.ShouldBe([503, 429]);
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
