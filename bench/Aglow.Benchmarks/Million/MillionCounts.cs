using System.Diagnostics;
using Aglow.Benchmarks.Sockets;

namespace Aglow.Benchmarks.Million;

/// <summary>What all clients together heard. The hub's thread hears; any thread reads.</summary>
internal sealed class MillionCounts(int users)
{
    private readonly long[] _cameAt = new long[users];
    private int _opened;
    private int _closed;
    private long _deliveries;

    /// <summary>Handshakes that the server answered.</summary>
    public int OpenedCount => Volatile.Read(ref _opened);

    /// <summary>Connections that the server closed.</summary>
    public int ClosedCount => Volatile.Read(ref _closed);

    /// <summary>Records that clients heard, those of snapshots included.</summary>
    public long Deliveries => Volatile.Read(ref _deliveries);

    /// <summary>Lags of the arrivals.</summary>
    public Lags Lags { get; } = new();

    public void Opened() => Interlocked.Increment(ref _opened);

    public void Closed() => Interlocked.Increment(ref _closed);

    /// <summary>Notes that a user is due to come online at this timestamp.</summary>
    public void Comes(int user, long at) => Volatile.Write(ref _cameAt[user], at);

    /// <summary>Reads the records of a message.</summary>
    public void Receive(ReadOnlySpan<byte> text)
    {
        while (Frames.NextRecord(ref text, out var user, out var isOnline))
        {
            Volatile.Write(ref _deliveries, _deliveries + 1);
            if (isOnline && Volatile.Read(ref _cameAt[user]) is not 0 and var cameAt)
                Lags.Add(Stopwatch.GetElapsedTime(cameAt).TotalSeconds);
        }
    }
}
