using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Storage;
using Plane = Aglow.Model.Plane;

namespace Aglow.Sweeping;

/// <summary>
/// Reads all pages periodically and compares the words with the beliefs of this node. The differences are transitions.
/// </summary>
/// <remarks>
/// The sweep XORs 64 users at a time: the bits computed from words with the believed bits. Before it changes a belief, it reads the word
/// again, because a hint may have come in between. With a sweep, going offline needs no timer per user, no message and no leader. The sweep
/// also repairs lost hints. <see cref="Interval"/> bounds how old a belief can be.
/// <para>
/// Interval: at 10 million users a pass over every page takes 4 ms. The sweep makes one pass a second, a tenth of the pages in each beat.
/// With more users it stretches the interval so that it costs at most 2 % of a core (<see cref="CoreShare"/>). It spends up to 4 % to stay
/// within 10 s (<see cref="Bound"/>). If that is not enough, the interval grows beyond 10 s and the log has a warning. One-time work
/// stretches the interval to <see cref="RareInterval"/> at most, because watchers wait for its results. Such work is the corrections when
/// millions of leases expire in the same second, and the full read after a stall.
/// </para>
/// <para>
/// One node: no hint is lost, so the sweep only has to find users who went offline. It reads the words of users who are believed online:
/// single words where a group of 64 has few such users, else the whole group. At a billion users with 5 million online that is a thirteenth
/// of the cache lines. In case a hint is lost nevertheless, each page is read in full once in <see cref="FullEvery"/> passes.
/// </para>
/// <para>
/// Remote store: a pass takes 10 s (<see cref="RemoteInterval"/>), or longer if pages would need more than
/// <see cref="RemoteBytesPerSecond"/>. A remote page is a copy that may be out of date. So the sweep compares it with the beliefs from
/// before the read, and keeps what hints changed since. It skips pages that the store has lost: their beliefs stay, and <see cref="AsOf"/>
/// does not advance.
/// </para>
/// <para>
/// Clock set back: words of the repeated seconds lie in the future and would count as heartbeats of now. For some passes the sweep moves
/// such words back by as much as the clock, so <c>last_seen</c> is correct by the corrected clock.
/// </para>
/// Threading: one loop. Pages change during a pass; each word is read whole. Rejected: timer wheels, which cost 40 bytes a user and a write
/// a heartbeat.
/// </remarks>
public sealed class Sweep
{
    /// <summary>How often the loop wakes: ten times a second, to spread the cost.</summary>
    public static readonly TimeSpan BeatInterval = TimeSpan.FromMilliseconds(100);

    /// <summary>The shortest interval: the sweep finds an expired lease within a second.</summary>
    public static readonly TimeSpan ShortestInterval = TimeSpan.FromSeconds(1);

    /// <summary>
    /// Every status is right within this time. A longer interval, for tables that take too long to read, causes a warning.
    /// </summary>
    public static readonly TimeSpan Bound = TimeSpan.FromSeconds(10);

    /// <summary>
    /// The longest interval that keeps <see cref="Bound"/>. The rest is for rounding leases to seconds and for sending the changes.
    /// </summary>
    public static readonly TimeSpan KeepingInterval = Bound * 0.8;

    /// <summary>The longest interval for one-time work: half of the bound, because sending the changes takes time too.</summary>
    public static readonly TimeSpan RareInterval = Bound / 2;

    /// <summary>The shortest interval over a remote store.</summary>
    public static readonly TimeSpan RemoteInterval = Bound;

    /// <summary>The most bytes a second that the sweep reads from a remote store. 10 million users need 4 MB/s.</summary>
    public const double RemoteBytesPerSecond = 16e6;

    /// <summary>The share of a core that sweeping may cost.</summary>
    public const double CoreShare = 0.02;

    /// <summary>The share of a core that sweeping may cost if <see cref="CoreShare"/> is too little to keep <see cref="Bound"/>.</summary>
    public const double CoreShareAtMost = 2 * CoreShare;

    /// <summary>One pass in this many reads a page in full, if the others read only users who are believed online.</summary>
    public const int FullEvery = 32;

    // groups to prefetch, so that cache misses of distant groups overlap
    private const int Ahead = 8;

    // Up to this many believed users in a group of 64 are checked one by one: their words take fewer cache lines than the group's four.
    private const int Few = 4;

    private const int MaxBeliefs = Definitions.Most;

    // a pass may cost a tenth more than the last one predicted
    private const double Aim = 0.9;

    private readonly IPlaneStore _store;
    private readonly Clock _clock;
    private readonly Beliefs _beliefs;
    private readonly uint[] _pulseScratch = GC.AllocateUninitializedArray<uint>(PageLayout.Slots);
    private readonly uint[] _activityScratch = GC.AllocateUninitializedArray<uint>(PageLayout.Slots);
    // words of a device kind, if the store returns copies; allocated with the first belief of a kind
    private uint[] _kindScratch = [];
    private static readonly ulong[] Nobody = new ulong[PageLayout.Groups];
    private static readonly ushort[] AllGroups = [.. Enumerable.Range(0, PageLayout.Groups).Select(g => (ushort)g)];
    private readonly ushort[] _someGroups = new ushort[PageLayout.Groups];
    private readonly uint[] _came = new uint[PageLayout.Slots];
    private readonly uint[] _went = new uint[PageLayout.Slots];

    private IReadOnlyList<int> _pages = [];
    private int _next;
    private long _passStartedAt;
    private uint _passStartedSecond;
    private TimeSpan _passCost;
    // the part of the pass's cost that comes once: corrections, and full reads of owed pages
    private TimeSpan _rareCost;
    // the first this many beliefs in use are filled: every page was read in full since they were created
    private int _filled;
    // Pages still to be read in full since the last stall. Leases are judged by another second then, so a heartbeat may count as a renewal
    // although a sweep found the user offline.
    private int _owed;
    private long _stallsSeen;
    private int _inUseAtStart;
    private long _completedAsOf;
    private readonly TimeSpan _shortest;
    private readonly ulong[] _believed;
    private TimeSpan _interval;
    private TimeSpan _waited;
    private long _bytes;
    private long _lastPassBytes;
    private bool _hasSkipped;
    // _takenBack: how far the clock was set back, until the loop handles it. _movedBy: how far words in the future are moved, up to pass
    // _movesUntil.
    private uint _takenBack;
    private uint _movedBy;
    private long _movesUntil;

    /// <summary>A sweep of <paramref name="store"/> into <paramref name="beliefs"/>.</summary>
    public Sweep(IPlaneStore store, Clock clock, Beliefs beliefs)
    {
        _store = store;
        _clock = clock;
        _beliefs = beliefs;
        _interval = _shortest = store.IsRemote ? RemoteInterval : ShortestInterval;
        _believed = store.IsRemote ? new ulong[PageLayout.Groups * MaxBeliefs] : [];
        _passStartedAt = clock.Time.GetTimestamp();
        _passStartedSecond = clock.Now;
        _completedAsOf = clock.Now;
        // the last node before this one may have stopped with its clock ahead
        _movesUntil = store.IsRemote ? 1 : 0;
        clock.Stepped += (from, to) => Volatile.Write(ref _takenBack, from > to ? from - to : 0);
    }

    /// <summary>The current bound on staleness: the time in which every page is read again.</summary>
    public TimeSpan Interval => _interval;

    /// <summary>What the last complete pass cost, in CPU time of one core.</summary>
    public TimeSpan LastPassCost { get; private set; }

    /// <summary>The second at which every belief in use was last up to date.</summary>
    public uint AsOf => Math.Min((uint)Volatile.Read(ref _completedAsOf), _clock.Now);

    /// <summary>Users whose expired lease a sweep found.</summary>
    public long Lapses { get; private set; }

    /// <summary>Passes completed.</summary>
    public long Passes { get; private set; }

    /// <summary>Raised with each page of a remote store that was read, on the sweep's loop. Handlers return at once.</summary>
    internal event RemotePageRead? RemotePageRead;

    /// <summary>The bytes that one pass over a remote store reads.</summary>
    public long PassBytes => Math.Max(Volatile.Read(ref _lastPassBytes), Volatile.Read(ref _bytes));

    /// <summary>Reads the pages that are due. One loop calls this ten times a second. Returns whether a pass was completed.</summary>
    public async ValueTask<bool> BeatAsync()
    {
        var time = _clock.Time;
        var elapsed = time.GetElapsedTime(_passStartedAt);
        // the share of the pass that should be done when this beat ends
        var due = Math.Min(1, (elapsed + BeatInterval) / _interval);
        var until = (int)Math.Ceiling(due * _pages.Count);
        var beganAt = time.GetTimestamp();
        if (_stallsSeen != _clock.Guard.Stalls)
        {
            _stallsSeen = _clock.Guard.Stalls;
            _owed = _pages.Count;
        }

        if (Interlocked.Exchange(ref _takenBack, 0) is > 0 and var back)
            await TakeNoteAsync(back);

        // _next advances after the read: the next beat retries a page that the store did not return
        for (; _next < until; _next++)
        {
            if (_store.IsPageAway(_pages[_next]))
                _hasSkipped = true;
            else
                await SweepDuePageAsync(_pages[_next]);
        }

        _passCost += time.GetElapsedTime(beganAt) - _waited;
        _waited = TimeSpan.Zero;
        Stretch();
        if (_next < _pages.Count || elapsed + (BeatInterval / 2) < _interval)
            return false;
        await CompletePassAsync();
        return true;
    }

    /// <summary>Reads every page at once, due or not: at start, for a new belief, and in tests.</summary>
    public async ValueTask PassAsync()
    {
        var rareCost = _rareCost;
        foreach (var page in await _store.PagesAsync(Plane.Pulse))
        {
            if (!_store.IsPageAway(page))
                await SweepPageAsync(page, full: true);
        }

        // this cost belongs to the pass that is under way
        _rareCost = rareCost;
    }

    private async ValueTask SweepDuePageAsync(int page)
    {
        if (!_beliefs.HearsAll || (_owed == 0 && _filled == _beliefs.InUse.Length))
        {
            await SweepPageAsync(page, !_beliefs.HearsAll || (page + Passes) % FullEvery == 0);
            return;
        }

        var (beganAt, rareCost) = (_clock.Time.GetTimestamp(), _rareCost);
        await SweepPageAsync(page, full: true);
        _rareCost = rareCost + _clock.Time.GetElapsedTime(beganAt);
        _owed -= _owed > 0 ? 1 : 0;
    }

    private async ValueTask CompletePassAsync()
    {
        var pages = await ListPagesAsync();
        // a new page may stand in the list before a page that is still owed a full read
        if (_owed > 0)
            _owed += pages.Count - _pages.Count;
        _pages = pages;
        LastPassCost = _passCost;
        _interval = _shortest;
        Stretch();
        if (!_hasSkipped)
            Volatile.Write(ref _completedAsOf, _passStartedSecond);
        _hasSkipped = false;
        Passes++;
        _filled = _inUseAtStart;
        _inUseAtStart = _beliefs.InUse.Length;
        _next = 0;
        _passCost = TimeSpan.Zero;
        _rareCost = TimeSpan.Zero;
        Volatile.Write(ref _lastPassBytes, _bytes);
        Volatile.Write(ref _bytes, 0);
        _passStartedAt = _clock.Time.GetTimestamp();
        _passStartedSecond = _clock.Now;
    }

    // If the store cannot list its pages, the sweep uses the last known list.
    private async ValueTask<IReadOnlyList<int>> ListPagesAsync()
    {
        try
        {
            return await _store.PagesAsync(Plane.Pulse);
        }
        catch (StoreUnavailableException)
        {
            _hasSkipped = true;
            return _pages;
        }
    }

    // Also called in the middle of a pass, which may cost more than the one before: the first over a large table, or one with many
    // corrections.
    private void Stretch()
    {
        StretchTo(_passCost / (Aim * CoreShare), RareInterval);
        StretchTo((_passCost - _rareCost) / (Aim * CoreShare), KeepingInterval);
        StretchTo((_passCost - _rareCost) / (Aim * CoreShareAtMost), TimeSpan.MaxValue);
        if (_bytes / _interval.TotalSeconds > RemoteBytesPerSecond)
            _interval = TimeSpan.FromSeconds(_bytes / RemoteBytesPerSecond);
    }

    private void StretchTo(TimeSpan interval, TimeSpan most)
    {
        var to = interval < most ? interval : most;
        if (_interval < to)
            _interval = to;
    }

    private async ValueTask SweepPageAsync(int page, bool full)
    {
        if (Passes < _movesUntil && !_clock.IsSettling)
        {
            for (var plane = Plane.Pulse; plane <= Plane.Other; plane++)
                await MoveBackAsync(plane, page, _pulseScratch);
        }

        if (_store.IsRemote)
        {
            await SweepRemotePageAsync(page);
            return;
        }

        var groups = full ? AllGroups : GroupsOfSome(page);
        if (groups.IsEmpty)
            return;
        var at = _clock.Moment;
        var pulse = await _store.ReadPageAsync(Plane.Pulse, page, _pulseScratch);
        if (pulse.IsEmpty)
            return;
        ReadOnlyMemory<uint>? activity = null;
        for (var i = 0; i < _beliefs.InUse.Length; i++)
        {
            var belief = _beliefs.InUse[i];
            if (belief.Definition.ActivitySeconds is not null)
                activity ??= await _store.ReadPageAsync(Plane.Activity, page, _activityScratch);
            var deciding = belief.Definition.Kind is null ? pulse : await ReadKindAsync(belief.Definition.Plane, page);
            SweepPage(
                belief,
                page,
                groups.Span,
                deciding.Span,
                activity.GetValueOrDefault().Span,
                belief.Groups(page) is { IsEmpty: false } now ? now : Nobody,
                at,
                full);
        }
    }

    // In memory, all words are moved at once, so that no offline user looks online. A remote store takes a pass. A word that is written
    // meanwhile is found by the current pass and one whole pass after it. Nodes that wait for each other (Clock.IsSettling) need two more.
    private async ValueTask TakeNoteAsync(uint back)
    {
        (_movedBy, _movesUntil) = (back, Passes + (_store.IsRemote ? 4 : 2));
        if (_store.IsRemote)
            return;
        for (var plane = Plane.Pulse; plane <= Plane.Other; plane++)
        {
            foreach (var page in await _store.PagesAsync(plane))
                await MoveBackAsync(plane, page, _pulseScratch);
        }
    }

    // The arrays serve another purpose here: _came holds users with words in the future, _went their new words.
    private async ValueTask MoveBackAsync(Plane plane, int page, uint[] scratch)
    {
        if (!_store.IsInUse(plane))
            return;
        var (beganAt, now) = (_clock.Time.GetTimestamp(), _clock.Now);
        var words = await _store.ReadPageAsync(plane, page, scratch);
        if (MoveBack(words.Span, page, now) is > 0 and var moved)
        {
            await _store.ReplaceAsync(plane, _came.AsMemory(0, moved), _went.AsMemory(0, moved), now + Clock.Apart);
            _store.Keep(plane, _came.AsSpan(0, moved));
        }

        _rareCost += _clock.Time.GetElapsedTime(beganAt);
    }

    private int MoveBack(ReadOnlySpan<uint> words, int page, uint now)
    {
        var moved = 0;
        ref var first = ref MemoryMarshal.GetReference(words);
        for (var group = 0; group < words.Length / 64; group++)
        {
            for (var bits = Threshold.LaterThan(now + Clock.Apart, ref Unsafe.Add(ref first, group * 64)); bits != 0; bits &= bits - 1)
            {
                var slot = (group * 64) + BitOperations.TrailingZeroCount(bits);
                _came[moved] = PageLayout.User(page, slot);
                _went[moved++] = Pulse.TakenBack(words[slot], _movedBy, now);
            }
        }

        return moved;
    }

    private async ValueTask SweepRemotePageAsync(int page)
    {
        var beganAt = _clock.Time.GetTimestamp();
        var inUse = _beliefs.InUse.Length;
        var needsActivity = false;
        for (var i = 0; i < inUse; i++)
        {
            var before = Believed(i);
            before.Clear();
            _beliefs.InUse[i].Groups(page).CopyTo(before);
            needsActivity |= _beliefs.InUse[i].Definition.ActivitySeconds is not null;
        }

        var pulse = await _store.ReadPageAsync(Plane.Pulse, page, _pulseScratch);
        var activity = needsActivity ? await _store.ReadPageAsync(Plane.Activity, page, _activityScratch) : default;
        Volatile.Write(ref _bytes, _bytes + ((pulse.Length + activity.Length) * sizeof(uint)));
        _waited += _clock.Time.GetElapsedTime(beganAt);
        var at = _clock.MomentOf(page);
        RemotePageRead?.Invoke(page, pulse.Span, at);
        for (var i = 0; i < inUse; i++)
        {
            var deciding = _beliefs.InUse[i].Definition is { Kind: not null, Plane: var plane } ? await ReadKindAsync(plane, page) : pulse;
            SweepPage(_beliefs.InUse[i], page, AllGroups, deciding.Span, activity.Span, Believed(i), at, full: true);
        }
    }

    private async ValueTask<ReadOnlyMemory<uint>> ReadKindAsync(Plane plane, int page)
    {
        if (_kindScratch.Length == 0)
            _kindScratch = GC.AllocateUninitializedArray<uint>(PageLayout.Slots);
        var words = await _store.ReadPageAsync(plane, page, _kindScratch);
        if (_store.IsRemote)
            Volatile.Write(ref _bytes, _bytes + (words.Length * sizeof(uint)));
        return words;
    }

    private Span<ulong> Believed(int belief) => _believed.AsSpan(belief * PageLayout.Groups, PageLayout.Groups);

    // The groups of a page with at least one user who is believed online under any definition.
    private ReadOnlyMemory<ushort> GroupsOfSome(int page)
    {
        var count = 0;
        var first = _beliefs.Default.Groups(page);
        if (_beliefs.InUse.Length == 1)
        {
            // The write is unconditional: the processor would predict a branch here wrongly a quarter of the time.
            for (var group = 0; group < first.Length; group++)
            {
                _someGroups[count] = (ushort)group;
                count += first[group] == 0 ? 0 : 1;
            }

            return _someGroups.AsMemory(0, count);
        }

        for (var group = 0; group < PageLayout.Groups; group++)
        {
            var bits = 0UL;
            foreach (var belief in _beliefs.InUse)
                bits |= belief.Groups(page) is { IsEmpty: false } groups ? groups[group] : 0;
            _someGroups[count] = (ushort)group;
            count += bits == 0 ? 0 : 1;
        }

        return _someGroups.AsMemory(0, count);
    }

    private void SweepPage(
        Belief belief,
        int page,
        ReadOnlySpan<ushort> groups,
        ReadOnlySpan<uint> pulse,
        ReadOnlySpan<uint> activity,
        ReadOnlySpan<ulong> believed,
        Moment at,
        bool full)
    {
        var rule = new Threshold(belief.Definition, at);
        int came = 0, went = 0;
        var correcting = TimeSpan.Zero;
        ref var pulses = ref MemoryMarshal.GetReference(pulse);
        ref var activities = ref MemoryMarshal.GetReference(activity);
        for (var i = 0; i < groups.Length; i++)
        {
            if (i + Ahead < groups.Length && groups[i + Ahead] * 64 < pulse.Length)
                Prefetch(ref Unsafe.Add(ref pulses, groups[i + Ahead] * 64), full ? ulong.MaxValue : believed[groups[i + Ahead]]);
            var group = (int)groups[i];
            var truth = 0UL;
            if (!full && BitOperations.PopCount(believed[group]) <= Few)
            {
                truth = rule.BitsOf(believed[group], group, pulse, activity);
            }
            else if (group * 64 < pulse.Length)
            {
                truth = rule.PulseBits(ref Unsafe.Add(ref pulses, group * 64));
                if (rule.NeedsActivity && truth != 0)
                    truth = group * 64 < activity.Length ? truth & rule.ActivityBits(ref Unsafe.Add(ref activities, group * 64)) : 0;
            }

            var differ = truth ^ believed[group];
            if (differ == 0)
                continue;
            var beganAt = _clock.Time.GetTimestamp();
            Correct(belief, page, group, differ, pulse, activity, at, ref came, ref went);
            correcting += _clock.Time.GetElapsedTime(beganAt);
        }

        if (came + went == 0)
            return;
        var toldFrom = _clock.Time.GetTimestamp();
        Tell(belief, came, went);
        _rareCost += correcting + _clock.Time.GetElapsedTime(toldFrom);
    }

    private void Tell(Belief belief, int came, int went)
    {
        if (belief == _beliefs.Default)
            _beliefs.CountSwept(came, went);
        if (went > 0)
        {
            if (belief == _beliefs.Default)
            {
                Lapses += went;
                _store.Keep(Plane.Pulse, _went.AsSpan(0, went));
            }

            _beliefs.Tell(belief.Definition, TransitionKind.Lapsed, _went.AsSpan(0, went));
        }

        if (came > 0)
        {
            if (belief == _beliefs.Default)
                _store.Keep(Plane.Pulse, _came.AsSpan(0, came));
            _beliefs.Tell(belief.Definition, TransitionKind.Arrived, _came.AsSpan(0, came));
        }
    }

    // Prefetches the cache lines of a group's words that will be read: those of a few users, or all four.
    private static unsafe void Prefetch(ref uint words, ulong users)
    {
        if (!Sse.IsSupported)
            return;
        var at = (uint*)Unsafe.AsPointer(ref words);
        if (BitOperations.PopCount(users) <= Few)
        {
            for (; users != 0; users &= users - 1)
                Sse.Prefetch0(at + BitOperations.TrailingZeroCount(users));
            return;
        }

        Sse.Prefetch0(at);
        Sse.Prefetch0(at + 16);
        Sse.Prefetch0(at + 32);
        Sse.Prefetch0(at + 48);
    }

    // Rare. For each user who differs, this reads the word again after it read the belief. It reads the word once more after it changed the
    // belief: a heartbeat in between wrote its word first and then found that its hint changed nothing.
    private void Correct(
        Belief belief,
        int page,
        int group,
        ulong differ,
        ReadOnlySpan<uint> pulse,
        ReadOnlySpan<uint> activity,
        Moment at,
        ref int came,
        ref int went)
    {
        for (; differ != 0; differ &= differ - 1)
        {
            var slot = (group * 64) + BitOperations.TrailingZeroCount(differ);
            var bit = differ & (0 - differ);
            var online = IsMet(belief.Definition, pulse, activity, slot, at);
            if (belief.Set(page, group, bit, online) == 0)
                continue;
            if (IsMet(belief.Definition, pulse, activity, slot, at) != online)
                belief.Set(page, group, bit, !online);
            else if (online)
                _came[came++] = PageLayout.User(page, slot);
            else
                _went[went++] = PageLayout.User(page, slot);
        }
    }

    private static bool IsMet(Definition definition, ReadOnlySpan<uint> pulse, ReadOnlySpan<uint> activity, int slot, Moment at) =>
        definition.IsMet(
            slot < pulse.Length ? Volatile.Read(in pulse[slot]) : Pulse.Never,
            slot < activity.Length ? Volatile.Read(in activity[slot]) : Pulse.Never,
            at);
}

/// <summary>Hears of a page's words that were read, and the moment by which they are judged. The span is valid during the call.</summary>
internal delegate void RemotePageRead(int page, ReadOnlySpan<uint> words, Moment at);
