using System.Buffers;
using Aglow.Heartbeats;
using Aglow.Queries;
using Aglow.Sweeping;
using Aglow.Users;

namespace Aglow.Watching;

/// <summary>
/// Holds the watches of this node's connections, and sends these connections the changes. The hub stores nothing about users whom nobody
/// watches.
/// </summary>
/// <remarks>
/// It receives flips (changed beliefs) from <see cref="Beliefs"/> and hints from the <see cref="ITransitionBus"/>, and sends to the
/// connections' transports.
/// <code>
///   flips, hints ─► queue ──┐            ┌─ each dirty topic is read again (the read decides), encoded once
///   watch, unwatch ─► queue ├─► a turn ──┤
///   close, writable ─► queue┘            └─ each watcher's outbox gets a bit; each connection in turn gets one frame
/// </code>
/// A command wakes the loop (<see cref="WatchLoop"/>), so a quiet node sends a change at once. A busy hub holds changes and gathers them
/// (<see cref="CoalescingWindow"/>). Everything that has a due time, such as a tick, runs at a beat.
/// Threading: one loop owns topics, outboxes and all sending, so there are no locks. Other threads post to its queue and continue. The
/// queue is bounded: the messages of a connection are limited, and each posts at most one command of each kind. Hints gather only while a
/// turn lasts, and the longest part of a turn is a read, which a store gives up after 2 s.
/// A leave is pushed after a read a second later confirms it. If one device leaves, the user is read when the shortened lease has ended. An
/// expired lease that the sweep found is pushed at once. Every watched user is read again within <see cref="RecheckInterval"/>. This
/// repairs lost hints and finds users who became away, which no heartbeat announces.
/// Rejected: a thread-safe map with a lock for each user. It took four locks for a delivery, and snapshots and deltas still had no order.
/// Here the loop orders them.
/// </remarks>
public sealed class WatchHub : IAsyncDisposable
{
    /// <summary>The unit of time of the loop. On an idle node the loop wakes once for several of them.</summary>
    public static readonly TimeSpan BeatInterval = TimeSpan.FromMilliseconds(20);

    // once a second
    private const int BeatsAWindow = 50;

    /// <summary>Every watched user is read again within this time.</summary>
    public static readonly TimeSpan RecheckInterval = TimeSpan.FromSeconds(10);

    /// <summary>The most users that one connection may watch.</summary>
    public const int MaxWatches = 10_000;

    /// <summary>
    /// The most answers that wait for a connection whose client does not read. 256: the answers to five seconds of messages. With more, the
    /// connection is closed; the client reconnects and repeats the messages that got no answer.
    /// </summary>
    internal const int MaxWaitingAnswers = 256;

    private readonly Definitions _definitions;
    private readonly Claims _claims;
    private readonly Clock _clock;
    private readonly WatchLoop _queue;
    private readonly CancellationTokenSource _stop = new();
    private readonly Slots<WatchConnection> _connections = new();
    private readonly Topics _topics = new();
    private readonly TopicChecks _checks;
    private readonly WatchSender _sender;
    private readonly Outages _outages;
    private readonly Watches _watches;
    private readonly Action<Topic, Presence?> _changed;
    private readonly TickSchedule _ticks;
    private readonly Departures _departures;
    private readonly Handover _handover;
    private Task _loop = Task.CompletedTask;
    // completes when no turn runs any more
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _beat;
    private bool _isStopped;

    private int _connectionCount;

    /// <summary>A hub for the watchers of one node; <see cref="PresenceService"/> creates and runs it.</summary>
    internal WatchHub(
        IPlaneStore store, StatusReader statuses, HeartbeatWriter heartbeats, Beliefs beliefs, Definitions definitions, Claims claims,
        Visibilities visibilities, KeyCache knownKeys, KeyCache requestedKeys, ITransitionBus bus, Clock clock, AglowMetrics metrics,
        AglowLog log)
    {
        _definitions = definitions;
        _claims = claims;
        _clock = clock;
        _queue = new WatchLoop(clock.Time, log, store.IsRemote);
        _checks = new TopicChecks(_topics, statuses, definitions, claims, clock);
        _sender = new WatchSender(_topics, _connections, _checks, definitions, visibilities, clock, metrics);
        _outages = new Outages(_topics, _connections, _checks, store, clock, _sender.Sent);
        _watches = new Watches(_topics, _checks, _outages, _sender, beliefs, knownKeys, requestedKeys);
        _changed = _sender.Changed;
        _ticks = new TickSchedule(_connections);
        _departures = new Departures(_connections, _sender.Sent, () => _sender.Now);
        _handover = new Handover(_connections, _departures, heartbeats, definitions);
        beliefs.Changed += (definition, kind, users) => Post(kind, users, definition);
        bus.Subscribe((kind, users) =>
        {
            // beliefs report arrivals; these hints report what changes no belief
            if (kind is TransitionKind.Left or TransitionKind.DeviceLeft or TransitionKind.DeviceCame or TransitionKind.Changed)
                Post(kind, users, definition: null);
        });
        metrics.Gauge("aglow.watches", "Watches held.", () => Watches);
        metrics.Gauge("aglow.watches.bytes", "Memory of watches, as limits count it.", () => _watches.Bytes);
        metrics.Gauge("aglow.connections", "Connections that watch: sockets and streams.", () => Connections);
        metrics.Gauge(
            "aglow.connections.stale",
            "Connections that watch users whose words cannot be read now.",
            () => _outages.StaleConnections);
    }

    /// <summary>Deliveries: changes sent, one for each watcher.</summary>
    public long Deliveries => _sender.Deliveries;

    /// <summary>Watches held.</summary>
    public long Watches => _watches.Count;

    /// <summary>Connections held.</summary>
    public int Connections => Volatile.Read(ref _connectionCount);

    /// <summary>The most memory that watches of these users take.</summary>
    public static long BytesOf(UserBatch users) => Aglow.Watching.Watches.BytesOf(users);

    internal void Start() => _loop = Task.Run(() => _queue.RunAsync(TurnAsync, _stop.Token));

    // ---- commands: any thread, they return at once ----------------------------------------------------------------------------

    /// <summary>Adds a connection and sends it <paramref name="welcome"/> first.</summary>
    public void Open(WatchConnection connection, byte[] welcome) => _queue.Enqueue(new(WatchCommandKind.Open, connection, welcome));

    /// <summary>Removes a closed connection and its watches.</summary>
    public void Close(WatchConnection connection) => _queue.Enqueue(new(WatchCommandKind.Close, connection));

    /// <summary>Reports that the connection's transport has room again.</summary>
    public void Writable(WatchConnection connection) => _queue.Enqueue(new(WatchCommandKind.Writable, connection));

    /// <summary>Sends a connection one message, in the order of its commands. Dropped while the transport is full.</summary>
    public void Send(WatchConnection connection, byte[] json) => _queue.Enqueue(new(WatchCommandKind.Send, connection, json));

    /// <summary>
    /// Answers a message of a connection, in the order of its commands. Unlike <see cref="Send"/>, it waits while the transport is full.
    /// </summary>
    public void Reply(WatchConnection connection, byte[] json) => _queue.Enqueue(new(WatchCommandKind.Reply, connection, json));

    /// <summary>Answers a ping of the client.</summary>
    public void Answer(WatchConnection connection, byte[] pingPayload) =>
        _queue.Enqueue(new(WatchCommandKind.Answer, connection, pingPayload));

    /// <summary>
    /// At a planned stop: tells every remaining connection to reconnect at a time of its own within <paramref name="over"/>, and closes it
    /// now.
    /// </summary>
    public void Drain(TimeSpan over) => Run(() => _departures.EndAll(over));

    /// <summary>
    /// Before a planned stop of one of several nodes: tells every connection to reconnect at a time of its own within
    /// <paramref name="over"/>, serves it until then, and closes it. Completes when no connection is left, the time is over, or the hub has
    /// stopped. A second call only waits for the end of the first drain.
    /// </summary>
    public Task DrainAsync(TimeSpan over)
    {
        var gone = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Run(() => _departures.Begin(over, gone));
        return Task.WhenAny(gone.Task, _stopped.Task);
    }

    /// <summary>Closes a connection after everything before it was sent.</summary>
    public void End(WatchConnection connection, int code) => _queue.Enqueue(new(WatchCommandKind.End, connection, Code: code));

    /// <summary>
    /// Watches these users: sends a snapshot of exactly these users, then deltas. Takes ownership of the batch and disposes it. With an
    /// <paramref name="id"/>, the snapshot carries it and is sent even if it is empty.
    /// </summary>
    public void Watch(WatchConnection connection, UserBatch users, Definition definition, long? id = null) =>
        _queue.Enqueue(new(WatchCommandKind.Watch, connection, users, definition, Id: id));

    /// <summary>Ends the watches of these users. Takes ownership of the batch.</summary>
    public void Unwatch(WatchConnection connection, UserBatch users, Definition definition) =>
        _queue.Enqueue(new(WatchCommandKind.Unwatch, connection, users, definition));

    /// <summary>Reads these users again, because the shown status may have changed. Only on this node.</summary>
    internal void Recheck(ReadOnlySpan<uint> users) => Post(TransitionKind.Changed, users, definition: null);

    /// <summary>Binds the watches of an ID to its new index, if there are any.</summary>
    internal void Bind(string key, uint user)
    {
        if (HasUnknownKeys)
            Run(() => _watches.Bind(key, user));
    }

    internal bool HasUnknownKeys => _topics.UnknownKeys > 0;

    internal Task<string[]> ListUnknownKeysAsync()
    {
        var list = new TaskCompletionSource<string[]>(TaskCreationOptions.RunContinuationsAsynchronously);
        Run(() => list.SetResult(_topics.ListUnknownKeys()));
        return list.Task;
    }

    /// <summary>Notifies watchers whose view changed because this user shows or sees more or less than before.</summary>
    internal void Resight(uint user)
    {
        // if nobody watches now, later watches start with the new visibility anyway
        if (_watches.Count > 0)
            Run(() => _sender.Sights.Recheck(user));
    }

    private void Run(Action work) => _queue.Enqueue(new(WatchCommandKind.Run, null, work));

    // ---- the loop -------------------------------------------------------------------------------------------------------------

    /// <summary>
    /// Runs one beat and sends everything that may be sent then. For tests with fake time; the loop does the same in turns.
    /// </summary>
    public async ValueTask BeatAsync()
    {
        await TurnAsync(isBeat: true);
        while (_sender.OpensIn <= TimeSpan.Zero)
            _sender.SendChanges();
    }

    private async ValueTask<WatchTurn> TurnAsync(bool isBeat)
    {
        var beganAt = _sender.Now;
        var hadCommands = !_queue.IsEmpty;
        if (isBeat)
            _beat++;
        while (_queue.TryDequeue(out var command))
            Do(command);
        if (isBeat)
        {
            _sender.Sights.Beat();
            if (_outages.Beat())
                _sender.SendWhatWaited();
            _checks.Beat();
        }

        // while changes are held, reads wait too, so that one read covers more topics
        if (isBeat || _sender.HasSnapshots || _sender.IsOpen)
        {
            var reading = ReadChecksAsync();
            var isWaiting = !reading.IsCompleted;
            if (isWaiting)
                _sender.Worked(_sender.Now - beganAt);
            await reading;
            if (isWaiting)
                beganAt = _sender.Now;
        }

        // after a failed read, snapshots wait until a read succeeds
        if (!_outages.IsReadFailing)
            _sender.SendSnapshots();
        _sender.Worked(_sender.Now - beganAt);
        _sender.SendChanges();
        if (isBeat)
            Tick();
        return new WatchTurn(hadCommands, _sender.OpensIn, _checks.IsWaiting || _departures.IsWaiting);
    }

    private void Tick()
    {
        var beganAt = _sender.Now;
        while (_ticks.Next(_beat) is { } due)
            _sender.Sent(due, due.Tick() && !due.IsBusy);
        _handover.Beat(_beat);
        _departures.Beat();
        _sender.Worked(_sender.Now - beganAt);
        if (_beat % BeatsAWindow == 0)
            _sender.PublishWindow();
    }

    /// <summary>Stops: closes every connection with <c>1001 going away</c>.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_isStopped)
            return;
        _isStopped = true;
        await _stop.CancelAsync();
        await _loop;
        _stopped.SetResult();
        while (_queue.TryDequeue(out var command))
            Do(command);
        foreach (var connection in _connections.All)
        {
            connection.End(1001);
            connection.Released();
        }

        _stop.Dispose();
    }

    private void Do(WatchCommand command)
    {
        switch (command.Kind)
        {
            case WatchCommandKind.Hint:
                ApplyHint(command);
                break;
            case WatchCommandKind.Run:
                ((Action)command.Payload!)();
                break;
            case WatchCommandKind.Open:
                Welcome(command.Connection!, (byte[])command.Payload!);
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
            // the connection has already closed
            (command.Payload as IDisposable)?.Dispose();
            return;
        }

        switch (command.Kind)
        {
            case WatchCommandKind.Close:
                Forget(connection);
                break;
            case WatchCommandKind.Writable:
                _sender.Sent(connection, hasRoom: true);
                _sender.SendAnswers(connection);
                if (connection.Snapshots is not null)
                    _sender.SendSnapshotsSoon(connection);
                if (connection.Outbox.IsDirty)
                    _sender.Schedule(connection, _sender.Now);
                break;
            case WatchCommandKind.Reply:
                _sender.Answer(connection, (byte[])command.Payload!);
                break;
            case WatchCommandKind.Send:
                // a client that does not read gets no error messages either, so nothing queues up
                if (!connection.IsBusy)
                    _sender.Sent(connection, connection.Send((byte[])command.Payload!));
                break;
            case WatchCommandKind.Answer:
                if (!connection.IsBusy)
                    _sender.Sent(connection, connection.Answer((byte[])command.Payload!));
                break;
            case WatchCommandKind.End:
                connection.End(command.Code);
                break;
            case WatchCommandKind.Watch:
                _watches.Add(connection, (UserBatch)command.Payload!, command.Definition!, command.Id);
                break;
            case WatchCommandKind.Unwatch:
                _watches.Remove(connection, (UserBatch)command.Payload!, command.Definition!);
                break;
        }
    }

    private void Welcome(WatchConnection connection, byte[] welcome)
    {
        connection.Id = _connections.Add(connection);
        Volatile.Write(ref _connectionCount, _connections.Count);
        _ticks.Add(connection, _beat);
        _sender.Sent(connection, connection.Send(welcome));
        _outages.Opened(connection);
        connection.OpenedBeat = _beat;
        _departures.Opened(connection);
    }

    // ---- hints ----------------------------------------------------------------------------------------------------------------

    private void Post(TransitionKind kind, ReadOnlySpan<uint> users, Definition? definition)
    {
        if (_watches.Count == 0 || (kind == TransitionKind.Left && definition is not null))
            return;
        var copy = ArrayPool<uint>.Shared.Rent(users.Length);
        users.CopyTo(copy);
        _queue.Enqueue(new(
            WatchCommandKind.Hint,
            null,
            copy,
            definition,
            Count: users.Length,
            Transition: kind,
            HintedAt: _clock.Time.GetTimestamp()));
    }

    // A user who hides must look like one who leaves: both are pushed under every definition, at the same moment and in the same order.
    private bool IsLeave(TransitionKind transition, uint user) =>
        transition == TransitionKind.Left
        || (transition == TransitionKind.Changed && _claims.Of(user, _clock.Now).Status == ClaimStatus.Hidden);

    private void ApplyHint(WatchCommand hint)
    {
        var users = (uint[])hint.Payload!;
        foreach (var user in users.AsSpan(0, hint.Count))
        {
            for (var id = _topics.FirstOf(user); id >= 0; id = _topics[id]!.NextOfUser)
            {
                var isOther = hint.Definition is not null && _topics[id]!.Definition != hint.Definition;
                // A heartbeat may bring its user online under other definitions too, and no hint says so.
                if (isOther && (hint.Transition != TransitionKind.Arrived || hint.Definition != _definitions.Default))
                    continue;
                if (IsLeave(hint.Transition, user))
                    _checks.EnqueueLater(id, hint.HintedAt);
                else if (hint.Transition == TransitionKind.DeviceLeft)
                    _checks.EnqueueAfterDevice(id);
                else
                    _checks.Enqueue(id, gentle: isOther || hint.Transition == TransitionKind.Changed, hint.HintedAt);
            }
        }

        ArrayPool<uint>.Shared.Return(users);
    }

    private async ValueTask ReadChecksAsync()
    {
        if (_checks.Count == 0)
            return;
        try
        {
            await _checks.ReadAsync(_changed);
            _outages.Answered();
        }
        catch (StoreUnavailableException)
        {
            // the checks stay queued, and watchers receive nothing until a read succeeds
            _outages.Failed();
        }
    }

    private void Forget(WatchConnection connection)
    {
        _watches.RemoveAll(connection);
        _sender.Sent(connection, hasRoom: true);
        _outages.Closed(connection);
        _connections.Remove(connection.Id);
        connection.Id = -1;
        Volatile.Write(ref _connectionCount, _connections.Count);
        connection.Released();
    }
}
