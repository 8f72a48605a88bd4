namespace Aglow.Changes;

/// <summary>
/// What nodes that share a store keep of the feed: the records, what they have told of each user, who owns which work, and what consumers
/// store.
/// </summary>
/// <remarks>
/// Stands between <see cref="SharedChanges"/> and a store. Every write of the feed names the token of its owner, and the store refuses it
/// where another node owns the feed by then. A write is whole: records, what they tell and how far the feed is come together.
/// Any call may throw <see cref="Storage.StoreUnavailableException"/>. Threading: any thread.
/// </remarks>
public interface IChangeLog
{
    /// <summary>The name of the work whose owner records the feed.</summary>
    const string Feed = "feed";

    /// <summary>Where consumers keep their places.</summary>
    IConsumerStore Consumers { get; }

    /// <summary>
    /// Runs work on one node at a time: while this node owns the name. The work gets a token that no other owner ever had, and a
    /// cancellation when this node may no longer own it. When it ends before <paramref name="stop"/>, this node tries to own it again.
    /// Another node takes over within some 7 s of this one's death, and within a second of its end.
    /// </summary>
    Task RunOwnedAsync(string name, Func<string, CancellationToken, Task> run, CancellationToken stop);

    /// <summary>How far the feed is; null: it has not begun.</summary>
    ValueTask<ChangeLogHead?> HeadAsync();

    /// <summary>Entries whose last number is above this one, the oldest first.</summary>
    ValueTask<IReadOnlyList<ChangeLogEntry>> ReadAsync(long after, int most);

    /// <summary>What was told of the users of a page: a bit each, in <paramref name="groups"/>.</summary>
    ValueTask ReadToldAsync(int page, Memory<ulong> groups);

    /// <summary>What else was told of users, by index: <see cref="ToldFacts.Value"/>.</summary>
    ValueTask<IReadOnlyDictionary<uint, long>> ReadFactsAsync();

    /// <summary>Begins a feed: these users are taken as told online, by page, and these facts as told. False: another node owns the
    /// feed.</summary>
    ValueTask<bool> BeginAsync(
        string token, ChangeLogHead head, IReadOnlyList<(int Page, ulong[] Groups)> told, IReadOnlyDictionary<uint, long> facts);

    /// <summary>Writes, where this node still owns the feed and it is as far as the writer believes. False: it is not.</summary>
    ValueTask<bool> AppendAsync(string token, ChangeLogWrite write);
}

/// <summary>How far the feed is.</summary>
/// <param name="Generation">Random for each feed.</param>
/// <param name="Last">The number of the newest record. Numbers rise, and have gaps where the owner changed.</param>
/// <param name="Trimmed">Records up to this number are gone.</param>
/// <param name="Bytes">What those left weigh.</param>
/// <param name="AsOf">The second up to which the owner has recorded what it heard.</param>
/// <param name="Recorded">Records since the feed began.</param>
/// <param name="Kept">Records that are left.</param>
/// <param name="BeganAt">The second at which it began.</param>
public sealed record ChangeLogHead(
    uint Generation, long Last, long Trimmed, long Bytes, uint AsOf, long Recorded, long Kept, uint BeganAt);

/// <summary>Some records that were written together.</summary>
/// <param name="Last">The number of the last one.</param>
/// <param name="At">The second at which they were recorded.</param>
/// <param name="Records">The records, packed; empty: changes may be missing here.</param>
public readonly record struct ChangeLogEntry(long Last, uint At, ReadOnlyMemory<byte> Records);

/// <summary>One write of the owner.</summary>
/// <param name="Before">How far the feed is, as the writer believes.</param>
/// <param name="After">How far it is then.</param>
/// <param name="Entries">New entries.</param>
/// <param name="Flips">Users of whom another online state is told now.</param>
/// <param name="Facts">Other facts that are told now; 0 removes.</param>
/// <param name="KeepSeconds">For how long the store keeps a feed that nobody writes to.</param>
public sealed record ChangeLogWrite(
    ChangeLogHead Before,
    ChangeLogHead After,
    IReadOnlyList<ChangeLogEntry> Entries,
    IReadOnlyList<(uint User, bool Online)> Flips,
    IReadOnlyList<(uint User, long Value)> Facts,
    int KeepSeconds);
