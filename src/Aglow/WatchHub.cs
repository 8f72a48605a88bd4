using System.Buffers;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;

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

    /// <summary>The coalescing window when the node is busy: at most 25 beats, half a second.</summary>
    public const int MaxWindowBeats = 25;

    /// <summary>Users one connection may watch.</summary>
    public const int MaxWatches = 10_000;

    private const int ConfirmBeats = 50;
    private const int RecheckBeats = 500;
    // what a frame costs beside handing it over (its receipt, acknowledgement, or a pipe): the window keeps frames to about half of a core
    private static readonly TimeSpan FrameCost = TimeSpan.FromMicroseconds(2);
    private static ReadOnlySpan<byte> TooManyWatches =>
        "{\"type\":\"error\",\"title\":\"Too many watches\",\"detail\":\"A connection may watch 10000 users: nothing of this message was watched; unwatch some, or open another connection.\"}"u8;

    private readonly PresenceService _presence;
    private readonly AglowLog _log;
    private readonly ConcurrentQueue<Command> _commands = new();
    private readonly CancellationTokenSource _stop = new();

    private readonly Slots<WatchConnection> _connections = new();
    private readonly Slots<Topic> _topics = new();
    private readonly Dictionary<uint, int> _topicsByUser = [];
    private readonly Dictionary<string, List<int>> _topicsByUnknownKey = new(StringComparer.Ordinal);
    private readonly List<int> _checks = [];
    private readonly Queue<(long Beat, int Topic)> _confirmations = new();
    private readonly List<Snapshot> _snapshots = [];
    private readonly List<WatchConnection> _scheduled = [];
    private readonly PriorityQueue<int, long> _ticks = new();
    private readonly ArrayBufferWriter<byte> _encoded = new(64 * 1024);
    private readonly ArrayBufferWriter<byte> _frame = new(64 * 1024);
    private Task _loop = Task.CompletedTask;
    private long _beat;
    private long _round;
    private long _lastFlushBeat;
    private int _windowBeats = 1;
    private int _lastWanted = 1;
    private int _recheckNext;
    private int _unknownKeys;
    private bool _stale;
    private bool _isStopped;

    private long _deliveries;
    private long _frames;
    private long _watches;
    private int _connectionCount;

    /// <summary>A hub for the watchers of one node; <see cref="PresenceService"/> makes and runs it.</summary>
    internal WatchHub(PresenceService presence, ITransitionBus bus, AglowLog log)
    {
        _presence = presence;
        _log = log;
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
        metrics.Gauge("aglow.watches", "Watches held.", () => Volatile.Read(ref _watches));
        metrics.Gauge("aglow.connections", "Connections that watch, sockets and streams.", () => Volatile.Read(ref _connectionCount));
        metrics.Gauge("aglow.window.seconds", "The coalescing window in force.", () => Window.TotalSeconds);
    }

    /// <summary>The coalescing window in force.</summary>
    public TimeSpan Window => _windowBeats * BeatInterval;

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
    public void Open(WatchConnection connection, byte[] welcome) => _commands.Enqueue(new(CommandKind.Open, connection, welcome));

    /// <summary>The connection is gone: its watches end.</summary>
    public void Close(WatchConnection connection) => _commands.Enqueue(new(CommandKind.Close, connection));

    /// <summary>The connection's transport has room again.</summary>
    public void Writable(WatchConnection connection) => _commands.Enqueue(new(CommandKind.Writable, connection));

    /// <summary>Tells a connection one thing, in its order.</summary>
    public void Tell(WatchConnection connection, byte[] json) => _commands.Enqueue(new(CommandKind.Tell, connection, json));

    /// <summary>Answers a ping that a connection received.</summary>
    public void Answer(WatchConnection connection, byte[] pingPayload) => _commands.Enqueue(new(CommandKind.Answer, connection, pingPayload));

    /// <summary>Before a planned stop: everybody is told to reconnect at a time of their own within <paramref name="over"/>, and ended.</summary>
    public void Drain(TimeSpan over) => _commands.Enqueue(new(CommandKind.Drain, null, Count: (int)over.TotalMilliseconds));

    /// <summary>Ends a connection after everything before was told.</summary>
    public void End(WatchConnection connection, int code) => _commands.Enqueue(new(CommandKind.End, connection, Code: code));

    /// <summary>Watches these users: a snapshot of exactly those, then deltas. Takes the batch over (and disposes of it).</summary>
    public void Watch(WatchConnection connection, UserBatch users, Definition definition) =>
        _commands.Enqueue(new(CommandKind.Watch, connection, users, definition));

    /// <summary>Watches these users no more. Takes the batch over.</summary>
    public void Unwatch(WatchConnection connection, UserBatch users, Definition definition) =>
        _commands.Enqueue(new(CommandKind.Unwatch, connection, users, definition));

    // ---- the loop -------------------------------------------------------------------------------------------------------------

    /// <summary>One beat. Called every 20 ms by the loop, and by tests that own the time.</summary>
    public async ValueTask BeatAsync()
    {
        _beat++;
        while (_commands.TryDequeue(out var command))
            Do(command);
        while (_confirmations.TryPeek(out var due) && due.Beat <= _beat)
            Check(_confirmations.Dequeue().Topic, gentle: false);
        Recheck();
        var flush = _beat - _lastFlushBeat >= _windowBeats;
        if (flush || _snapshots.Count > 0)
            await ReadChecksAsync();
        SendSnapshots();
        if (flush)
            Flush();
        SendTicks();
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

    private void Do(Command command)
    {
        var connection = command.Connection;
        if (command.Kind == CommandKind.Hint)
        {
            Hear(command);
            return;
        }

        if (command.Kind == CommandKind.Bind)
        {
            BindTopics((string)command.Payload!, command.User);
            return;
        }

        if (command.Kind == CommandKind.Drain)
        {
            foreach (var one in _connections.All)
            {
                if (!one.IsBusy)
                    one.Send(Encoding.UTF8.GetBytes($"{{\"type\":\"reconnect\",\"after_ms\":{Random.Shared.Next(command.Count + 1)}}}"));
                one.End(1001);
            }

            return;
        }

        if (command.Kind == CommandKind.Open)
        {
            connection!.Id = _connections.Add(connection);
            Volatile.Write(ref _connectionCount, _connections.Count);
            // spread over the interval by id, so that ten thousand who came at once do not tick at once
            var interval = Math.Max(1, (long)(connection.TickInterval / BeatInterval));
            connection.NextTick = _beat + 1 + (connection.Id * 7L % interval);
            _ticks.Enqueue(connection.Id, connection.NextTick);
            connection.IsBusy = !connection.Send((byte[])command.Payload!);
            return;
        }

        if (connection!.Id < 0 || _connections[connection.Id] != connection)
        {
            // it has closed already
            (command.Payload as IDisposable)?.Dispose();
            return;
        }

        switch (command.Kind)
        {
            case CommandKind.Close:
                Forget(connection);
                break;
            case CommandKind.Writable:
                connection.IsBusy = false;
                if (connection.Outbox.IsDirty)
                    Schedule(connection);
                break;
            case CommandKind.Tell:
                // who does not read is not told what they did wrong, either: nothing queues up
                if (!connection.IsBusy)
                    connection.IsBusy = !connection.Send((byte[])command.Payload!);
                break;
            case CommandKind.Answer:
                if (!connection.IsBusy)
                    connection.IsBusy = !connection.Answer((byte[])command.Payload!);
                break;
            case CommandKind.End:
                connection.End(command.Code);
                break;
            case CommandKind.Watch:
                AddWatches(connection, (UserBatch)command.Payload!, command.Definition!);
                break;
            case CommandKind.Unwatch:
                RemoveWatches(connection, (UserBatch)command.Payload!, command.Definition!);
                break;
        }
    }

    // ---- hints ----------------------------------------------------------------------------------------------------------------

    private void Post(TransitionKind kind, ReadOnlySpan<uint> users, Definition? definition)
    {
        if (Volatile.Read(ref _watches) == 0 || (kind == TransitionKind.Left && definition is not null))
            return;
        var copy = ArrayPool<uint>.Shared.Rent(users.Length);
        users.CopyTo(copy);
        _commands.Enqueue(new(CommandKind.Hint, null, copy, definition, Count: users.Length, Transition: kind));
    }

    private void Hear(Command hint)
    {
        var users = (uint[])hint.Payload!;
        foreach (var user in users.AsSpan(0, hint.Count))
        {
            if (!_topicsByUser.TryGetValue(user, out var id))
                continue;
            for (; id >= 0; id = _topics[id]!.NextOfUser)
            {
                if (hint.Definition is not null && _topics[id]!.Definition != hint.Definition)
                    continue;
                if (hint.Transition == TransitionKind.Left)
                    _confirmations.Enqueue((_beat + ConfirmBeats, id));
                else
                    Check(id, gentle: hint.Transition == TransitionKind.Changed);
            }
        }

        ArrayPool<uint>.Shared.Return(users);
    }

    private void Check(int id, bool gentle)
    {
        if (_topics[id] is not { } topic)
            return;
        topic.IsGentle = gentle && (!topic.IsQueued || topic.IsGentle);
        if (topic.IsQueued)
            return;
        topic.IsQueued = true;
        _checks.Add(id);
    }

    // Every topic once in RecheckInterval, a slice a beat.
    private void Recheck()
    {
        var capacity = _topics.Capacity;
        var slice = (capacity / RecheckBeats) + 1;
        for (var i = 0; i < slice && capacity > 0; i++)
        {
            if (_recheckNext >= capacity)
            {
                // a pass takes the whole interval, however few topics there are
                if (_beat % RecheckBeats != 0)
                    return;
                _recheckNext = 0;
            }

            Check(_recheckNext++, gentle: true);
        }
    }

    private async ValueTask ReadChecksAsync()
    {
        if (_checks.Count == 0 && !_stale)
            return;
        _round++;
        _encoded.ResetWrittenCount();
        var users = ArrayPool<uint>.Shared.Rent(_checks.Count);
        var topics = ArrayPool<int>.Shared.Rent(_checks.Count);
        var statuses = ArrayPool<Presence>.Shared.Rent(_checks.Count);
        try
        {
            foreach (var definition in _presence.Definitions.All)
            {
                var count = Gather(definition, users, topics);
                if (count == 0)
                    continue;
                await _presence.Statuses.ReadAsync(users.AsMemory(0, count), definition, statuses.AsMemory(0, count));
                for (var i = 0; i < count; i++)
                    Apply(topics[i], statuses[i]);
            }

            _checks.Clear();
            if (_stale)
                TellAll(stale: false);
        }
        catch (StoreUnavailableException)
        {
            // the checks stay queued; nobody is told a guess
            if (!_stale)
                TellAll(stale: true);
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(users);
            ArrayPool<int>.Shared.Return(topics);
            ArrayPool<Presence>.Shared.Return(statuses);
        }
    }

    private int Gather(Definition definition, uint[] users, int[] topics)
    {
        var count = 0;
        foreach (var id in _checks)
        {
            if (_topics[id] is not { } topic || topic.Definition != definition || !topic.IsQueued)
                continue;
            users[count] = topic.User;
            topics[count++] = id;
        }

        return count;
    }

    private void Apply(int id, Presence now)
    {
        var topic = _topics[id]!;
        topic.IsQueued = false;
        var told = topic.Told;
        if (topic.IsKnown && told.Status == now.Status && (now.IsOnline || told.LastSeen == now.LastSeen))
        {
            topic.Told = now;
            return;
        }

        if (topic.IsKnown && topic.IsGentle && told.IsOnline && !now.IsOnline)
        {
            _confirmations.Enqueue((_beat + ConfirmBeats, id));
            return;
        }

        topic.Told = now;
        topic.IsKnown = true;
        topic.EncodedRound = -1;
        foreach (var watcher in topic.Watchers)
        {
            var connection = _connections[(int)(watcher >> 32)]!;
            connection.Outbox.Mark((int)(uint)watcher);
            Schedule(connection);
        }
    }

    private void TellAll(bool stale)
    {
        _stale = stale;
        var json = stale
            ? Encoding.UTF8.GetBytes($"{{\"type\":\"stale\",\"as_of\":{Pulse.EpochUnixSeconds + (long)_presence.Clock.Now}}}")
            : "{\"type\":\"fresh\"}"u8.ToArray();
        foreach (var connection in _connections.All)
            connection.IsBusy |= !connection.Send(json);
    }

    // ---- watches --------------------------------------------------------------------------------------------------------------

    private void AddWatches(WatchConnection connection, UserBatch users, Definition definition)
    {
        using var _ = users;
        if (connection.Outbox.Count + users.Count > MaxWatches && connection.Outbox.Count + CountNew(connection, users, definition) > MaxWatches)
        {
            if (!connection.IsBusy)
                connection.IsBusy = !connection.Send(TooManyWatches);
            return;
        }

        _presence.Beliefs.Use(definition, out var made);
        var indexes = new int[users.Count];
        connection.Outbox.Reserve(users.Count);
        for (var i = 0; i < users.Count; i++)
        {
            var id = FindOrAddTopic(users.Numbers.Span[i], users.Text(i), definition);
            var index = connection.Outbox.IndexOf(id);
            if (index < 0)
            {
                index = connection.Outbox.Add(id);
                _topics[id]!.Add(Topic.Watcher(connection.Id, index));
                Volatile.Write(ref _watches, _watches + 1);
            }

            indexes[i] = index;
            Check(id, gentle: false);
        }

        _snapshots.Add(new Snapshot(connection, indexes, definition));
    }

    private int CountNew(WatchConnection connection, UserBatch users, Definition definition)
    {
        var count = 0;
        for (var i = 0; i < users.Count; i++)
        {
            var id = FindTopic(users.Numbers.Span[i], users.Text(i), definition);
            if (id < 0 || connection.Outbox.IndexOf(id) < 0)
                count++;
        }

        return count;
    }

    private void RemoveWatches(WatchConnection connection, UserBatch users, Definition definition)
    {
        using var _ = users;
        for (var i = 0; i < users.Count; i++)
        {
            var id = FindTopic(users.Numbers.Span[i], users.Text(i), definition);
            var index = id < 0 ? -1 : connection.Outbox.IndexOf(id);
            if (index >= 0)
                RemoveWatch(connection, index);
        }
    }

    private void RemoveWatch(WatchConnection connection, int index)
    {
        var id = connection.Outbox.Topics[index];
        connection.Outbox.Remove(index);
        Volatile.Write(ref _watches, _watches - 1);
        if (!_topics[id]!.Remove(Topic.Watcher(connection.Id, index)))
            RemoveTopic(id);
    }

    private void Forget(WatchConnection connection)
    {
        for (var index = 0; index < connection.Outbox.Topics.Length; index++)
        {
            if (connection.Outbox.Topics[index] >= 0)
                RemoveWatch(connection, index);
        }

        _connections.Remove(connection.Id);
        connection.Id = -1;
        Volatile.Write(ref _connectionCount, _connections.Count);
        connection.Released();
    }

    private static UserForm FormOf(ReadOnlySpan<byte> text) =>
        text.IsEmpty ? UserForm.Number : UserId.TryParseNumber(text, out _) ? UserForm.Digits : UserForm.Key;

    private int FindTopic(uint user, ReadOnlySpan<byte> text, Definition definition)
    {
        var form = FormOf(text);
        if (form == UserForm.Key && user == UserId.Nobody)
        {
            if (_topicsByUnknownKey.TryGetValue(Encoding.UTF8.GetString(text), out var waiting))
            {
                foreach (var waitingId in waiting)
                {
                    if (_topics[waitingId]!.Definition == definition)
                        return waitingId;
                }
            }

            return -1;
        }

        if (!_topicsByUser.TryGetValue(user, out var id))
            return -1;
        while (id >= 0 && (_topics[id]!.Definition != definition || _topics[id]!.Form != form))
            id = _topics[id]!.NextOfUser;
        return id;
    }

    private int FindOrAddTopic(uint user, ReadOnlySpan<byte> text, Definition definition)
    {
        var form = FormOf(text);
        if (form == UserForm.Key && user == UserId.Nobody && _presence.TryFindKnown(text, out var registered))
            user = registered; // between the request and now
        var id = FindTopic(user, text, definition);
        if (id >= 0)
            return id;
        var topic = new Topic(user, definition, form, form == UserForm.Key ? PresenceRecord.Quote(text) : null);
        id = _topics.Add(topic);
        if (form == UserForm.Key && user == UserId.Nobody)
        {
            var key = Encoding.UTF8.GetString(text);
            if (!_topicsByUnknownKey.TryGetValue(key, out var waiting))
                _topicsByUnknownKey[key] = waiting = [];
            waiting.Add(id);
            Volatile.Write(ref _unknownKeys, _topicsByUnknownKey.Count);
        }
        else
        {
            topic.NextOfUser = _topicsByUser.GetValueOrDefault(user, -1);
            _topicsByUser[user] = id;
        }

        return id;
    }

    private void RemoveTopic(int id)
    {
        var topic = _topics[id]!;
        _topics.Remove(id);
        if (topic.User == UserId.Nobody)
        {
            foreach (var (key, waiting) in _topicsByUnknownKey)
            {
                if (!waiting.Remove(id))
                    continue;
                if (waiting.Count == 0)
                    _topicsByUnknownKey.Remove(key);
                break;
            }

            Volatile.Write(ref _unknownKeys, _topicsByUnknownKey.Count);
            return;
        }

        var at = _topicsByUser[topic.User];
        if (at == id)
        {
            if (topic.NextOfUser < 0)
                _topicsByUser.Remove(topic.User);
            else
                _topicsByUser[topic.User] = topic.NextOfUser;
            return;
        }

        while (_topics[at]!.NextOfUser != id)
            at = _topics[at]!.NextOfUser;
        _topics[at]!.NextOfUser = topic.NextOfUser;
    }

    // A key was registered: if somebody waits for it, by its name, they watch a number from now on.
    private void Bind(string key, uint user)
    {
        if (Volatile.Read(ref _unknownKeys) > 0)
            _commands.Enqueue(new(CommandKind.Bind, null, key, User: user));
    }

    private void BindTopics(string key, uint user)
    {
        if (!_topicsByUnknownKey.Remove(key, out var waiting))
            return;
        Volatile.Write(ref _unknownKeys, _topicsByUnknownKey.Count);
        foreach (var id in waiting)
        {
            var topic = _topics[id]!;
            topic.User = user;
            topic.NextOfUser = _topicsByUser.GetValueOrDefault(user, -1);
            _topicsByUser[user] = id;
            Check(id, gentle: false);
        }
    }

    // ---- sending --------------------------------------------------------------------------------------------------------------

    private void Schedule(WatchConnection connection)
    {
        if (connection.IsScheduled || connection.IsBusy)
            return;
        connection.IsScheduled = true;
        _scheduled.Add(connection);
    }

    private void SendSnapshots()
    {
        if (_stale)
            return;
        foreach (var (connection, indexes, definition) in _snapshots)
        {
            // gone since, by a close in the same beat
            if (connection.Id < 0)
                continue;
            if (connection.IsBusy)
            {
                // who does not read gets it with the latest of all else, when they do
                foreach (var index in indexes)
                {
                    if (connection.Outbox.Topics[index] >= 0)
                        connection.Outbox.Mark(index);
                }

                continue;
            }

            Begin(definition);
            var first = true;
            foreach (var index in indexes)
            {
                if (connection.Outbox.Topics[index] < 0)
                    continue;
                connection.Outbox.Clear(index);
                Append(_topics[connection.Outbox.Topics[index]]!, ref first);
            }

            _frame.Write("]}"u8);
            connection.IsBusy |= !connection.Send(_frame.WrittenSpan);
        }

        _snapshots.Clear();
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
        var cost = Stopwatch.GetElapsedTime(beganAt) + (frames * FrameCost);
        var wanted = (int)Math.Clamp(2 * (cost / BeatInterval), 1, MaxWindowBeats);
        // one flush in which the machine was busy with something else does not count, and what was too wide shrinks within a few
        var steady = Math.Min(wanted, _lastWanted);
        _lastWanted = wanted;
        _windowBeats = steady > _windowBeats ? steady : Math.Max(steady, _windowBeats - 1 - (_windowBeats / 4));
    }

    private int SendChanges(WatchConnection connection)
    {
        var frames = 0;
        // one frame a definition; nearly always one
        for (var index = connection.Outbox.NextDirty(0); index >= 0 && !connection.IsBusy; index = connection.Outbox.NextDirty(0))
        {
            var definition = _topics[connection.Outbox.Topics[index]]!.Definition;
            Begin(definition);
            var first = true;
            var told = 0;
            for (; index >= 0; index = connection.Outbox.NextDirty(index + 1))
            {
                var topic = _topics[connection.Outbox.Topics[index]]!;
                if (topic.Definition != definition)
                    continue;
                connection.Outbox.Clear(index);
                Append(topic, ref first);
                told++;
            }

            _frame.Write("]}"u8);
            Volatile.Write(ref _deliveries, _deliveries + told);
            frames++;
            connection.IsBusy = !connection.Send(_frame.WrittenSpan);
        }

        return frames;
    }

    private void Begin(Definition definition)
    {
        _frame.ResetWrittenCount();
        if (definition == _presence.Definitions.Default)
        {
            _frame.Write("{\"type\":\"presence\",\"users\":["u8);
            return;
        }

        _frame.Write("{\"type\":\"presence\",\"definition\":\""u8);
        _frame.Write(Encoding.UTF8.GetBytes(definition.Name));
        _frame.Write("\",\"users\":["u8);
    }

    private void Append(Topic topic, ref bool first)
    {
        if (!first)
            _frame.Write(","u8);
        first = false;
        if (topic.EncodedRound != _round)
        {
            var at = _encoded.WrittenCount;
            _encoded.Advance(topic.Write(_encoded.GetSpan(topic.MaxBytes)));
            topic.EncodedAt = (at, _encoded.WrittenCount - at);
            topic.EncodedRound = _round;
        }

        var (offset, length) = topic.EncodedAt;
        _frame.Write(_encoded.WrittenSpan.Slice(offset, length));
    }

    private void SendTicks()
    {
        while (_ticks.TryPeek(out var id, out var due) && due <= _beat)
        {
            _ticks.Dequeue();
            // gone, or its number is another's by now
            if (_connections[id] is not { } connection || connection.NextTick != due)
                continue;
            connection.NextTick = _beat + Math.Max(1, (long)(connection.TickInterval / BeatInterval));
            _ticks.Enqueue(id, connection.NextTick);
            connection.IsBusy |= !connection.Tick();
        }

        // those who closed wait here for their tick; after a storm of them the room is given back
        if (_ticks.EnsureCapacity(0) > 1024 + (4 * _ticks.Count))
            _ticks.TrimExcess();
    }

    private enum CommandKind : byte
    {
        Open,
        Close,
        Writable,
        Tell,
        Answer,
        Drain,
        End,
        Watch,
        Unwatch,
        Hint,
        Bind,
    }

    private readonly record struct Command(
        CommandKind Kind,
        WatchConnection? Connection,
        object? Payload = null,
        Definition? Definition = null,
        int Count = 0,
        uint User = 0,
        int Code = 0,
        TransitionKind Transition = default);

    private readonly record struct Snapshot(WatchConnection Connection, int[] Indexes, Definition Definition);
}
