namespace Aglow.Durable;

/// <summary>The embedded store: words in memory, which a <see cref="Journal"/> makes durable.</summary>
/// <param name="budget">The most pages.</param>
/// <param name="journal">This store disposes it.</param>
internal sealed class JournaledPlaneStore(PageBudget budget, Journal journal) : MemoryPlaneStore(budget)
{
    /// <inheritdoc/>
    public override uint EarlierRunEnd => journal.EarlierRunEnd;

    /// <inheritdoc/>
    public override bool IsWritable => !journal.IsFolderLost;

    /// <inheritdoc/>
    public override bool IsKeepBacklogged => journal.IsBacklogged;

    /// <inheritdoc/>
    /// <remarks>Words of device kinds are not persisted: each device names its kind with its next heartbeat.</remarks>
    public override void Keep(Plane plane, ReadOnlySpan<uint> users)
    {
        if (plane <= Plane.Activity)
            journal.Add(plane, users);
    }

    /// <inheritdoc/>
    public override ValueTask KeptAsync() => journal.FlushedAsync();

    /// <summary>Stops the journal, so that everything is on disk, and frees the memory. No thread may use this any more.</summary>
    public override async ValueTask DisposeAsync()
    {
        try
        {
            await journal.DisposeAsync();
        }
        finally
        {
            await base.DisposeAsync();
        }
    }
}
