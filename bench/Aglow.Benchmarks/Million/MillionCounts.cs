using System.Buffers.Text;
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
    public void Hear(ReadOnlySpan<byte> text)
    {
        while (text.IndexOf("\"user_id\":"u8) is >= 0 and var at)
        {
            text = text[(at + 10)..];
            _ = Utf8Parser.TryParse(text, out int user, out var length);
            text = text[length..];
            Volatile.Write(ref _deliveries, _deliveries + 1);
            if (text.StartsWith(",\"is_online\":true"u8) && Volatile.Read(ref _cameAt[user]) is not 0 and var cameAt)
                Lags.Add(Stopwatch.GetElapsedTime(cameAt).TotalSeconds);
        }
    }
}
