using System.Collections.Concurrent;
using System.Net.WebSockets;
using Aglow.Tests;

namespace Aglow.Client.Tests;

/// <summary>A client that leaves or is disposed ends every call that waits, in each phase of a connect.</summary>
public sealed class EndTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private readonly ManualTimeProvider _time = new();
    private readonly ScriptedServer _server = new();
    private readonly ConcurrentQueue<string> _failures = new();

    public static TheoryData<string, bool> Phases()
    {
        var phases = new TheoryData<string, bool>();
        foreach (var phase in new[] { "token", "handshake", "deaf handshake", "welcome", "closing", "wait", "open" })
        {
            phases.Add(phase, true);
            phases.Add(phase, false);
        }

        return phases;
    }

    [Theory]
    [MemberData(nameof(Phases))]
    public async Task Nothing_waits_after_an_end_in_any_phase_of_a_connect(string phase, bool leaves)
    {
        using var http = new HttpClient(new Answering());
        var tries = 0;
        await using var client = Client(http, phase == "token", async (address, token, stop) =>
        {
            tries++;
            switch (phase)
            {
                case "handshake":
                    await Task.Delay(Timeout.Infinite, stop);
                    break;
                case "deaf handshake":
                    await Task.Delay(Timeout.Infinite, CancellationToken.None);
                    break;
                case "wait":
                    throw new WebSocketException("The network is unreachable.");
            }

            var socket = await _server.ConnectAsync(address, token, stop);
            return phase == "closing" ? new BrokenSocket(socket) : socket;
        });
        var connecting = client.ConnectAsync();
        if (phase == "open")
        {
            await _server.AcceptAsync();
            await connecting;
        }
        else if (phase == "wait")
        {
            await Should.ThrowAsync<AglowException>(() => connecting);
            await Eventually.TrueAsync(() => !_failures.IsEmpty, "the failure is reported");
            connecting = client.ConnectAsync();
            _failures.Clear();
        }
        else if (phase != "token")
        {
            await Eventually.TrueAsync(() => tries == 1, "it tries");
        }

        await using var watch = client.WatchAsync([2]).GetAsyncEnumerator();
        var next = watch.MoveNextAsync().AsTask();
        var end = leaves ? client.LeaveAsync() : client.DisposeAsync().AsTask();
        await PassUntilAsync(() => end.IsCompleted, "the end");
        await end;
        (await next.WaitAsync(Watching.Patience)).ShouldBeFalse();
        client.State.ShouldBe(ConnectionState.Closed);
        client.Refusal.ShouldBeNull();
        _failures.ShouldBeEmpty();
        if (phase != "open")
            (await Should.ThrowAsync<AglowException>(() => connecting.WaitAsync(Watching.Patience))).Title.ShouldBe("Closed");
        var triesAtEnd = tries;
        _time.Advance(60 * Second);
        tries.ShouldBe(triesAtEnd);
        if (leaves)
        {
            // a client that left can connect again
            phase = "";
            connecting = client.ConnectAsync();
            if (connecting.IsCompleted)
                await connecting;
            client.State.ShouldNotBe(ConnectionState.Refused);
        }
        else
        {
            await Should.ThrowAsync<ObjectDisposedException>(() => client.ConnectAsync());
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_begins_during_a_leave_waits_for_it(bool isConfirmed)
    {
        using var http = new HttpClient(new Answering());
        var mayClose = new TaskCompletionSource();
        await using var client = Client(
            http, hasToken: false, async (address, token, stop) =>
                new SlowlyClosed(await _server.ConnectAsync(address, token, stop), mayClose.Task));
        var connecting = client.ConnectAsync();
        var socket = await _server.AcceptAsync();
        await connecting;
        var leaving = client.LeaveAsync();
        if (isConfirmed)
            (await socket.ReceiveAsync()).ShouldBe("leave");
        client.State.ShouldBe(ConnectionState.Closed);

        // rows that begin to watch while somebody signs out
        var watches = Enumerable.Range(2, 10).Select(user => Watching.Of(client, user)).ToArray();
        var again = client.ConnectAsync();
        var both = client.LeaveAsync();
        again.IsCompleted.ShouldBeFalse();
        mayClose.SetResult();
        // A leave that is not confirmed is a call after a second. No more time passes: calls and connects have timeouts, too.
        if (!isConfirmed)
            _time.Advance(Second);
        (await leaving.WaitAsync(Watching.Patience)).ShouldBe(LeaveOutcome.Left);
        (await both.WaitAsync(Watching.Patience)).ShouldBe(LeaveOutcome.Left);
        foreach (var watch in watches)
        {
            // the leave ends them, and they do not bring the person back
            await watch.Ended.WaitAsync(Watching.Patience);
            await watch.DisposeAsync();
        }

        // an application that connects again wants to be online
        _time.Advance(Second);
        await _server.AcceptAsync();
        await again.WaitAsync(Watching.Patience);
        client.State.ShouldBe(ConnectionState.Open);
        _server.Connections.ShouldBe(2);
        _failures.ShouldBeEmpty();
    }

    [Fact]
    public async Task A_watch_that_begins_during_a_leave_does_not_bring_the_person_back()
    {
        using var http = new HttpClient(new Answering());
        await using var client = Client(http, hasToken: false, _server.ConnectAsync);
        var connecting = client.ConnectAsync();
        await _server.AcceptAsync();
        await connecting;
        var leaving = client.LeaveAsync();
        var watch = Watching.Of(client, 2);
        await PassUntilAsync(() => leaving.IsCompleted, "the leave");
        await watch.Ended.WaitAsync(Watching.Patience);
        await watch.DisposeAsync();
        _time.Advance(60 * Second);
        client.State.ShouldBe(ConnectionState.Closed);
        _server.Connections.ShouldBe(1);
    }

    private AglowClient Client(HttpClient http, bool hasToken, Func<Uri, string?, CancellationToken, ValueTask<WebSocket>> connect)
    {
        var client = new AglowClient(new AglowClientOptions(new Uri("http://presence.example"))
        {
            User = hasToken ? null : 1,
            AccessToken = hasToken ? static _ => new ValueTask<string>(new TaskCompletionSource<string>().Task) : null,
            HttpClient = http,
            ConnectSocket = connect,
            TimeProvider = _time,
        });
        client.Failed += failure => _failures.Enqueue(failure.Message);
        return client;
    }

    private Task PassUntilAsync(Func<bool> holds, string what) => Eventually.TrueAsync(
        () =>
        {
            _time.Advance(0.1 * Second);
            return holds();
        },
        what);

    private sealed class Answering : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            Task.FromResult(
                new HttpResponseMessage(HttpStatusCode.OK)
                {
                    Content = new StringContent("{\"status\":\"success\"}", Encoding.UTF8, "application/json"),
                });
    }

    private abstract class Wrapped(WebSocket inner) : WebSocket
    {
        public override WebSocketCloseStatus? CloseStatus => inner.CloseStatus;

        public override string? CloseStatusDescription => inner.CloseStatusDescription;

        public override WebSocketState State => inner.State;

        public override string? SubProtocol => inner.SubProtocol;

        public override void Abort() => inner.Abort();

        public override void Dispose() => inner.Dispose();

        public override Task CloseAsync(WebSocketCloseStatus closeStatus, string? statusDescription, CancellationToken cancellationToken) =>
            inner.CloseAsync(closeStatus, statusDescription, cancellationToken);

        public override Task CloseOutputAsync(
            WebSocketCloseStatus closeStatus, string? statusDescription, CancellationToken cancellationToken) =>
            inner.CloseOutputAsync(closeStatus, statusDescription, cancellationToken);

        public override Task<WebSocketReceiveResult> ReceiveAsync(ArraySegment<byte> buffer, CancellationToken cancellationToken) =>
            inner.ReceiveAsync(buffer, cancellationToken);

        public override ValueTask<ValueWebSocketReceiveResult> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken) =>
            inner.ReceiveAsync(buffer, cancellationToken);

        public override Task SendAsync(
            ArraySegment<byte> buffer, WebSocketMessageType messageType, bool endOfMessage, CancellationToken cancellationToken) =>
            inner.SendAsync(buffer, messageType, endOfMessage, cancellationToken);
    }

    private sealed class SlowlyClosed(WebSocket inner, Task mayClose) : Wrapped(inner)
    {
        public override async Task CloseOutputAsync(
            WebSocketCloseStatus closeStatus, string? statusDescription, CancellationToken cancellationToken)
        {
            await mayClose.WaitAsync(cancellationToken);
            await base.CloseOutputAsync(closeStatus, statusDescription, cancellationToken);
        }
    }

    // While it closes, a receive fails with an exception that a lost connection does not cause.
    private sealed class BrokenSocket(WebSocket inner) : Wrapped(inner)
    {
        private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override async Task CloseOutputAsync(
            WebSocketCloseStatus closeStatus, string? statusDescription, CancellationToken cancellationToken)
        {
            await base.CloseOutputAsync(closeStatus, statusDescription, cancellationToken);
            _closed.TrySetResult();
        }

        public override async ValueTask<ValueWebSocketReceiveResult> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken)
        {
            var stopped = new TaskCompletionSource();
            await using (cancellationToken.Register(stopped.SetResult))
                await Task.WhenAny(_closed.Task, stopped.Task);
            throw new InvalidOperationException("The WebSocket is in an invalid state.");
        }
    }
}
