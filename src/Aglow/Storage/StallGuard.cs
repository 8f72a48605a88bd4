namespace Aglow.Storage;

/// <summary>
/// Holds leases while words cannot be written: a stall is the server's fault, so no user's lease expires because of it.
/// </summary>
/// <remarks>
/// <see cref="Clock"/> asks the guard for the second by which leases are judged. During a stall, heartbeats could not be written: this
/// process was paused (a loop woke over 2 s late), the store was away, the server restarted, or the clock stepped. After a stall, leases
/// are judged by the last second at which heartbeats could be written. This lasts two heartbeat intervals, so that every client can send a
/// heartbeat. Leaves count at once.
/// If only some pages could not be written (a shard was away), only their users are held (<see cref="Hold"/>). Users on other pages expire
/// as usual.
/// Threading: any thread may ask or report. A lock is taken only while a stall begins or ends; readers read one 64-bit word.
/// Rejected: extending each user's lease, because it would touch every word.
/// </remarks>
public sealed class StallGuard
{
    // held second in the high half, second at which the guard ends in the low half; 0: no guard
    private long _guard;
    // the same for each page, created when first needed; after _pagesHeldUntil, no page is held
    private long[] _pages = [];
    private uint _pagesHeldUntil;
    private readonly Lock _gate = new();
    private readonly uint _holdSeconds;

    /// <summary>A guard that holds for <paramref name="holdSeconds"/> after a stall: two heartbeat intervals.</summary>
    public StallGuard(uint holdSeconds) => _holdSeconds = holdSeconds;

    /// <summary>How many stalls were reported since the start.</summary>
    public long Stalls { get; private set; }

    /// <summary>The second by which leases are judged at <paramref name="now"/>.</summary>
    internal uint HeldAt(uint now) => HeldAt(Volatile.Read(ref _guard), now);

    /// <summary>Whether expired leases are held back at this moment, for all users or for some pages.</summary>
    internal bool IsInForceAnywhere(Moment at) => at.HeldAt != at.Now || at.Now <= Volatile.Read(ref _pagesHeldUntil);

    /// <summary>A moment for users of this page: held back further if words of the page could not be written.</summary>
    internal Moment Hold(Moment at, int page)
    {
        if (at.Now > Volatile.Read(ref _pagesHeldUntil))
            return at;
        var held = HeldAt(Volatile.Read(ref _pages[page]), at.Now);
        return held < at.HeldAt ? at with { HeldAt = held } : at;
    }

    /// <summary>
    /// Reports that heartbeats could not be written from <paramref name="from"/> to <paramref name="to"/>. If a guard is already active,
    /// its earlier second and its later end stay.
    /// </summary>
    public void Stalled(uint from, uint to)
    {
        lock (_gate)
        {
            Volatile.Write(ref _guard, Extended(_guard, from, to));
            Stalls++;
        }
    }

    /// <summary>Reports a stall for users of these pages only.</summary>
    public void Stalled(uint from, uint to, ReadOnlySpan<int> pages)
    {
        lock (_gate)
        {
            if (_pages.Length == 0)
                _pages = new long[PageLayout.Pages];
            foreach (var page in pages)
                Volatile.Write(ref _pages[page], Extended(_pages[page], from, to));
            // a stall of pages is reported repeatedly while it lasts; it counts once
            if (to > _pagesHeldUntil)
                Stalls++;
            Volatile.Write(ref _pagesHeldUntil, Math.Max(_pagesHeldUntil, to + _holdSeconds));
        }
    }

    /// <summary>
    /// Reports that store time jumps. A jump forward is a stall between the two seconds. After a jump back, leases are judged by the new
    /// second, or by the earlier second that was held.
    /// </summary>
    internal void Stepped(uint from, uint to)
    {
        if (to >= from)
        {
            Stalled(from, to);
            return;
        }

        lock (_gate)
        {
            var arePagesHeld = from <= _pagesHeldUntil;
            for (var page = 0; page < _pages.Length; page++)
                Volatile.Write(ref _pages[page], arePagesHeld && from <= (uint)_pages[page] ? TakenBack(_pages[page], from, to) : 0);
            Volatile.Write(ref _pagesHeldUntil, arePagesHeld ? to + _holdSeconds : 0);
            Volatile.Write(ref _guard, TakenBack(_guard, from, to));
            Stalls++;
        }
    }

    private static uint HeldAt(long guard, uint now) => guard == 0 || now > (uint)guard ? now : Math.Min(now, (uint)(guard >> 32));

    private long Extended(long guard, uint from, uint to)
    {
        var (held, until) = (from, to + _holdSeconds);
        if (guard != 0 && from <= (uint)guard)
            (held, until) = (Math.Min((uint)(guard >> 32), from), Math.Max((uint)guard, until));
        return ((long)held << 32) | until;
    }

    private long TakenBack(long guard, uint from, uint to)
    {
        var held = guard != 0 && from <= (uint)guard ? (uint)(guard >> 32) : from;
        if (held > to)
            held -= Math.Min(held, from - to);
        return ((long)held << 32) | (to + _holdSeconds);
    }
}
