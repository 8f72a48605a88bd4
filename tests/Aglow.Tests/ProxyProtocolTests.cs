using System.IO.Pipelines;
using System.Net;
using Aglow.AspNetCore.Http;
using Aglow.AspNetCore.Proxies;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Aglow.Tests;

/// <summary>Connections of a trusted proxy that are silent, with fake time.</summary>
public sealed class ProxyProtocolTests
{
    private readonly ManualTimeProvider _time = new();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_silent_connection_ends_when_the_server_stops_or_after_fifteen_seconds(bool stops)
    {
        var proxies = new TrustedProxies([System.Net.IPNetwork.Parse("10.0.0.0/8")], readsProxyProtocol: true);
        var isPassedOn = false;
        var protocol = new ProxyProtocol(
            _ =>
            {
                isPassedOn = true;
                return Task.CompletedTask;
            },
            proxies, new LimitReports(NullLoggerFactory.Instance, _time), _time);
        var lifetime = new Closing();
        var connection = new DefaultConnectionContext("test")
        {
            Transport = new Ends(new Pipe().Reader, new Pipe().Writer),
            RemoteEndPoint = new IPEndPoint(IPAddress.Parse("10.0.0.1"), 4711),
        };
        connection.Features.Set<IConnectionLifetimeNotificationFeature>(lifetime);
        var served = protocol.OnConnectionAsync(connection);
        if (stops)
            lifetime.RequestClose();
        else
            _time.Advance(Limits.FirstHeadWithin + TimeSpan.FromSeconds(1));
        await served.WaitAsync(TimeSpan.FromSeconds(30));
        isPassedOn.ShouldBeFalse();
        _time.ArmedTimers.ShouldBe(0);
    }

    private sealed record Ends(PipeReader Input, PipeWriter Output) : IDuplexPipe;

    private sealed class Closing : IConnectionLifetimeNotificationFeature
    {
        private readonly CancellationTokenSource _closing = new();

        public CancellationToken ConnectionClosedRequested { get => _closing.Token; set => throw new NotSupportedException(); }

        public void RequestClose() => _closing.Cancel();
    }
}
