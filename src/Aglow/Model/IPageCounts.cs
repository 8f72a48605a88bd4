using Aglow.Queries;

namespace Aglow.Model;

/// <summary>What one page contributes to the number of online users.</summary>
/// <param name="Online">How many of its users were shown online.</param>
/// <param name="At">The second at which they were counted; 0: never.</param>
public readonly record struct PageCount(uint Online, uint At);

/// <summary>
/// The counts of pages that nodes share, one row for each definition. A node that counts a page stores the count and its time, so that no
/// other node counts the page soon.
/// </summary>
/// <remarks>
/// <see cref="OnlineCounts"/> uses it over a remote store. A lost row is only counted again. Each row has a claim: the second at which a
/// node last announced that it counts, so that only one node counts. Any thread. If the store is away, methods throw
/// <see cref="StoreUnavailableException"/>.
/// </remarks>
public interface IPageCounts
{
    /// <summary>Reads the counts of pages from 0 on into <paramref name="counts"/>; returns the second of the claim, 0 for none.</summary>
    ValueTask<uint> ReadAsync(Definition definition, Memory<PageCount> counts);

    /// <summary>
    /// Claims the counting at this second; returns the old claim. Only the node that gets back an old enough second counts.
    /// </summary>
    ValueTask<uint> ClaimAsync(Definition definition, uint now);

    /// <summary>Writes counts of pages, and the claim (0: done).</summary>
    ValueTask WriteAsync(Definition definition, IReadOnlyList<(int Page, PageCount Count)> counts, uint claim);
}
