namespace Aglow.Watching;

/// <summary>Decides when each connection gets its tick: once in its interval, spread evenly, and in batches.</summary>
/// <remarks>
/// <code>
///   buckets by beat   | c3 c9 | - | c4 | ... |     a closed connection stays until its tick would be due, and is then skipped
///   due               c3 c9 c4                     sent when there are <see cref="Batch"/> of them, or after <see cref="MaxWaitBeats"/>
/// </code>
/// Adding and taking cost the same with a thousand connections as with a million. Pings that are sent together are answered together, so
/// that threads wake once for many answers. Rejected: a priority queue, whose cost grows with the number of connections. The
/// <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class TickSchedule(Slots<WatchConnection> connections)
{
    public const int Batch = 256;

    /// <summary>A due tick waits at most 200 ms for others.</summary>
    public const int MaxWaitBeats = 10;

    // ten seconds of beats; a longer interval stays in its bucket for several rounds
    private const int Buckets = 512;

    private readonly List<(int Id, long Beat)>[] _buckets =
        [.. Enumerable.Range(0, Buckets).Select(static _ => new List<(int, long)>())];
    private readonly Queue<(int Id, long Beat)> _due = new();
    private long _dueSince;
    private long _beat;

    /// <summary>
    /// Adds a connection. Its id spreads ticks over the interval, so that ten thousand simultaneous connections do not tick at once.
    /// </summary>
    public void Add(WatchConnection connection, long beat) => Enqueue(connection, beat + 1 + (connection.Id * 7L % Beats(connection)));

    /// <summary>Returns the next connection to tick now, and schedules its next tick; null: no more.</summary>
    public WatchConnection? Next(long beat)
    {
        while (_beat < beat)
            Collect(++_beat);
        if (_due.Count == 0 || (_due.Count < Batch && beat - _dueSince < MaxWaitBeats && _dueSince != 0))
            return null;
        // the rest of a batch follows without a wait
        _dueSince = 0;
        while (_due.TryDequeue(out var due))
        {
            // closed, or its number belongs to another connection now
            if (connections[due.Id] is not { } connection || connection.NextTick != due.Beat)
                continue;
            // from when it was due, so that a connection stays in the same buckets, and they do not grow
            Enqueue(connection, Math.Max(due.Beat + Beats(connection), beat + 1));
            return connection;
        }

        return null;
    }

    private static long Beats(WatchConnection connection) => Math.Max(1, (long)(connection.TickInterval / WatchHub.BeatInterval));

    private void Enqueue(WatchConnection connection, long beat)
    {
        connection.NextTick = beat;
        _buckets[beat % Buckets].Add((connection.Id, beat));
    }

    private void Collect(long beat)
    {
        var bucket = _buckets[beat % Buckets];
        if (bucket.Count == 0)
            return;
        if (_due.Count == 0)
            _dueSince = beat;
        var kept = 0;
        for (var i = 0; i < bucket.Count; i++)
        {
            if (bucket[i].Beat > beat)
                bucket[kept++] = bucket[i];
            else
                _due.Enqueue(bucket[i]);
        }

        bucket.RemoveRange(kept, bucket.Count - kept);
        // frees memory after many connections have closed
        if (bucket.Capacity > 1024 + (4 * _due.Count))
            bucket.TrimExcess();
    }
}
