using System.Buffers;
using System.Collections.Concurrent;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Aglow.Sweeping;
using Aglow.Users;

namespace Aglow.Queries;

/// <summary>
/// Counts the users who are online, for nodes that share a store. The result is the sum over pages; a node that finds a page's count stale
/// counts it again.
/// </summary>
/// <remarks>
/// <code>
///   caller ─► this node's answer, under a second old ─► the row of page counts ─► stale pages? ─► claim ─► read, count, write down
/// </code>
/// The cost is bounded for any number of nodes and callers. A node reads the row once a second, one node at a time counts, and each page is
/// counted once in <see cref="FreshFor"/>. That is a second, or longer if reading all pages would exceed
/// <see cref="Sweep.RemoteBytesPerSecond"/>. An answer at most <see cref="MostBehindSeconds"/> old is returned at once while a new count
/// runs.
/// Rejected: the node's own belief, which costs nothing. But two nodes would give different answers, and each definition counted once would
/// cost every node a bit a user forever.
/// Users who are not visible to everyone are left out when a page is counted, by what the counting node knows. So a user who hides leaves
/// the number when their page is next counted. Rejected: to subtract them in each answer, which would need to read them one by one or count
/// them twice.
/// Threading: any thread; one count a definition at a time.
/// </remarks>
internal sealed class OnlineCounts(
    IPlaneStore store, IPageCounts shared, Clock clock, Claims claims, Visibilities visibilities, Sweep sweep) : IAsyncDisposable
{
    /// <summary>
    /// The greatest age, in seconds, of an answer that is returned while a new count runs. It equals the bound of every status.
    /// </summary>
    public const uint MostBehindSeconds = 10;

    // a counting node renews its claim with each write; a node silent for this long is gone
    private const uint ClaimSeconds = 3;

    // pages of 255 KiB each: about ten writes a second
    private const int PagesAWrite = 32;

    private static readonly TimeSpan KeepFor = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan CheckEvery = TimeSpan.FromMilliseconds(100);

    private readonly ConcurrentDictionary<Definition, Count> _byDefinition = new();
    private readonly CancellationTokenSource _stop = new();
    private long _pagesCounted;

    public long PagesCounted => Volatile.Read(ref _pagesCounted);

    /// <summary>How long the count of a page stays fresh, in whole seconds.</summary>
    public uint FreshFor => (uint)Math.Max(1, Math.Ceiling(sweep.PassBytes / Sweep.RemoteBytesPerSecond));

    /// <summary>How many users everyone can see online, and the second at which the oldest page was counted.</summary>
    /// <exception cref="StoreUnavailableException">The store is away, and the last count is older than
    /// <see cref="MostBehindSeconds"/>.</exception>
    public Task<(long Online, uint AsOf)> ReadAsync(Definition definition) =>
        _byDefinition.GetOrAdd(definition, d => new Count(clock, () => ReadOrCountAsync(d))).ReadAsync();

    public void Observe(AglowMetrics metrics) =>
        metrics.Count("aglow.count.pages", "Pages that this node read to count online users.", () => PagesCounted);

    /// <summary>Cancels counts that are under way.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        foreach (var count in _byDefinition.Values)
            await count.EndAsync();
        _stop.Dispose();
    }

    /// <summary>How many of a page's users are online by their words, without those in <paramref name="leftOut"/>.</summary>
    internal static uint OnlineOf(
        Definition definition,
        ReadOnlySpan<uint> pulse,
        ReadOnlySpan<uint> activity,
        Moment at,
        ReadOnlySpan<ulong> leftOut = default)
    {
        var rule = new Threshold(definition, at);
        ref var pulses = ref MemoryMarshal.GetReference(pulse);
        ref var activities = ref MemoryMarshal.GetReference(activity);
        var online = 0;
        for (var first = 0; first < pulse.Length; first += 64)
        {
            var bits = rule.PulseBits(ref Unsafe.Add(ref pulses, first));
            if (rule.NeedsActivity && bits != 0)
                bits = first < activity.Length ? bits & rule.ActivityBits(ref Unsafe.Add(ref activities, first)) : 0;
            var group = first / 64;
            online += BitOperations.PopCount(group < leftOut.Length ? bits & ~Volatile.Read(in leftOut[group]) : bits);
        }

        return (uint)online;
    }

    // Reads the shared row, and counts stale pages unless another node does so.
    private async Task<(long Online, uint AsOf)> ReadOrCountAsync(Definition definition)
    {
        while (true)
        {
            _stop.Token.ThrowIfCancellationRequested();
            var pages = await store.PagesAsync(Plane.Pulse);
            var now = clock.Now;
            if (pages.Count == 0)
                return (0, now);
            var room = pages[^1] + 1;
            var counts = ArrayPool<PageCount>.Shared.Rent(room);
            try
            {
                var claim = await shared.ReadAsync(definition, counts.AsMemory(0, room));
                var stale = pages.Where(page => IsOver(counts[page].At, FreshFor, now)).ToList();
                if (stale.Count == 0)
                    return Sum(pages, counts);
                if (stale.Exists(store.IsPageAway))
                    throw new StoreUnavailableException("Part of the store is away, so not everybody can be counted.");
                if (IsOver(claim, ClaimSeconds, now) && IsOver(await shared.ClaimAsync(definition, now), ClaimSeconds, now))
                {
                    await CountAsync(definition, stale, counts);
                    return Sum(pages, counts);
                }

                // another node is counting; until it is done, older counts are used if they are recent enough
                if (Sum(pages, counts) is var sum && !IsOver(sum.AsOf, MostBehindSeconds + 1, now))
                    return sum;
            }
            finally
            {
                ArrayPool<PageCount>.Shared.Return(counts);
            }

            await Task.Delay(CheckEvery, clock.Time, _stop.Token);
        }
    }

    // A second in the future counts as over, because the clock was set back and its age is unknown.
    private static bool IsOver(uint second, uint lasts, uint now) => second + lasts <= now || second > now + Clock.Apart;

    private static (long Online, uint AsOf) Sum(IReadOnlyList<int> pages, PageCount[] counts)
    {
        var (online, asOf) = (0L, uint.MaxValue);
        foreach (var page in pages)
        {
            online += counts[page].Online;
            asOf = Math.Min(asOf, counts[page].At);
        }

        return (online, asOf);
    }

    private async Task CountAsync(Definition definition, List<int> stale, PageCount[] counts)
    {
        var hidden = claims.IsNobodyHidden ? null : claims.Hidden(clock.Now).ToLookup(PageLayout.Page);
        var pulses = ArrayPool<uint>.Shared.Rent(PageLayout.Slots);
        var activities = ArrayPool<uint>.Shared.Rent(PageLayout.Slots);
        var written = new List<(int Page, PageCount Count)>(PagesAWrite);
        try
        {
            foreach (var page in stale)
            {
                _stop.Token.ThrowIfCancellationRequested();
                var pulse = await store.ReadPageAsync(definition.Plane, page, pulses.AsMemory(0, PageLayout.Slots));
                var activity = definition.ActivitySeconds is null
                    ? default
                    : await store.ReadPageAsync(Plane.Activity, page, activities.AsMemory(0, PageLayout.Slots));
                var at = clock.MomentOf(page);
                var online = OnlineOf(definition, pulse.Span, activity.Span, at, visibilities.NotToEveryone(page))
                    + Hidden(definition, hidden?[page] ?? [], pulse.Span, activity.Span, at);
                // visibility may have changed between the two reads of it
                counts[page] = new PageCount((uint)Math.Max(0, online), at.Now);
                written.Add((page, counts[page]));
                Interlocked.Increment(ref _pagesCounted);
                if (written.Count < PagesAWrite)
                    continue;
                await shared.WriteAsync(definition, written, claim: at.Now);
                written.Clear();
            }

            await shared.WriteAsync(definition, written, claim: 0);
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(pulses);
            ArrayPool<uint>.Shared.Return(activities);
        }
    }

    // Corrects the count for hidden users: each counts as a user whose devices left at the moment of hiding.
    private long Hidden(
        Definition definition, IEnumerable<uint> hidden, ReadOnlySpan<uint> pulses, ReadOnlySpan<uint> activities, Moment at)
    {
        var change = 0L;
        foreach (var user in hidden)
        {
            if (!visibilities.IsShownToEveryone(user))
                continue;
            var slot = PageLayout.Slot(user);
            var pulse = slot < pulses.Length ? pulses[slot] : Pulse.Never;
            var activity = slot < activities.Length ? activities[slot] : Pulse.Never;
            change += Presence.Of(pulse, activity, claims.Of(user, at.Now), definition, at, 0).IsOnline ? 1 : 0;
            change -= definition.IsMet(pulse, activity, at) ? 1 : 0;
        }

        return change;
    }

    /// <summary>This node's answers under one definition.</summary>
    private sealed class Count(Clock clock, Func<Task<(long Online, uint AsOf)>> count)
    {
        private readonly Lock _gate = new();
        private Task<(long Online, uint AsOf)>? _reading;
        private (long Online, uint AsOf)? _last;
        private long _beganAt;

        public async Task EndAsync()
        {
            Task? reading;
            lock (_gate)
                reading = _reading;
            if (reading is not null)
                await reading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        public Task<(long Online, uint AsOf)> ReadAsync()
        {
            lock (_gate)
            {
                var isAnswered = _reading is { IsCompletedSuccessfully: true };
                if (isAnswered)
                    _last = _reading!.Result;
                if (_reading is not { IsCompleted: false } && !(isAnswered && clock.Time.GetElapsedTime(_beganAt) < KeepFor))
                {
                    _beganAt = clock.Time.GetTimestamp();
                    _reading = Task.Run(count);
                }

                return _last is { } last && !IsOver(last.AsOf, MostBehindSeconds + 1, clock.Now) ? Task.FromResult(last) : _reading!;
            }
        }
    }
}
