namespace Aglow.Watching;

/// <summary>Which connection is due its tick when: each once in its interval, spread evenly.</summary>
/// <remarks>A connection that closed stays until its tick would be due, and is passed over then. Owned by the <see cref="WatchHub"/>'s loop.</remarks>
internal sealed class TickSchedule(Slots<WatchConnection> connections)
{
    private readonly PriorityQueue<int, long> _due = new();

    /// <summary>A connection has come. Spread over the interval by id, so that ten thousand who come at once do not tick at once.</summary>
    public void Add(WatchConnection connection, long beat) => Enqueue(connection, beat + 1 + (connection.Id * 7L % Beats(connection)));

    /// <summary>The next of those due by now, which is due again an interval later; null: no more.</summary>
    public WatchConnection? Next(long beat)
    {
        while (_due.TryPeek(out var id, out var due) && due <= beat)
        {
            _due.Dequeue();
            // gone, or its number is another's by now
            if (connections[id] is not { } connection || connection.NextTick != due)
                continue;
            Enqueue(connection, beat + Beats(connection));
            return connection;
        }

        // after a storm of those who closed the room is given back
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
