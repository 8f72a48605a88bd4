using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

/// <summary>
/// The changes that <see cref="SqliteUserDirectory"/> makes in <c>users.db</c>. Each method is a command for <see cref="SqliteWriter"/> and
/// runs on its thread.
/// </summary>
/// <remarks>
/// The next index is the only state in memory. A command that is rolled back restores it. Other threads see it only after
/// <see cref="Committed"/>.
/// </remarks>
internal sealed class UserCommands : IDisposable
{
    private const string DropProfile = "DELETE FROM profile WHERE user = ?1";
    private const string DropNames = "DELETE FROM profile_text WHERE rowid = ?1";

    private readonly SqliteConnection _connection;
    private readonly TimeProvider _time;
    private readonly SqliteStatements _sql;
    private uint _next;
    private volatile uint _published;

    public UserCommands(SqliteConnection connection, TimeProvider time)
    {
        _connection = connection;
        _time = time;
        _sql = new SqliteStatements(connection);
        _next = Math.Max((uint)SqliteFile.QueryInt64(connection, "SELECT max(user) FROM id") + 1, UserId.FirstDirectoryNumber);
        _published = _next;
    }

    /// <summary>The statements of a deletion. Each finds the user by a key, so the cost depends only on that user's rows.</summary>
    internal static IReadOnlyList<string> Deletion { get; } =
    [
        DropProfile,
        DropNames,
        "DELETE FROM subscription WHERE follower = ?1",
        "DELETE FROM claim WHERE user = ?1",
        "DELETE FROM visibility WHERE user = ?1",
        "DELETE FROM relation WHERE user = ?1",
    ];

    /// <inheritdoc cref="IUserDirectory.NextIndex"/>
    public uint NextIndex => _published;

    /// <summary>Set once, before the first command.</summary>
    public Action<Action> OnUndo { get; set; } = _ => { };

    /// <summary>Called after a commit: publishes the new indexes.</summary>
    public void Committed() => _published = _next;

    public int Register(IReadOnlyList<string> ids, Span<uint> indexes)
    {
        var first = _next;
        OnUndo(() => _next = first);
        var insert = _sql["INSERT INTO id VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING"];
        for (var i = 0; i < ids.Count; i++)
        {
            // most of these IDs are new, so inserting first saves a search; the highest index stands for "no user"
            if (_next != UserId.Nobody && IsInserted(insert, _next, ids[i]))
                indexes[i] = _next++;
            else if (IndexOf(ids[i]) is var known and not 0)
                indexes[i] = known;
            else
                throw new StoreUnavailableException("The user directory has given all of its 2,147,483,647 indexes.");
        }

        return (int)(_next - first);
    }

    private bool IsInserted(SqliteStatement insert, uint index, string id)
    {
        insert.Bind(1, index).Bind(2, id).Run();
        return SQLitePCL.raw.sqlite3_changes(_connection.Handle) != 0;
    }

    private uint IndexOf(string id) => (uint)(_sql["SELECT user FROM id WHERE id = ?1"].Bind(1, id).First() ?? 0);

    /// <summary>Writes profiles, all or none.</summary>
    /// <exception cref="ProfileConflictException">A write is refused. Nothing is written then.</exception>
    public ProfileResult WriteProfiles(IReadOnlyList<ProfileWrite> writes, bool create)
    {
        var before = new (string? UserName, string? DisplayName, long? CreatedAt)[writes.Count];
        for (var i = 0; i < writes.Count; i++)
        {
            var profile = _sql["SELECT user_name, display_name, created_at FROM profile WHERE user = ?1"].Bind(1, writes[i].User);
            if (profile.Step())
                before[i] = (profile.Text(0), profile.Text(1), profile.Int64(2));
            profile.Reset();
            if (before[i].CreatedAt is null)
                continue;
            if (create)
                throw new ProfileConflictException(ProfileConflict.UserTaken, i);
            // users in this list may swap their names
            if (writes[i].Parts.HasFlag(ProfileParts.UserName))
                _sql["UPDATE profile SET name_key = NULL WHERE user = ?1"].Bind(1, writes[i].User).Run();
        }

        var now = _time.GetUtcNow().ToUnixTimeSeconds();
        var replaced = 0;
        for (var i = 0; i < writes.Count; i++)
        {
            var (user, parts) = (writes[i].User, writes[i].Parts);
            var userName = parts.HasFlag(ProfileParts.UserName) ? writes[i].UserName : before[i].UserName;
            var displayName = parts.HasFlag(ProfileParts.DisplayName) ? writes[i].DisplayName : before[i].DisplayName;
            if (before[i].CreatedAt is not null)
            {
                replaced++;
                _sql[DropNames].Bind(1, user).Run();
            }

            if (userName is null && displayName is null)
            {
                _sql[DropProfile].Bind(1, user).Run();
                continue;
            }

            var key = userName is null ? null : NameFolding.ForUniqueness(userName);
            if (key is not null && OwnerOf(key) is { } owner && owner != user)
                throw new ProfileConflictException(ProfileConflict.NameTaken, i);
            var userSearch = userName is null ? null : NameFolding.ForSearch(userName);
            var displaySearch = displayName is null ? null : NameFolding.ForSearch(displayName);
            // Two plain statements. With INSERT OR REPLACE, SQLite prepares to undo it halfway, and a batch cost the square of its pages.
            var write = _sql[before[i].CreatedAt is null
                ? "INSERT INTO profile VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                : """
                UPDATE profile SET user_name = ?2, display_name = ?3, name_key = ?4, user_search = ?5, display_search = ?6,
                    created_at = ?7, updated_at = ?8
                WHERE user = ?1
                """];
            write.Bind(1, user).Bind(2, userName).Bind(3, displayName).Bind(4, key).Bind(5, userSearch).Bind(6, displaySearch)
                .Bind(7, before[i].CreatedAt ?? now).Bind(8, now).Run();
            _sql["INSERT INTO profile_text (rowid, names) VALUES (?1, ?2)"].Bind(1, user).Bind(2, $"{userSearch}\n{displaySearch}").Run();
        }

        return new ProfileResult(writes.Count - replaced, replaced);
    }

    public void Delete(uint user, long at)
    {
        foreach (var sql in Deletion)
            _sql[sql].Bind(1, user).Run();
        NoteDeletion(user, at, hasEnded: true);
    }

    // The column has the second of the deletion, negative until the deletion has ended. Earlier versions wrote 1: at revoked_at.
    public void NoteDeletion(uint user, long at, bool hasEnded) => _sql[
        """
        INSERT INTO account VALUES (?1, 0, 0, ?2, ?2 * ?3)
        ON CONFLICT (user) DO UPDATE
            SET disabled = iif(?3 < 0, disabled, 0), shown_last_seen = iif(?3 < 0, shown_last_seen, 0),
                deleted = max(revoked_at, ?2) * ?3, revoked_at = max(revoked_at, ?2)
        """].Bind(1, user).Bind(2, at).Bind(3, hasEnded ? 1 : -1).Run();

    public void HoldDeletions(long now) => _sql[
        """
        UPDATE account SET deleted = sign(deleted) * ?1 WHERE iif(deleted = 1, revoked_at, abs(deleted)) > ?1 + 60
        """].Bind(1, now).Run();

    public void Revoke(uint user, long at) => _sql[
        """
        INSERT INTO account VALUES (?1, 0, 0, ?2, 0)
        ON CONFLICT (user) DO UPDATE SET deleted = iif(deleted = 1, revoked_at, deleted), revoked_at = max(revoked_at, ?2)
        """].Bind(1, user).Bind(2, at).Run();

    public void SetDisabled(uint user, bool disabled, uint shownLastSeen) => _sql[
        "INSERT INTO account VALUES (?1, ?2, ?3, 0, 0) ON CONFLICT (user) DO UPDATE SET disabled = ?2, shown_last_seen = ?3"]
        .Bind(1, user).Bind(2, disabled ? 1 : 0).Bind(3, disabled ? shownLastSeen : 0).Run();

    public uint[]? Follow(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) => ChangeList(
        _sql["SELECT followed FROM subscription WHERE follower = ?1"].Bind(1, follower),
        _sql[follow
            ? "INSERT OR IGNORE INTO subscription VALUES (?1, ?2)"
            : "DELETE FROM subscription WHERE follower = ?1 AND followed = ?2"].Bind(1, follower),
        followed,
        follow,
        limit);

    public bool SetClaim(uint user, Claim claim, uint now)
    {
        _sql["DELETE FROM claim WHERE user = ?1 AND until <> 0 AND until <= ?2"].Bind(1, user).Bind(2, now).Run();
        // a person can always set a status of their own
        if (claim.Source is not (Claim.QuietHoursSource or Claim.UserSource) && CountOthers(user, claim.Source) >= Claim.MaxSources)
            return false;
        _sql["INSERT OR REPLACE INTO claim VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"]
            .Bind(1, user).Bind(2, claim.Source).Bind(3, (long)claim.Status).Bind(4, claim.SavedText).Bind(5, claim.Details?.Emoji)
            .Bind(6, claim.Until).Bind(7, claim.Priority).Bind(8, claim.SetAt).Bind(9, claim.ShownLastSeen).Run();
        return true;
    }

    public void RemoveClaim(uint user, string source) =>
        _sql["DELETE FROM claim WHERE user = ?1 AND source = ?2"].Bind(1, user).Bind(2, source).Run();

    public void SetVisibility(uint user, OnlineVisibility? online, LastSeenVisibility? lastSeen)
    {
        _sql[
            """
            INSERT INTO visibility VALUES (?1, ifnull(?2, 0), ifnull(?3, 0))
            ON CONFLICT (user) DO UPDATE SET online = ifnull(?2, online), last_seen = ifnull(?3, last_seen)
            """].Bind(1, user).Bind(2, (long?)online).Bind(3, (long?)lastSeen).Run();
        _sql["DELETE FROM visibility WHERE user = ?1 AND online = 0 AND last_seen = 0"].Bind(1, user).Run();
    }

    public uint[]? Relate(uint user, Relation relation, IReadOnlyList<uint> others, bool add, int limit) => ChangeList(
        _sql["SELECT other FROM relation WHERE user = ?1 AND kind = ?3"].Bind(1, user).Bind(3, (long)relation),
        _sql[add
            ? "INSERT OR IGNORE INTO relation VALUES (?1, ?3, ?2)"
            : "DELETE FROM relation WHERE user = ?1 AND kind = ?3 AND other = ?2"].Bind(1, user).Bind(3, (long)relation),
        others,
        add,
        limit);

    public void LimitPages(long pages) => SqliteFile.Execute(_connection, $"PRAGMA max_page_count = {(pages == 0 ? 1 : pages)}");

    public void Dispose() => _sql.Dispose();

    // Adds users to a list of users, or removes them; null if there would be too many. A change takes the user as ?2.
    private static uint[]? ChangeList(SqliteStatement read, SqliteStatement change, IReadOnlyList<uint> users, bool add, int limit)
    {
        var list = new SortedSet<uint>();
        while (read.Step())
            list.Add((uint)read.Int64(0));
        var changed = users.Where(user => add ? list.Add(user) : list.Remove(user)).ToList();
        if (add && list.Count > limit)
            return null;
        foreach (var user in changed)
            change.Bind(2, user).Run();
        return [.. list];
    }

    private long? CountOthers(uint user, string source) =>
        _sql[$"SELECT count(*) FROM claim WHERE user = ?1 AND source NOT IN (?2, '{Claim.QuietHoursSource}')"]
            .Bind(1, user).Bind(2, source).First();

    private uint? OwnerOf(string nameKey) => (uint?)_sql["SELECT user FROM profile WHERE name_key = ?1"].Bind(1, nameKey).First();
}

/// <summary>Profiles cannot be written. Rolls the command back.</summary>
internal sealed class ProfileConflictException(ProfileConflict conflict, int at) : Exception
{
    public ProfileResult Result { get; } = new(0, 0, conflict, at);
}
