using Aglow.Swarm.Claims;
using Aglow.Swarm.Devices;

namespace Aglow.Swarm;

/// <summary>One person: runs the planned sessions, and records in <see cref="Truth"/> what each device really did.</summary>
/// <remarks>Threading: each device of a session is a task; the person's lock guards the state that they share.</remarks>
internal sealed partial class Person(PeopleRun swarm, PersonPlan plan, uint user)
{
    // the server notices the end of a connection within this time
    private const double EndNoticed = 5;

    // for changes of the account, which no device makes
    private const int NoDevice = -1;

    private readonly Lock _gate = new();
    private readonly List<Held> _held = [];
    private int _leaves;
    private double _lastLeaveTo = double.NegativeInfinity;

    // what the server may hold of this person: a socket, or a device that sends heartbeats over HTTP
    private sealed class Held
    {
        // infinite while a socket is open, and while a device sends
        public double Until = double.PositiveInfinity;
        // of a socket
        public double OpenedAt;
        public bool IsWell;
        // of a device over HTTP
        public double ReceivedAt = double.NegativeInfinity;
    }

    private readonly ClaimBook? _claims = swarm.Options.SetsClaims ? new ClaimBook(swarm.Promises) : null;
    // a deletion erases claims, so a deletion and a change of claims do not overlap
    private readonly SemaphoreSlim _claiming = new(1, 1);

    /// <summary>The acts of this person's devices.</summary>
    public Deeds Deeds { get; } = new(swarm.Promises, swarm.Options.NamesDevices);

    /// <summary>What is true of this person.</summary>
    public Truth Truth => Deeds.Truth;

    /// <summary>What is known of this person besides the acts.</summary>
    public Personal Personal => field ??= new Personal(_claims, Deeds.Kinds);

    /// <summary>Follows the plan.</summary>
    public Task RunAsync(CancellationToken stop) => Task.WhenAll(RunSessionsAsync(stop), RunChangesAsync(stop), RunClaimsAsync(stop));

    /// <summary>What callers can see of this person now.</summary>
    public Standing StandingAt(double now, double held)
    {
        var standing = Truth.At(now, held);
        return _claims?.Seen(standing, now) ?? standing;
    }

    private async Task RunSessionsAsync(CancellationToken stop)
    {
        foreach (var session in plan.Sessions)
            await Task.WhenAll(session.Select(device => device.IsSocket ? RunSocketAsync(device, stop) : RunHttpAsync(device, stop)));
    }

    // ---- over HTTP ------------------------------------------------------------------------------------------------------------

    private async Task RunHttpAsync(DeviceSession device, CancellationToken stop)
    {
        await swarm.Clock.UntilAsync(device.StartAt, stop);
        var held = Hold();
        var node = device.Node;
        var lastBeat = device.StartAt;
        var outages = new Queue<Outage>(device.Outages);
        while (swarm.Clock.Now < device.EndAt)
        {
            if (outages.TryPeek(out var outage) && outage.At <= swarm.Clock.Now)
            {
                outages.Dequeue();
                held.ReceivedAt = double.NegativeInfinity;
                Note(ActKind.Drop, device);
                await swarm.Clock.UntilAsync(Math.Min(outage.At + outage.Seconds, device.EndAt), stop);
                node = outage.Node;
                continue;
            }

            var began = swarm.Clock.Now;
            var isAcknowledged = await HeartbeatAsync(device, node, lastBeat, stop);
            if (isAcknowledged)
                (lastBeat, held.ReceivedAt) = (began, began);
            // a node that does not answer may have stopped
            node = isAcknowledged ? node : (node + 1) % swarm.Nodes.Count;
            var next = isAcknowledged ? swarm.Promises.Heartbeat * swarm.Jitter() : 1;
            var until = Math.Min(swarm.Clock.Now + next, device.EndAt);
            await swarm.Clock.UntilAsync(outages.TryPeek(out outage) ? Math.Min(until, outage.At) : until, stop);
        }

        await EndHttpAsync(device, node, held, stop);
        lock (_gate)
            _held.Remove(held);
    }

    private async Task<bool> HeartbeatAsync(DeviceSession device, int node, double lastBeat, CancellationToken stop)
    {
        var sent = swarm.Clock.Now;
        // a person reports with a heartbeat that they did something since the one before
        var name = NameOf(device);
        var isActive = name is not null && device.ActiveAt.Any(at => at <= sent && at > lastBeat);
        var mayHide = isActive && _claims?.HiddenIn(sent - swarm.Promises.Bound, sent).May == true;
        var act = Deeds.Add(new Act(
            isActive ? ActKind.Active : ActKind.Heartbeat, device.Number, sent, double.PositiveInfinity, IsSure: false));
        if (!await swarm.TryAsync(() => swarm.Nodes[node].HeartbeatAsync(user, stop, name, isActive), stop))
        {
            Deeds.Settle(act, swarm.Clock.Now + swarm.Promises.Trailing, isSure: false);
            return false;
        }

        var receivedAt = swarm.Clock.Now;
        mayHide |= isActive && _claims?.HiddenIn(sent, receivedAt).May == true;
        Deeds.Settle(act, receivedAt, isSure: !mayHide);
        // activity of a person who hides is not noted, but their heartbeat is
        if (mayHide)
            Deeds.Add(new Act(ActKind.Heartbeat, device.Number, sent, receivedAt, IsSure: true));
        swarm.Measures.Heartbeats.Add();
        swarm.Measures.HeartbeatLatency.Add(receivedAt - sent);
        return true;
    }

    private async Task EndHttpAsync(DeviceSession device, int node, Held held, CancellationToken stop)
    {
        if (device.Ending != Ending.Leave)
        {
            Note(ActKind.Crash, device);
            return;
        }

        if (NameOf(device) is { } name)
        {
            await LeaveAsync(device, held, () => swarm.TryAsync(() => swarm.Nodes[node].LeaveAsync(user, stop, name), stop));
            return;
        }

        // a leave without a name ends all devices, so a person with another device does not send it
        lock (_gate)
        {
            if (MayHoldAnother(held))
                return;
        }

        var act = BeginLeave(ActKind.Leave, device.Number);
        EndLeave(ActKind.Leave, act, await swarm.TryAsync(() => swarm.Nodes[node].LeaveAsync(user, stop), stop));
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
        var connect = Deeds.Add(new Act(ActKind.Connect, device.Number, began, double.PositiveInfinity, IsSure: false));
        var held = Hold();
        SocketConnection? connection = null;
        var isConnected = false;
        try
        {
            connection = await SocketConnection.OpenAsync(swarm.Nodes[node].Address, user, stop, NameOf(device)?.Query ?? "");
            var (_, welcome) = await connection.ReadAsync(stop);
            using var watches = swarm.Listen($"user {user}, device {device.Number}, at {swarm.Nodes[node].Address.Authority}");
            if (watches.Receive(welcome, swarm.Clock.Now) != "welcome")
                throw new IOException("the first message was no welcome");
            Deeds.Settle(connect, swarm.Clock.Now, isSure: !swarm.Promises.IsDisturbed);
            isConnected = true;
            (held.IsWell, held.OpenedAt) = (true, swarm.Clock.Now);
            swarm.Measures.Connects.Add();
            return await UseAsync(connection, device, outage, watches, held, began, stop);
        }
        catch (Exception lost) when (SwarmRun.IsLoss(lost, stop))
        {
            if (!isConnected)
                Deeds.Settle(connect, swarm.Clock.Now + swarm.Promises.Trailing, isSure: false);
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
            await session.SendAsync(
                $"{{\"type\":\"watch\",\"users\":[{string.Join(',', plan.Follows.Select(swarm.UserOf))}]}}", stop);
        var until = Math.Min(device.EndAt, outage?.At ?? double.PositiveInfinity);
        foreach (var at in device.ActiveAt)
        {
            if (at < swarm.Clock.Now || at >= until)
                continue;
            if (await Task.WhenAny(reading, swarm.Clock.UntilAsync(at, stop)) == reading)
                break;
            await session.SendAsync("{\"type\":\"active\"}", stop, ActKind.Active);
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
            await LeaveAsync(device, held, () => SendLeaveAsync(session, reading, stop));
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

    private async Task<bool> SendLeaveAsync(Conversation session, Task reading, CancellationToken stop)
    {
        session.IsLeaving = true;
        var isSent = await swarm.TryAsync(
            async () =>
            {
                await session.Connection.SendAsync("{\"type\":\"leave\"}", stop);
                await reading.WaitAsync(TimeSpan.FromSeconds(10), stop);
            },
            stop);
        session.Watches.End();
        return isSent && session.WasClosedInOrder;
    }

    // ---- the leave of one device ----------------------------------------------------------------------------------------------

    // "send" returns whether the server heard it.
    private async Task LeaveAsync(DeviceSession device, Held held, Func<Task<bool>> send)
    {
        ActKind kind;
        bool isAlone, mayHaveBeenLast;
        lock (_gate)
        {
            isAlone = !MayHoldAnother(held);
            kind = IsAnotherAlive(held) ? ActKind.LeaveOne : ActKind.LeaveLast;
        }

        var began = swarm.Clock.Now;
        var act = BeginLeave(kind, device.Number);
        var isAcknowledged = await send();
        lock (_gate)
        {
            // an act of another device in the meantime may have come before or after the leave
            isAlone &= !MayHoldAnother(held);
            mayHaveBeenLast = kind == ActKind.LeaveOne && !IsAnotherAlive(held);
        }

        EndLeave(kind, act, isAcknowledged, isAlone, mayHaveBeenLast);
        if (mayHaveBeenLast)
            Truth.Add(new Act(ActKind.LeaveLast, device.Number, began, swarm.Clock.Now + swarm.Promises.Trailing, IsSure: false));
    }

    private Held Hold()
    {
        var held = new Held();
        lock (_gate)
        {
            _held.RemoveAll(h => h.Until < swarm.Clock.Now);
            _held.Add(held);
        }

        return held;
    }

    // call these two under the lock
    private bool IsAnotherAlive(Held but) =>
        _held.Exists(h => h != but && (h.IsWell || h.ReceivedAt > swarm.Clock.Now - swarm.Promises.Heartbeat));

    private bool MayHoldAnother(Held but) => _held.Exists(h => h != but && h.Until > swarm.Clock.Now);

    private DeviceName? NameOf(DeviceSession device) => swarm.Options.NamesDevices ? new DeviceName(device.Number) : null;

    private void Note(ActKind kind, DeviceSession device) =>
        Deeds.Add(new Act(kind, device.Number, swarm.Clock.Now, swarm.Clock.Now, IsSure: true));
}
