using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Watching;

namespace Aglow.Storage;

/// <summary>
/// Where the words are. Stands between <c>HeartbeatWriter</c> (writes), <c>StatusReader</c> and
/// <c>Sweep</c> (reads), and memory or a cluster.
/// </summary>
/// <remarks>
/// The contract of every backend; one abstract test suite runs on all of them.
/// <list type="bullet">
/// <item>The write returns the old word, so that the one write that made a user come online knows it, without a second read
/// and without a leader.</item>
/// <item>A word never goes back in time: where <see cref="Pulse.Supersedes"/> says no, the store keeps what it has and
/// returns that.</item>
/// <item>Any number of threads may call anything at once. Exchanges on one user are in one order.</item>
/// <item>A backend that cannot be reached throws <see cref="StoreUnavailableException"/>. Of a batch that was written in part, the old words then are
/// <see cref="Pulse.Refused"/> where nothing is known.</item>
/// <item>Where a write had to be repeated since its answer was lost, the old word is lost as well; <see cref="Pulse.Never"/> is returned, so that the
/// caller takes it for an arrival and tells everybody to look.</item>
/// </list>
/// Methods return ValueTasks that are complete at once in memory, so the hot path neither waits nor allocates there.
/// </remarks>
public interface IPlaneStore : IAsyncDisposable
{
    /// <summary>Puts one word in; returns the word that stood there, or <see cref="Pulse.Refused"/> where there is no room for its page.</summary>
    ValueTask<uint> ExchangeAsync(Plane plane, uint user, uint word);

    /// <summary>
    /// Puts a batch in, in order (a user named twice is written twice). <paramref name="old"/> receives, at the same index, what
    /// <see cref="ExchangeAsync(Plane, uint, uint)"/> would have returned. All three are of one length.
    /// </summary>
    ValueTask ExchangeAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, Memory<uint> old);

    /// <summary>
    /// Puts words in where what stands there is of a second later than <paramref name="latest"/>: words that a clock wrote ahead of time. All else stays
    /// as it is.
    /// </summary>
    ValueTask ReplaceAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, uint latest);

    /// <summary>Reads a batch of words into <paramref name="words"/>, same order; <see cref="Pulse.Never"/> for who was never seen. Makes no pages.</summary>
    ValueTask ReadAsync(Plane plane, ReadOnlyMemory<uint> users, Memory<uint> words);

    /// <summary>The pages of a plane that exist now, ascending. A new list each time it changed; reading it costs nothing.</summary>
    ValueTask<IReadOnlyList<int>> PagesAsync(Plane plane);

    /// <summary>
    /// The words of one page from slot 0 on, in whole groups of 64: 65,280 of them, or fewer where all beyond were never written, or none where
    /// the page does not exist. Either a view of live memory (words change while it is read; each is whole) or part of <paramref name="scratch"/>,
    /// which has room for a page.
    /// </summary>
    ValueTask<ReadOnlyMemory<uint>> ReadPageAsync(Plane plane, int page, Memory<uint> scratch);

    /// <summary>
    /// Overwrites words whatever stands there, even back in time: for deletion (<see cref="Pulse.Never"/> or
    /// <see cref="Pulse.Gone"/>) only.
    /// </summary>
    ValueTask EraseAsync(Plane plane, uint user, uint word);

    /// <summary>
    /// Asks that the present words of these users reach durable storage; returns at once. They are there 50 ms later at most
    /// (sooner where somebody waits). A backend that makes every write durable by itself does nothing.
    /// </summary>
    void Keep(Plane plane, ReadOnlySpan<uint> users);

    /// <summary>
    /// Completes when all that was asked for by <see cref="Keep"/> before this call is durable. Throws
    /// <see cref="StoreUnavailableException"/> where it cannot be within 2 s; it is tried again in the background all the same.
    /// </summary>
    ValueTask KeptAsync();

    /// <summary>
    /// The second at which the run before this one ended, where renewals are not made durable each; else 0. The first heartbeat over a word that is no
    /// later must be kept though it be a renewal: without it, nothing durable says that the user was heard in this run.
    /// </summary>
    uint EarlierRunEnd => 0;

    /// <summary>
    /// Whether words are across a network: then renewals wait for a batch (<see cref="Renewals"/>), a page read is a copy of a moment ago, and
    /// the sweep goes easy on the link.
    /// </summary>
    bool IsRemote => false;

    /// <summary>Whether anything was ever written on a plane, as far as is known without trying: who names no kind of device pays nothing for kinds.</summary>
    bool IsInUse(Plane plane) => plane <= Plane.Activity;

    /// <summary>Another node wrote words of these users on planes of kinds, which this one may not know to be in use.</summary>
    void Expect(ReadOnlySpan<uint> users)
    {
    }

    /// <summary>Counts of pages that nodes share; null where one node has all the words, and counts by what it believes.</summary>
    IPageCounts? PageCounts => null;

    /// <summary>Whether words can be read and written at present, as far as is known without trying.</summary>
    bool IsReachable => true;

    /// <summary>Whether words of this page cannot be read or written at present, as far as is known without trying.</summary>
    bool IsPageAway(int page) => false;

    /// <summary>
    /// Whether words of some page at least can be written at present, as far as is known without trying. A store may answer reads and refuse
    /// writes.
    /// </summary>
    bool IsWritable => true;

    /// <summary>Whether words of some page could not be written, and have not been since: costs next to nothing.</summary>
    bool IsSomeUnwritable => false;

    /// <summary>How long words of this page could not be written; zero: they can be, as far as is known without trying.</summary>
    TimeSpan UnwritableFor(int page) => TimeSpan.Zero;

    /// <summary>Whether words of this page can be read, and the store refuses to write them, also for other nodes.</summary>
    bool IsPageRefused(int page) => false;

    /// <summary>A number that is another whenever what <see cref="IsPageAway"/> says of some page has changed.</summary>
    long Outages => 0;

    /// <summary>
    /// Whether so much waits to be kept that writers of many words should await <see cref="KeptAsync"/> before they go on.
    /// </summary>
    bool IsKeepBacklogged { get; }
}

/// <summary>A store (words or directory) that cannot be reached or cannot write now. Callers answer 503 with Retry-After.</summary>
public sealed class StoreUnavailableException : Exception
{
    /// <summary>With one line that says what is away and why.</summary>
    public StoreUnavailableException(string message)
        : base(message)
    {
    }

    /// <summary>With one line and what caused it.</summary>
    public StoreUnavailableException(string message, Exception inner)
        : base(message, inner)
    {
    }

    /// <summary>Without words; present because exceptions have it.</summary>
    public StoreUnavailableException()
    {
    }

    /// <summary>Whether this node hands its users over: callers go to another node at once.</summary>
    public bool IsHandedOver { get; init; }
}

/// <summary>A data folder that cannot be used: foreign, corrupt, newer, in use or full. The message is one line for the operator.</summary>
public sealed class DataFolderException : Exception
{
    /// <summary>With one line that names the file and says what to do.</summary>
    public DataFolderException(string message)
        : base(message)
    {
    }

    /// <summary>With one line and what caused it.</summary>
    public DataFolderException(string message, Exception inner)
        : base(message, inner)
    {
    }

    /// <summary>Without words; present because exceptions have it.</summary>
    public DataFolderException()
    {
    }
}
