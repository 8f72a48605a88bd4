using System.Net;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Proxies;
using Aglow.Diagnostics;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Options;

namespace Aglow.AspNetCore.Hosting;

/// <summary>
/// Counts connections, and closes a new one if its address already has the most. It sends no answer, because an answer would cost more than
/// the connection.
/// </summary>
/// <remarks>Kestrel limits the total number of connections (<c>MaxConcurrentConnections</c>). Threading: any thread; no lock.</remarks>
internal sealed class ConnectionLimit(
    int mostOfAnAddress, TrustedProxies proxies, LimitReports limits, IOptions<KestrelServerOptions> kestrel)
{
    private readonly Counts<IPAddress> _counts = new();
    private long _total;
    private long _refused;

    public void AddTo(AglowMetrics metrics)
    {
        metrics.Gauge("aglow.tcp.connections", "Connections of every kind, HTTP's among them.", () => Volatile.Read(ref _total));
        if (kestrel.Value.Limits.MaxConcurrentConnections is { } most)
            metrics.Gauge("aglow.tcp.connections.limit", "How many connections there may be; Kestrel closes more at once.", () => most);
        metrics.Count(
            "aglow.tcp.connections.refused", "Connections closed because their address had too many.", () => Volatile.Read(ref _refused));
        limits.AddTo(metrics);
    }

    public ConnectionDelegate Guard(ConnectionDelegate next) => connection =>
    {
        if (connection.RemoteEndPoint is not IPEndPoint from)
            return next(connection);
        var address = RateLimits.Customer(from.Address);
        // a proxy has no limit, because it opens the connections of all its clients
        if (proxies.Any && proxies.Holds(address))
            return CountedAsync(next, connection, address: null);
        if (_counts.TryEnter(address, mostOfAnAddress))
            return CountedAsync(next, connection, address);
        Interlocked.Increment(ref _refused);
        limits.Report(
            LimitReports.Connections,
            from,
            $"More than {mostOfAnAddress} connections of one address. If that is a proxy, raise AglowOptions.MaxConnectionsPerAddress "
                + "(--max-connections-per-address), or name the proxy to aglow serve with --trusted-proxies.");
        connection.Abort();
        return Task.CompletedTask;
    };

    private async Task CountedAsync(ConnectionDelegate next, ConnectionContext connection, IPAddress? address)
    {
        Interlocked.Increment(ref _total);
        try
        {
            await next(connection);
        }
        finally
        {
            Interlocked.Decrement(ref _total);
            if (address is not null)
                _counts.Exit(address);
        }
    }
}
