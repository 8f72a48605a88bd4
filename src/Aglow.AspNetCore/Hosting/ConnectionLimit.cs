using System.Collections.Concurrent;
using System.Net;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Proxies;
using Microsoft.AspNetCore.Connections;

namespace Aglow.AspNetCore.Hosting;

/// <summary>
/// Counts connections, and closes a new one if its address already has the most. It sends no answer, because an answer would cost more than
/// the connection.
/// </summary>
/// <remarks>Kestrel limits the total number of connections (<c>MaxConcurrentConnections</c>). Threading: any thread; no lock.</remarks>
internal sealed class ConnectionLimit(int mostOfAnAddress, TrustedProxies proxies, LimitReports limits)
{
    private readonly ConcurrentDictionary<IPAddress, int> _counts = new();
    private long _total;
    private long _refused;

    /// <summary>How many connections are open.</summary>
    public long Total => Volatile.Read(ref _total);

    /// <summary>How many connections were closed because their address had too many.</summary>
    public long Refused => Volatile.Read(ref _refused);

    public ConnectionDelegate Guard(ConnectionDelegate next) => connection =>
    {
        if (connection.RemoteEndPoint is not IPEndPoint from)
            return next(connection);
        var address = RateLimits.Customer(from.Address);
        // a proxy has no limit, because it opens the connections of all its clients
        if (proxies.Any && proxies.Holds(address))
            return CountedAsync(next, connection, address: null);
        if (TryEnter(address))
            return CountedAsync(next, connection, address);
        Interlocked.Increment(ref _refused);
        limits.Bite(
            LimitReports.Connections,
            from,
            $"More than {mostOfAnAddress} connections of one address (--max-connections-per-address). If that is a proxy, name it with "
                + "--trusted-proxies.");
        connection.Abort();
        return Task.CompletedTask;
    };

    private bool TryEnter(IPAddress address)
    {
        if (_counts.AddOrUpdate(address, 1, static (_, count) => count + 1) <= mostOfAnAddress)
            return true;
        Leave(address);
        return false;
    }

    private void Leave(IPAddress address)
    {
        while (_counts.TryGetValue(address, out var count))
        {
            if (count > 1 ? _counts.TryUpdate(address, count - 1, count) : _counts.TryRemove(new(address, count)))
                return;
        }
    }

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
                Leave(address);
        }
    }
}
