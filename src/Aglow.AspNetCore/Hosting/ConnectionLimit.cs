using System.Collections.Concurrent;
using System.Net;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Http;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Logging;

namespace Aglow.AspNetCore.Hosting;

/// <summary>Why a connection was closed without having been served.</summary>
internal enum ClosedFor : byte
{
    /// <summary>Its address has as many as it may.</summary>
    Address,

    /// <summary>There are no descriptors for more.</summary>
    Room,

    /// <summary>It said nothing.</summary>
    Silence,

    /// <summary>It did not get to the end of a head.</summary>
    Slowness,
}

/// <summary>
/// How many connections there are, and how many there may be: of one address, before anything else is done for a connection, and in all. What is beyond is closed without a word: an answer would cost
/// more than who asks for it deserves.
/// </summary>
/// <remarks>
/// In all there may be as many as there are descriptors, less some for everything else (<see cref="Descriptors"/>): a process that has none left cannot even load a part of itself, and ends. Connections that
/// were not handed to the web server yet make room for new ones (<see cref="HeldSockets"/>). Threading: any thread; no lock.
/// </remarks>
internal sealed class ConnectionLimit(int mostOfAnAddress, int mostInAll, ILogger logger, TimeProvider time)
{
    private static readonly TimeSpan WarnEvery = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<IPAddress, int> _counts = new();
    private readonly long[] _closed = new long[Enum.GetValues<ClosedFor>().Length];
    private int _total;
    private int _held;
    private long _warnedAt = long.MinValue;

    /// <summary>How many there are.</summary>
    public int Total => Volatile.Read(ref _total);

    /// <summary>How many there may be.</summary>
    public int MostInAll => mostInAll;

    /// <summary>Whether there are more than there may be, the one that just entered among them.</summary>
    public bool IsOverfull => Total > mostInAll;

    /// <summary>How many have not sent a whole head yet, and are not the web server's.</summary>
    public int Held => Volatile.Read(ref _held);

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
        Interlocked.Increment(ref _total);
        if (_counts.AddOrUpdate(RateLimits.Customer(from), 1, static (_, count) => count + 1) <= mostOfAnAddress)
            return true;
        Leave(from);
        CountClosed(ClosedFor.Address);
        return false;
    }

    /// <summary>One less of this address.</summary>
    public void Leave(IPAddress from)
    {
        Interlocked.Decrement(ref _total);
        var address = RateLimits.Customer(from);
        while (_counts.TryGetValue(address, out var count))
        {
            if (count > 1 ? _counts.TryUpdate(address, count - 1, count) : _counts.TryRemove(new(address, count)))
                return;
        }
    }

    /// <summary>So many more, or fewer, are held.</summary>
    public void CountHeld(int more) => Interlocked.Add(ref _held, more);

    /// <summary>One more was closed. The log says it, once a minute, where it was for want of room.</summary>
    public void CountClosed(ClosedFor reason)
    {
        Interlocked.Increment(ref _closed[(int)reason]);
        if (reason != ClosedFor.Room)
            return;
        var (now, warned) = (time.GetTimestamp(), Volatile.Read(ref _warnedAt));
        if ((warned == long.MinValue || time.GetElapsedTime(warned, now) >= WarnEvery) && Interlocked.CompareExchange(ref _warnedAt, now, warned) == warned)
            HttpLog.NoRoom(logger, mostInAll);
    }

    /// <summary>How many were closed for this reason.</summary>
    public long Closed(ClosedFor reason) => Volatile.Read(ref _closed[(int)reason]);

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
