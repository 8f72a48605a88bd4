using System.Buffers;

namespace Aglow.Heartbeats;

/// <summary>The result of a heartbeat.</summary>
public enum Admission : byte
{
    /// <summary>Written.</summary>
    Accepted = 0,

    /// <summary>The ID has no index: 404.</summary>
    Unknown = 1,

    /// <summary>Above the highest integer ID, or no memory left for its page: 507.</summary>
    OverBudget = 2,
}

/// <summary>
/// Turns heartbeats and leaves into words, and old words into transitions.
/// </summary>
/// <remarks>
/// Endpoints and sockets call it; it writes to the <see cref="IPlaneStore"/>. Each write returns the old word. If the old word was not
/// online and the new one is, exactly this write brought the user online.
/// <list type="bullet">
/// <item>Renewal: the user was online. It is acknowledged when written. A crash may lose it, but the next one comes within an
/// interval.</item>
/// <item>Arrival: its hint is published at once. Alone or as JSON it is acknowledged when durable. Packed batches do not wait; they are
/// durable within 50 ms.</item>
/// <item>Leave: acknowledged when durable. If only one device left and another may be alive, the lease gets shorter and the user stays
/// online (<see cref="LeaveAsync(uint, Device, IReadOnlyList{Device}, bool)"/>). The next heartbeat is then persisted like an
/// arrival.</item>
/// <item>Session: it begins when the user comes online. Activity of an earlier session is marked (<see cref="Sessions"/>), so
/// that it does not make the user away.</item>
/// <item>Word in the future: it was written before the clock was set back. It counts as a heartbeat of now. It would win over every
/// heartbeat and leave until its second comes, so any write that finds one replaces it. A heartbeat that replaces one is published and
/// persisted like an arrival.</item>
/// </list>
/// With a remote store, renewals wait up to a second for a batch (<see cref="Renewals"/>). Arrivals and leaves are still written at once.
/// Threading: any thread, no lock. A renewal allocates nothing; batches borrow arrays from the shared pool.
/// </remarks>
internal sealed class HeartbeatWriter : IAsyncDisposable
{
    private readonly IPlaneStore _store;
    private readonly ITransitionBus _bus;
    private readonly Clock _clock;
    private readonly Definition _online;
    private readonly AglowMetrics _metrics;
    private readonly uint _maxUserNumber;
    // the demo writes its users through its own writer; other callers may not write them
    private readonly uint _firstRefused;
    // For how long a page may be unwritable before its users must move: half of what the lease has beyond two heartbeat intervals. One
    // interval may lie between the last word and the failure, and another before the next heartbeat.
    private readonly TimeSpan _handOverAfter;
    private uint _earlierRunEnd;
    private readonly RenewalLoop? _renewals;
    // null if there are several nodes
    private readonly RecentDevices? _devices;
    private readonly AheadWords _ahead;
    private readonly Sessions _sessions;
    private readonly ActivityWriter _activity;
    private readonly LeaveWriter _leaves;

    public HeartbeatWriter(
        IPlaneStore store, ITransitionBus bus, Clock clock, Definitions definitions, AglowOptions options, AglowMetrics metrics)
    {
        _store = store;
        _bus = bus;
        _clock = clock;
        _online = definitions.Default;
        _metrics = metrics;
        _maxUserNumber = options.MaxUserNumber;
        _firstRefused = options.DemoPeople > 0 ? UserId.FirstDemoNumber : UserId.Nobody;
        _handOverAfter = TimeSpan.FromSeconds(Math.Max(1, (options.LeaseSeconds - (2 * options.LongestIntervalSeconds)) / 2.0));
        _earlierRunEnd = store.EarlierRunEnd;
        clock.Stepped += (from, to) =>
        {
            if (to < from)
                Volatile.Write(ref _earlierRunEnd, Math.Min(_earlierRunEnd, to));
            _devices?.Forget(to);
        };
        _sessions = new Sessions(store, _online);
        _devices = store.IsRemote ? null : new RecentDevices(_online.PulseSeconds, clock.Now, isFirstRun: store.EarlierRunEnd == 0);
        if (store.IsRemote)
            _renewals = new RenewalLoop(_sessions, store, bus, clock, _online, options, metrics);
        _ahead = new AheadWords(store, clock);
        _activity = new ActivityWriter(store, bus, _ahead, _renewals, (uint)options.AwaySeconds);
        _leaves = new LeaveWriter(store, bus, clock, _online, _ahead, _renewals, _devices, metrics);
    }

    /// <summary>The renewals that wait to be written; null if a write costs less than waiting for a batch.</summary>
    internal RenewalLoop? Renewals => _renewals;

    /// <summary>Marks the activity of a user if it is older than this second.</summary>
    internal ValueTask EndActivityAsync(uint user, uint before) => _sessions.EndActivityAsync(new[] { user }, before);

    /// <summary>Writes all waiting renewals if the store can be reached, and stops.</summary>
    public ValueTask DisposeAsync() => _renewals?.DisposeAsync() ?? default;

    /// <summary>Whether the users of some pages must go to another node: see <see cref="IsHandedOver"/>.</summary>
    public bool IsHandingOver => _renewals is not null && _store.IsSomeUnwritable;

    /// <summary>
    /// Whether this user must go to another node. Words of the user's page could not be written for so long that other nodes would soon
    /// show the user offline. Heartbeats are refused until words can be written again.
    /// </summary>
    public bool IsHandedOver(uint user) => MayNotWait(user) && !_store.IsPageRefused(PageLayout.Page(user)) && _bus.HasPeers;

    /// <summary>Whether an index may have a word: it is an ID up to the highest, or the directory gave it.</summary>
    public Admission Admit(uint user)
    {
        if (user <= _maxUserNumber)
            return Admission.Accepted;
        if (user < UserId.FirstDirectoryNumber)
            return Admission.OverBudget;
        return user >= _firstRefused ? Admission.Unknown : Admission.Accepted;
    }

    /// <summary>Writes a heartbeat of a device at this moment. Completes when a renewal is written or an arrival is durable.</summary>
    /// <exception cref="StoreUnavailableException">
    /// The store cannot write the words, or cannot persist an arrival. Activity waits in memory until a remote store can write it.
    /// </exception>
    public ValueTask<Admission> WriteAsync(uint user, bool active, Device device = default) =>
        active && _renewals is not null ? WriteActiveAsync(user, device, _renewals) : WriteOneAsync(user, active, device);

    private async ValueTask<Admission> WriteActiveAsync(uint user, Device device, RenewalLoop renewals)
    {
        var now = _clock.Now;
        try
        {
            return await WriteOneAsync(user, active: true, device);
        }
        catch (StoreUnavailableException)
        {
            renewals.OfActivity.Hold(user, now);
            throw;
        }
    }

    private ValueTask<Admission> WriteOneAsync(uint user, bool active, Device device) =>
        device.Kind is { } kind ? WriteAsync(user, active, device, kind) : WritePulseAsync(user, active, device);

    private ValueTask<Admission> WritePulseAsync(uint user, bool active, Device device)
    {
        var admission = Admit(user);
        if (admission != Admission.Accepted)
        {
            _metrics.Written(0, 0, 1);
            return new(admission);
        }

        var at = _clock.Moment;
        if (_renewals is not null && MayNotWait(user))
            return ValueTask.FromException<Admission>(CannotWrite(IsHandedOver(user)));
        _devices?.NoteHeartbeat(user, device, at.Now);
        if (_renewals is not null && _renewals.OfPulse.TryDefer(user, at.Now, at.Oldest(_online.PulseSeconds)))
            return DeferredAsync(user, at, active);
        var exchange = _store.ExchangeAsync(Plane.Pulse, user, at.Now);
        if (!exchange.IsCompletedSuccessfully || active || _renewals is not null)
            return FinishAsync(exchange, user, at, active);
        var old = exchange.Result;
        if (!IsRenewal(old, at))
            return ArrivedAsync(user, old, at.Now, at);
        _metrics.Written(1, 0, 0);
        return new(Admission.Accepted);
    }

    /// <summary>
    /// Writes a batch of heartbeats at this moment. Returns how many were accepted.
    /// </summary>
    /// <param name="users">The indexes. A refused user does not affect the others.</param>
    /// <param name="active">Whether the users were active.</param>
    /// <param name="durable">Whether to complete only when arrivals are durable.</param>
    public async ValueTask<int> WriteAsync(ReadOnlyMemory<uint> users, bool active, bool durable)
    {
        if (users.IsEmpty)
            return 0;
        if (_store.IsKeepBacklogged)
            await _store.KeptAsync();
        var scratch = ArrayPool<uint>.Shared.Rent(users.Length * (_renewals is null ? 3 : 4));
        try
        {
            var admitted = Admitted(users, scratch.AsMemory(0, users.Length));
            var at = _clock.Moment;
            NoteDevices(admitted.Span, at.Now, one: durable);
            var refused = users.Length - admitted.Length;
            if (_renewals is not null)
            {
                if (active)
                    await _activity.WriteAsync(
                        admitted,
                        scratch.AsMemory(users.Length, users.Length),
                        scratch.AsMemory(users.Length * 2, users.Length),
                        at,
                        scratch.AsMemory(users.Length * 3));
                var deferred = _renewals.OfPulse.Defer(
                    admitted.Span, at.Now, at.Oldest(_online.PulseSeconds), scratch, IsHandingOver ? MayNotWait : null);
                admitted = scratch.AsMemory(0, deferred);
            }

            var words = scratch.AsMemory(users.Length, admitted.Length);
            var old = scratch.AsMemory(users.Length * 2, admitted.Length);
            words.Span.Fill(at.Now);
            try
            {
                await _store.ExchangeAsync(Plane.Pulse, admitted, words, old);
            }
            catch (StoreUnavailableException)
            {
                // publish the users who were written now, because a retry finds them online and publishes nothing
                var isHandedOver = IsHandingOver && Array.Exists(admitted.ToArray(), IsHandedOver);
                Publish(CameOnline(admitted.Span, old.Span, at, words.Span, ref refused, out _), words.Span);
                if (isHandedOver)
                    throw CannotWrite(isHandedOver);
                throw;
            }

            if (_renewals is not null)
                RenewalLoop.Wrote(_renewals.OfPulse, admitted.Span, old.Span, at.Now);
            // The arrays change their meaning: words holds the users who came online, old those of them who begin a session.
            var arrivals = CameOnline(admitted.Span, old.Span, at, words.Span, ref refused, out var begun);
            if (arrivals > 0)
                await _ahead.ReplaceAsync(Plane.Pulse, words[..arrivals], at.Now, at);
            // activity of this second is that of this heartbeat, which may be written already
            await _sessions.EndActivityAsync(old[..begun], active ? at.Now : uint.MaxValue);
            Publish(arrivals, words.Span);
            _metrics.Written(users.Length - refused - arrivals, arrivals, refused);
            if (active && _renewals is null)
                await _activity.WriteAsync(admitted, words, old, at, default);
            if (durable && arrivals > 0)
            {
                await _store.KeptAsync();
                if (_renewals is not null)
                    await _store.ReplicatedAsync(words[..arrivals], isLeave: false);
            }

            return users.Length - refused;
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(scratch);
        }
    }

    /// <summary>
    /// Writes a heartbeat of an earlier second, now at the latest. It never moves a user back in time, and does not undo a leave of the
    /// same second. Completes when durable, if nothing else would persist the change.
    /// </summary>
    public async ValueTask<Admission> WriteLateAsync(uint user, uint second)
    {
        var at = _clock.Moment;
        if (second >= at.Now)
            return await WriteAsync(user, active: false);
        var admission = Admit(user);
        if (admission != Admission.Accepted)
            return admission;
        _devices?.NoteHeartbeat(user, default, at.Now);
        if (Pulse.Second(await _store.ReadOneAsync(Plane.Pulse, user)) >= second)
            return Admission.Accepted;
        var old = await _store.ExchangeAsync(Plane.Pulse, user, second);
        if (old == Pulse.Refused)
            return Admission.OverBudget;
        if (_online.IsMet(second, Pulse.Never, at))
            return IsRenewal(old, at) ? Admission.Accepted : await ArrivedAsync(user, old, second, at);
        // only last seen changed, so no sweep finds an expired lease here and persists the word
        _store.Keep(Plane.Pulse, [user]);
        await _store.KeptAsync();
        return Admission.Accepted;
    }

    /// <summary>
    /// Makes these users leave now. Completes when it is durable. Users who are offline do not change. Returns how many left.
    /// </summary>
    public ValueTask<int> LeaveAsync(ReadOnlyMemory<uint> users) => _leaves.LeaveAsync(users);

    /// <summary>
    /// Makes one device of a user leave now. If another device may be alive, the leave is provisional: the lease ends after a heartbeat
    /// interval and 2 s (<see cref="Definition.DeviceLeftSeconds"/>), unless the other device sends a heartbeat. Completes when durable.
    /// </summary>
    /// <param name="user">The user.</param>
    /// <param name="device">The device that leaves.</param>
    /// <param name="others">Devices of the user that are certainly alive.</param>
    /// <param name="mayReturn">True if the device may be back soon, like a page that is reloaded: the leave is always provisional.</param>
    public ValueTask LeaveAsync(uint user, Device device, IReadOnlyList<Device> others, bool mayReturn = false) =>
        _leaves.LeaveAsync(user, device, others, mayReturn);

    // Writes the kind first, so that a reader who sees the user online also sees the kind.
    private async ValueTask<Admission> WriteAsync(uint user, bool active, Device device, DeviceKind kind)
    {
        if (Admit(user) == Admission.Accepted && await WriteKindAsync(user, Planes.Of(kind)))
        {
            try
            {
                return await WritePulseAsync(user, active, device);
            }
            finally
            {
                // even if the pulse could not be written, because a retry finds the kind written and publishes nothing
                _bus.Publish(TransitionKind.DeviceCame, [user]);
            }
        }

        return await WritePulseAsync(user, active, device);
    }

    // Returns whether the user came online on this kind of device.
    private async ValueTask<bool> WriteKindAsync(uint user, Plane plane)
    {
        var at = _clock.Moment;
        var renewals = _renewals?.OfKind(plane);
        if (renewals is not null && renewals.TryDefer(user, at.Now, at.Oldest(_online.PulseSeconds)))
            return false;
        var old = await _store.ExchangeAsync(plane, user, at.Now);
        // without memory for its page, the kind stays unknown
        if (old == Pulse.Refused)
            return false;
        if (AheadWords.IsAhead(old, at))
            await _ahead.ReplaceAsync(plane, new[] { user }, at.Now, at);
        else if (!Pulse.Supersedes(at.Now, old))
            return false;
        else
            renewals?.Wrote(user, at.Now);
        return !_online.IsMet(old, Pulse.Never, at);
    }

    private void NoteDevices(ReadOnlySpan<uint> users, uint now, bool one)
    {
        if (!one)
            _devices?.NotePacked(now);
        else if (_devices is not null)
        {
            foreach (var user in users)
                _devices.NoteHeartbeat(user, default, now);
        }
    }

    private async ValueTask<Admission> FinishAsync(ValueTask<uint> exchange, uint user, Moment at, bool active)
    {
        var old = await exchange;
        var online = IsRenewal(old, at);
        var admission = online ? Admission.Accepted : await ArrivedAsync(user, old, at.Now, at);
        if (online)
            _metrics.Written(1, 0, 0);
        if (admission != Admission.Accepted)
            return admission;
        if (Pulse.Supersedes(at.Now, old))
            _renewals?.OfPulse.Wrote(user, at.Now);
        return active ? await _activity.WriteAsync(user, at) : admission;
    }

    // The heartbeat waits for a batch and is acknowledged now.
    private ValueTask<Admission> DeferredAsync(uint user, Moment at, bool active)
    {
        _metrics.Written(1, 0, 0);
        return active ? _activity.WriteAsync(user, at) : new(Admission.Accepted);
    }

    private ValueTask<Admission> ArrivedAsync(uint user, uint old, uint word, Moment at)
    {
        var isAhead = AheadWords.IsAhead(old, at);
        if (old == Pulse.Refused || !(isAhead || Pulse.Supersedes(word, old)))
        {
            var isRefused = old == Pulse.Refused;
            _metrics.Written(isRefused ? 0 : 1, 0, isRefused ? 1 : 0);
            return new(isRefused ? Admission.OverBudget : Admission.Accepted);
        }

        return KeepAsync();

        async ValueTask<Admission> KeepAsync()
        {
            if (isAhead)
                await _ahead.ReplaceAsync(Plane.Pulse, new[] { user }, word, at);
            if (_sessions.Begins(old, at))
                await _sessions.EndActivityAsync(new[] { user });
            _store.Keep(Plane.Pulse, [user]);
            _bus.Publish(TransitionKind.Arrived, [user]);
            _metrics.Written(0, 1, 0);
            await _store.KeptAsync();
            if (_renewals is not null)
                await _store.ReplicatedAsync(new[] { user }, isLeave: false);
            return Admission.Accepted;
        }
    }

    // Whether the user was online and sent a heartbeat in this run. The first heartbeat after a restart must be persisted, so it counts as
    // an arrival. One compare is enough, because leaves are above the range.
    private bool IsRenewal(uint old, Moment at) => old - OldestRenewed(at) <= AheadWords.Latest(at) - OldestRenewed(at);

    private uint OldestRenewed(Moment at) => Math.Max(at.Oldest(_online.PulseSeconds), _earlierRunEnd + 1);

    private void Publish(int arrivals, ReadOnlySpan<uint> users)
    {
        if (arrivals == 0)
            return;
        _store.Keep(Plane.Pulse, users[..arrivals]);
        _bus.Publish(TransitionKind.Arrived, users[..arrivals]);
    }

    // Returns the same memory if all users are admitted, as nearly always; else copies the admitted ones to scratch.
    private ReadOnlyMemory<uint> Admitted(ReadOnlyMemory<uint> users, Memory<uint> scratch)
    {
        var span = users.Span;
        var i = 0;
        while (i < span.Length && span[i] <= _maxUserNumber)
            i++;
        if (i == span.Length)
            return users;
        var kept = scratch.Span;
        span[..i].CopyTo(kept);
        var count = i;
        for (; i < span.Length; i++)
        {
            if (Admit(span[i]) == Admission.Accepted)
                kept[count++] = span[i];
        }

        return scratch[..count];
    }

    // Users who begin a session overwrite the first old words.
    private int CameOnline(ReadOnlySpan<uint> users, Span<uint> old, Moment at, Span<uint> arrivals, ref int refused, out int begun)
    {
        var (oldest, latest) = (OldestRenewed(at), AheadWords.Latest(at));
        var count = 0;
        begun = 0;
        // as in IsRenewal, many words at a time
        for (var i = old.IndexOfAnyExceptInRange(oldest, latest); i >= 0; i = Next(old, i + 1))
        {
            var word = old[i];
            if (word == Pulse.Refused)
            {
                refused++;
            }
            else if (Pulse.Supersedes(at.Now, word) || AheadWords.IsAhead(word, at))
            {
                arrivals[count++] = users[i];
                if (_sessions.Begins(word, at))
                    old[begun++] = users[i];
            }
        }

        return count;

        int Next(ReadOnlySpan<uint> words, int from) =>
            words[from..].IndexOfAnyExceptInRange(oldest, latest) is >= 0 and var next ? from + next : -1;
    }

    // The page could not be written for so long that a lease may expire before it can.
    private bool MayNotWait(uint user) => IsHandingOver && _store.UnwritableFor(PageLayout.Page(user)) > _handOverAfter;

    private static StoreUnavailableException CannotWrite(bool isHandedOver) =>
        new("This node cannot write to the store.") { IsHandedOver = isHandedOver };
}
