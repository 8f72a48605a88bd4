using System.Globalization;
using System.Net.Sockets;

namespace Aglow.Swarm;

/// <summary>One person: runs the planned sessions, and records in <see cref="Truth"/> what each device really did.</summary>
/// <remarks>Threading: each device of a session is a task; the person's lock guards the state that they share.</remarks>
internal sealed class Person(PeopleRun swarm, PersonPlan plan, uint user)
{
    // the server may receive a message from a lost connection this much later
    private const double Trailing = 2;

    // the server notices the end of a connection within this time
    private const double EndNoticed = 5;

    // an answered ping surely arrived if the connection is still open this much later
    private const double HeardAfter = 1;

    // for changes of the account, which no device makes
    private const int NoDevice = -1;

    private readonly Lock _gate = new();
    // until when the server may hold each socket of this person: infinite while open
    private readonly List<Held> _sockets = [];
    private int _httpDevices;
    private int _goodbyes;
    private double _lastGoodbyeTo = double.NegativeInfinity;

    private sealed class Held
    {
        public double OpenedAt;
        public double Until = double.PositiveInfinity;
        public bool IsWell;
    }

    /// <summary>The acts of this person's devices.</summary>
    public Truth Truth { get; } = new(swarm.Promises);

    public uint User => user;

    /// <summary>Follows the plan.</summary>
    public Task RunAsync(CancellationToken stop) => Task.WhenAll(RunSessionsAsync(stop), RunChangesAsync(stop));

    private async Task RunSessionsAsync(CancellationToken stop)
    {
        foreach (var session in plan.Sessions)
            await Task.WhenAll(session.Select(device => device.IsSocket ? RunSocketAsync(device, stop) : RunHttpAsync(device, stop)));
    }

    // ---- the account ----------------------------------------------------------------------------------------------------------

    private async Task RunChangesAsync(CancellationToken stop)
    {
        if (!swarm.Options.ChangesAccounts)
            return;
        foreach (var change in plan.Changes)
        {
            await swarm.Clock.UntilAsync(change.At, stop);
            try
            {
                await ChangeAsync(swarm.Nodes[change.Node], change, stop);
                swarm.Measures.CountAccountChange();
            }
            catch (Exception lost) when (SwarmRun.IsLoss(lost, stop))
            {
                swarm.Measures.CountError(lost);
            }
        }
    }

    private async Task ChangeAsync(Node node, AccountChange change, CancellationToken stop)
    {
        if (change.Kind == AccountChangeKind.Rename)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"swarm-{user}-{change.At:0}");
            await node.RenameAsync(user, name, stop);
            await RequireNameAsync(node, name, stop);
            return;
        }

        var began = swarm.Clock.Now;
        var kind = change.Kind == AccountChangeKind.Delete ? ActKind.Delete : ActKind.Leave;
        var act = BeginGoodbye(kind, NoDevice);
        var isHeard = false;
        try
        {
            await (change.Kind == AccountChangeKind.Delete ? node.DeleteAsync(user, stop) : node.RevokeAsync(user, stop));
            isHeard = true;
        }
        finally
        {
            EndGoodbye(kind, act, isHeard);
        }

        if (change.Kind == AccountChangeKind.Delete)
            await RequireNameAsync(node, null, stop);
        await swarm.Clock.DelayAsync(EndNoticed, stop);
        lock (_gate)
        {
            if (_sockets.Find(s => s.IsWell && s.OpenedAt < began) is { } open)
                Report(
                    $"a socket that was opened at {open.OpenedAt:0.000} s is open, {change.Kind} was answered before "
                        + $"{swarm.Clock.Now - EndNoticed:0.000} s");
        }
    }

    private async Task RequireNameAsync(Node node, string? name, CancellationToken stop)
    {
        if (await node.NameAsync(user, stop) is var read && read != name)
            Report($"the user name is {read ?? "none"}, {name ?? "none"} was acknowledged");
    }

    private void Report(string why) =>
        swarm.Report(Verdict.Broken(ViolationKind.NotDone, why), user, swarm.Clock.Now, "by a change of the account", []);

    // While a leave for all devices is on its way, the order of the leave and other messages is unknown.
    private long BeginGoodbye(ActKind kind, int device)
    {
        lock (_gate)
            _goodbyes += kind == ActKind.LeaveOne ? 0 : 1;
        return Truth.Add(new Act(kind, device, swarm.Clock.Now, double.PositiveInfinity, IsSure: false));
    }

    private void EndGoodbye(ActKind kind, long act, bool isHeard, bool isSure = true, bool mayHaveBeenLast = false)
    {
        var heard = swarm.Clock.Now + (isHeard ? 0 : Trailing);
        lock (_gate)
        {
            _goodbyes -= kind == ActKind.LeaveOne ? 0 : 1;
            if (kind != ActKind.LeaveOne || mayHaveBeenLast)
                _lastGoodbyeTo = Math.Max(_lastGoodbyeTo, heard);
        }

        Truth.Settle(act, heard, isHeard && isSure);
    }

    // ---- over HTTP ------------------------------------------------------------------------------------------------------------

    private async Task RunHttpAsync(DeviceSession device, CancellationToken stop)
    {
        await swarm.Clock.UntilAsync(device.StartAt, stop);
        lock (_gate)
            _httpDevices++;
        try
        {
            var node = device.Node;
            var outages = new Queue<Outage>(device.Outages);
            while (swarm.Clock.Now < device.EndAt)
            {
                if (outages.TryPeek(out var outage) && outage.At <= swarm.Clock.Now)
                {
                    outages.Dequeue();
                    Note(ActKind.Drop, device);
                    await swarm.Clock.UntilAsync(Math.Min(outage.At + outage.Seconds, device.EndAt), stop);
                    node = outage.Node;
                    continue;
                }

                var isHeard = await HeartbeatAsync(device, node, stop);
                // a node that does not answer may have stopped
                node = isHeard ? node : (node + 1) % swarm.Nodes.Count;
                var next = isHeard ? swarm.Promises.Heartbeat * swarm.Jitter() : 1;
                var until = Math.Min(swarm.Clock.Now + next, device.EndAt);
                await swarm.Clock.UntilAsync(outages.TryPeek(out outage) ? Math.Min(until, outage.At) : until, stop);
            }

            await EndHttpAsync(device, node, stop);
        }
        finally
        {
            lock (_gate)
                _httpDevices--;
        }
    }

    private async Task<bool> HeartbeatAsync(DeviceSession device, int node, CancellationToken stop)
    {
        var sent = swarm.Clock.Now;
        var act = Truth.Add(new Act(ActKind.Heartbeat, device.Number, sent, double.PositiveInfinity, IsSure: false));
        try
        {
            await swarm.Nodes[node].HeartbeatAsync(user, stop);
            var heard = swarm.Clock.Now;
            Truth.Settle(act, heard, isSure: true);
            swarm.Measures.CountHeartbeats(1);
            swarm.Measures.HeartbeatLatency.Add(heard - sent);
            return true;
        }
        catch (Exception lost) when (SwarmRun.IsLoss(lost, stop))
        {
            Truth.Settle(act, swarm.Clock.Now + Trailing, isSure: false);
            swarm.Measures.CountError(lost);
            return false;
        }
    }

    private async Task EndHttpAsync(DeviceSession device, int node, CancellationToken stop)
    {
        if (device.Ending != Ending.Leave)
        {
            Note(ActKind.Crash, device);
            return;
        }

        // POST /offline ends all devices, so a person with another device does not send it
        lock (_gate)
        {
            if (_httpDevices > 1 || MayHoldSocket(null))
                return;
        }

        var act = BeginGoodbye(ActKind.Leave, device.Number);
        var isHeard = true;
        try
        {
            await swarm.Nodes[node].LeaveAsync(user, stop);
        }
        catch (Exception lost) when (SwarmRun.IsLoss(lost, stop))
        {
            isHeard = false;
            swarm.Measures.CountError(lost);
        }

        EndGoodbye(ActKind.Leave, act, isHeard);
    }

    // ---- by socket ------------------------------------------------------------------------------------------------------------

    private async Task RunSocketAsync(DeviceSession device, CancellationToken stop)
    {
        await swarm.Clock.UntilAsync(device.StartAt, stop);
        var node = device.Node;
        var outages = new Queue<Outage>(device.Outages);
        while (swarm.Clock.Now < device.EndAt)
        {
            var outage = outages.TryDequeue(out var next) ? next : null;
            if (outage is not null && outage.At < swarm.Clock.Now)
            {
                node = outage.Node;
                continue;
            }

            if (await ConnectedAsync(device, node, outage, stop))
            {
                node = outage?.Node ?? node;
                continue;
            }

            await swarm.Clock.DelayAsync(1, stop);
            node = (node + 1) % swarm.Nodes.Count;
        }
    }

    // Runs one connection until the outage, the end of the session, or its loss. False: it was lost.
    private async Task<bool> ConnectedAsync(DeviceSession device, int node, Outage? outage, CancellationToken stop)
    {
        var began = swarm.Clock.Now;
        var connect = Truth.Add(new Act(ActKind.Connect, device.Number, began, double.PositiveInfinity, IsSure: false));
        var held = new Held();
        lock (_gate)
        {
            _sockets.RemoveAll(s => s.Until < began);
            _sockets.Add(held);
        }

        SocketConnection? connection = null;
        var isConnected = false;
        try
        {
            connection = await SocketConnection.OpenAsync(swarm.Nodes[node].Address, user, stop);
            var (_, welcome) = await connection.ReadAsync(stop);
            var watches = new Watches(swarm, $"user {user}, device {device.Number}, at {swarm.Nodes[node].Address.Authority}");
            if (watches.Hear(welcome, swarm.Clock.Now) != "welcome")
                throw new IOException("the first message was no welcome");
            Truth.Settle(connect, swarm.Clock.Now, isSure: true);
            isConnected = true;
            (held.IsWell, held.OpenedAt) = (true, swarm.Clock.Now);
            swarm.Measures.CountConnect();
            using var _ = swarm.Listen(watches);
            return await UseAsync(connection, device, outage, watches, held, began, stop);
        }
        catch (Exception lost) when (SwarmRun.IsLoss(lost, stop))
        {
            if (!isConnected)
                Truth.Settle(connect, swarm.Clock.Now + Trailing, isSure: false);
            swarm.Measures.CountError(lost);
            return false;
        }
        finally
        {
            held.IsWell = false;
            connection?.Dispose();
            lock (_gate)
                held.Until = swarm.Clock.Now + EndNoticed;
        }
    }

    private async Task<bool> UseAsync(
        SocketConnection connection, DeviceSession device, Outage? outage, Watches watches, Held held, double began, CancellationToken stop)
    {
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var session = new Conversation(this, swarm, connection, device, watches, began);
        watches.Confirm = session.Confirm;
        var reading = session.ReadAsync(ends.Token);
        if (plan.Follows.Count > 0)
            await session.SayAsync(
                $"{{\"type\":\"watch\",\"users\":["
                    + $"{string.Join(',', plan.Follows.Select(f => swarm.UserOf(f).ToString(CultureInfo.InvariantCulture)))}]}}",
                stop);
        var until = Math.Min(device.EndAt, outage?.At ?? double.PositiveInfinity);
        foreach (var at in device.ActiveAt)
        {
            if (at < swarm.Clock.Now || at >= until)
                continue;
            if (await Task.WhenAny(reading, swarm.Clock.UntilAsync(at, stop)) == reading)
                break;
            await session.SayAsync("{\"type\":\"active\"}", stop, ActKind.Active);
        }

        if (!reading.IsCompleted)
            await Task.WhenAny(reading, swarm.Clock.UntilAsync(until, stop));
        if (reading.IsCompleted)
        {
            watches.End();
            if (!session.WasSentAway)
                await reading;
            return true;
        }

        if (until >= device.EndAt && device.Ending == Ending.Leave)
        {
            await LeaveAsync(session, reading, device, held, stop);
            return true;
        }

        // from here on the device reads and answers nothing
        watches.End();
        held.IsWell = false;
        var isOutage = until < device.EndAt;
        Note(isOutage ? ActKind.Drop : ActKind.Crash, device);
        await ends.CancelAsync();
        await reading.ContinueWith(
            static _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        if (isOutage)
            await swarm.Clock.UntilAsync(outage!.At + outage.Seconds, stop);
        else if (device.Ending == Ending.Crash)
            await swarm.Clock.DelayAsync(Math.Min(30, swarm.Promises.Lease), stop); // the server must detect the silence by itself
        connection.Close();
        return true;
    }

    private async Task LeaveAsync(Conversation session, Task reading, DeviceSession device, Held held, CancellationToken stop)
    {
        ActKind kind;
        bool isAlone;
        lock (_gate)
        {
            var others = _sockets.Where(s => s != held && s.Until > swarm.Clock.Now).ToArray();
            isAlone = others.Length == 0;
            kind = Array.Exists(others, static s => s.IsWell) ? ActKind.LeaveOne : ActKind.LeaveLast;
        }

        var began = swarm.Clock.Now;
        var act = BeginGoodbye(kind, device.Number);
        session.IsLeaving = true;
        var isHeard = false;
        try
        {
            await session.Connection.SendAsync("{\"type\":\"leave\"}", stop);
            await reading.WaitAsync(TimeSpan.FromSeconds(10), stop);
            isHeard = session.WasClosedInOrder;
        }
        catch (Exception lost) when (SwarmRun.IsLoss(lost, stop))
        {
            swarm.Measures.CountError(lost);
        }

        session.Watches.End();
        bool mayHaveBeenLast;
        lock (_gate)
        {
            // an act of another socket in the meantime may have come before or after the leave
            isAlone &= !MayHoldSocket(held);
            mayHaveBeenLast = kind == ActKind.LeaveOne && !_sockets.Exists(s => s != held && s.IsWell);
        }

        EndGoodbye(kind, act, isHeard, isAlone, mayHaveBeenLast);
        if (mayHaveBeenLast)
            Truth.Add(new Act(ActKind.LeaveLast, device.Number, began, swarm.Clock.Now + Trailing, IsSure: false));
    }

    private bool MayHoldSocket(Held? but) => _sockets.Exists(s => s != but && s.Until > swarm.Clock.Now);

    private void Note(ActKind kind, DeviceSession device) =>
        Truth.Add(new Act(kind, device.Number, swarm.Clock.Now, swarm.Clock.Now, IsSure: true));

    /// <summary>The messages of one connection: reads them, answers pings, and records each answer as evidence.</summary>
    private sealed class Conversation(
        Person person, PeopleRun swarm, SocketConnection connection, DeviceSession device, Watches watches, double began)
    {
        private readonly Queue<(long Act, double At)> _unconfirmed = new();
        private double _spokeAt = began;

        public SocketConnection Connection => connection;

        public Watches Watches => watches;

        /// <summary>The leave was sent: later messages do not count.</summary>
        public bool IsLeaving { get; set; }

        /// <summary>The server answered the leave by closing.</summary>
        public bool WasClosedInOrder { get; private set; }

        /// <summary>The node is about to stop, and said when to reconnect.</summary>
        public bool WasSentAway { get; private set; }

        public async Task ReadAsync(CancellationToken stop)
        {
            while (true)
            {
                var (kind, payload) = await connection.ReadAsync(stop);
                if (kind == FrameKind.Close)
                {
                    WasClosedInOrder = true;
                    if (IsLeaving)
                        return;
                    throw new IOException("the server closed the connection");
                }

                if (kind == FrameKind.Ping && !IsLeaving)
                    await EvidenceAsync(ActKind.Pong, () => connection.PongAsync(payload, stop));
                else if (kind == FrameKind.Text)
                    Hear(payload, stop);
            }
        }

        private void Hear(ReadOnlyMemory<byte> message, CancellationToken stop)
        {
            switch (watches.Hear(message, swarm.Clock.Now))
            {
                case "error":
                    swarm.Measures.CountError(new IOException(System.Text.Encoding.UTF8.GetString(message.Span)));
                    break;
                case "reconnect":
                    WasSentAway = true;
                    _ = GoAsync(PresenceMessage.ReconnectAfter(message), stop);
                    break;
            }
        }

        private async Task GoAsync(double seconds, CancellationToken stop)
        {
            await swarm.Clock.DelayAsync(seconds, stop);
            watches.End();
            connection.Close();
        }

        public async Task SayAsync(string json, CancellationToken stop, ActKind kind = ActKind.Message)
        {
            _spokeAt = swarm.Clock.Now;
            await EvidenceAsync(kind, () => connection.SendAsync(json, stop));
        }

        private async Task EvidenceAsync(ActKind kind, Func<Task> send)
        {
            var now = swarm.Clock.Now;
            var act = person.Truth.Add(new Act(kind, device.Number, now, now + Trailing, IsSure: false));
            await send();
            lock (_unconfirmed)
                _unconfirmed.Enqueue((act, now));
        }

        /// <summary>Marks answers as surely received if they were sent over a second ago and the connection is still open.</summary>
        public void Confirm()
        {
            lock (_unconfirmed)
            {
                while (_unconfirmed.TryPeek(out var sent) && sent.At + HeardAfter + swarm.Lag <= swarm.Clock.Now)
                {
                    _unconfirmed.Dequeue();
                    // after a leave, the server ignores the pongs of older connections until the person does something
                    bool isHeeded;
                    lock (person._gate)
                        isHeeded = person._goodbyes == 0 && Math.Min(_spokeAt, sent.At) > person._lastGoodbyeTo;
                    if (isHeeded)
                        person.Truth.Settle(sent.Act, sent.At + HeardAfter, isSure: true);
                }
            }
        }
    }
}
