using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Storage;

namespace Aglow.Users;

/// <summary>What changed in a shared directory since it last told, on any node. Every list holds the values as they are now.</summary>
/// <param name="RegisteredFrom">Indexes from this one on are new.</param>
/// <param name="Next">One more than the highest index given.</param>
/// <param name="Claims">All claims of each user of whom one changed; none: all were removed.</param>
/// <param name="Visibilities">What users show; <see cref="Visibility.Default"/>: taken back.</param>
/// <param name="Accounts">Accounts that were disabled, enabled, revoked or deleted.</param>
/// <param name="IsComplete">
/// Whether the lists are all there is: the first time, and after an outage so long that nothing says what changed in it.
/// </param>
public sealed record DirectoryChanges(
    uint RegisteredFrom,
    uint Next,
    IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>> Claims,
    IReadOnlyList<KeyValuePair<uint, Visibility>> Visibilities,
    IReadOnlyList<KeyValuePair<uint, Account>> Accounts,
    bool IsComplete);

/// <summary>
/// Who the users are: IDs and their indexes, profiles, accounts, saved subscriptions, claims, and what users show to whom.
/// Rare, explicit facts, apart from the words.
/// </summary>
/// <remarks>
/// The contract of every backend. A call that changes something completes when it is durable (fsync), or throws
/// <see cref="StoreUnavailableException"/> and changed nothing. Any number of callers at once.
/// <para>
/// An ID below 2^31 is its own index and needs no row. Every other ID has an index from 2^31 up, and keeps it for good: a deletion
/// erases all facts, and the index stays the ID's, so what others said of the ID (blocks, approvals, subscriptions) and what watches it
/// need not be bound again when the ID comes back. Indexes never leave the server. IDs are compared byte by byte; callers have checked
/// them (<see cref="UserId.IsKey"/>).
/// </para>
/// </remarks>
public interface IUserDirectory : IAsyncDisposable
{
    /// <summary>
    /// One more than the highest index given so far; <see cref="UserId.FirstDirectoryNumber"/> where none was. Costs a field read.
    /// </summary>
    uint NextIndex { get; }

    /// <summary>16 secret bytes, made with the directory and the same on all nodes: what <see cref="CursorSeal"/> encrypts with.</summary>
    ReadOnlyMemory<byte> CursorSecret { get; }

    /// <summary>
    /// The indexes of these IDs, in the same order; those that have none get one. An ID named twice gets one index. Returns how many are
    /// new.
    /// </summary>
    ValueTask<int> RegisterAsync(IReadOnlyList<string> ids, Memory<uint> indexes);

    /// <summary>The indexes of these IDs, in the same order; 0 for an ID that has none.</summary>
    ValueTask FindIndexesAsync(IReadOnlyList<string> ids, Memory<uint> indexes);

    /// <summary>The IDs of these indexes, in the same order; null below 2^31, and where an index was never given.</summary>
    ValueTask FindIdsAsync(ReadOnlyMemory<uint> indexes, Memory<string?> ids);

    /// <summary>The profile of a user, or null.</summary>
    ValueTask<Profile?> FindProfileAsync(uint user);

    /// <summary>
    /// Writes profiles, all or none. A user is in the list once; names may be swapped within it. With <paramref name="create"/>, a user
    /// who has a profile is a conflict.
    /// </summary>
    ValueTask<ProfileResult> WriteProfilesAsync(IReadOnlyList<ProfileWrite> writes, bool create);

    /// <summary>
    /// Users whose user name or display name holds <paramref name="query"/>: its beginning; from 3 characters (Unicode scalars) on, also
    /// elsewhere in it. Case, accents and forms of the same character do not matter (<see cref="NameFolding.ForSearch"/>). Names that
    /// begin with the query come first; an empty query lists all user names. <paramref name="cursor"/> is a
    /// <see cref="DirectoryPage.Next"/>; throws <see cref="FormatException"/> where it is not one of ours. A page may hold fewer than
    /// <paramref name="limit"/>, even none, and not be the last: only <see cref="DirectoryPage.Next"/> says so.
    /// </summary>
    ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor);

    /// <summary>
    /// Erases a user's profile, own subscriptions, claims, visibility, approvals and blocks, and enables them. What others said of
    /// them stays. Notes a deletion at <paramref name="at"/> (seconds since 1970-01-01 UTC) in their <see cref="Account"/>.
    /// </summary>
    ValueTask DeleteAsync(uint user, long at);

    /// <summary>
    /// Notes in a user's <see cref="Account"/> that all tokens issued until <paramref name="at"/> (seconds since 1970-01-01 UTC) are
    /// refused.
    /// </summary>
    ValueTask RevokeAsync(uint user, long at);

    /// <summary>Disables or enables a user.</summary>
    /// <param name="user">The index.</param>
    /// <param name="disabled">Whether they are disabled.</param>
    /// <param name="shownLastSeen">The last-seen second to show while they are (seconds of store time).</param>
    ValueTask SetDisabledAsync(uint user, bool disabled, uint shownLastSeen);

    /// <summary>All accounts about which something was decided.</summary>
    ValueTask<IReadOnlyList<KeyValuePair<uint, Account>>> AccountsAsync();

    /// <summary>Whom this user follows, ascending.</summary>
    ValueTask<uint[]> SubscriptionsAsync(uint follower);

    /// <summary>
    /// Adds to (or, with <paramref name="follow"/> false, removes from) whom this user follows; those already there (or not) are fine.
    /// Returns the list after it, or null and nothing changed where it would hold more than <paramref name="limit"/>.
    /// </summary>
    ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit);

    /// <summary>
    /// Sets the claim of one source of a user, and forgets those of theirs that have ended by <paramref name="now"/> (store time). False,
    /// and nothing changed, where they have <see cref="Claim.MaxSources"/> others; the quiet hours are not counted.
    /// </summary>
    ValueTask<bool> SetClaimAsync(uint user, Claim claim, uint now);

    /// <summary>Removes the claim of one source of a user, where there is one.</summary>
    ValueTask RemoveClaimAsync(uint user, string source);

    /// <summary>All claims there are, by user; some may have ended.</summary>
    ValueTask<IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>>> ClaimsAsync();

    /// <summary>Sets what a user shows of themself; what is null stays as it is.</summary>
    ValueTask SetVisibilityAsync(uint user, OnlineVisibility? online, LastSeenVisibility? lastSeen);

    /// <summary>
    /// Adds to (or removes from) those whom a user approved or blocked; those already there (or not) are fine. Returns the list after it,
    /// ascending, or null and nothing changed where it would hold more than <paramref name="limit"/>.
    /// </summary>
    ValueTask<uint[]?> RelateAsync(uint user, Relation relation, IReadOnlyList<uint> others, bool add, int limit);

    /// <summary>All that users show other than everything to everyone.</summary>
    ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync();

    /// <summary>
    /// Who follows a user, and was neither approved nor blocked by them: ascending, from the index <paramref name="from"/> on,
    /// <paramref name="limit"/> at most.
    /// </summary>
    ValueTask<uint[]> WaitingAsync(uint user, uint from, int limit);

    /// <summary>
    /// Whether other nodes change it, too. Then <see cref="Changed"/> tells of every change, this node's own included, in the order they
    /// were made in, and a call that changes a claim, a visibility or an account completes after that was told.
    /// </summary>
    bool IsShared => false;

    /// <summary>
    /// Tells what changed, at once where a notification comes and within 10 s where it is lost; also when nothing did, at least that often.
    /// One call at a time; handlers return at once. Only where <see cref="IsShared"/>.
    /// </summary>
    event Action<DirectoryChanges>? Changed
    {
        add { }
        remove { }
    }

    /// <summary>
    /// Completes when everything changed before this call was told by <see cref="Changed"/>. Callers at once share one read.
    /// </summary>
    ValueTask CatchUpAsync() => default;

    /// <summary>Adds what this directory can tell to the metrics.</summary>
    void Observe(AglowMetrics metrics)
    {
    }
}
