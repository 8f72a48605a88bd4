namespace Aglow.Tests;

/// <summary>
/// The memory store with simulated faults: pages can be away. It can also claim to be remote, because the engine treats a remote store
/// differently.
/// </summary>
internal sealed class RiggedStore(bool isRemote) : IPlaneStore
{
    private readonly MemoryPlaneStore _store = new(new PageBudget(1024));

    /// <summary>Which pages cannot be reached.</summary>
    public Predicate<int> IsAway { get; set; } = static _ => false;

    /// <summary>Which pages can be read but not written.</summary>
    public Predicate<int> IsReadOnly { get; set; } = static _ => false;

    /// <summary>Whether some device named its kind.</summary>
    public bool HasKinds { get; set; }

    /// <summary>Whether the store reports which pages are away. Otherwise only a read finds that.</summary>
    public bool SaysWhatIsAway { get; set; }

    public long Outages { get; set; }

    /// <summary>Whether writes fail in a way that the contract of stores does not know.</summary>
    public bool IsBroken { get; set; }

    /// <summary>For how long no word could be written.</summary>
    public TimeSpan UnwritableSince { get; set; }

    public bool IsSomeUnwritable => UnwritableSince > TimeSpan.Zero;

    public TimeSpan UnwritableFor(int page) => UnwritableSince;

    /// <summary>The number of words in each batch that was written, in order.</summary>
    public List<int> Batches { get; } = [];

    /// <summary>Called when a page has been read, before it is returned.</summary>
    public Action OnPageRead { get; set; } = static () => { };

    public bool IsRemote => isRemote;

    public bool IsInUse(Plane plane) => plane <= Plane.Activity || HasKinds;

    public bool IsKeepBacklogged => false;

    public bool IsPageAway(int page) => SaysWhatIsAway && IsAway(page);

    public bool IsReachable => !(SaysWhatIsAway && IsAway(0) && IsAway(1));

    public uint Read(uint user, Plane plane = Plane.Pulse) => _store.Read(plane, user);

    public async ValueTask<uint> ExchangeAsync(Plane plane, uint user, uint word)
    {
        var old = new uint[1];
        await ExchangeAsync(plane, new[] { user }, new[] { word }, old);
        return old[0];
    }

    public ValueTask ExchangeAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, Memory<uint> old)
    {
        if (users.IsEmpty)
            return default;
        if (IsBroken)
            throw new InvalidOperationException("broken");
        Batches.Add(users.Length);
        var away = false;
        for (var i = 0; i < users.Length; i++)
        {
            var user = users.Span[i];
            var lost = IsAway(PageLayout.Page(user)) || IsReadOnly(PageLayout.Page(user));
            old.Span[i] = lost ? Pulse.Refused : _store.Exchange(plane, user, words.Span[i]);
            away |= lost;
        }

        return away ? throw new StoreUnavailableException("away") : default;
    }

    public ValueTask ReplaceAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, uint latest) =>
        _store.ReplaceAsync(plane, users, words, latest);

    public ValueTask ReadAsync(Plane plane, ReadOnlyMemory<uint> users, Memory<uint> words)
    {
        foreach (var user in users.Span)
        {
            if (IsAway(PageLayout.Page(user)))
                throw new StoreUnavailableException("away");
        }

        return _store.ReadAsync(plane, users, words);
    }

    public ValueTask<IReadOnlyList<int>> PagesAsync(Plane plane) => _store.PagesAsync(plane);

    public async ValueTask<ReadOnlyMemory<uint>> ReadPageAsync(Plane plane, int page, Memory<uint> scratch)
    {
        if (IsAway(page))
            throw new StoreUnavailableException("away");
        var words = await _store.ReadPageAsync(plane, page, scratch);
        if (isRemote)
            words.CopyTo(scratch);
        OnPageRead();
        if (!isRemote)
            return words;
        return scratch[..words.Length];
    }

    public ValueTask EraseAsync(Plane plane, uint user) => _store.EraseAsync(plane, user);

    public void Keep(Plane plane, ReadOnlySpan<uint> users)
    {
    }

    public ValueTask KeptAsync() => default;

    public ValueTask DisposeAsync() => _store.DisposeAsync();
}
