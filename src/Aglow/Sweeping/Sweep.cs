using System.Collections.Concurrent;

namespace Aglow.Sweeping;

/// <summary>
/// Reads all pages periodically and compares the words with the beliefs of this node. The differences are transitions.
/// </summary>
/// <remarks>
/// The sweep XORs 64 users at a time: the bits computed from words with the believed bits. Before it changes a belief, it reads the word
/// again, because a hint may have come in between. With a sweep, going offline needs no timer per user, no message and no leader. The sweep
/// also repairs lost hints. <see cref="Interval"/> bounds how old a belief can be.
/// <para>
/// Interval: at 10 million users a pass over every page takes 4 ms. The sweep makes one pass a second, a fifth of the pages in each of its
/// first five beats. Words hold whole seconds, so leases expire where a second begins, and such a pass begins there, too.
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
/// such words back by as much as the clock, so <c>last_seen</c> is correct by the corrected clock (<see cref="SetBackWords"/>).
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

    private const int MaxBeliefs = Definitions.Most;

    // a pass may cost a tenth more than the last one predicted
    private const double Aim = 0.9;

    private readonly IPlaneStore _store;
    private readonly Clock _clock;
    private readonly Beliefs _beliefs;
    private readonly PageComparison _comparison;
    private readonly SetBackWords _setBack;
    private readonly uint[] _pulseScratch = GC.AllocateUninitializedArray<uint>(PageLayout.Slots);
    private readonly uint[] _activityScratch = GC.AllocateUninitializedArray<uint>(PageLayout.Slots);
    // words of a device kind, if the store returns copies; allocated with the first belief of a kind
    private uint[] _kindScratch = [];
    private static readonly ulong[] Nobody = new ulong[PageLayout.Groups];
    private static readonly ushort[] AllGroups = [.. Enumerable.Range(0, PageLayout.Groups).Select(g => (ushort)g)];
    private readonly ushort[] _someGroups = new ushort[PageLayout.Groups];

    private IReadOnlyList<int> _pages = [];
    private int _next;
    private long _passStartedAt;
    private uint _passStartedSecond;
    private TimeSpan _passCost;
    // the one-time part of the pass's cost: corrections, and full reads of owed pages
    private TimeSpan _rareCost;
    // how many of the beliefs in use, from the first on, are filled: every page was read in full since they were created
    private int _filled;
    // Pages still to be read in full since the last stall. During a stall a heartbeat may count as a renewal although a sweep found the
    // user offline.
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
    // steps of the clock that the loop has not handled, in order
    private readonly ConcurrentQueue<(uint From, uint To)> _steps = new();

    /// <summary>A sweep of <paramref name="store"/> into <paramref name="beliefs"/>.</summary>
    public Sweep(IPlaneStore store, Clock clock, Beliefs beliefs)
    {
        _store = store;
        _clock = clock;
        _beliefs = beliefs;
        _comparison = new PageComparison(store, clock, beliefs);
        _setBack = new SetBackWords(store, clock);
        _interval = _shortest = store.IsRemote ? RemoteInterval : ShortestInterval;
        _believed = store.IsRemote ? new ulong[PageLayout.Groups * MaxBeliefs] : [];
        _passStartedAt = clock.Time.GetTimestamp();
        _passStartedSecond = clock.Now;
        _completedAsOf = clock.Now;
        clock.Stepped += (from, to) => _steps.Enqueue((from, to));
    }

    /// <summary>The current bound on staleness: the time in which every page is read again.</summary>
    public TimeSpan Interval => _interval;

    /// <summary>What the last complete pass cost, in CPU time of one core.</summary>
    public TimeSpan LastPassCost { get; private set; }

    /// <summary>The second at which every belief in use was last up to date.</summary>
    public uint AsOf => Math.Min((uint)Volatile.Read(ref _completedAsOf), _clock.Now);

    /// <summary>Users whose expired lease a sweep found.</summary>
    public long Lapses => _comparison.Lapses;

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
        var isComplete = _next >= _pages.Count && IsOver(elapsed);
        if (isComplete)
        {
            await CompletePassAsync();
            elapsed = time.GetElapsedTime(_passStartedAt);
        }

        // the share of the pass that should be done when this beat ends
        var due = Math.Min(1, (elapsed + BeatInterval) / (IsShort ? _interval / 2 : _interval));
        var until = (int)Math.Ceiling(due * _pages.Count);
        var beganAt = time.GetTimestamp();
        if (_stallsSeen != _clock.Guard.Stalls)
        {
            _stallsSeen = _clock.Guard.Stalls;
            _owed = _pages.Count;
        }

        if (!_steps.IsEmpty)
        {
            while (_steps.TryDequeue(out var step))
                _setBack.Note(step.From, step.To, Passes);
            await _setBack.MoveAllAsync(Passes);
            _rareCost += time.GetElapsedTime(beganAt);
        }

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
        return isComplete;
    }

    private bool IsShort => !_store.IsRemote && _interval == ShortestInterval;

    private bool IsOver(TimeSpan elapsed) => IsShort
        ? _clock.Now != _passStartedSecond || elapsed >= 2 * _interval
        : elapsed + (BeatInterval / 2) >= _interval;

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
        if (!_beliefs.ReceivesAll || (_owed == 0 && _filled == _beliefs.InUse.Length))
        {
            await SweepPageAsync(page, !_beliefs.ReceivesAll || (page + Passes) % FullEvery == 0);
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
        if (_setBack.MayBeOn(Passes))
        {
            var beganAt = _clock.Time.GetTimestamp();
            await _setBack.MoveAsync(page);
            _rareCost += _clock.Time.GetElapsedTime(beganAt);
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
            _rareCost += _comparison.Compare(
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
            _rareCost += _comparison.Compare(
                _beliefs.InUse[i], page, AllGroups, deciding.Span, activity.Span, Believed(i), at, full: true);
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
            // The write has no condition, because the processor would predict a branch here wrongly a quarter of the time.
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
}

/// <summary>Receives the words of a page that was read, and the moment that judges them. The span is valid during the call.</summary>
internal delegate void RemotePageRead(int page, ReadOnlySpan<uint> words, Moment at);
