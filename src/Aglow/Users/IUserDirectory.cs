namespace Aglow.Users;

/// <summary>What changed in a shared directory, on any node, since the last report. Every list holds current values.</summary>
/// <param name="RegisteredFrom">Indexes from this one on are new.</param>
/// <param name="Next">One more than the highest index given.</param>
/// <param name="Claims">All claims of each user with a changed claim; empty: all were removed.</param>
/// <param name="Visibilities">What users show; <see cref="Visibility.Default"/>: settings were removed.</param>
/// <param name="Accounts">Accounts that were disabled, enabled, revoked or deleted.</param>
/// <param name="IsComplete">
/// Whether the lists hold everything: the first time, and after an outage too long to know what changed.
/// </param>
public sealed record DirectoryChanges(
    uint RegisteredFrom,
    uint Next,
    IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>> Claims,
    IReadOnlyList<KeyValuePair<uint, Visibility>> Visibilities,
    IReadOnlyList<KeyValuePair<uint, Account>> Accounts,
    bool IsComplete);

/// <summary>
/// Stores users: IDs and their indexes, profiles, accounts, saved subscriptions, claims and visibility. These change rarely and are
/// separate from words.
/// </summary>
/// <remarks>
/// The contract of every backend. A call that changes something completes when the change is durable (fsync). Otherwise it throws
/// <see cref="StoreUnavailableException"/> and changes nothing. Any number of callers at once.
/// <para>
/// An ID below 2^31 is its own index and needs no row. Every other ID has an index from 2^31 up and keeps it forever, even after a
/// deletion. So blocks, approvals and subscriptions that others saved, and watches, stay valid if the ID comes back. Indexes never leave
/// the server. IDs are compared byte by byte; callers validate them first (<see cref="UserId.IsKey"/>).
/// </para>
/// </remarks>
public interface IUserDirectory : IAsyncDisposable
{
    /// <summary>
    /// One more than the highest index given so far; <see cref="UserId.FirstDirectoryNumber"/> if there is none. Costs a field read.
    /// </summary>
    uint NextIndex { get; }

    /// <summary>16 secret bytes, created with the directory and the same on all nodes: the key of <see cref="CursorSeal"/>.</summary>
    ReadOnlyMemory<byte> CursorSecret { get; }

    /// <summary>
    /// The same directory, for reads on behalf of a user who acts: a heartbeat, or a call about oneself. It shares no caches with other
    /// reads. So after a restart, another caller's read takes equally long whether the user has come back or not.
    /// </summary>
    IUserDirectory OfActs => this;

    /// <summary>
    /// The indexes of these IDs, in the same order. An ID without an index gets one; an ID named twice gets one index. Returns how many are
    /// new.
    /// </summary>
    ValueTask<int> RegisterAsync(IReadOnlyList<string> ids, Memory<uint> indexes);

    /// <summary>
    /// Gives no index below this one from now on, because stored words or changes have such indexes: the directory was restored from an
    /// older state. Otherwise a new ID would get the words of somebody else.
    /// </summary>
    /// <exception cref="StoreUnavailableException">This directory cannot do that.</exception>
    ValueTask ReserveAsync(uint next) => next <= NextIndex
        ? default
        : throw new StoreUnavailableException("The user directory is older than the words: restore both of about the same time.");

    /// <summary>The indexes of these IDs, in the same order; 0 for an ID that has none.</summary>
    ValueTask FindIndexesAsync(IReadOnlyList<string> ids, Memory<uint> indexes);

    /// <summary>The IDs of these indexes, in the same order; null below 2^31 and for an index never given.</summary>
    ValueTask FindIdsAsync(ReadOnlyMemory<uint> indexes, Memory<string?> ids);

    /// <summary>The profile of a user, or null.</summary>
    ValueTask<Profile?> FindProfileAsync(uint user);

    /// <summary>
    /// Writes profiles, all or none. A user may be in the list once; users in it may swap names. With <paramref name="create"/>, a user who
    /// has a profile is a conflict.
    /// </summary>
    ValueTask<ProfileResult> WriteProfilesAsync(IReadOnlyList<ProfileWrite> writes, bool create);

    /// <summary>
    /// Finds users whose user name or display name begins with <paramref name="query"/> or, from 3 characters (Unicode scalars) on,
    /// contains it.
    /// </summary>
    /// <remarks>
    /// Case, accents and forms of the same character do not matter (<see cref="NameFolding.ForSearch"/>). Names that begin with the query
    /// come first; an empty query lists all user names. <paramref name="cursor"/> is a <see cref="DirectoryPage.Next"/>; a foreign cursor
    /// throws <see cref="FormatException"/>. A page may hold fewer users than <paramref name="limit"/>, even none. Only
    /// <see cref="DirectoryPage.Next"/> says whether it is the last.
    /// </remarks>
    ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor);

    /// <summary>
    /// Deletes a user's profile, own subscriptions, claims, visibility, approvals and blocks, and enables the user. Keeps what others saved
    /// about the user. Notes in the <see cref="Account"/> that the deletion at <paramref name="at"/> (seconds since 1970-01-01 UTC) has
    /// ended.
    /// </summary>
    ValueTask DeleteAsync(uint user, long at);

    /// <summary>
    /// Notes in the <see cref="Account"/> that a deletion begins, and changes nothing else. <see cref="DeleteAsync"/> follows.
    /// </summary>
    ValueTask NoteDeletionAsync(uint user, long at);

    /// <summary>Moves deletions that are more than a minute later than this second (Unix time) back to it.</summary>
    ValueTask HoldDeletionsAsync(long now);

    /// <summary>
    /// Notes in a user's <see cref="Account"/> that tokens issued at or before <paramref name="at"/> (seconds since 1970-01-01 UTC) are
    /// refused.
    /// </summary>
    ValueTask RevokeAsync(uint user, long at);

    /// <summary>Disables or enables a user.</summary>
    /// <param name="user">The index.</param>
    /// <param name="disabled">Whether to disable the user.</param>
    /// <param name="shownLastSeen">The last-seen second to show while the user is disabled (seconds of store time).</param>
    ValueTask SetDisabledAsync(uint user, bool disabled, uint shownLastSeen);

    /// <summary>All accounts with a decision (disabled, revoked, deleted).</summary>
    ValueTask<IReadOnlyList<KeyValuePair<uint, Account>>> AccountsAsync();

    /// <summary>The users whom this user follows, ascending.</summary>
    ValueTask<uint[]> SubscriptionsAsync(uint follower);

    /// <summary>
    /// Adds users to those whom this user follows; with <paramref name="follow"/> false, removes them. Users already in (or not in) the
    /// list are fine. Returns the new list. If it would exceed <paramref name="limit"/>, returns null and changes nothing.
    /// </summary>
    ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit);

    /// <summary>
    /// Sets the claim of one source of a user, and deletes the user's claims that ended by <paramref name="now"/> (store time). Returns
    /// false and changes nothing if the user has <see cref="Claim.MaxSources"/> other claims; quiet hours do not count, and a claim of
    /// <see cref="Claim.UserSource"/> is always set.
    /// </summary>
    ValueTask<bool> SetClaimAsync(uint user, Claim claim, uint now);

    /// <summary>Removes the claim of one source of a user, if there is one.</summary>
    ValueTask RemoveClaimAsync(uint user, string source);

    /// <summary>All claims, by user; some may have ended.</summary>
    ValueTask<IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>>> ClaimsAsync();

    /// <summary>Sets what a user shows; null values do not change.</summary>
    ValueTask SetVisibilityAsync(uint user, OnlineVisibility? online, LastSeenVisibility? lastSeen);

    /// <summary>
    /// Adds users to those whom a user approved or blocked, or removes them. Users already in (or not in) the list are fine. Returns the
    /// new list, ascending. If it would exceed <paramref name="limit"/>, returns null and changes nothing.
    /// </summary>
    ValueTask<uint[]?> RelateAsync(uint user, Relation relation, IReadOnlyList<uint> others, bool add, int limit);

    /// <summary>The visibility of all users who do not show everything to everyone.</summary>
    ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync();

    /// <summary>
    /// The followers of a user whom the user neither approved nor blocked: ascending, from the index <paramref name="from"/> on, at most
    /// <paramref name="limit"/>.
    /// </summary>
    ValueTask<uint[]> WaitingAsync(uint user, uint from, int limit);

    /// <summary>
    /// Whether other nodes change the directory too. Then <see cref="Changed"/> reports every change in order, even this node's own. A call
    /// that changes a claim, visibility or account completes after that report.
    /// </summary>
    bool IsShared => false;

    /// <summary>
    /// Reports changes: at once after a notification, within 10 s if it was lost. Also called without changes at least that often. One call
    /// at a time; handlers return at once. Only if <see cref="IsShared"/>.
    /// </summary>
    event Action<DirectoryChanges>? Changed
    {
        add { }
        remove { }
    }

    /// <summary>
    /// Completes when <see cref="Changed"/> has reported all changes made before this call. Concurrent callers share one read.
    /// </summary>
    ValueTask CatchUpAsync() => default;

    /// <summary>Adds this directory's metrics.</summary>
    void Observe(AglowMetrics metrics)
    {
    }
}

/// <summary>For calls that need a directory.</summary>
internal static class RequiredDirectory
{
    /// <summary>Returns the directory; throws if this deployment has none.</summary>
    /// <exception cref="NotInThisDeploymentException">This deployment has no user directory.</exception>
    public static IUserDirectory Required(this IUserDirectory? directory) => directory
        ?? throw new NotInThisDeploymentException("This deployment has no user directory: user IDs are integers from 0 to 2147483647.");
}
