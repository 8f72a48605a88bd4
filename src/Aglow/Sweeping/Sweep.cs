using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Watching;
using Plane = Aglow.Model.Plane;

namespace Aglow.Sweeping;

/// <summary>
/// Reads pages again and again, computes who is online now, and XORs that with what is believed: the differences, both ways, are
/// transitions.
/// </summary>
/// <remarks>
/// So offline needs no timer per user, no message and no leader; a lost hint is repaired here; and how stale a belief can be is bounded by
/// the interval (<see cref="Interval"/>). Every page is read once a second at 10 million users (4 ms), a tenth of them each beat; beyond that
/// the interval is stretched so that sweeping costs at most 2 % of a core, to keep the bound of 10 s 4 %; then it is stretched on, and a bound over 10 s is warned of. What comes once (corrections, when millions
/// lapse in the same second; reading all in full after a stall) stretches it to <see cref="RareInterval"/> and no further: what is promised of it is when it is told. A difference is confirmed by reading
/// the word again before it is believed, since a hint may have come in between.
/// Where no hint is ever lost (one node), offline is all that a sweep has to find, so it reads the words of those who are believed
/// online (where they are few, theirs alone; where they are many, all 64 of their group), and every page in full in one pass of <see cref="FullEvery"/>, in case that "never" is wrong: at a billion users of whom
/// 5 million are online that is a thirteenth of the cache lines.
/// A remote store is read once in 10 s (<see cref="RemoteInterval"/>), stretched so that pages cost at most <see cref="RemoteBytesPerSecond"/> of the link; a page is a copy
/// of a moment ago there, so it is compared with what was believed before it was read, and what a hint changed meanwhile stays as the hint said. Pages that the store has lost are
/// left out: what was believed of them stays, and <see cref="AsOf"/> with it.
/// After the clock was set back, words of the seconds that were taken back lie in the future and count as heard now; for some passes each page is searched for
/// them, and they are moved back by as much as the clock was. So <c>last_seen</c> is what it was, told by the corrected clock.
/// Threading: one loop; pages change under it, each word is whole. The rejected alternative, a wheel of timers, costs 40 bytes a user and
/// a write a heartbeat.
/// </remarks>
public sealed class Sweep
{
    /// <summary>How often the loop wakes: ten times a second, so that the cost is spread.</summary>
    public static readonly TimeSpan BeatInterval = TimeSpan.FromMilliseconds(100);

    /// <summary>The shortest interval: a lapse shows a second after the lease.</summary>
    public static readonly TimeSpan ShortestInterval = TimeSpan.FromSeconds(1);

    /// <summary>Within which every status is promised to be right: an interval beyond it is for tables that take too long to read, and is warned of.</summary>
    public static readonly TimeSpan Bound = TimeSpan.FromSeconds(10);

    /// <summary>The longest interval that keeps <see cref="Bound"/>: leases are counted in whole seconds, and what is found has to be told yet.</summary>
    public static readonly TimeSpan KeepingInterval = Bound * 0.8;

    /// <summary>Over how long work that comes once is spread at most: half of the bound, since telling takes time, too.</summary>
    public static readonly TimeSpan RareInterval = Bound / 2;

    /// <summary>The shortest interval over a remote store.</summary>
    public static readonly TimeSpan RemoteInterval = Bound;

    /// <summary>What reading pages of a remote store may cost the link: 10 million users are 4 MB/s.</summary>
    public const double RemoteBytesPerSecond = 16e6;

    /// <summary>The part of a core that sweeping may cost.</summary>
    public const double CoreShare = 0.02;

    /// <summary>The part of a core that it may cost where less would not keep <see cref="Bound"/>.</summary>
    public const double CoreShareAtMost = 2 * CoreShare;

    /// <summary>Of so many passes one reads a page in full, where only who is believed online needs to be read.</summary>
    public const int FullEvery = 32;

    // groups to fetch ahead: the words of far-apart groups come from memory together instead of one after the other
    private const int Ahead = 8;

    // so many believed online in a group of 64 are looked at one by one: their words are on fewer cache lines than the group's four
    private const int Few = 4;

    private const int MaxBeliefs = Definitions.Most;

    // one pass may cost a tenth more than the one it was foretold by
    private const double Aim = 0.9;

    private readonly IPlaneStore _store;
    private readonly Clock _clock;
    private readonly Beliefs _beliefs;
    private readonly uint[] _pulseScratch = GC.AllocateUninitializedArray<uint>(PageLayout.Slots);
    private readonly uint[] _activityScratch = GC.AllocateUninitializedArray<uint>(PageLayout.Slots);
    // words of a kind of device, where a store gives a copy; made with the first belief of one
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
    // part of the pass's: corrections, and pages that are owed a reading in full
    private TimeSpan _rareCost;
    // beliefs whose every page was read in full since they were made: the first so many of those in use
    private int _filled;
    // pages to be read in full since the last stall: leases are counted from another second then, and a heartbeat may find its user online of whom a sweep had said otherwise
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
    // by how much the clock was set back, not taken note of by the loop yet; then: by how much words in the future are moved, up to which pass
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
        // other nodes may have been ahead when the last one that is gone stopped
        _movesUntil = store.IsRemote ? 1 : 0;
        clock.Stepped += (from, to) => Volatile.Write(ref _takenBack, from > to ? from - to : 0);
    }

    /// <summary>The bound on staleness in force: how long until every page has been read again.</summary>
    public TimeSpan Interval => _interval;

    /// <summary>What the last complete pass cost, in time of one core.</summary>
    public TimeSpan LastPassCost { get; private set; }

    /// <summary>The second as of which every belief in use had been checked.</summary>
    public uint AsOf => Math.Min((uint)Volatile.Read(ref _completedAsOf), _clock.Now);

    /// <summary>Users whose lease a sweep found run out.</summary>
    public long Lapses { get; private set; }

    /// <summary>Passes completed.</summary>
    public long Passes { get; private set; }

    /// <summary>What reading every page of a remote store once takes, in bytes.</summary>
    public long PassBytes => Math.Max(Volatile.Read(ref _lastPassBytes), Volatile.Read(ref _bytes));

    /// <summary>
    /// One beat: reads the pages that are due by now. Ten times a second from one loop; returns whether a pass was completed.
    /// </summary>
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

        // counted when it is done: a page that the store did not give is read again in the next beat
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

    /// <summary>Reads every page at once, whatever is due: at start, for a belief that was just made, and in tests.</summary>
    public async ValueTask PassAsync()
    {
        var rareCost = _rareCost;
        foreach (var page in await _store.PagesAsync(Plane.Pulse))
        {
            if (!_store.IsPageAway(page))
                await SweepPageAsync(page, full: true);
        }

        // of the pass that is under way
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
        // a page that was made meanwhile may stand before one that is still owed a reading
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

    // Where the list is what was lost, the pages that were known are gone over again.
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

    // Also in the middle of a pass, which may turn out dearer than the one before: the first over a large table, or one that corrects many.
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
            SweepPage(belief, page, groups.Span, deciding.Span, activity.GetValueOrDefault().Span, belief.Groups(page) is { IsEmpty: false } now ? now : Nobody, at, full);
        }
    }

    // In memory all words are moved at once, so that who is offline is not read as heard now; across a network that takes a pass. A word that is written meanwhile is found by
    // the pass under way and a whole one, and two more where nodes wait for each other (Clock.IsSettling).
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

    // Whose words are in the future, and what they are to be, take the places of who came and who went.
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

    // The groups of a page in which somebody is believed online, under any definition.
    private ReadOnlyMemory<ushort> GroupsOfSome(int page)
    {
        var count = 0;
        var first = _beliefs.Default.Groups(page);
        if (_beliefs.InUse.Length == 1)
        {
            // written whether or not it counts: a branch here would be guessed wrong a quarter of the time
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

    // The cache lines of a group's words that will be read: those of a few users, or all four.
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

    // Rare: each differing user is decided by reading the word again, after the belief was read; and once more after the belief was changed, since
    // a heartbeat in between wrote its word first and then found its hint believed already.
    private void Correct(
        Belief belief, int page, int group, ulong differ, ReadOnlySpan<uint> pulse, ReadOnlySpan<uint> activity, Moment at, ref int came, ref int went)
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
