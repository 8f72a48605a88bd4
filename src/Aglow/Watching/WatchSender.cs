using Aglow.Users;

namespace Aglow.Watching;

/// <summary>
/// Sends to watchers: changes in fair turns, in one frame for each watcher, and snapshots as soon as they are known.
/// </summary>
/// <remarks>
/// Between the reads (<see cref="TopicChecks"/>) and the connections' transports. A change sets a bit in each watcher's
/// <see cref="Outbox"/>, so a newer change replaces an older one. A client that does not read costs no memory: its bits stay until its
/// connection is writable, and then it receives the latest state. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class WatchSender
{
    // policy violation (RFC 6455, section 7.4.1)
    private const int NotReading = 1008;

    // the most users in snapshots that wait for a client that does not read: twice as many as it may watch
    private const int MaxWaitingUsers = 2 * WatchHub.MaxWatches;

    // the loop handles commands at least this often while it sends
    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(5);

    // the clock is read once for this many connections
    private const int TurnsACount = 16;

    private readonly Topics _topics;
    private readonly Slots<WatchConnection> _connections;
    private readonly DeltaWriter _writer;
    private readonly SendTurns<WatchConnection> _turns = new();
    private readonly ChangeLags _lags;
    private readonly Action<int, TimeSpan> _flushed;
    private readonly List<WatchConnection> _snapshots = [];
    private readonly TimeProvider _time;
    private readonly long _startedAt;
    private long _windowTicks;

    private long _deliveries;
    private long _frames;
    private long _coalesced;
    private long _waiting;
    private int _slow;

    public WatchSender(
        Topics topics,
        Slots<WatchConnection> connections,
        TopicChecks checks,
        Definitions definitions,
        Visibilities visibilities,
        Clock clock,
        AglowMetrics metrics)
    {
        _topics = topics;
        _connections = connections;
        _writer = new DeltaWriter(definitions.Default);
        Sights = new Sights(topics, connections, checks, visibilities, clock, _writer, (watcher, index) => MakeDue(watcher, index, Now));
        metrics.Count("aglow.deliveries", "Changes sent to watchers, one for each watcher.", () => Deliveries);
        metrics.Count("aglow.frames", "Frames of changes sent.", () => Volatile.Read(ref _frames));
        metrics.Count(
            "aglow.coalesced",
            "Changes that were never sent to a watcher, because a newer one replaced them first.",
            () => Volatile.Read(ref _coalesced));
        metrics.Gauge(
            "aglow.window.seconds",
            "The coalescing window: how long changes were held and gathered at most, in the last second.",
            () => TimeSpan.FromTicks(Volatile.Read(ref _windowTicks)).TotalSeconds);
        metrics.Gauge(
            "aglow.outbox.changes",
            "Changes that wait to be sent, one for each watcher. They wait longer than a moment only for clients that do not read.",
            () => Volatile.Read(ref _waiting));
        metrics.Gauge(
            "aglow.connections.slow",
            "Connections whose client does not read. They receive nothing until it does, and then the latest state.",
            () => Volatile.Read(ref _slow));
        _time = clock.Time;
        _startedAt = _time.GetTimestamp();
        _lags = new ChangeLags(metrics, _time);
        _flushed = metrics.Flushes("frames");
    }

    public Sights Sights { get; }

    /// <summary>The time that windows are measured in.</summary>
    public TimeSpan Now => _time.GetElapsedTime(_startedAt);

    /// <summary>Changes sent, one for each watcher. From any thread.</summary>
    public long Deliveries => Volatile.Read(ref _deliveries);

    public bool HasSnapshots => _snapshots.Count > 0;

    /// <summary>Whether a change that is found now would be sent at once.</summary>
    public bool IsOpen => _turns.IsOpen(Now);

    /// <summary>How long the connections with changes must wait for the window; null: none has changes.</summary>
    public TimeSpan? OpensIn => _turns.OpensIn(Now);

    /// <summary>Counts time that the loop worked for anything but <see cref="SendChanges()"/>.</summary>
    public void Worked(TimeSpan took) => _turns.Worked(Now, took, frames: 0);

    /// <summary>Publishes the window of the last second. Called once a second.</summary>
    public void PublishWindow() => Volatile.Write(ref _windowTicks, _turns.TakeLongestWait().Ticks);

    /// <summary>Handles a topic that changed. <paramref name="lastSent"/>: what its watchers received last; null: nothing.</summary>
    public void Changed(Topic topic, Presence? lastSent)
    {
        var now = Now;
        foreach (var watcher in topic.Watchers)
            MakeDue(_connections[Topic.ConnectionOf(watcher)]!, Topic.IndexOf(watcher), now);
        // the first read of a user is a snapshot, not a change
        if (lastSent is { } before)
            _lags.Changed(topic, before, _turns.Added);
    }

    // The connection's next turn sends it.
    private void MakeDue(WatchConnection connection, int index, TimeSpan now)
    {
        Mark(connection, index);
        Schedule(connection, now);
    }

    private void Mark(WatchConnection connection, int index)
    {
        if (connection.Outbox.Mark(index))
            Volatile.Write(ref _waiting, _waiting + 1);
        else
            Volatile.Write(ref _coalesced, _coalesced + 1);
    }

    /// <summary>Unmarks a watch: nothing has to be sent for it.</summary>
    public void Clear(WatchConnection connection, int index)
    {
        if (connection.Outbox.Clear(index))
            Volatile.Write(ref _waiting, _waiting - 1);
    }

    /// <summary>Notes the result of a send: whether the transport has room for more.</summary>
    public void Sent(WatchConnection connection, bool hasRoom)
    {
        if (connection.IsBusy == hasRoom)
            Volatile.Write(ref _slow, _slow + (hasRoom ? -1 : 1));
        connection.IsBusy = !hasRoom;
    }

    /// <summary>
    /// Sends an answer to a message of the connection. While the transport is full, it waits. Too many waiting answers close the
    /// connection.
    /// </summary>
    public void Answer(WatchConnection connection, byte[] json)
    {
        if (!connection.IsBusy)
            Sent(connection, connection.Send(json));
        else if (connection.Answers is { Count: >= WatchHub.MaxWaitingAnswers })
            connection.End(NotReading);
        else
            (connection.Answers ??= new Queue<byte[]>()).Enqueue(json);
    }

    /// <summary>Sends the answers that waited, when the transport has room.</summary>
    public void SendAnswers(WatchConnection connection)
    {
        while (!connection.IsBusy && connection.Answers is { } answers)
        {
            if (answers.TryDequeue(out var json))
                Sent(connection, connection.Send(json));
            else
                connection.Answers = null;
        }
    }

    /// <summary>Sends the connection's changes in its turn, unless it has no room.</summary>
    public void Schedule(WatchConnection connection, TimeSpan now)
    {
        if (connection.IsScheduled || connection.IsBusy)
            return;
        connection.IsScheduled = true;
        _turns.Add(connection, now);
    }

    /// <summary>Sends a connection's snapshots after the next read.</summary>
    public void SendSnapshotsSoon(WatchConnection connection)
    {
        if (connection.IsSnapshotDue)
            return;
        connection.IsSnapshotDue = true;
        _snapshots.Add(connection);
    }

    /// <summary>Retries snapshots that waited, after the store lost pages or got some back.</summary>
    public void SendWhatWaited()
    {
        foreach (var connection in _connections.All)
        {
            if (connection.Snapshots is not null)
                SendSnapshotsSoon(connection);
        }
    }

    /// <summary>Sends the snapshots that waited for a read.</summary>
    public void SendSnapshots()
    {
        foreach (var connection in _snapshots)
        {
            connection.IsSnapshotDue = false;
            var snapshots = connection.Snapshots!;
            connection.Snapshots = null;
            // closed in the same beat
            if (connection.Id < 0)
                continue;
            foreach (var snapshot in snapshots)
            {
                if (connection.IsBusy && snapshot.Id is not null)
                    KeepSnapshot(connection, snapshot);
                else if (WithoutLost(connection, snapshot) is { } present)
                    SendSnapshot(connection, present);
            }
        }

        _snapshots.Clear();
    }

    // An answer with an id cannot merge with other changes, so it waits for room. If too much waits, the connection is closed.
    private static void KeepSnapshot(WatchConnection connection, Snapshot snapshot)
    {
        var kept = connection.Snapshots ??= [];
        kept.Add(snapshot);
        if (kept.Count > WatchHub.MaxWaitingAnswers || kept.Sum(static one => one.Indexes.Length) > MaxWaitingUsers)
        {
            connection.Snapshots = null;
            connection.End(NotReading);
        }
    }

    // Returns the part of a snapshot whose words can be read, with its id; the rest waits as another snapshot. Null: none can be read.
    private Snapshot? WithoutLost(WatchConnection connection, Snapshot snapshot)
    {
        var lost = Array.FindAll(snapshot.Indexes, IsLost);
        if (lost.Length == 0)
            return snapshot.Indexes.Length > 0 || snapshot.Id is not null ? snapshot : null;
        var isAll = lost.Length == snapshot.Indexes.Length;
        (connection.Snapshots ??= []).Add(new Snapshot(lost, snapshot.Definition, isAll ? snapshot.Id : null));
        return isAll ? null : snapshot with { Indexes = Array.FindAll(snapshot.Indexes, index => !IsLost(index)) };

        bool IsLost(int index) => index != Snapshot.Ended && _topics[connection.Outbox.Topics[index]]!.IsAway;
    }

    private void SendSnapshot(WatchConnection connection, Snapshot snapshot)
    {
        // a client that does not read receives it with all other changes when it reads again
        var isBusy = connection.IsBusy;
        if (!isBusy)
            _writer.Begin(snapshot.Definition, snapshot.Id);
        foreach (var index in snapshot.Indexes)
        {
            if (index == Snapshot.Ended)
                continue;
            if (isBusy)
            {
                connection.Shown?.Remove(index);
                Mark(connection, index);
                continue;
            }

            Clear(connection, index);
            Sights.TryAppend(connection, index, _topics[connection.Outbox.Topics[index]]!, isRequested: true);
        }

        if (!isBusy)
            Sent(connection, connection.Send(_writer.End()));
    }

    /// <summary>
    /// Sends the changes of the connections whose turn it is, while the window is open, for at most <see cref="Slice"/>.
    /// </summary>
    public void SendChanges()
    {
        var beganAt = Now;
        var now = beganAt;
        var (frames, uncounted, turns) = (0, 0, 0);
        while (now - beganAt < Slice && _turns.TryTake(now, out var connection))
        {
            connection.IsScheduled = false;
            // a busy connection keeps its bits; it is scheduled again when it is writable
            if (connection.Id >= 0 && !connection.IsBusy)
                uncounted += SendChanges(connection);
            if (++turns % TurnsACount != 0)
                continue;
            var then = now;
            now = Now;
            _turns.Worked(now, now - then, uncounted);
            frames += uncounted;
            uncounted = 0;
        }

        var end = Now;
        _turns.Worked(end, end - now, uncounted);
        frames += uncounted;
        Volatile.Write(ref _frames, _frames + frames);
        if (frames > 0)
            _flushed(frames, end - beganAt);
        _lags.Sent(_turns.Taken);
    }

    private int SendChanges(WatchConnection connection)
    {
        var frames = 0;
        // one frame for each definition; nearly always just one
        for (var first = connection.Outbox.NextDirty(0); first >= 0 && !connection.IsBusy;)
        {
            var definition = _topics[connection.Outbox.Topics[first]]!.Definition;
            _writer.Begin(definition);
            var appended = 0;
            var ofAnother = -1;
            for (var index = first; index >= 0; index = connection.Outbox.NextDirty(index + 1))
            {
                var topic = _topics[connection.Outbox.Topics[index]]!;
                if (topic.Definition != definition)
                {
                    ofAnother = ofAnother < 0 ? index : ofAnother;
                    continue;
                }

                Clear(connection, index);
                appended += Sights.TryAppend(connection, index, topic, isRequested: false) ? 1 : 0;
            }

            first = ofAnother;
            if (appended == 0)
                continue;
            Volatile.Write(ref _deliveries, _deliveries + appended);
            frames++;
            Sent(connection, connection.Send(_writer.End()));
        }

        return frames;
    }
}
