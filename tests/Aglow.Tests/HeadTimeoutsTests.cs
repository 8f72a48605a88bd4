using System.Buffers;
using System.IO.Pipelines;
using System.Text;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Aglow.Tests;

/// <summary>Connections that do not get to the point, with a clock that moves when it is told to.</summary>
public sealed class HeadTimeoutsTests : IDisposable
{
    private readonly ManualTimeProvider _time = new();
    private readonly HeadTimeouts _timeouts;
    private int _cameToHttp;

    public HeadTimeoutsTests() => _timeouts = new HeadTimeouts(_time);

    public void Dispose() => _timeouts.Dispose();

    [Fact]
    public async Task Who_sent_half_of_a_head_is_told_so_after_fifteen_seconds_and_closed()
    {
        var client = new Client();
        var served = Serve(client);
        await client.SendAsync("GET /status/1 HTTP/1.1\r\nHost: a\r\nX-Ne");
        _time.Advance(HeadTimeouts.Longest - TimeSpan.FromSeconds(1));
        // every byte more is heard, and none of them buys time
        await client.SendAsync("v");
        served.IsCompleted.ShouldBeFalse();
        _time.Advance(TimeSpan.FromSeconds(2));
        await served.WaitAsync(TimeSpan.FromSeconds(30));
        (await client.HeardAsync()).ShouldStartWith("HTTP/1.1 408 ");
        _cameToHttp.ShouldBe(0);
    }

    [Fact]
    public async Task Who_says_nothing_is_idle_and_left_to_http()
    {
        var client = new Client();
        var served = Serve(client);
        _time.Advance(HeadTimeouts.Longest + TimeSpan.FromSeconds(1));
        await client.SendAsync("GET / HT");
        await client.HangUpAsync();
        await served.WaitAsync(TimeSpan.FromSeconds(30));
        _cameToHttp.ShouldBe(1);
        client.ReachedHttp.ShouldBe("GET / HT");
    }

    [Fact]
    public async Task Who_hangs_up_before_saying_anything_never_comes_to_http()
    {
        var client = new Client();
        var served = Serve(client);
        await client.HangUpAsync();
        await served.WaitAsync(TimeSpan.FromSeconds(30));
        _cameToHttp.ShouldBe(0);
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\n\r\n")]
    [InlineData("\u0016\u0003\u0001")]
    [InlineData("POST /heartbeat HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\n")]
    public async Task A_whole_head_comes_to_http_untouched_however_it_was_cut(string text)
    {
        var client = new Client();
        var served = Serve(client);
        foreach (var letter in text)
            await client.SendAsync($"{letter}");
        await client.HangUpAsync();
        await served.WaitAsync(TimeSpan.FromSeconds(30));
        _cameToHttp.ShouldBe(1);
        client.ReachedHttp.ShouldBe(text);
        // nor is a later read cancelled
        _time.Advance(HeadTimeouts.Longest * 2);
        _timeouts.Count.ShouldBe(0);
    }

    [Fact]
    public async Task A_server_that_stops_does_not_wait_for_who_has_not_said_anything_yet()
    {
        var silent = new Client();
        var half = new Client();
        var served = Task.WhenAll(Serve(silent), Serve(half));
        await half.SendAsync("GET /");
        silent.Lifetime.RequestClose();
        half.Lifetime.RequestClose();
        await served.WaitAsync(TimeSpan.FromSeconds(30));
        (await half.HeardAsync()).ShouldBe("");
    }

    [Fact]
    public void Many_at_once_are_given_up_a_few_at_a_time_and_all_within_a_second()
    {
        var waits = Enumerable.Range(0, 1000).Select(_ => _timeouts.Begin(new Pipe().Reader)).ToArray();
        _time.Advance(HeadTimeouts.Longest);
        waits.Count(static wait => wait.IsOver).ShouldBe(HeadTimeouts.GivenUpPerBeat);
        _time.Advance(HeadTimeouts.BusyBeatInterval);
        waits.Count(static wait => wait.IsOver).ShouldBe(2 * HeadTimeouts.GivenUpPerBeat);
        _time.Advance(TimeSpan.FromSeconds(1));
        waits.ShouldAllBe(static wait => wait.IsOver && wait.IsTooLong);
    }

    [Fact]
    public void Of_a_hundred_thousand_more_are_given_up_at_a_time()
    {
        var waits = Enumerable.Range(0, 100_000).Select(_ => _timeouts.Begin(new Pipe().Reader)).ToArray();
        _time.Advance(HeadTimeouts.Longest + TimeSpan.FromSeconds(10));
        waits.Count(static wait => wait.IsOver).ShouldBeGreaterThan(60_000);
    }

    [Fact]
    public async Task Waits_that_are_over_leave_the_queue_without_being_given_up()
    {
        var pipe = new Pipe();
        for (var i = 0; i < 10_000; i++)
            _timeouts.Begin(pipe.Reader).TryEnd().ShouldBeTrue();
        _timeouts.Count.ShouldBe(10_000);
        _time.Advance(HeadTimeouts.BeatInterval);
        _timeouts.Count.ShouldBe(0);
        await pipe.Writer.WriteAsync(new byte[1]);
        (await pipe.Reader.ReadAsync()).IsCanceled.ShouldBeFalse();
    }

    private Task Serve(Client client)
    {
        var middleware = new SocketMiddleware(ToHttpAsync, static () => null, new RateLimits(new AccessOptions(), _time), _timeouts);
        return middleware.OnConnectionAsync(client.Connection);

        async Task ToHttpAsync(ConnectionContext connection)
        {
            _cameToHttp++;
            while (true)
            {
                var result = await connection.Transport.Input.ReadAsync();
                result.IsCanceled.ShouldBeFalse();
                client.ReachedHttp = Encoding.Latin1.GetString(result.Buffer.ToArray());
                connection.Transport.Input.AdvanceTo(result.Buffer.Start, result.Buffer.End);
                if (result.IsCompleted)
                    return;
            }
        }
    }

    private sealed class Client
    {
        private readonly Pipe _toServer = new();
        private readonly Pipe _toClient = new();

        public Client()
        {
            Connection = new DefaultConnectionContext("test") { Transport = new Ends(_toServer.Reader, _toClient.Writer) };
            Connection.Features.Set<IConnectionLifetimeNotificationFeature>(Lifetime);
        }

        public DefaultConnectionContext Connection { get; }

        public ClosingLifetime Lifetime { get; } = new();

        /// <summary>What the middleware behind has read last, all of it.</summary>
        public string? ReachedHttp { get; set; }

        public async Task SendAsync(string text) => await _toServer.Writer.WriteAsync(Encoding.Latin1.GetBytes(text));

        public async Task HangUpAsync() => await _toServer.Writer.CompleteAsync();

        /// <summary>All that was answered. Once, when the connection is over.</summary>
        public async Task<string> HeardAsync()
        {
            await _toClient.Writer.CompleteAsync();
            var result = await _toClient.Reader.ReadAsync();
            return Encoding.Latin1.GetString(result.Buffer.ToArray());
        }
    }

    private sealed record Ends(PipeReader Input, PipeWriter Output) : IDuplexPipe;

    private sealed class ClosingLifetime : IConnectionLifetimeNotificationFeature
    {
        private readonly CancellationTokenSource _closing = new();

        public CancellationToken ConnectionClosedRequested
        {
            get => _closing.Token;
            set => throw new NotSupportedException();
        }

        public void RequestClose() => _closing.Cancel();
    }
}
