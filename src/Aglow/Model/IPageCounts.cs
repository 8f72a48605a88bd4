using Aglow.Queries;
using Aglow.Storage;

namespace Aglow.Model;

/// <summary>What one page adds to the number of users online.</summary>
/// <param name="Online">How many of its users were shown online.</param>
/// <param name="At">The second at which they were counted; 0: never.</param>
public readonly record struct PageCount(uint Online, uint At);

/// <summary>
/// The counts of pages that nodes share, one row for each definition. A node that counts a page writes down how many and when, so no other has to count it soon.
/// </summary>
/// <remarks>
/// Stands between <see cref="OnlineCounts"/> and a remote store. Losing rows costs nothing but counting anew. Beside the row stands a claim: the second at which a node last said that it is
/// counting, so that of any number of nodes one does. Any thread. Where the store is away: <see cref="StoreUnavailableException"/>.
/// </remarks>
public interface IPageCounts
{
    /// <summary>Reads the counts of pages from 0 on into <paramref name="counts"/>; returns the second of the claim, 0 for none.</summary>
    ValueTask<uint> ReadAsync(Definition definition, Memory<PageCount> counts);

    /// <summary>Claims the counting at this second; returns the second that stood there. Who gets one back that is long ago, and nobody else, is to count.</summary>
    ValueTask<uint> ClaimAsync(Definition definition, uint now);

    /// <summary>Writes counts of pages, and the claim (0: done).</summary>
    ValueTask WriteAsync(Definition definition, IReadOnlyList<(int Page, PageCount Count)> counts, uint claim);
}
