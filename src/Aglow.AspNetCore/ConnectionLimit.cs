using System.Collections.Concurrent;
using System.Net;
using Microsoft.AspNetCore.Connections;

namespace Aglow.AspNetCore;

/// <summary>
/// How many connections one address may have at a time, before anything else is done for a connection. What is beyond is closed without a word: an answer would cost more
/// than who asks for it deserves.
/// </summary>
internal sealed class ConnectionLimit(int most)
{
    private readonly ConcurrentDictionary<IPAddress, int> _counts = new();

    public ConnectionDelegate Guard(ConnectionDelegate next) => connection =>
    {
        if (connection.RemoteEndPoint is not IPEndPoint from)
            return next(connection);
        if (TryEnter(from.Address))
            return CountedAsync(next, connection, from.Address);
        connection.Abort();
        return Task.CompletedTask;
    };

    /// <summary>One more of this address, unless it has as many as it may; until it is left again.</summary>
    public bool TryEnter(IPAddress from)
    {
        if (_counts.AddOrUpdate(RateLimits.Customer(from), 1, static (_, count) => count + 1) <= most)
            return true;
        Leave(from);
        return false;
    }

    /// <summary>One less of this address.</summary>
    public void Leave(IPAddress from)
    {
        var address = RateLimits.Customer(from);
        while (_counts.TryGetValue(address, out var count))
        {
            if (count > 1 ? _counts.TryUpdate(address, count - 1, count) : _counts.TryRemove(new(address, count)))
                return;
        }
    }

    private async Task CountedAsync(ConnectionDelegate next, ConnectionContext connection, IPAddress from)
    {
        try
        {
            await next(connection);
        }
        finally
        {
            Leave(from);
        }
    }
}
