using System.Buffers;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Users;

namespace Aglow.Heartbeats;

/// <summary>What became of a heartbeat.</summary>
public enum Admission : byte
{
    /// <summary>Written.</summary>
    Accepted = 0,

    /// <summary>A number from 2^31 up that was never handed out, or was deleted: 404.</summary>
    Unknown = 1,

    /// <summary>Above the highest number, or no memory left for its page: 507.</summary>
    OverBudget = 2,
}

/// <summary>
/// Turns heartbeats and goodbyes into words, and old words into transitions.
/// </summary>
/// <remarks>
/// Stands after whoever hears clients and before the <see cref="IPlaneStore"/>. The write returns the old word: if that was not
/// online and the new one is, this write, and no other, is the moment the user came online.
/// <list type="bullet">
/// <item>A renewal (the user was online) is acknowledged when written; losing it to a crash costs nothing, the next one comes in an interval.</item>
/// <item>An arrival is hinted at once and acknowledged when it is durable, alone or as JSON; packed batches do not wait (durable within 50 ms).</item>
/// <item>A goodbye is acknowledged when it is durable.</item>
/// </list>
/// Over a remote store a renewal waits up to a second for a batch (<see cref="Renewals"/>); arrivals and goodbyes are written at once there, too.
/// Threading: any thread, no lock; a renewal allocates nothing. Batches borrow arrays from the shared pool.
/// </remarks>
public sealed class HeartbeatWriter : IAsyncDisposable
{
    // activity is written often and needed to the minute: it is kept when it moves into the user's next one
    private const uint KeepActivitySeconds = 60;

    private readonly IPlaneStore _store;
    private readonly IUserDirectory? _directory;
    private readonly ITransitionBus _bus;
    private readonly Clock _clock;
    private readonly Definition _online;
    private readonly AglowMetrics _metrics;
    private readonly uint _maxUserNumber;
    private readonly uint _awaySeconds;
    private readonly uint _earlierRunEnd;
    // null where writing costs less than waiting
    private readonly RenewalLoop? _renewals;

    /// <summary>A writer of words into <paramref name="store"/>. Without a directory only the application's own numbers are admitted.</summary>
    public HeartbeatWriter(
        IPlaneStore store, IUserDirectory? directory, ITransitionBus bus, Clock clock, Definitions definitions, AglowOptions options, AglowMetrics metrics)
    {
        _store = store;
        _directory = directory;
        _bus = bus;
        _clock = clock;
        _online = definitions.Default;
        _metrics = metrics;
        _maxUserNumber = options.MaxUserNumber;
        _awaySeconds = (uint)options.AwaySeconds;
        _earlierRunEnd = store.EarlierRunEnd;
        if (store.IsRemote)
            _renewals = new RenewalLoop(store, bus, clock, _online, options, metrics);
    }

    /// <summary>Starts to write what waits.</summary>
    internal void Start() => _renewals?.Start();

    /// <summary>One beat of writing what waits, for tests that own the time. False where something could not be written.</summary>
    internal ValueTask<bool> FlushAsync() => _renewals?.FlushAsync(all: false) ?? new(true);

    /// <summary>Drops what waits of a user whose words are about to be erased.</summary>
    internal void Forget(uint user) => _renewals?.Forget([user]);

    /// <summary>Writes all that waits, where the store can be reached, and stops.</summary>
    public ValueTask DisposeAsync() => _renewals?.DisposeAsync() ?? default;

    /// <summary>Whether a number may heartbeat: the application's own up to the highest, or one that the directory has handed out.</summary>
    public Admission Admit(uint user)
    {
        if (user <= _maxUserNumber)
            return Admission.Accepted;
        if (user < UserId.FirstDirectoryNumber)
            return Admission.OverBudget;
        return _directory is not null && user < _directory.NextNumber ? Admission.Accepted : Admission.Unknown;
    }

    /// <summary>One heartbeat, now. Completes when a renewal is written or an arrival is durable.</summary>
    /// <exception cref="StoreUnavailableException">The words cannot be written, or an arrival not made durable, now.</exception>
    public ValueTask<Admission> WriteAsync(uint user, bool active)
    {
        var admission = Admit(user);
        if (admission != Admission.Accepted)
        {
            _metrics.Written(0, 0, 1);
            return new(admission);
        }

        var at = _clock.Moment;
        if (_renewals is not null && _renewals.OfPulse.TryDefer(user, at.Now, at.Oldest(_online.PulseSeconds)))
            return DeferredAsync(user, at, active);
        var exchange = _store.ExchangeAsync(Plane.Pulse, user, at.Now);
        if (!exchange.IsCompletedSuccessfully || active || _renewals is not null)
            return FinishAsync(exchange, user, at, active);
        var old = exchange.Result;
        if (!IsRenewal(old, at))
            return ArrivedAsync(user, old, at.Now);
        _metrics.Written(1, 0, 0);
        return new(Admission.Accepted);
    }

    /// <summary>
    /// A batch of heartbeats, now. Returns how many were accepted.
    /// </summary>
    /// <param name="users">The numbers; a refused one does not hold up the others.</param>
    /// <param name="active">Whether the persons did something.</param>
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
            var refused = users.Length - admitted.Length;
            if (_renewals is not null)
            {
                if (active)
                    await WriteActivityAsync(admitted, scratch.AsMemory(users.Length, users.Length), scratch.AsMemory(users.Length * 2, users.Length), at, scratch.AsMemory(users.Length * 3));
                admitted = scratch.AsMemory(0, _renewals.OfPulse.Defer(admitted.Span, at.Now, at.Oldest(_online.PulseSeconds), scratch));
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
                // whoever sends it again finds those online who were written now
                Publish(CameOnline(admitted.Span, old.Span, at, words.Span, ref refused), words.Span);
                throw;
            }

            // the words are written: their place now takes the users who came online
            var arrivals = CameOnline(admitted.Span, old.Span, at, words.Span, ref refused);
            if (_renewals is not null)
                RenewalLoop.Wrote(_renewals.OfPulse, admitted.Span, old.Span, at.Now);
            Publish(arrivals, words.Span);
            _metrics.Written(users.Length - refused - arrivals, arrivals, refused);
            if (active && _renewals is null)
                await WriteActivityAsync(admitted, words, old, at, default);
            if (durable && arrivals > 0)
                await _store.KeptAsync();
            return users.Length - refused;
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(scratch);
        }
    }

    /// <summary>
    /// A heartbeat of an earlier second (now at the latest). Never moves a user back in time, and does not undo a goodbye said in the same second.
    /// Completes when it is durable, where it changed what nobody would otherwise keep.
    /// </summary>
    public async ValueTask<Admission> WriteLateAsync(uint user, uint second)
    {
        var at = _clock.Moment;
        if (second >= at.Now)
            return await WriteAsync(user, active: false);
        var admission = Admit(user);
        if (admission != Admission.Accepted)
            return admission;
        var before = await ReadOneAsync(user);
        if (Pulse.Second(before) >= second)
            return before == Pulse.Gone ? Admission.Unknown : Admission.Accepted;
        var old = await _store.ExchangeAsync(Plane.Pulse, user, second);
        if (old is Pulse.Refused or Pulse.Gone)
            return old == Pulse.Refused ? Admission.OverBudget : Admission.Unknown;
        if (_online.IsMet(second, Pulse.Never, at))
            return IsRenewal(old, at) ? Admission.Accepted : await ArrivedAsync(user, old, second);
        // last seen moved, and no lapse will ever be found for it
        _store.Keep(Plane.Pulse, [user]);
        await _store.KeptAsync();
        return Admission.Accepted;
    }

    /// <summary>
    /// These users leave now: goodbye is written, and is durable when this completes. Nothing changes for
    /// who is not online. Returns how many left.
    /// </summary>
    /// <param name="users">Who leaves.</param>
    /// <param name="everywhere">Whether they leave on all devices; else on the last that this node holds, and other nodes may hold more.</param>
    public async ValueTask<int> LeaveAsync(ReadOnlyMemory<uint> users, bool everywhere = true)
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

            if (count > 0)
            {
                online = online[..count];
                var words = scratch.AsMemory(users.Length * 2, count);
                words.Span.Fill(at.Now | Pulse.LeftBit);
                // what waits of theirs was before the goodbye
                _renewals?.Forget(online.Span);
                await _store.ExchangeAsync(Plane.Pulse, online, words, old[..count]);
                _store.Keep(Plane.Pulse, online.Span);
                if (everywhere)
                    _bus.Publish(TransitionKind.LeftEverywhere, online.Span);
                _bus.Publish(TransitionKind.Left, online.Span);
                _metrics.Left(count);
            }

            // also where nothing changed: an earlier goodbye of these users may not be durable yet
            await _store.KeptAsync();
            return count;
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(scratch);
        }
    }

    private async ValueTask<Admission> FinishAsync(ValueTask<uint> exchange, uint user, Moment at, bool active)
    {
        var old = await exchange;
        var online = IsRenewal(old, at);
        var admission = online ? Admission.Accepted : await ArrivedAsync(user, old, at.Now);
        if (online)
            _metrics.Written(1, 0, 0);
        if (admission != Admission.Accepted)
            return admission;
        if (Pulse.Supersedes(at.Now, old))
            _renewals?.OfPulse.Wrote(user, at.Now);
        return active ? await WriteActivityAsync(user, at) : admission;
    }

    // The heartbeat waits for a batch, and is acknowledged.
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
        if (before != Pulse.Refused)
            _renewals?.OfActivity.Wrote(user, at.Now);
        if (IsStaleActivity(user, before, at))
            _store.Keep(Plane.Activity, [user]);
        if (WasAway(before, at))
            _bus.Publish(TransitionKind.Changed, [user]);
        return Admission.Accepted;
    }

    private ValueTask<Admission> ArrivedAsync(uint user, uint old, uint word)
    {
        if (!IsArrival(word, old))
        {
            var refused = old is Pulse.Refused or Pulse.Gone;
            _metrics.Written(refused ? 0 : 1, 0, refused ? 1 : 0);
            return new(old == Pulse.Refused ? Admission.OverBudget : old == Pulse.Gone ? Admission.Unknown : Admission.Accepted);
        }

        _store.Keep(Plane.Pulse, [user]);
        _bus.Publish(TransitionKind.Arrived, [user]);
        _metrics.Written(0, 1, 0);
        return DurableAsync();

        async ValueTask<Admission> DurableAsync()
        {
            await _store.KeptAsync();
            return Admission.Accepted;
        }
    }

    // the user was online, and was heard in this run: the first heartbeat after a restart is kept as an arrival is
    private bool IsRenewal(uint old, Moment at) => _online.IsMet(old, Pulse.Never, at) && old > _earlierRunEnd;

    // a word that was written over one that was not online (its caller has checked)
    private static bool IsArrival(uint word, uint old) => old != Pulse.Refused && Pulse.Supersedes(word, old);

    // counted from the minute and not from the word before, which moves with each heartbeat; minutes begin at a second of each user's own, or all were kept at once
    private static bool IsStaleActivity(uint user, uint before, Moment at)
    {
        var offset = user % KeepActivitySeconds;
        return before != Pulse.Refused && (Pulse.Second(before) + offset) / KeepActivitySeconds < (at.Now + offset) / KeepActivitySeconds;
    }

    private bool WasAway(uint before, Moment at) => before is not (Pulse.Never or Pulse.Refused) && Pulse.Second(before) < at.Oldest(_awaySeconds);

    private async ValueTask<uint> ReadOneAsync(uint user)
    {
        var one = new uint[2];
        one[0] = user;
        await _store.ReadAsync(Plane.Pulse, one.AsMemory(0, 1), one.AsMemory(1, 1));
        return one[1];
    }

    private async ValueTask WriteActivityAsync(ReadOnlyMemory<uint> users, Memory<uint> words, Memory<uint> old, Moment at, Memory<uint> scratch)
    {
        if (_renewals is not null)
        {
            users = scratch[.._renewals.OfActivity.Defer(users.Span, at.Now, at.Oldest(_awaySeconds), scratch.Span)];
            (words, old) = (words[..users.Length], old[..users.Length]);
        }

        words.Span.Fill(at.Now);
        await _store.ExchangeAsync(Plane.Activity, users, words, old);
        if (_renewals is not null)
            RenewalLoop.Wrote(_renewals.OfActivity, users.Span, old.Span, at.Now);
        var stale = 0;
        var away = 0;
        for (var i = 0; i < users.Length; i++)
        {
            var before = old.Span[i];
            if (IsStaleActivity(users.Span[i], before, at))
                words.Span[stale++] = users.Span[i];
            // read already: its place takes the users who were away
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

    // The users themselves where all may heartbeat, as nearly always; else those who may, in scratch.
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

    private int CameOnline(ReadOnlySpan<uint> users, ReadOnlySpan<uint> old, Moment at, Span<uint> arrivals, ref int refused)
    {
        // not left and not too old is one signed compare, as in the sweep
        var oldest = (int)Math.Max(at.Oldest(_online.PulseSeconds), _earlierRunEnd + 1);
        var count = 0;
        for (var i = 0; i < old.Length; i++)
        {
            if ((int)old[i] >= oldest)
                continue;
            if (old[i] is Pulse.Refused or Pulse.Gone)
                refused++;
            else if (Pulse.Supersedes(at.Now, old[i]))
                arrivals[count++] = users[i];
        }

        return count;
    }
}
