using System.Buffers;
using System.IO.Pipelines;
using System.Text;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Http;
using Aglow.AspNetCore.Proxies;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Aglow.Tests;

/// <summary>Connections whose first head is slow, with fake time.</summary>
public sealed class SocketMiddlewareTests
{
    private readonly ManualTimeProvider _time = new();
    private int _cameToHttp;

    [Fact]
    public async Task Half_a_head_gets_408_after_fifteen_seconds_and_the_connection_closes()
    {
        var client = new Client();
        var served = Serve(client);
        await client.SendAsync("GET /status/1 HTTP/1.1\r\nHost: a\r\nX-Ne");
        _time.Advance(Limits.FirstHeadWithin - TimeSpan.FromSeconds(1));
        // the server reads each further byte, but none extends the time limit
        await client.SendAsync("v");
        served.IsCompleted.ShouldBeFalse();
        _time.Advance(TimeSpan.FromSeconds(2));
        await served.WaitAsync(TimeSpan.FromSeconds(30));
        (await client.ReceivedAsync()).ShouldStartWith("HTTP/1.1 408 ");
        _cameToHttp.ShouldBe(0);
    }

    [Fact]
    public async Task A_silent_connection_closes_after_fifteen_seconds_without_a_word()
    {
        var client = new Client();
        var served = Serve(client);
        _time.Advance(Limits.FirstHeadWithin - TimeSpan.FromSeconds(1));
        served.IsCompleted.ShouldBeFalse();
        _time.Advance(TimeSpan.FromSeconds(2));
        await served.WaitAsync(TimeSpan.FromSeconds(30));
        (await client.ReceivedAsync()).ShouldBe("");
        _cameToHttp.ShouldBe(0);
    }

    [Fact]
    public async Task A_connection_that_ends_before_it_sends_anything_never_reaches_http()
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
    public async Task A_complete_head_reaches_http_untouched_in_whatever_pieces_it_arrives(string text)
    {
        var client = new Client();
        var served = Serve(client);
        foreach (var letter in text)
            await client.SendAsync($"{letter}");
        await client.HangUpAsync();
        await served.WaitAsync(TimeSpan.FromSeconds(30));
        _cameToHttp.ShouldBe(1);
        client.ReachedHttp.ShouldBe(text);
        // no timer is left that would cancel a later read
        _time.ArmedTimers.ShouldBe(0);
    }

    [Fact]
    public async Task A_server_that_stops_does_not_wait_for_silent_connections()
    {
        var silent = new Client();
        var half = new Client();
        var served = Task.WhenAll(Serve(silent), Serve(half));
        await half.SendAsync("GET /");
        silent.Lifetime.RequestClose();
        half.Lifetime.RequestClose();
        await served.WaitAsync(TimeSpan.FromSeconds(30));
        (await half.ReceivedAsync()).ShouldBe("");
    }

    private Task Serve(Client client)
    {
        var middleware = new SocketMiddleware(
            ToHttpAsync, static () => null, gate: null!, new TrustedProxies([], readsProxyProtocol: false), _time, isFirst: true);
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
        // with these thresholds, a write completes when the server has read the bytes
        private readonly Pipe _toServer = new(new PipeOptions(pauseWriterThreshold: 1, resumeWriterThreshold: 1));
        private readonly Pipe _toClient = new();

        public Client()
        {
            Connection = new DefaultConnectionContext("test") { Transport = new Ends(_toServer.Reader, _toClient.Writer) };
            Connection.Features.Set<IConnectionLifetimeNotificationFeature>(Lifetime);
        }

        public DefaultConnectionContext Connection { get; }

        public ClosingLifetime Lifetime { get; } = new();

        /// <summary>All bytes that the next middleware has read.</summary>
        public string? ReachedHttp { get; set; }

        /// <summary>Completes when the server has read this text.</summary>
        public async Task SendAsync(string text) => await _toServer.Writer.WriteAsync(Encoding.Latin1.GetBytes(text));

        public async Task HangUpAsync() => await _toServer.Writer.CompleteAsync();

        /// <summary>The whole answer. Call it once, when the connection is over.</summary>
        public async Task<string> ReceivedAsync()
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
