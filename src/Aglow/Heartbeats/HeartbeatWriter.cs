using System.Buffers;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Storage;

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
/// <item>Session: it begins when the user comes online. Activity of an earlier session is marked (<see cref="EndActivityAsync(uint)"/>), so
/// that it does not make the user away.</item>
/// <item>Word in the future: a clock wrote it that was set back since. It counts as a heartbeat of now. It would win over every heartbeat
/// and leave until its second comes, so any write that finds one replaces it. A heartbeat that replaces one is published and persisted like
/// an arrival.</item>
/// </list>
/// With a remote store, renewals wait up to a second for a batch (<see cref="Renewals"/>). Arrivals and leaves are still written at once.
/// Threading: any thread, no lock. A renewal allocates nothing; batches borrow arrays from the shared pool.
/// </remarks>
public sealed class HeartbeatWriter : IAsyncDisposable
{
    // activity changes often but minutes are exact enough: it is persisted when it moves into the user's next minute
    private const uint KeepActivitySeconds = 60;

    private readonly IPlaneStore _store;
    private readonly ITransitionBus _bus;
    private readonly Clock _clock;
    private readonly Definition _online;
    private readonly AglowMetrics _metrics;
    private readonly uint _maxUserNumber;
    // the demo writes its users through its own writer; other callers may not write them
    private readonly uint _firstRefused;
    private readonly uint _awaySeconds;
    // The last word of a user may be a heartbeat interval older than the failure, and the next heartbeat may come an interval after it.
    private readonly TimeSpan _handOverAfter;
    private uint _earlierRunEnd;
    // null if a write costs less than waiting for a batch
    private readonly RenewalLoop? _renewals;
    // null if there are several nodes
    private readonly RecentDevices? _devices;

    /// <summary>A writer of words into <paramref name="store"/>.</summary>
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
        _awaySeconds = (uint)options.AwaySeconds;
        _handOverAfter = TimeSpan.FromSeconds(Math.Max(1, (options.LeaseSeconds - (2 * options.HeartbeatSeconds)) / 2.0));
        _earlierRunEnd = store.EarlierRunEnd;
        clock.Stepped += (from, to) =>
        {
            if (to < from)
                Volatile.Write(ref _earlierRunEnd, Math.Min(_earlierRunEnd, to));
            _devices?.Forget(to);
        };
        _devices = store.IsRemote ? null : new RecentDevices(_online.PulseSeconds, clock.Now, isFirstRun: store.EarlierRunEnd == 0);
        if (store.IsRemote)
            _renewals = new RenewalLoop(this, store, bus, clock, _online, options, metrics);
    }

    /// <summary>Starts the loop that writes waiting renewals.</summary>
    internal void Start(AglowLog log) => _renewals?.Start(log);

    /// <summary>Writes what is due in one beat, for tests that own the time. False if a write failed.</summary>
    internal ValueTask<bool> FlushAsync() => _renewals?.FlushAsync(all: false) ?? new(true);

    /// <summary>Drops the waiting renewals of a user whose words are about to be erased.</summary>
    internal void Forget(uint user) => _renewals?.Forget([user]);

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
    /// <exception cref="StoreUnavailableException">The store cannot write the words, or cannot persist an arrival.</exception>
    public ValueTask<Admission> WriteAsync(uint user, bool active, Device device = default) =>
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
            throw Late(user);
        _devices?.Heard(user, device, at.Now);
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
                    await WriteActivityAsync(
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
                // publish the users who were written: a retry will find them online
                var late = IsHandingOver ? Array.Find(admitted.ToArray(), IsHandedOver) : 0;
                Publish(CameOnline(admitted.Span, old.Span, at, words.Span, ref refused, out _), words.Span);
                if (late != 0)
                    throw Late(late);
                throw;
            }

            if (_renewals is not null)
                RenewalLoop.Wrote(_renewals.OfPulse, admitted.Span, old.Span, at.Now);
            // The arrays change their meaning: words holds the users who came online, old those of them who begin a session.
            var arrivals = CameOnline(admitted.Span, old.Span, at, words.Span, ref refused, out var begun);
            if (arrivals > 0)
                await ReplaceAheadAsync(Plane.Pulse, words[..arrivals], at.Now, at);
            await EndActivityAsync(old[..begun]);
            Publish(arrivals, words.Span);
            _metrics.Written(users.Length - refused - arrivals, arrivals, refused);
            if (active && _renewals is null)
                await WriteActivityAsync(admitted, words, old, at, default);
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
        _devices?.Heard(user, default, at.Now);
        if (Pulse.Second(await ReadOneAsync(user)) >= second)
            return Admission.Accepted;
        var old = await _store.ExchangeAsync(Plane.Pulse, user, second);
        if (old == Pulse.Refused)
            return Admission.OverBudget;
        if (_online.IsMet(second, Pulse.Never, at))
            return IsRenewal(old, at) ? Admission.Accepted : await ArrivedAsync(user, old, second, at);
        // only last seen changed, and no sweep will find an expired lease and persist it
        _store.Keep(Plane.Pulse, [user]);
        await _store.KeptAsync();
        return Admission.Accepted;
    }

    /// <summary>
    /// Makes these users leave now. Completes when it is durable. Users who are offline do not change. Returns how many left.
    /// </summary>
    public ValueTask<int> LeaveAsync(ReadOnlyMemory<uint> users) => LeaveAsync(users, everywhere: true, kind: null);

    private async ValueTask<int> LeaveAsync(ReadOnlyMemory<uint> users, bool everywhere, Plane? kind)
    {
        if (users.IsEmpty)
            return 0;
        var scratch = ArrayPool<uint>.Shared.Rent(users.Length * 3);
        try
        {
            var old = scratch.AsMemory(0, users.Length);
            await _store.ReadAsync(Plane.Pulse, users, old);
            var at = _clock.Moment;
            var online = scratch.AsMemory(users.Length, users.Length);
            var count = 0;
            for (var i = 0; i < users.Length; i++)
            {
                if (_online.IsMet(old.Span[i], Pulse.Never, at))
                    online.Span[count++] = users.Span[i];
            }

            await LeaveKindsAsync(users, at.Now | Pulse.LeftBit, at, kind);
            if (count > 0)
            {
                online = online[..count];
                var words = scratch.AsMemory(users.Length * 2, count);
                words.Span.Fill(at.Now | Pulse.LeftBit);
                // waiting renewals of these users are older than the leave
                _renewals?.Forget(online.Span);
                await _store.ExchangeAsync(Plane.Pulse, online, words, old[..count]);
                if (old.Span[..count].ContainsAnyExceptInRange(0u, LatestWord(at)))
                    await ReplaceAheadAsync(Plane.Pulse, online, at.Now | Pulse.LeftBit, at);
                _store.Keep(Plane.Pulse, online.Span);
                if (everywhere)
                    _bus.Publish(TransitionKind.LeftEverywhere, online.Span);
                _bus.Publish(TransitionKind.Left, online.Span);
                _metrics.Left(count);
            }

            // even if nothing changed: an earlier leave of these users may not be durable yet
            await _store.KeptAsync();
            await _store.ReplicatedAsync(users, isLeave: true);
            return count;
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(scratch);
        }
    }

    /// <summary>
    /// Makes one device of a user leave now. If another device may be alive, the leave is provisional: the lease ends after a heartbeat
    /// interval and 2 s (<see cref="Definition.DeviceLeftSeconds"/>), unless the other device sends a heartbeat. Completes when durable.
    /// </summary>
    /// <param name="user">The user.</param>
    /// <param name="device">The device that leaves.</param>
    /// <param name="others">Devices of the user that are certainly alive.</param>
    /// <param name="mayReturn">True if the device may be back soon, like a page that is reloaded: the leave is always provisional.</param>
    public async ValueTask LeaveAsync(uint user, Device device, IReadOnlyList<Device> others, bool mayReturn = false)
    {
        var at = _clock.Moment;
        uint[] one = [user];
        var plane = device.Kind is { } kind ? Planes.Of(kind) : (Plane?)null;
        if (others.Count == 0 && !mayReturn && !_clock.Guard.IsInForceAnywhere(at) && _devices?.IsOnly(user, device, at.Now) == true)
        {
            await LeaveAsync(one, everywhere: false, plane);
            return;
        }

        var goodbye = at.Now | Pulse.DeviceLeftBit;
        var isKindLeft = plane is not null && !others.Any(other => other.Kind == device.Kind);
        if (isKindLeft)
            await LeaveKindsAsync(one, goodbye, at, plane);
        var isLeft = others.Count == 0 && _online.IsMet(await ReadOneAsync(user), Pulse.Never, at);
        if (isLeft)
        {
            _renewals?.OfPulse.Forget(one);
            var old = await _store.ExchangeAsync(Plane.Pulse, user, goodbye);
            // all devices left in the meantime: put their leave back
            if (Pulse.Left(old) && Pulse.Second(old) == at.Now)
                await _store.ExchangeAsync(Plane.Pulse, user, old);
            if (IsAhead(old, at))
                await ReplaceAheadAsync(Plane.Pulse, one, goodbye, at);
            _store.Keep(Plane.Pulse, one);
            _metrics.Left(1);
        }

        if (isLeft || isKindLeft)
            _bus.Publish(TransitionKind.DeviceLeft, one);
        await _store.KeptAsync();
        await _store.ReplicatedAsync(one, isLeave: true);
    }

    // Writes the kind first, so that a reader who sees the user online also sees the kind.
    private async ValueTask<Admission> WriteAsync(uint user, bool active, Device device, DeviceKind kind)
    {
        if (Admit(user) == Admission.Accepted && await WriteKindAsync(user, Planes.Of(kind)))
        {
            var admission = await WritePulseAsync(user, active, device);
            _bus.Publish(TransitionKind.DeviceCame, [user]);
            return admission;
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
        if (IsAhead(old, at))
            await ReplaceAheadAsync(plane, new[] { user }, at.Now, at);
        else if (!Pulse.Supersedes(at.Now, old))
            return false;
        else
            renewals?.Wrote(user, at.Now);
        return !_online.IsMet(old, Pulse.Never, at);
    }

    // Writes leaves on the planes of kinds. Words of users who are not online on a kind do not change.
    private async ValueTask LeaveKindsAsync(ReadOnlyMemory<uint> users, uint goodbye, Moment at, Plane? only = null)
    {
        for (var plane = Plane.Desktop; plane <= Plane.Other; plane++)
        {
            if (!_store.IsInUse(plane) || (only is { } one && one != plane))
                continue;
            _renewals?.OfKind(plane).Forget(users.Span);
            var old = new uint[users.Length];
            await _store.ReadAsync(plane, users, old);
            uint[] online = [.. users.ToArray().Where((_, i) => _online.IsMet(old[i], Pulse.Never, at))];
            if (online.Length == 0)
                continue;
            var words = new uint[online.Length];
            words.AsSpan().Fill(goodbye);
            await _store.ExchangeAsync(plane, online, words, old.AsMemory(0, online.Length));
            if (old.AsSpan(0, online.Length).ContainsAnyExceptInRange(0u, LatestWord(at)))
                await ReplaceAheadAsync(plane, online, goodbye, at);
        }
    }

    private void NoteDevices(ReadOnlySpan<uint> users, uint now, bool one)
    {
        if (!one)
            _devices?.HeardPacked(now);
        else if (_devices is not null)
        {
            foreach (var user in users)
                _devices.Heard(user, default, now);
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
        return active ? await WriteActivityAsync(user, at) : admission;
    }

    // The heartbeat waits for a batch and is acknowledged now.
    private ValueTask<Admission> DeferredAsync(uint user, Moment at, bool active)
    {
        _metrics.Written(1, 0, 0);
        return active ? WriteActivityAsync(user, at) : new(Admission.Accepted);
    }

    private async ValueTask<Admission> WriteActivityAsync(uint user, Moment at)
    {
        if (_renewals is not null && _renewals.OfActivity.TryDefer(user, at.Now, at.Oldest(_awaySeconds)))
            return Admission.Accepted;
        var before = await _store.ExchangeAsync(Plane.Activity, user, at.Now);
        if (IsAhead(before, at))
            await ReplaceAheadAsync(Plane.Activity, new[] { user }, at.Now, at);
        if (before != Pulse.Refused && Pulse.Supersedes(at.Now, before))
            _renewals?.OfActivity.Wrote(user, at.Now);
        if (IsStaleActivity(user, before, at))
            _store.Keep(Plane.Activity, [user]);
        if (WasAway(before, at))
            _bus.Publish(TransitionKind.Changed, [user]);
        return Admission.Accepted;
    }

    private ValueTask<Admission> ArrivedAsync(uint user, uint old, uint word, Moment at)
    {
        var isAhead = IsAhead(old, at);
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
                await ReplaceAheadAsync(Plane.Pulse, new[] { user }, word, at);
            if (BeginsSession(old, at))
                await EndActivityAsync(user);
            _store.Keep(Plane.Pulse, [user]);
            _bus.Publish(TransitionKind.Arrived, [user]);
            _metrics.Written(0, 1, 0);
            await _store.KeptAsync();
            if (_renewals is not null)
                await _store.ReplicatedAsync(new[] { user }, isLeave: false);
            return Admission.Accepted;
        }
    }

    /// <summary>Marks existing activity as that of an earlier session. Callers must call it only when a session begins.</summary>
    internal ValueTask EndActivityAsync(uint user) => EndActivityAsync(new[] { user });

    /// <summary>Marks the activity of a user if it is older than this second.</summary>
    internal async ValueTask EndActivityAsync(uint user, uint before)
    {
        if (before == 0)
            return;
        uint[] one = [user, 0];
        await _store.ReadAsync(Plane.Activity, one.AsMemory(0, 1), one.AsMemory(1, 1));
        if (Pulse.Second(one[1]) < before)
            await EndActivityAsync(user);
    }

    /// <summary>Marks the activity of many users.</summary>
    internal async ValueTask EndActivityAsync(ReadOnlyMemory<uint> users)
    {
        if (users.IsEmpty)
            return;
        var scratch = ArrayPool<uint>.Shared.Rent(users.Length * 3);
        try
        {
            var words = scratch.AsMemory(0, users.Length);
            await _store.ReadAsync(Plane.Activity, users, words);
            var active = scratch.AsMemory(users.Length, users.Length);
            var count = 0;
            for (var i = 0; i < users.Length; i++)
            {
                // only activity that is not marked yet
                if ((int)words.Span[i] <= 0)
                    continue;
                active.Span[count] = users.Span[i];
                words.Span[count++] = words.Span[i] | Pulse.LeftBit;
            }

            if (count == 0)
                return;
            await _store.ExchangeAsync(Plane.Activity, active[..count], words[..count], scratch.AsMemory(users.Length * 2, count));
            _store.Keep(Plane.Activity, active.Span[..count]);
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(scratch);
        }
    }

    // A session begins if the user was not online. A user never seen has no activity; a store that lost the old word also returns "never
    // seen".
    private bool BeginsSession(uint old, Moment at) => old != Pulse.Never && !_online.IsMet(old, Pulse.Never, at);

    // Whether the user was online and sent a heartbeat in this run. The first heartbeat after a restart must be persisted, so it counts as
    // an arrival. One compare is enough, because leaves are above the range.
    private bool IsRenewal(uint old, Moment at) => old - OldestRenewed(at) <= LatestWord(at) - OldestRenewed(at);

    private uint OldestRenewed(Moment at) => Math.Max(at.Oldest(_online.PulseSeconds), _earlierRunEnd + 1);

    private static uint LatestWord(Moment at) => at.Now + Clock.Apart;

    // a word in the future that a heartbeat or leave at this moment did not replace
    private static bool IsAhead(uint old, Moment at) => old != Pulse.Refused && Pulse.Second(old) > LatestWord(at);

    private async ValueTask ReplaceAheadAsync(Plane plane, ReadOnlyMemory<uint> users, uint word, Moment at)
    {
        // while clocks settle, a heartbeat keeps the later second, which counts as now; a leave must count at once
        if (_clock.IsSettling && word == Pulse.Second(word))
            return;
        var words = new uint[users.Length];
        words.AsSpan().Fill(word);
        await _store.ReplaceAsync(plane, users, words, LatestWord(at));
    }

    // Counts minutes, not the distance to the last word, which moves with each heartbeat. Each user's minutes begin at another second, so
    // that not all activity is persisted at once.
    private static bool IsStaleActivity(uint user, uint before, Moment at)
    {
        var offset = user % KeepActivitySeconds;
        return before != Pulse.Refused && (Pulse.Second(before) + offset) / KeepActivitySeconds < (at.Now + offset) / KeepActivitySeconds;
    }

    private bool WasAway(uint before, Moment at) => before != Pulse.Refused && Presence.IsIdle(before, at, _awaySeconds);

    private async ValueTask<uint> ReadOneAsync(uint user)
    {
        var one = new uint[2];
        one[0] = user;
        await _store.ReadAsync(Plane.Pulse, one.AsMemory(0, 1), one.AsMemory(1, 1));
        return one[1];
    }

    private async ValueTask WriteActivityAsync(
        ReadOnlyMemory<uint> users, Memory<uint> words, Memory<uint> old, Moment at, Memory<uint> scratch)
    {
        if (_renewals is not null)
        {
            users = scratch[.._renewals.OfActivity.Defer(users.Span, at.Now, at.Oldest(_awaySeconds), scratch.Span)];
            (words, old) = (words[..users.Length], old[..users.Length]);
        }

        words.Span.Fill(at.Now);
        await _store.ExchangeAsync(Plane.Activity, users, words, old);
        if (old.Span.ContainsAnyExceptInRange(0u, LatestWord(at)))
            await ReplaceAheadAsync(Plane.Activity, users, at.Now, at);
        if (_renewals is not null)
            RenewalLoop.Wrote(_renewals.OfActivity, users.Span, old.Span, at.Now);
        var stale = 0;
        var away = 0;
        for (var i = 0; i < users.Length; i++)
        {
            var before = old.Span[i];
            if (IsStaleActivity(users.Span[i], before, at))
                words.Span[stale++] = users.Span[i];
            // old[i] is no longer needed: the array holds the users who were away
            if (WasAway(before, at))
                old.Span[away++] = users.Span[i];
        }

        if (stale > 0)
            _store.Keep(Plane.Activity, words.Span[..stale]);
        if (away > 0)
            _bus.Publish(TransitionKind.Changed, old.Span[..away]);
    }

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
        var (oldest, latest) = (OldestRenewed(at), LatestWord(at));
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
            else if (Pulse.Supersedes(at.Now, word) || IsAhead(word, at))
            {
                arrivals[count++] = users[i];
                if (BeginsSession(word, at))
                    old[begun++] = users[i];
            }
        }

        return count;

        int Next(ReadOnlySpan<uint> words, int from) =>
            words[from..].IndexOfAnyExceptInRange(oldest, latest) is >= 0 and var next ? from + next : -1;
    }

    // The page could not be written for so long that a lease may expire before it can.
    private bool MayNotWait(uint user) => IsHandingOver && _store.UnwritableFor(PageLayout.Page(user)) > _handOverAfter;

    private StoreUnavailableException Late(uint user) => new("This node cannot write to the store.") { IsHandedOver = IsHandedOver(user) };
}
