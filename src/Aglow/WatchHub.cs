using System.Buffers;
using System.Collections.Concurrent;
using System.Diagnostics;

namespace Aglow;

/// <summary>
/// Who watches whom on this node, and the loop that tells them. Knows nothing about anyone unwatched.
/// </summary>
/// <remarks>
/// Stands after <see cref="Beliefs"/> (flips) and the <see cref="ITransitionBus"/> (hints), before the connections' transports.
/// <code>
///   flips, hints ─► queue ─┐                 ┌─ each dirty topic is read again (the read decides), encoded once
///   watch, unwatch ─► queue ├─► beat (20 ms) ─┤
///   close, writable ─► queue┘                 └─ each watcher's outbox gets a bit; each scheduled connection one frame
/// </code>
/// Threading: one loop owns topics, outboxes and all sending, so there is no lock; everybody else posts to its queue and goes on. The queue is
/// bounded by what may post: a connection has at most one command of each kind per message it is allowed (and messages are limited), and
/// hints name users, of whom the watched are kept as topics.
/// The rejected alternative, a thread-safe map with a lock a user, took four locks for a delivery and still needed an order between
/// snapshot and delta; here the order is the loop's.
/// A goodbye is pushed after a confirming read a second later (two devices, one leaving, never flicker); a lapse that the sweep found is pushed at once.
/// Every watched user is read again within <see cref="RecheckInterval"/>, so whatever was lost is repaired within that, and
/// "away", which no heartbeat announces, is found.
/// </remarks>
public sealed class WatchHub : IAsyncDisposable
{
    /// <summary>How often the loop wakes; the coalescing window when the node is quiet.</summary>
    public static readonly TimeSpan BeatInterval = TimeSpan.FromMilliseconds(20);

    /// <summary>Every watched user is read again within this.</summary>
    public static readonly TimeSpan RecheckInterval = TimeSpan.FromSeconds(10);

    /// <summary>Users one connection may watch.</summary>
    public const int MaxWatches = 10_000;

    private static ReadOnlySpan<byte> TooManyWatches =>
        "{\"type\":\"error\",\"title\":\"Too many watches\",\"detail\":\"A connection may watch 10000 users: nothing of this message was watched; unwatch some, or open another connection.\"}"u8;

    private readonly PresenceService _presence;
    private readonly AglowLog _log;
    private readonly ConcurrentQueue<WatchCommand> _commands = new();
    private readonly CancellationTokenSource _stop = new();

    private readonly Slots<WatchConnection> _connections = new();
    private readonly Topics _topics = new();
    private readonly TopicChecks _checks;
    private readonly Outages _outages;
    private readonly Action<Topic, Presence?> _mark;
    private readonly List<WatchConnection> _snapshots = [];
    private readonly List<WatchConnection> _scheduled = [];
    private readonly TickSchedule _ticks;
    private readonly Departures _departures;
    private readonly DeltaWriter _writer;
    private readonly Sights _sights;
    private readonly CoalescingWindow _window = new();
    private Task _loop = Task.CompletedTask;
    private long _beat;
    private long _lastFlushBeat;
    private bool _isStopped;

    private long _deliveries;
    private long _frames;
    private long _watches;
    private long _coalesced;
    private long _waiting;
    private int _slow;
    private int _connectionCount;
    private readonly ChangeLags _lags;
    private readonly Action<int, TimeSpan> _flushed;

    /// <summary>A hub for the watchers of one node; <see cref="PresenceService"/> makes and runs it.</summary>
    internal WatchHub(PresenceService presence, ITransitionBus bus, AglowLog log)
    {
        _presence = presence;
        _log = log;
        _writer = new DeltaWriter(presence.Definitions.Default);
        _checks = new TopicChecks(_topics, presence);
        _sights = new Sights(_topics, _connections, _checks, presence, _writer, MakeDue);
        _outages = new Outages(_topics, _connections, _checks, presence, Sent);
        _mark = Mark;
        _ticks = new TickSchedule(_connections);
        _departures = new Departures(_connections, Sent);
        presence.Beliefs.Changed += (definition, kind, users) => Post(kind, users, definition);
        presence.KeyRegistered += Bind;
        bus.Subscribe((kind, users) =>
        {
            // arrivals come as flips of belief; these say what belief cannot
            if (kind is TransitionKind.Left or TransitionKind.Changed)
                Post(kind, users, definition: null);
        });
        var metrics = presence.Metrics;
        metrics.Count("aglow.deliveries", "Changes told to watchers, one a watcher.", () => Volatile.Read(ref _deliveries));
        metrics.Count("aglow.frames", "Frames of changes sent.", () => Volatile.Read(ref _frames));
        metrics.Count("aglow.coalesced", "Changes that a watcher was not told of by themselves, since a newer one took their place before.", () => Volatile.Read(ref _coalesced));
        metrics.Gauge("aglow.window.seconds", "The coalescing window in force.", () => Window.TotalSeconds);
        metrics.Gauge("aglow.outbox.changes", "Changes that wait to be told, one a watcher; more than a moment only for those who do not read.", () => Volatile.Read(ref _waiting));
        metrics.Gauge("aglow.watches", "Watches held.", () => Volatile.Read(ref _watches));
        metrics.Gauge("aglow.connections", "Connections that watch, sockets and streams.", () => Volatile.Read(ref _connectionCount));
        metrics.Gauge("aglow.connections.slow", "Connections whose other side does not read: told nothing until it does, and then the latest.", () => Volatile.Read(ref _slow));
        metrics.Gauge("aglow.connections.stale", "Connections that were told that somebody they watch cannot be read.", () => _outages.StaleConnections);
        _lags = new ChangeLags(metrics, presence.Clock.Time);
        _flushed = metrics.Flushes("frames");
    }

    /// <summary>The coalescing window in force.</summary>
    public TimeSpan Window => _window.Beats * BeatInterval;

    /// <summary>Deliveries made: changes told, one a watcher.</summary>
    public long Deliveries => Volatile.Read(ref _deliveries);

    /// <summary>Watches held.</summary>
    public long Watches => Volatile.Read(ref _watches);

    /// <summary>Connections held.</summary>
    public int Connections => Volatile.Read(ref _connectionCount);

    /// <summary>Starts the loop.</summary>
    internal void Start() => _loop = Task.Run(RunAsync);

    // ---- what others post: any thread, returns at once ----------------------------------------------------------------------

    /// <summary>A connection is there; <paramref name="welcome"/> is the first thing it is told.</summary>
    public void Open(WatchConnection connection, byte[] welcome) => _commands.Enqueue(new(WatchCommandKind.Open, connection, welcome));

    /// <summary>The connection is gone: its watches end.</summary>
    public void Close(WatchConnection connection) => _commands.Enqueue(new(WatchCommandKind.Close, connection));

    /// <summary>The connection's transport has room again.</summary>
    public void Writable(WatchConnection connection) => _commands.Enqueue(new(WatchCommandKind.Writable, connection));

    /// <summary>Tells a connection one thing, in its order.</summary>
    public void Tell(WatchConnection connection, byte[] json) => _commands.Enqueue(new(WatchCommandKind.Tell, connection, json));

    /// <summary>Answers a ping that a connection received.</summary>
    public void Answer(WatchConnection connection, byte[] pingPayload) => _commands.Enqueue(new(WatchCommandKind.Answer, connection, pingPayload));

    /// <summary>At a planned stop: everybody who is still here is told to reconnect at a time of their own within <paramref name="over"/>, and ended.</summary>
    public void Drain(TimeSpan over) => _commands.Enqueue(new(WatchCommandKind.Drain, null, Count: (int)over.TotalMilliseconds));

    /// <summary>
    /// Before a planned stop of one of many nodes: everybody is told to reconnect at a time of their own within <paramref name="over"/>, served until then, and ended. Completes when nobody is
    /// left, or time is up.
    /// </summary>
    public Task DrainAsync(TimeSpan over)
    {
        var gone = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _commands.Enqueue(new(WatchCommandKind.Drain, null, gone, Count: (int)over.TotalMilliseconds));
        return gone.Task;
    }

    /// <summary>Ends a connection after everything before was told.</summary>
    public void End(WatchConnection connection, int code) => _commands.Enqueue(new(WatchCommandKind.End, connection, Code: code));

    /// <summary>Watches these users: a snapshot of exactly those, then deltas. Takes the batch over (and disposes of it).</summary>
    public void Watch(WatchConnection connection, UserBatch users, Definition definition) =>
        _commands.Enqueue(new(WatchCommandKind.Watch, connection, users, definition));

    /// <summary>Watches these users no more. Takes the batch over.</summary>
    public void Unwatch(WatchConnection connection, UserBatch users, Definition definition) =>
        _commands.Enqueue(new(WatchCommandKind.Unwatch, connection, users, definition));

    /// <summary>What these users are seen as may have changed; said by this node to itself.</summary>
    internal void Recheck(ReadOnlySpan<uint> users) => Post(TransitionKind.Changed, users, definition: null);

    /// <summary>A key was registered: if somebody waits for it, by its name, they watch a number from now on.</summary>
    internal void Bind(string key, uint user)
    {
        if (HasUnknownKeys)
            _commands.Enqueue(new(WatchCommandKind.Bind, null, key, User: user));
    }

    /// <summary>Whether keys are watched that nobody registered yet.</summary>
    internal bool HasUnknownKeys => _topics.UnknownKeys > 0;

    /// <summary>The keys that are watched and that nobody registered yet.</summary>
    internal Task<string[]> ListUnknownKeysAsync()
    {
        var list = new TaskCompletionSource<string[]>(TaskCreationOptions.RunContinuationsAsynchronously);
        _commands.Enqueue(new(WatchCommandKind.ListUnknownKeys, null, list));
        return list.Task;
    }

    /// <summary>A user shows more or less than before, or sees so: whoever's sight changed is told.</summary>
    public void Resight(uint user)
    {
        // who watches from now on is told what they may see now
        if (Volatile.Read(ref _watches) > 0)
            _commands.Enqueue(new(WatchCommandKind.Resight, null, User: user));
    }

    // ---- the loop -------------------------------------------------------------------------------------------------------------

    /// <summary>One beat. Called every 20 ms by the loop, and by tests that own the time.</summary>
    public async ValueTask BeatAsync()
    {
        _beat++;
        while (_commands.TryDequeue(out var command))
            Do(command);
        _sights.Beat();
        if (_outages.Beat())
            SendWhatWaited();
        _checks.Beat();
        var flush = _beat - _lastFlushBeat >= _window.Beats;
        if (flush || _snapshots.Count > 0)
            await ReadChecksAsync();
        SendSnapshots();
        if (flush)
            Flush();
        while (_ticks.Next(_beat) is { } due)
            Sent(due, due.Tick() && !due.IsBusy);
        _departures.Beat(_beat);
    }

    /// <summary>Stops: every connection is ended with <c>1001 going away</c>.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_isStopped)
            return;
        _isStopped = true;
        await _stop.CancelAsync();
        await _loop;
        while (_commands.TryDequeue(out var command))
            Do(command);
        foreach (var connection in _connections.All)
        {
            connection.End(1001);
            connection.Released();
        }

        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        using var timer = new PeriodicTimer(BeatInterval, _presence.Clock.Time);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
            {
                try
                {
                    await BeatAsync();
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    // a bug in one beat must not end all watching; the recheck repairs what it left undone
                    _log.BeatFailed(e);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // stopped
        }
    }

    private void Do(WatchCommand command)
    {
        switch (command.Kind)
        {
            case WatchCommandKind.Hint:
                Hear(command);
                break;
            case WatchCommandKind.Bind:
                foreach (var id in _topics.Bind((string)command.Payload!, command.User))
                    _checks.Ask(id, gentle: false);
                break;
            case WatchCommandKind.ListUnknownKeys:
                ((TaskCompletionSource<string[]>)command.Payload!).SetResult(_topics.ListUnknownKeys());
                break;
            case WatchCommandKind.Resight:
                _sights.LookAgain(command.User);
                break;
            case WatchCommandKind.Drain:
                if (command.Payload is TaskCompletionSource gone)
                    _departures.Begin(_beat, TimeSpan.FromMilliseconds(command.Count), gone);
                else
                    _departures.EndAll(TimeSpan.FromMilliseconds(command.Count));
                break;
            case WatchCommandKind.Open:
                Greet(command.Connection!, (byte[])command.Payload!);
                break;
            default:
                DoFor(command.Connection!, command);
                break;
        }
    }

    private void DoFor(WatchConnection connection, WatchCommand command)
    {
        if (connection.Id < 0 || _connections[connection.Id] != connection)
        {
            // it has closed already
            (command.Payload as IDisposable)?.Dispose();
            return;
        }

        switch (command.Kind)
        {
            case WatchCommandKind.Close:
                Forget(connection);
                break;
            case WatchCommandKind.Writable:
                Sent(connection, hasRoom: true);
                if (connection.Outbox.IsDirty)
                    Schedule(connection);
                break;
            case WatchCommandKind.Tell:
                // who does not read is not told what they did wrong, either: nothing queues up
                if (!connection.IsBusy)
                    Sent(connection, connection.Send((byte[])command.Payload!));
                break;
            case WatchCommandKind.Answer:
                if (!connection.IsBusy)
                    Sent(connection, connection.Answer((byte[])command.Payload!));
                break;
            case WatchCommandKind.End:
                connection.End(command.Code);
                break;
            case WatchCommandKind.Watch:
                AddWatches(connection, (UserBatch)command.Payload!, command.Definition!);
                break;
            case WatchCommandKind.Unwatch:
                RemoveWatches(connection, (UserBatch)command.Payload!, command.Definition!);
                break;
        }
    }

    private void Greet(WatchConnection connection, byte[] welcome)
    {
        connection.Id = _connections.Add(connection);
        Volatile.Write(ref _connectionCount, _connections.Count);
        _ticks.Add(connection, _beat);
        Sent(connection, connection.Send(welcome));
        _outages.Opened(connection);
        _departures.Opened(connection, _beat);
    }

    // ---- hints ----------------------------------------------------------------------------------------------------------------

    private void Post(TransitionKind kind, ReadOnlySpan<uint> users, Definition? definition)
    {
        if (Volatile.Read(ref _watches) == 0 || (kind == TransitionKind.Left && definition is not null))
            return;
        var copy = ArrayPool<uint>.Shared.Rent(users.Length);
        users.CopyTo(copy);
        _commands.Enqueue(new(WatchCommandKind.Hint, null, copy, definition, Count: users.Length, Transition: kind, HeardAt: _presence.Clock.Time.GetTimestamp()));
    }

    private void Hear(WatchCommand hint)
    {
        var users = (uint[])hint.Payload!;
        foreach (var user in users.AsSpan(0, hint.Count))
        {
            for (var id = _topics.FirstOf(user); id >= 0; id = _topics[id]!.NextOfUser)
            {
                if (hint.Definition is not null && _topics[id]!.Definition != hint.Definition)
                    continue;
                if (hint.Transition == TransitionKind.Left)
                    _checks.AskLater(id, hint.HeardAt);
                else
                    _checks.Ask(id, gentle: hint.Transition == TransitionKind.Changed, hint.HeardAt);
            }
        }

        ArrayPool<uint>.Shared.Return(users);
    }

    private async ValueTask ReadChecksAsync()
    {
        if (_checks.Count == 0)
            return;
        _writer.BeginRound();
        try
        {
            await _checks.ReadAsync(_mark);
            _outages.Answered();
        }
        catch (StoreUnavailableException)
        {
            // the checks stay queued; nobody is told a guess
            _outages.Failed();
        }
    }

    private void Mark(Topic topic, Presence? told)
    {
        foreach (var watcher in topic.Watchers)
            MakeDue(_connections[Topic.ConnectionOf(watcher)]!, Topic.IndexOf(watcher));
        // the first look at somebody is a snapshot, not a change
        if (told is { } before)
            _lags.Changed(topic, before);
    }

    // Told by the next flush.
    private void MakeDue(WatchConnection connection, int index)
    {
        Mark(connection, index);
        Schedule(connection);
    }

    private void Mark(WatchConnection connection, int index)
    {
        if (connection.Outbox.Mark(index))
            Volatile.Write(ref _waiting, _waiting + 1);
        else
            Volatile.Write(ref _coalesced, _coalesced + 1);
    }

    private void Clear(WatchConnection connection, int index)
    {
        if (connection.Outbox.Clear(index))
            Volatile.Write(ref _waiting, _waiting - 1);
    }

    // ---- watches --------------------------------------------------------------------------------------------------------------

    private void AddWatches(WatchConnection connection, UserBatch users, Definition definition)
    {
        using var _ = users;
        if (connection.Outbox.Count + users.Count > MaxWatches && connection.Outbox.Count + CountNew(connection, users, definition) > MaxWatches)
        {
            if (!connection.IsBusy)
                Sent(connection, connection.Send(TooManyWatches));
            return;
        }

        _presence.Beliefs.Use(definition, out var made);
        var indexes = new int[users.Count];
        connection.Outbox.Reserve(users.Count);
        for (var i = 0; i < users.Count; i++)
        {
            var id = FindOrAddTopic(users.Numbers.Span[i], users.Text(i), definition);
            var index = IndexOf(connection, id);
            if (index < 0)
            {
                index = connection.Outbox.Add(id);
                _topics[id]!.Add(Topic.Watcher(connection.Id, index));
                Volatile.Write(ref _watches, _watches + 1);
            }

            indexes[i] = index;
            _outages.Added(connection, id);
            _checks.Ask(id, gentle: false);
        }

        (connection.Snapshots ??= []).Add(new Snapshot(indexes, definition));
        SendSnapshotsSoon(connection);
    }

    // Who watches ten thousand users, and names as many again, must not hold up all others: the shorter list is searched, and most users have few watchers.
    private int IndexOf(WatchConnection connection, int id)
    {
        var watchers = _topics[id]!.Watchers;
        if (watchers.Length >= connection.Outbox.Count)
            return connection.Outbox.IndexOf(id);
        foreach (var watcher in watchers)
        {
            if (Topic.ConnectionOf(watcher) == connection.Id)
                return Topic.IndexOf(watcher);
        }

        return -1;
    }

    private int CountNew(WatchConnection connection, UserBatch users, Definition definition)
    {
        var count = 0;
        for (var i = 0; i < users.Count; i++)
        {
            var id = _topics.Find(users.Numbers.Span[i], users.Text(i), definition);
            if (id < 0 || IndexOf(connection, id) < 0)
                count++;
        }

        return count;
    }

    private void RemoveWatches(WatchConnection connection, UserBatch users, Definition definition)
    {
        using var _ = users;
        for (var i = 0; i < users.Count; i++)
        {
            var id = _topics.Find(users.Numbers.Span[i], users.Text(i), definition);
            var index = id < 0 ? -1 : IndexOf(connection, id);
            if (index >= 0)
                RemoveWatch(connection, index);
        }
    }

    private void RemoveWatch(WatchConnection connection, int index)
    {
        var id = connection.Outbox.Topics[index];
        Clear(connection, index);
        connection.Outbox.Remove(index);
        connection.Shown?.Remove(index);
        // the index may be another watch's by the time that a snapshot is sent
        if (connection.Snapshots is { } waiting)
        {
            foreach (var snapshot in waiting)
                snapshot.Indexes.AsSpan().Replace(index, Snapshot.Ended);
        }

        Volatile.Write(ref _watches, _watches - 1);
        if (!_topics[id]!.Remove(Topic.Watcher(connection.Id, index)))
            _topics.Remove(id);
    }

    private void Forget(WatchConnection connection)
    {
        for (var index = 0; index < connection.Outbox.Topics.Length; index++)
        {
            if (connection.Outbox.Topics[index] >= 0)
                RemoveWatch(connection, index);
        }

        Sent(connection, hasRoom: true);
        _outages.Closed(connection);
        _connections.Remove(connection.Id);
        connection.Id = -1;
        Volatile.Write(ref _connectionCount, _connections.Count);
        connection.Released();
    }

    // between the request and now the key may have been registered
    private int FindOrAddTopic(uint user, ReadOnlySpan<byte> text, Definition definition)
    {
        if (user == UserId.Nobody && _presence.TryFindKnown(text, out var registered))
            user = registered;
        return _topics.FindOrAdd(user, text, definition);
    }

    // Its transport took something: whether there is room for more.
    private void Sent(WatchConnection connection, bool hasRoom)
    {
        if (connection.IsBusy == hasRoom)
            Volatile.Write(ref _slow, _slow + (hasRoom ? -1 : 1));
        connection.IsBusy = !hasRoom;
    }

    // ---- sending --------------------------------------------------------------------------------------------------------------

    private void Schedule(WatchConnection connection)
    {
        if (connection.IsScheduled || connection.IsBusy)
            return;
        connection.IsScheduled = true;
        _scheduled.Add(connection);
    }

    private void SendSnapshotsSoon(WatchConnection connection)
    {
        if (connection.IsSnapshotDue)
            return;
        connection.IsSnapshotDue = true;
        _snapshots.Add(connection);
    }

    // The store has lost pages or has some back: what waited for them is looked at again.
    private void SendWhatWaited()
    {
        foreach (var connection in _connections.All)
        {
            if (connection.Snapshots is not null)
                SendSnapshotsSoon(connection);
        }
    }

    private void SendSnapshots()
    {
        // the read that was to bring them failed
        if (_outages.IsReadFailing)
            return;
        foreach (var connection in _snapshots)
        {
            connection.IsSnapshotDue = false;
            var snapshots = connection.Snapshots!;
            connection.Snapshots = null;
            // gone since, by a close in the same beat
            if (connection.Id < 0)
                continue;
            foreach (var snapshot in snapshots)
            {
                if (WithoutLost(connection, snapshot) is var present && present.Indexes.Length > 0)
                    SendSnapshot(connection, present);
            }
        }

        _snapshots.Clear();
    }

    // Those of a snapshot whose words can be read; the others wait, as a snapshot of their own.
    private Snapshot WithoutLost(WatchConnection connection, Snapshot snapshot)
    {
        var lost = Array.FindAll(snapshot.Indexes, IsLost);
        if (lost.Length == 0)
            return snapshot;
        (connection.Snapshots ??= []).Add(snapshot with { Indexes = lost });
        return snapshot with { Indexes = Array.FindAll(snapshot.Indexes, index => !IsLost(index)) };

        bool IsLost(int index) => index != Snapshot.Ended && _topics[connection.Outbox.Topics[index]]!.IsAway;
    }

    private void SendSnapshot(WatchConnection connection, Snapshot snapshot)
    {
        // who does not read gets it with the latest of all else, when they do
        var isBusy = connection.IsBusy;
        if (!isBusy)
            _writer.Begin(snapshot.Definition);
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
            _sights.TryAppend(connection, index, _topics[connection.Outbox.Topics[index]]!, isAsked: true);
        }

        if (!isBusy)
            Sent(connection, connection.Send(_writer.End()));
    }

    private void Flush()
    {
        _lastFlushBeat = _beat;
        var beganAt = Stopwatch.GetTimestamp();
        var frames = 0;
        foreach (var connection in _scheduled)
        {
            connection.IsScheduled = false;
            // a busy one keeps its bits, and is scheduled again when it is writable
            if (connection.Id >= 0 && !connection.IsBusy)
                frames += SendChanges(connection);
        }

        _scheduled.Clear();
        Volatile.Write(ref _frames, _frames + frames);
        var took = Stopwatch.GetElapsedTime(beganAt);
        _window.Flushed(took, frames);
        if (frames > 0)
            _flushed(frames, took);
        _lags.Flushed();
    }

    private int SendChanges(WatchConnection connection)
    {
        var frames = 0;
        // one frame a definition; nearly always one
        for (var index = connection.Outbox.NextDirty(0); index >= 0 && !connection.IsBusy; index = connection.Outbox.NextDirty(0))
        {
            var definition = _topics[connection.Outbox.Topics[index]]!.Definition;
            _writer.Begin(definition);
            var told = 0;
            for (; index >= 0; index = connection.Outbox.NextDirty(index + 1))
            {
                var topic = _topics[connection.Outbox.Topics[index]]!;
                if (topic.Definition != definition)
                    continue;
                Clear(connection, index);
                told += _sights.TryAppend(connection, index, topic, isAsked: false) ? 1 : 0;
            }

            if (told == 0)
                continue;
            Volatile.Write(ref _deliveries, _deliveries + told);
            frames++;
            Sent(connection, connection.Send(_writer.End()));
        }

        return frames;
    }
}
