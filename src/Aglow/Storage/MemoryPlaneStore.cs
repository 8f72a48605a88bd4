using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Aglow.Storage;

/// <summary>
/// The embedded store: words in native memory. <c>JournaledPlaneStore</c> makes them durable; tests and measurements may run without that.
/// </summary>
/// <remarks>
/// <c>HeartbeatWriter</c>, <c>StatusReader</c> and <c>Sweep</c> use it. An exchange is one compare-and-exchange on one word, without a lock
/// or an allocation. It is a full barrier, so cache misses of exchanges do not overlap. Therefore a batch prefetches each word
/// <see cref="Ahead"/> exchanges before it changes the word. Measured on a 4 GB table, CPU ns per word:
/// <code>
///   read all, then exchange           43      prefetch 8, 16, 32, 64 ahead    28, 23, 20, 21
///   prefetch blocks of 64             28      plain stores                    31
///                                             plain stores, prefetch ahead    15
/// </code>
/// Threading: any method from any thread.
/// </remarks>
public class MemoryPlaneStore : IPlaneStore
{
    // a bit more than the cache misses that a core can have under way; a power of two
    private const int Ahead = 32;
    private readonly NativePages _pulse;
    private readonly NativePages _activity;
    private readonly NativePages?[] _kinds = new NativePages?[Planes.Count];
    private readonly Lock _gate = new();

    /// <summary>An empty store.</summary>
    /// <param name="budget">The most pages.</param>
    public MemoryPlaneStore(PageBudget budget)
    {
        Budget = budget;
        _pulse = new NativePages(budget);
        _activity = new NativePages(budget);
    }

    /// <summary>The limit of pages, and how many are in use.</summary>
    public PageBudget Budget { get; }

    /// <inheritdoc/>
    public virtual uint EarlierRunEnd => 0;

    /// <inheritdoc/>
    public virtual bool IsWritable => true;

    /// <inheritdoc/>
    public virtual bool IsKeepBacklogged => false;

    /// <summary>Users ever seen and not erased since.</summary>
    public long Registered => _pulse.Registered;

    /// <inheritdoc/>
    public ValueTask<uint> ExchangeAsync(Plane plane, uint user, uint word) => new(Exchange(plane, user, word));

    /// <inheritdoc/>
    public ValueTask ExchangeAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, Memory<uint> old)
    {
        Exchange(plane, users.Span, words.Span, old.Span);
        return default;
    }

    /// <inheritdoc/>
    public unsafe ValueTask ReplaceAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, uint latest)
    {
        if (FindPages(plane) is not { } pages)
            return default;
        for (var i = 0; i < users.Length; i++)
        {
            var page = pages.Find(PageLayout.Page(users.Span[i]));
            if (page == null)
                continue;
            var at = page + PageLayout.Slot(users.Span[i]);
            for (var old = Volatile.Read(ref *at); Pulse.Second(old) > latest;)
            {
                var seen = Interlocked.CompareExchange(ref *at, words.Span[i], old);
                if (seen == old)
                    break;
                old = seen;
            }
        }

        return default;
    }

    /// <inheritdoc/>
    public ValueTask ReadAsync(Plane plane, ReadOnlyMemory<uint> users, Memory<uint> words)
    {
        Read(plane, users.Span, words.Span);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<int>> PagesAsync(Plane plane) => new(FindPages(plane)?.Pages ?? []);

    /// <inheritdoc/>
    public ValueTask<ReadOnlyMemory<uint>> ReadPageAsync(Plane plane, int page, Memory<uint> scratch) =>
        new(FindPages(plane)?.UsedView(page) ?? default);

    /// <inheritdoc/>
    public unsafe ValueTask EraseAsync(Plane plane, uint user)
    {
        if (FindPages(plane) is not { } pages)
            return default;
        var page = pages.Find(PageLayout.Page(user));
        if (page == null)
            return default;
        var at = page + PageLayout.Slot(user);
        if (Interlocked.Exchange(ref *at, Pulse.Never) != Pulse.Never)
            pages.CountErased(at);
        return default;
    }

    /// <inheritdoc/>
    public virtual void Keep(Plane plane, ReadOnlySpan<uint> users)
    {
    }

    /// <inheritdoc/>
    public bool IsInUse(Plane plane) => FindPages(plane) is not null;

    /// <inheritdoc/>
    public virtual ValueTask KeptAsync() => default;

    /// <summary>One exchange; see <see cref="IPlaneStore.ExchangeAsync(Plane, uint, uint)"/>.</summary>
    public unsafe uint Exchange(Plane plane, uint user, uint word)
    {
        var pages = PagesOf(plane);
        var page = pages.FindOrMake(PageLayout.Page(user));
        return page == null ? Pulse.Refused : ExchangeAt(pages, page + PageLayout.Slot(user), word);
    }

    /// <summary>
    /// A batch of exchanges; see <see cref="IPlaneStore.ExchangeAsync(Plane, ReadOnlyMemory{uint}, ReadOnlyMemory{uint}, Memory{uint})"/>.
    /// </summary>
    [SkipLocalsInit]
    public unsafe void Exchange(Plane plane, ReadOnlySpan<uint> users, ReadOnlySpan<uint> words, Span<uint> old)
    {
        if (words.Length != users.Length || old.Length != users.Length)
            throw new ArgumentException("Users, words and old words are of one length.");
        var pages = PagesOf(plane);
        var ahead = stackalloc nint[Ahead];
        for (var i = 0; i < users.Length && i < Ahead; i++)
            ahead[i] = Touch(pages, users[i]);
        for (var i = 0; i < users.Length; i++)
        {
            ref var next = ref ahead[i & (Ahead - 1)];
            var at = (uint*)next;
            if (i + Ahead < users.Length)
                next = Touch(pages, users[i + Ahead]);
            old[i] = at == null ? Pulse.Refused : ExchangeAt(pages, at, words[i]);
        }
    }

    /// <summary>Reads a batch; see <see cref="IPlaneStore.ReadAsync"/>.</summary>
    public unsafe void Read(Plane plane, ReadOnlySpan<uint> users, Span<uint> words)
    {
        if (FindPages(plane) is not { } pages)
        {
            words[..users.Length].Clear();
            return;
        }

        for (var i = 0; i < users.Length; i++)
        {
            var page = pages.Find(PageLayout.Page(users[i]));
            words[i] = page == null ? Pulse.Never : Volatile.Read(ref page[PageLayout.Slot(users[i])]);
        }
    }

    /// <summary>Reads one word.</summary>
    public unsafe uint Read(Plane plane, uint user)
    {
        var pages = FindPages(plane);
        var page = pages is null ? null : pages.Find(PageLayout.Page(user));
        return page == null ? Pulse.Never : Volatile.Read(ref page[PageLayout.Slot(user)]);
    }

    /// <summary>
    /// Returns a page to load saved words into, created if necessary; empty if the budget has no room. Before start only.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal unsafe Span<uint> PageForLoading(Plane plane, int page)
    {
        var at = PagesOf(plane).FindOrMake(page);
        return at == null ? default : new Span<uint>(at, PageLayout.Slots);
    }

    /// <summary>Announces that an existing page will be loaded with more than half of its words in use.</summary>
    internal void ExpectFilled(Plane plane, int page) => PagesOf(plane).ExpectFilled(page);

    /// <summary>The live words of a page; empty if there is none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal unsafe ReadOnlySpan<uint> View(Plane plane, int page)
    {
        var at = PagesOf(plane).Find(page);
        return at == null ? default : new ReadOnlySpan<uint>(at, PageLayout.Slots);
    }

    /// <summary>The pages of a plane, ascending.</summary>
    internal int[] Pages(Plane plane) => PagesOf(plane).Pages;

    /// <summary>Counts the nonzero words of a loaded page. Before start only, once per page.</summary>
    internal void CountLoaded(Plane plane, int page, int registered) => PagesOf(plane).CountLoaded(page, registered);

    /// <summary>Adds the metrics of users and pages.</summary>
    public void Observe(AglowMetrics metrics)
    {
        metrics.Gauge("aglow.users.registered", "Users ever seen.", () => Registered);
        metrics.Gauge("aglow.pages", "Pages of words in memory, 255 KiB each.", () => Budget.Taken);
        metrics.Gauge("aglow.pages.budget", "The most pages of words.", () => Budget.Pages);
    }

    /// <summary>Frees the memory. No thread may use this any more.</summary>
    public virtual ValueTask DisposeAsync()
    {
        foreach (var plane in Planes.All)
            FindPages(plane)?.Dispose();
        GC.SuppressFinalize(this);
        return default;
    }

    private NativePages PagesOf(Plane plane) => plane == Plane.Pulse ? _pulse : FindPages(plane) ?? Make(plane);

    private NativePages? FindPages(Plane plane) => plane switch
    {
        Plane.Pulse => _pulse,
        Plane.Activity => _activity,
        _ => Volatile.Read(ref _kinds[(int)plane]),
    };

    private NativePages Make(Plane plane)
    {
        lock (_gate)
        {
            if (_kinds[(int)plane] is null)
                Volatile.Write(ref _kinds[(int)plane], new NativePages(Budget));
            return _kinds[(int)plane]!;
        }
    }

    // Prefetches a user's word and returns its address; null if there is no room for its page.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static unsafe nint Touch(NativePages pages, uint user)
    {
        var page = pages.Find(PageLayout.Page(user));
        if (page == null)
            page = pages.FindOrMake(PageLayout.Page(user));
        if (page == null)
            return 0;
        var at = page + PageLayout.Slot(user);
        if (Sse.IsSupported)
            Sse.Prefetch0(at);
        return (nint)at;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static unsafe uint ExchangeAt(NativePages pages, uint* at, uint word)
    {
        var old = Volatile.Read(ref *at);
        while (Pulse.Supersedes(word, old) && word != old)
        {
            var seen = Interlocked.CompareExchange(ref *at, word, old);
            if (seen == old)
            {
                if (old == Pulse.Never)
                    pages.CountRegistered(at);
                break;
            }

            old = seen;
        }

        return old;
    }
}
