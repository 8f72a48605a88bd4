namespace Aglow.Changes.Shared;

/// <summary>
/// The part of the feed that nodes keep in their shared store: records, the state reported of each user, owners of work, and consumers'
/// documents.
/// </summary>
/// <remarks>
/// It connects <see cref="SharedChanges"/> with a store. Every write of the feed names the token of its owner, and the store refuses it if
/// another node owns the feed by then. A write is atomic: records, the state that they report, and the extent of the feed change together.
/// Any call may throw <see cref="Storage.StoreUnavailableException"/>. Threading: any thread.
/// </remarks>
public interface IChangeLog
{
    /// <summary>The name of the work whose owner records the feed.</summary>
    const string Feed = "feed";

    /// <summary>The store in which consumers keep their places.</summary>
    IConsumerStore Consumers { get; }

    /// <summary>
    /// Runs work on one node at a time, while that node owns the name. The work gets a token that no other owner ever had. It is canceled
    /// when this node may no longer own the name. If it ends before <paramref name="stop"/>, this node tries to own the name again. Another
    /// node takes over within about 6 s of this node's death, or within a second of its shutdown.
    /// </summary>
    Task RunOwnedAsync(string name, Func<string, CancellationToken, Task> run, CancellationToken stop);

    /// <summary>The extent of the feed; null: it has not begun.</summary>
    ValueTask<ChangeLogHead?> HeadAsync();

    /// <summary>Entries whose last number is above this one, oldest first.</summary>
    ValueTask<IReadOnlyList<ChangeLogEntry>> ReadAsync(long after, int most);

    /// <summary>The reported online states of a page's users: a bit for each user, in <paramref name="groups"/>.</summary>
    ValueTask ReadReportedAsync(int page, Memory<ulong> groups);

    /// <summary>Other facts that were reported of users, by index: <see cref="ReportedFacts.Value"/>.</summary>
    ValueTask<IReadOnlyDictionary<uint, long>> ReadFactsAsync();

    /// <summary>
    /// Begins a feed. These users count as reported online, by page, and these facts as reported. False: another node owns the feed.
    /// </summary>
    ValueTask<bool> BeginAsync(
        string token, ChangeLogHead head, IReadOnlyList<(int Page, ulong[] Groups)> reported, IReadOnlyDictionary<uint, long> facts);

    /// <summary>
    /// Writes if this node still owns the feed and the feed's extent is what the writer expects. Otherwise returns false.
    /// </summary>
    ValueTask<bool> AppendAsync(string token, ChangeLogWrite write);
}

/// <summary>The extent of the feed.</summary>
/// <param name="Generation">Random for each feed.</param>
/// <param name="Last">The number of the newest record. Numbers increase, with a gap at each change of owner.</param>
/// <param name="Trimmed">Records up to this number are deleted.</param>
/// <param name="Bytes">The size of the remaining records.</param>
/// <param name="AsOf">The second up to which the owner has recorded the hints that it received.</param>
/// <param name="Recorded">The number of records since the feed began.</param>
/// <param name="Kept">The number of remaining records.</param>
/// <param name="BeganAt">The second at which it began.</param>
public sealed record ChangeLogHead(
    uint Generation, long Last, long Trimmed, long Bytes, uint AsOf, long Recorded, long Kept, uint BeganAt);

/// <summary>Records that were written together.</summary>
/// <param name="Last">The number of the last record.</param>
/// <param name="At">The second at which they were recorded.</param>
/// <param name="Records">The records, packed; empty: changes may be missing here.</param>
public readonly record struct ChangeLogEntry(long Last, uint At, ReadOnlyMemory<byte> Records);

/// <summary>One write by the owner.</summary>
/// <param name="Before">The extent of the feed that the writer expects.</param>
/// <param name="After">The extent after the write.</param>
/// <param name="Entries">New entries.</param>
/// <param name="Flips">Users whose reported online state changes.</param>
/// <param name="Facts">Other facts that are now reported; 0 removes a fact.</param>
/// <param name="KeepSeconds">How long the store keeps a feed without writes.</param>
public sealed record ChangeLogWrite(
    ChangeLogHead Before,
    ChangeLogHead After,
    IReadOnlyList<ChangeLogEntry> Entries,
    IReadOnlyList<(uint User, bool Online)> Flips,
    IReadOnlyList<(uint User, long Value)> Facts,
    int KeepSeconds);
