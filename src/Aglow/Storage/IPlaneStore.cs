using Aglow.Heartbeats;

namespace Aglow.Storage;

/// <summary>
/// Stores words. <c>HeartbeatWriter</c> writes them; <c>StatusReader</c> and <c>Sweep</c> read them. The words are in memory or in a
/// cluster.
/// </summary>
/// <remarks>
/// The contract of every backend. One abstract test suite runs on all of them.
/// <list type="bullet">
/// <item>A write returns the old word. So the write that brings a user online knows it, without another read and without a leader.</item>
/// <item>A word never goes back in time: if <see cref="Pulse.Supersedes"/> says no, the store keeps its word and returns it.</item>
/// <item>Any number of threads may call any method at once. Exchanges of one user have one order.</item>
/// <item>If the store cannot be reached, methods throw <see cref="StoreUnavailableException"/>. After a batch that was written in part, old
/// words that are unknown are <see cref="Pulse.Refused"/>.</item>
/// <item>If the store repeats a write because its answer was lost, the old word is lost too. It then returns <see cref="Pulse.Never"/>, so
/// that the caller publishes an arrival and all nodes check the user.</item>
/// <item><see cref="UserId.Nobody"/> has no word. A read of it is <see cref="Pulse.Never"/> and needs no page, so callers need not filter
/// IDs without an index, and a lost page never fails them. It is never written.</item>
/// </list>
/// In memory, the ValueTasks are already complete, so the hot path neither waits nor allocates.
/// </remarks>
public interface IPlaneStore : IAsyncDisposable
{
    /// <summary>Writes one word; returns the old word, or <see cref="Pulse.Refused"/> if there is no room for its page.</summary>
    ValueTask<uint> ExchangeAsync(Plane plane, uint user, uint word);

    /// <summary>
    /// Writes a batch in order; a user named twice is written twice. <paramref name="old"/> receives what
    /// <see cref="ExchangeAsync(Plane, uint, uint)"/> would return. All three have the same length.
    /// </summary>
    ValueTask ExchangeAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, Memory<uint> old);

    /// <summary>
    /// Writes words only where the stored second is later than <paramref name="latest"/>, because a clock that was ahead wrote it. Other
    /// words do not change.
    /// </summary>
    ValueTask ReplaceAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, uint latest);

    /// <summary>Reads a batch of words in the same order; <see cref="Pulse.Never"/> for a user never seen. Creates no pages.</summary>
    ValueTask ReadAsync(Plane plane, ReadOnlyMemory<uint> users, Memory<uint> words);

    /// <summary>The existing pages of a plane, ascending. The list is new after each change; reading it costs nothing.</summary>
    ValueTask<IReadOnlyList<int>> PagesAsync(Plane plane);

    /// <summary>
    /// The words of one page from slot 0 on, in whole groups of 64. At most 65,280 words: those after the last written group are left out.
    /// Empty if the page does not exist. The result is a view of live memory, in which words change during the read and each word is whole.
    /// Or it is part of <paramref name="scratch"/>, which has room for a page.
    /// </summary>
    ValueTask<ReadOnlyMemory<uint>> ReadPageAsync(Plane plane, int page, Memory<uint> scratch);

    /// <summary>Writes <see cref="Pulse.Never"/> whatever stands there: for the deletion of a user.</summary>
    ValueTask EraseAsync(Plane plane, uint user);

    /// <summary>
    /// Requests that the current words of these users become durable; returns at once. They are durable at most 50 ms later, sooner if a
    /// caller waits. A backend whose writes are durable anyway does nothing.
    /// </summary>
    void Keep(Plane plane, ReadOnlySpan<uint> users);

    /// <summary>
    /// Completes when everything that <see cref="Keep"/> requested before is durable. Throws <see cref="StoreUnavailableException"/> after
    /// 2 s; the store still retries in the background.
    /// </summary>
    ValueTask KeptAsync();

    /// <summary>
    /// Completes when a replica in step has the words of these users, so that the loss of one server does not undo them; at once if no
    /// replica is in step. Throws <see cref="StoreUnavailableException"/> if the replica does not confirm; the words stay written. A store
    /// of one node does nothing here, because <see cref="KeptAsync"/> is enough.
    /// </summary>
    /// <param name="users">The users.</param>
    /// <param name="isLeave">Whether they left; else they came online.</param>
    ValueTask ReplicatedAsync(ReadOnlyMemory<uint> users, bool isLeave) => default;

    /// <summary>
    /// The second at which the previous run ended, if renewals do not become durable one by one; else 0. The first heartbeat of a user
    /// after a restart must be persisted, even if it is a renewal. Without it, no durable word says that the user sent one in this run.
    /// </summary>
    uint EarlierRunEnd => 0;

    /// <summary>
    /// Whether words are across a network. Then renewals wait for a batch (<see cref="Renewals"/>), a page that was read is a copy, and the
    /// sweep limits its traffic.
    /// </summary>
    bool IsRemote => false;

    /// <summary>
    /// Whether a plane has words, as far as is known without a call. Clients that name no kind of device cause no cost for kinds.
    /// </summary>
    bool IsInUse(Plane plane) => plane <= Plane.Activity;

    /// <summary>Notes that another node wrote words of these users on planes of kinds, which this node may not know to be in use.</summary>
    void Expect(ReadOnlySpan<uint> users)
    {
    }

    /// <summary>Counts of pages that nodes share; null if one node has all words and counts its beliefs.</summary>
    IPageCounts? PageCounts => null;

    /// <summary>Whether words can be read and written now, as far as is known without a call.</summary>
    bool IsReachable => true;

    /// <summary>Whether words of this page cannot be read or written now, as far as is known without a call.</summary>
    bool IsPageAway(int page) => false;

    /// <summary>
    /// Whether words of at least one page can be written now, as far as is known without a call. A store may answer reads and refuse
    /// writes.
    /// </summary>
    bool IsWritable => true;

    /// <summary>Whether the last write to some page failed. Costs next to nothing.</summary>
    bool IsSomeUnwritable => false;

    /// <summary>For how long words of this page could not be written; zero if they can be, as far as is known without a call.</summary>
    TimeSpan UnwritableFor(int page) => TimeSpan.Zero;

    /// <summary>Whether the store returns words of this page but refuses to write them, also for other nodes.</summary>
    bool IsPageRefused(int page) => false;

    /// <summary>A number that changes whenever <see cref="IsPageAway"/> changes for a page.</summary>
    long Outages => 0;

    /// <summary>
    /// Whether so many words wait to become durable that writers of many words should await <see cref="KeptAsync"/> first.
    /// </summary>
    bool IsKeepBacklogged { get; }
}

/// <summary>Reads of single words, for callers that are not on a hot path.</summary>
internal static class PlaneReads
{
    public static async ValueTask<uint> ReadOneAsync(this IPlaneStore store, Plane plane, uint user)
    {
        uint[] one = [user, 0];
        await store.ReadAsync(plane, one.AsMemory(0, 1), one.AsMemory(1, 1));
        return one[1];
    }
}

/// <summary>A store of words or the directory cannot be reached or cannot write now. Callers answer 503 with Retry-After.</summary>
public sealed class StoreUnavailableException : Exception
{
    /// <summary>With a message of one line: what is away and why.</summary>
    public StoreUnavailableException(string message)
        : base(message)
    {
    }

    /// <summary>With a message of one line and its cause.</summary>
    public StoreUnavailableException(string message, Exception inner)
        : base(message, inner)
    {
    }

    /// <summary>Whether this node hands its users over, so that clients should go to another node at once.</summary>
    public bool IsHandedOver { get; init; }
}

/// <summary>A data folder cannot be used: foreign, corrupt, newer, in use or full. The message is one line for the operator.</summary>
public sealed class DataFolderException : Exception
{
    /// <summary>With a message of one line: the file, and what to do.</summary>
    public DataFolderException(string message)
        : base(message)
    {
    }

    /// <summary>With a message of one line and its cause.</summary>
    public DataFolderException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
