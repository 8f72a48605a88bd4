namespace Aglow.Demo;

/// <summary>
/// A store in front of the real one: holds the demo's words in memory, and passes all other words on.
/// </summary>
/// <remarks>
/// <code>
///   index below 4294901760 ─► the real store: memory, journal, images
///   index from there up    ─► words of its own, never saved
/// </code>
/// So no file ever holds a word of the demo. Without <c>--demo</c> this class is not used. A batch without any of the demo's people is
/// passed on unchanged. Threading: any method from any thread, like its two stores.
/// </remarks>
internal sealed class DemoPlaneStore(MemoryPlaneStore behind) : IPlaneStore
{
    /// <summary>The words of the demo's people. At most 256 pages per plane, with a few KiB in use in each.</summary>
    public MemoryPlaneStore Words { get; } = new(new PageBudget(512));

    public uint EarlierRunEnd => behind.EarlierRunEnd;

    public bool IsInUse(Plane plane) => behind.IsInUse(plane) || Words.IsInUse(plane);

    public bool IsWritable => behind.IsWritable;

    public bool IsKeepBacklogged => behind.IsKeepBacklogged;

    public ValueTask<uint> ExchangeAsync(Plane plane, uint user, uint word) => StoreOf(user).ExchangeAsync(plane, user, word);

    public ValueTask ExchangeAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, Memory<uint> old) =>
        HasOurs(users.Span) ? ExchangeMixedAsync(plane, users, words, old) : behind.ExchangeAsync(plane, users, words, old);

    public async ValueTask ReplaceAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, uint latest)
    {
        await behind.ReplaceAsync(plane, users, words, latest);
        // users without words here do not change
        await Words.ReplaceAsync(plane, users, words, latest);
    }

    public ValueTask ReadAsync(Plane plane, ReadOnlyMemory<uint> users, Memory<uint> words)
    {
        var read = behind.ReadAsync(plane, users, words);
        return HasOurs(users.Span) ? ReadOursAsync(read, plane, users, words) : read;
    }

    public async ValueTask<IReadOnlyList<int>> PagesAsync(Plane plane)
    {
        var (theirs, ours) = (await behind.PagesAsync(plane), await Words.PagesAsync(plane));
        return ours.Count == 0 ? theirs : [.. theirs, .. ours];
    }

    public ValueTask<ReadOnlyMemory<uint>> ReadPageAsync(Plane plane, int page, Memory<uint> scratch) =>
        (page >= DemoPeople.FirstPage ? Words : behind).ReadPageAsync(plane, page, scratch);

    public ValueTask EraseAsync(Plane plane, uint user) => StoreOf(user).EraseAsync(plane, user);

    public void Keep(Plane plane, ReadOnlySpan<uint> users)
    {
        if (!HasOurs(users))
        {
            behind.Keep(plane, users);
            return;
        }

        uint[] theirs = [.. users.ToArray().Where(static user => !DemoPeople.IsNumber(user))];
        if (theirs.Length > 0)
            behind.Keep(plane, theirs);
    }

    public ValueTask KeptAsync() => behind.KeptAsync();

    public async ValueTask DisposeAsync()
    {
        try
        {
            await behind.DisposeAsync();
        }
        finally
        {
            await Words.DisposeAsync();
        }
    }

    private MemoryPlaneStore StoreOf(uint user) => DemoPeople.IsNumber(user) ? Words : behind;

    private static bool HasOurs(ReadOnlySpan<uint> users) => users.ContainsAnyInRange(UserId.FirstDemoNumber, uint.MaxValue);

    private async ValueTask ExchangeMixedAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, Memory<uint> old)
    {
        for (var i = 0; i < users.Length; i++)
        {
            var was = await ExchangeAsync(plane, users.Span[i], words.Span[i]);
            old.Span[i] = was;
        }
    }

    private async ValueTask ReadOursAsync(ValueTask read, Plane plane, ReadOnlyMemory<uint> users, Memory<uint> words)
    {
        await read;
        for (var i = 0; i < users.Length; i++)
        {
            if (DemoPeople.IsNumber(users.Span[i]))
                words.Span[i] = Words.Read(plane, users.Span[i]);
        }
    }
}
