namespace Aglow.Watching;

/// <summary>When each connection is due its tick: once in its interval, spread evenly.</summary>
/// <remarks>
/// A closed connection stays until its tick would be due, and is then skipped. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class TickSchedule(Slots<WatchConnection> connections)
{
    private readonly PriorityQueue<int, long> _due = new();

    /// <summary>
    /// Adds a connection. Its id spreads ticks over the interval, so that ten thousand simultaneous connections do not tick at once.
    /// </summary>
    public void Add(WatchConnection connection, long beat) => Enqueue(connection, beat + 1 + (connection.Id * 7L % Beats(connection)));

    /// <summary>Returns the next due connection and schedules its next tick; null: no more.</summary>
    public WatchConnection? Next(long beat)
    {
        while (_due.TryPeek(out var id, out var due) && due <= beat)
        {
            _due.Dequeue();
            // closed, or its number belongs to another connection now
            if (connections[id] is not { } connection || connection.NextTick != due)
                continue;
            Enqueue(connection, beat + Beats(connection));
            return connection;
        }

        // frees memory after many connections have closed
        if (_due.EnsureCapacity(0) > 1024 + (4 * _due.Count))
            _due.TrimExcess();
        return null;
    }

    private static long Beats(WatchConnection connection) => Math.Max(1, (long)(connection.TickInterval / WatchHub.BeatInterval));

    private void Enqueue(WatchConnection connection, long due)
    {
        connection.NextTick = due;
        _due.Enqueue(connection.Id, due);
    }
}
