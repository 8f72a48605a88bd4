namespace Aglow.Tests;

/// <summary>A store that can be away: then nothing is read or written.</summary>
internal sealed class FlakyPlaneStore(IPlaneStore store) : IPlaneStore
{
    /// <summary>Whether every call fails.</summary>
    public bool IsAway { get; set; }

    public bool IsKeepBacklogged => store.IsKeepBacklogged;

    public ValueTask<uint> ExchangeAsync(Plane plane, uint user, uint word)
    {
        ThrowIfAway();
        return store.ExchangeAsync(plane, user, word);
    }

    public ValueTask ExchangeAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, Memory<uint> old)
    {
        ThrowIfAway();
        return store.ExchangeAsync(plane, users, words, old);
    }

    public ValueTask ReadAsync(Plane plane, ReadOnlyMemory<uint> users, Memory<uint> words)
    {
        ThrowIfAway();
        return store.ReadAsync(plane, users, words);
    }

    public ValueTask<IReadOnlyList<int>> PagesAsync(Plane plane)
    {
        ThrowIfAway();
        return store.PagesAsync(plane);
    }

    public ValueTask<ReadOnlyMemory<uint>> ReadPageAsync(Plane plane, int page, Memory<uint> scratch)
    {
        ThrowIfAway();
        return store.ReadPageAsync(plane, page, scratch);
    }

    public ValueTask EraseAsync(Plane plane, uint user, uint word)
    {
        ThrowIfAway();
        return store.EraseAsync(plane, user, word);
    }

    public void Keep(Plane plane, ReadOnlySpan<uint> users) => store.Keep(plane, users);

    public ValueTask KeptAsync()
    {
        ThrowIfAway();
        return store.KeptAsync();
    }

    public ValueTask DisposeAsync() => store.DisposeAsync();

    private void ThrowIfAway()
    {
        if (IsAway)
            throw new StoreUnavailableException("The store is away.");
    }
}
