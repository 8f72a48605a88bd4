using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Storage;

namespace Aglow.Users;

/// <summary>A user as the directory keeps it. Times are seconds since 1970-01-01 UTC.</summary>
/// <param name="Number">From 2^31 up, never given again.</param>
/// <param name="Name">The unique name: what POST /users gave, or the key of a first heartbeat. 1 to 128 bytes.</param>
/// <param name="DisplayName">What people see; null where none was given.</param>
/// <param name="CreatedAt">When the user was registered.</param>
/// <param name="UpdatedAt">When the row last changed.</param>
public sealed record DirectoryUser(uint Number, string Name, string? DisplayName, long CreatedAt, long UpdatedAt);

/// <summary>A page of search results, and where the next one begins: null when there is none.</summary>
public sealed record DirectoryPage(IReadOnlyList<DirectoryUser> Users, string? Next);

/// <summary>What changed in a shared directory since it was last told of, by whichever node.</summary>
/// <param name="RegisteredFrom">Numbers from this one on are new.</param>
/// <param name="Next">One more than the highest number handed out.</param>
/// <param name="Deleted">Users who are gone, with the names that are nobody's now.</param>
/// <param name="Statuses">Manual statuses as they are now; <see cref="ManualStatus.Auto"/>: taken back.</param>
/// <param name="Visibilities">What users show as it is now; <see cref="Visibility.Default"/>: taken back.</param>
/// <param name="IsComplete">
/// Whether <paramref name="Statuses"/> and <paramref name="Visibilities"/> are all there are, and deletions may have gone unheard: the first time, and after so long an outage that nothing
/// says what changed in it.
/// </param>
public sealed record DirectoryChanges(
    uint RegisteredFrom,
    uint Next,
    IReadOnlyList<KeyValuePair<uint, string>> Deleted,
    IReadOnlyList<KeyValuePair<uint, ManualStatus>> Statuses,
    IReadOnlyList<KeyValuePair<uint, Visibility>> Visibilities,
    bool IsComplete);

/// <summary>
/// Who the users are: names and numbers, saved subscriptions, manual statuses, and what they show to whom. Rare, explicit facts, apart from the words.
/// </summary>
/// <remarks>
/// The contract of every backend. Whatever changes something completes when it is durable (fsync), or throws
/// <see cref="StoreUnavailableException"/> and changed nothing. Any number of callers at once. Names are compared byte by byte
/// ("Bob" and "bob" are two users); search folds case. Callers have checked names (<see cref="UserId.IsKey"/>).
/// </remarks>
public interface IUserDirectory : IAsyncDisposable
{
    /// <summary>
    /// One more than the highest number handed out so far; <see cref="UserId.FirstDirectoryNumber"/> where none was. Read on the
    /// heartbeat path: costs a field read.
    /// </summary>
    uint NextNumber { get; }

    /// <summary>Registers a user under a new name. Null where the name is taken.</summary>
    ValueTask<DirectoryUser?> CreateAsync(string name, string? displayName);

    /// <summary>
    /// The numbers of these keys, registering those that have none: the first heartbeats of keys. <paramref name="numbers"/> receives
    /// them in the same order; a key named twice gets one number. Returns how many were new.
    /// </summary>
    ValueTask<int> RegisterAsync(IReadOnlyList<string> keys, Memory<uint> numbers);

    /// <summary>The numbers of these keys, in the same order; 0 for a key nobody registered (no directory number is 0).</summary>
    ValueTask FindNumbersAsync(IReadOnlyList<string> keys, Memory<uint> numbers);

    /// <summary>The names of these numbers, in the same order; null where the directory has none.</summary>
    ValueTask FindNamesAsync(ReadOnlyMemory<uint> numbers, Memory<string?> names);

    /// <summary>The user with this number, or null.</summary>
    ValueTask<DirectoryUser?> FindAsync(uint number);

    /// <summary>
    /// Removes a user's row, subscriptions both ways, manual status, visibility, and approvals and blocks both ways, and remembers a directory number as
    /// deleted so that it is never given again. Returns whether there was anything to remove.
    /// </summary>
    ValueTask<bool> DeleteAsync(uint number);

    /// <summary>Directory numbers that were deleted: their words are <see cref="Pulse.Gone"/>, also after a crash between the two.</summary>
    ValueTask<IReadOnlyList<uint>> DeletedNumbersAsync();

    /// <summary>
    /// Users whose name or display name holds <paramref name="query"/>, case-insensitive: anywhere in it from 3 characters (Unicode scalars), its beginning
    /// below; an empty query lists all by name. Names that begin with the query come first. <paramref name="cursor"/> is a <see cref="DirectoryPage.Next"/>;
    /// throws <see cref="FormatException"/> where it is not one of ours. A page may hold fewer than <paramref name="limit"/>, even none, and not be the
    /// last, where it has cost enough: only <see cref="DirectoryPage.Next"/> says so.
    /// </summary>
    ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor);

    /// <summary>Whom this user follows, ascending.</summary>
    ValueTask<uint[]> SubscriptionsAsync(uint follower);

    /// <summary>
    /// Adds to (or, with <paramref name="follow"/> false, removes from) whom this user follows; those already there (or not) are fine. Returns the
    /// list after it, or null and nothing changed where it would hold more than <paramref name="limit"/>.
    /// </summary>
    ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit);

    /// <summary>Sets a user's manual status; <see cref="ManualStatus.Auto"/> removes it.</summary>
    ValueTask SetManualStatusAsync(uint number, ManualStatus status);

    /// <summary>All manual statuses there are.</summary>
    ValueTask<IReadOnlyList<KeyValuePair<uint, ManualStatus>>> ManualStatusesAsync();

    /// <summary>Sets what a user shows of themself; what is null stays as it is.</summary>
    ValueTask SetVisibilityAsync(uint number, OnlineVisibility? online, LastSeenVisibility? lastSeen);

    /// <summary>
    /// Adds to (or takes away from) those who stand to a user in a relation; those already there (or not) are fine. Returns them after it, ascending, or null and nothing
    /// changed where they would be more than <paramref name="limit"/>.
    /// </summary>
    ValueTask<uint[]?> RelateAsync(uint number, Relation relation, IReadOnlyList<uint> others, bool add, int limit);

    /// <summary>All that users show other than everything to everyone.</summary>
    ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync();

    /// <summary>
    /// Who follows a user, and was neither approved nor blocked by them: ascending, from the number <paramref name="from"/> on, <paramref name="limit"/> at most.
    /// </summary>
    ValueTask<uint[]> WaitingAsync(uint number, uint from, int limit);

    /// <summary>
    /// Whether other nodes change it, too. Then <see cref="Changed"/> tells of every change, this node's own included, in the order they were made in, and
    /// what changes a status or a visibility completes after that was told.
    /// </summary>
    bool IsShared => false;

    /// <summary>
    /// Tells what changed, at once where a notification comes and within 10 s where it is lost; also when nothing did, at least that often. One call at a
    /// time; handlers return at once. Only where <see cref="IsShared"/>.
    /// </summary>
    event Action<DirectoryChanges>? Changed
    {
        add { }
        remove { }
    }

    /// <summary>Completes when everything changed before this call was told by <see cref="Changed"/>. Callers at once share one look.</summary>
    ValueTask CatchUpAsync() => default;

    /// <summary>Adds what this directory can tell to the metrics.</summary>
    void Observe(AglowMetrics metrics)
    {
    }
}
