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
        var address = RateLimits.Customer(from.Address);
        if (_counts.AddOrUpdate(address, 1, static (_, count) => count + 1) <= most)
            return CountedAsync(next, connection, address);
        Release(address);
        connection.Abort();
        return Task.CompletedTask;
    };

    private async Task CountedAsync(ConnectionDelegate next, ConnectionContext connection, IPAddress address)
    {
        try
        {
            await next(connection);
        }
        finally
        {
            Release(address);
        }
    }

    private void Release(IPAddress address)
    {
        while (_counts.TryGetValue(address, out var count))
        {
            if (count > 1 ? _counts.TryUpdate(address, count - 1, count) : _counts.TryRemove(new(address, count)))
                return;
        }
    }
}
