using Aglow.Model;
using Aglow.Sqlite;
using Aglow.Storage;
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
    private const string UnfollowAll = "DELETE FROM subscription WHERE follower = ?1";
    private const string DropClaims = "DELETE FROM claim WHERE user = ?1";
    private const string DropVisibility = "DELETE FROM visibility WHERE user = ?1";
    private const string UnrelateAll = "DELETE FROM relation WHERE user = ?1";

    private readonly SqliteConnection _connection;
    private readonly TimeProvider _time;
    private readonly List<SqliteStatement> _statements = [];
    private readonly SqliteStatement _index;
    private readonly SqliteStatement _insertId;
    private readonly SqliteStatement _profile;
    private readonly SqliteStatement _freeName;
    private readonly SqliteStatement _ownerOfName;
    private readonly SqliteStatement _addProfile;
    private readonly SqliteStatement _changeProfile;
    private readonly SqliteStatement _dropProfile;
    private readonly SqliteStatement _indexNames;
    private readonly SqliteStatement _dropNames;
    private readonly SqliteStatement _following;
    private readonly SqliteStatement _follow;
    private readonly SqliteStatement _unfollow;
    private readonly SqliteStatement _unfollowAll;
    private readonly SqliteStatement _setClaim;
    private readonly SqliteStatement _countClaims;
    private readonly SqliteStatement _dropClaim;
    private readonly SqliteStatement _dropEndedClaims;
    private readonly SqliteStatement _dropClaims;
    private readonly SqliteStatement _setVisibility;
    private readonly SqliteStatement _dropDefault;
    private readonly SqliteStatement _dropVisibility;
    private readonly SqliteStatement _related;
    private readonly SqliteStatement _relate;
    private readonly SqliteStatement _unrelate;
    private readonly SqliteStatement _unrelateAll;
    private readonly SqliteStatement _revoke;
    private readonly SqliteStatement _noteDeletion;
    private readonly SqliteStatement _disable;
    private uint _next;
    private volatile uint _published;

    public UserCommands(SqliteConnection connection, TimeProvider time)
    {
        _connection = connection;
        _time = time;
        _index = Prepare("SELECT user FROM id WHERE id = ?1");
        _insertId = Prepare("INSERT INTO id VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING");
        _profile = Prepare("SELECT user_name, display_name, created_at FROM profile WHERE user = ?1");
        _freeName = Prepare("UPDATE profile SET name_key = NULL WHERE user = ?1");
        _ownerOfName = Prepare("SELECT user FROM profile WHERE name_key = ?1");
        // Two plain statements. With INSERT OR REPLACE, SQLite prepares to undo it halfway, and a batch cost the square of its pages.
        _addProfile = Prepare("INSERT INTO profile VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
        _changeProfile = Prepare(
            """
            UPDATE profile SET user_name = ?2, display_name = ?3, name_key = ?4, user_search = ?5, display_search = ?6, created_at = ?7,
                updated_at = ?8
            WHERE user = ?1
            """);
        _dropProfile = Prepare(DropProfile);
        _indexNames = Prepare("INSERT INTO profile_text (rowid, names) VALUES (?1, ?2)");
        _dropNames = Prepare(DropNames);
        _following = Prepare("SELECT followed FROM subscription WHERE follower = ?1 ORDER BY followed");
        _follow = Prepare("INSERT OR IGNORE INTO subscription VALUES (?1, ?2)");
        _unfollow = Prepare("DELETE FROM subscription WHERE follower = ?1 AND followed = ?2");
        _unfollowAll = Prepare(UnfollowAll);
        _setClaim = Prepare("INSERT OR REPLACE INTO claim VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
        _countClaims = Prepare($"SELECT count(*) FROM claim WHERE user = ?1 AND source NOT IN (?2, '{Claim.QuietHoursSource}')");
        _dropClaim = Prepare("DELETE FROM claim WHERE user = ?1 AND source = ?2");
        _dropEndedClaims = Prepare("DELETE FROM claim WHERE user = ?1 AND until <> 0 AND until <= ?2");
        _dropClaims = Prepare(DropClaims);
        _setVisibility = Prepare(
            """
            INSERT INTO visibility VALUES (?1, ifnull(?2, 0), ifnull(?3, 0))
            ON CONFLICT (user) DO UPDATE SET online = ifnull(?2, online), last_seen = ifnull(?3, last_seen)
            """);
        _dropDefault = Prepare("DELETE FROM visibility WHERE user = ?1 AND online = 0 AND last_seen = 0");
        _dropVisibility = Prepare(DropVisibility);
        _related = Prepare("SELECT other FROM relation WHERE user = ?1 AND kind = ?2 ORDER BY other");
        _relate = Prepare("INSERT OR IGNORE INTO relation VALUES (?1, ?2, ?3)");
        _unrelate = Prepare("DELETE FROM relation WHERE user = ?1 AND kind = ?2 AND other = ?3");
        _unrelateAll = Prepare(UnrelateAll);
        _revoke = Prepare(
            """
            INSERT INTO account VALUES (?1, 0, 0, ?2, 0)
            ON CONFLICT (user) DO UPDATE SET deleted = deleted AND revoked_at > ?2, revoked_at = max(revoked_at, ?2)
            """);
        _noteDeletion = Prepare(
            """
            INSERT INTO account VALUES (?1, 0, 0, ?2, 1)
            ON CONFLICT (user) DO UPDATE SET disabled = 0, shown_last_seen = 0, deleted = 1, revoked_at = max(revoked_at, ?2)
            """);
        _disable = Prepare(
            "INSERT INTO account VALUES (?1, ?2, ?3, 0, 0) ON CONFLICT (user) DO UPDATE SET disabled = ?2, shown_last_seen = ?3");
        using var highest = new SqliteStatement(connection, "SELECT max(user) FROM id");
        highest.Step();
        _next = Math.Max((uint)highest.Int64(0) + 1, UserId.FirstDirectoryNumber);
        _published = _next;
    }

    /// <summary>The statements of a deletion. Each finds the user by a key, so the cost depends only on that user's rows.</summary>
    internal static IReadOnlyList<string> Deletion { get; } =
        [DropProfile, DropNames, UnfollowAll, DropClaims, DropVisibility, UnrelateAll];

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
        for (var i = 0; i < ids.Count; i++)
        {
            // most of these IDs are new, so inserting first saves a search; the highest index stands for "no user"
            if (_next != UserId.Nobody && IsInserted(_next, ids[i]))
                indexes[i] = _next++;
            else if (IndexOf(ids[i]) is var known and not 0)
                indexes[i] = known;
            else
                throw new StoreUnavailableException("The user directory has given all of its 2,147,483,647 indexes.");
        }

        return (int)(_next - first);
    }

    private bool IsInserted(uint index, string id)
    {
        _insertId.Bind(1, index).Bind(2, id).Run();
        return SQLitePCL.raw.sqlite3_changes(_connection.Handle) != 0;
    }

    private uint IndexOf(string id)
    {
        _index.Bind(1, id);
        var index = _index.Step() ? (uint)_index.Int64(0) : 0;
        _index.Reset();
        return index;
    }

    /// <summary>Writes profiles, all or none.</summary>
    /// <exception cref="ProfileConflictException">A write is refused. Nothing is written then.</exception>
    public ProfileResult WriteProfiles(IReadOnlyList<ProfileWrite> writes, bool create)
    {
        var before = new (string? UserName, string? DisplayName, long? CreatedAt)[writes.Count];
        for (var i = 0; i < writes.Count; i++)
        {
            _profile.Bind(1, writes[i].User);
            if (_profile.Step())
                before[i] = (_profile.Text(0), _profile.Text(1), _profile.Int64(2));
            _profile.Reset();
            if (before[i].CreatedAt is null)
                continue;
            if (create)
                throw new ProfileConflictException(ProfileConflict.UserTaken, i);
            // users in this list may swap their names
            if (writes[i].Parts.HasFlag(ProfileParts.UserName))
                _freeName.Bind(1, writes[i].User).Run();
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
                _dropNames.Bind(1, user).Run();
            }

            if (userName is null && displayName is null)
            {
                _dropProfile.Bind(1, user).Run();
                continue;
            }

            var key = userName is null ? null : NameFolding.ForUniqueness(userName);
            if (key is not null && OwnerOf(key) is { } owner && owner != user)
                throw new ProfileConflictException(ProfileConflict.NameTaken, i);
            var userSearch = userName is null ? null : NameFolding.ForSearch(userName);
            var displaySearch = displayName is null ? null : NameFolding.ForSearch(displayName);
            (before[i].CreatedAt is null ? _addProfile : _changeProfile).Bind(1, user).Bind(2, userName).Bind(3, displayName).Bind(4, key)
                .Bind(5, userSearch).Bind(6, displaySearch).Bind(7, before[i].CreatedAt ?? now).Bind(8, now).Run();
            _indexNames.Bind(1, user).Bind(2, $"{userSearch}\n{displaySearch}").Run();
        }

        return new ProfileResult(writes.Count - replaced, replaced);
    }

    public bool Delete(uint user, long at)
    {
        _dropNames.Bind(1, user).Run();
        foreach (var erase in new[] { _dropProfile, _unfollowAll, _dropClaims, _dropVisibility, _unrelateAll })
            erase.Bind(1, user).Run();
        return NoteDeletion(user, at);
    }

    public bool NoteDeletion(uint user, long at)
    {
        _noteDeletion.Bind(1, user).Bind(2, at).Run();
        return true;
    }

    public bool Revoke(uint user, long at)
    {
        _revoke.Bind(1, user).Bind(2, at).Run();
        return true;
    }

    public bool SetDisabled(uint user, bool disabled, uint shownLastSeen)
    {
        _disable.Bind(1, user).Bind(2, disabled ? 1 : 0).Bind(3, disabled ? shownLastSeen : 0).Run();
        return true;
    }

    public uint[]? Follow(uint follower, IReadOnlyList<uint> followed, bool follow, int limit)
    {
        var list = Read(_following.Bind(1, follower));
        var changed = followed.Where(user => follow ? list.Add(user) : list.Remove(user)).ToList();
        if (follow && list.Count > limit)
            return null;
        foreach (var user in changed)
            (follow ? _follow : _unfollow).Bind(1, follower).Bind(2, user).Run();
        return [.. list];
    }

    public bool SetClaim(uint user, Claim claim, uint now)
    {
        _dropEndedClaims.Bind(1, user).Bind(2, now).Run();
        if (claim.Source != Claim.QuietHoursSource && CountOthers(user, claim.Source) >= Claim.MaxSources)
            return false;
        _setClaim.Bind(1, user).Bind(2, claim.Source).Bind(3, (long)claim.Status).Bind(4, claim.SavedText).Bind(5, claim.Said?.Emoji)
            .Bind(6, claim.Until).Bind(7, claim.Priority).Bind(8, claim.SetAt).Bind(9, claim.ShownLastSeen).Run();
        return true;
    }

    public bool RemoveClaim(uint user, string source)
    {
        _dropClaim.Bind(1, user).Bind(2, source).Run();
        return true;
    }

    public bool SetVisibility(uint user, OnlineVisibility? online, LastSeenVisibility? lastSeen)
    {
        _setVisibility.Bind(1, user).Bind(2, (long?)online).Bind(3, (long?)lastSeen).Run();
        _dropDefault.Bind(1, user).Run();
        return true;
    }

    public uint[]? Relate(uint user, Relation relation, IReadOnlyList<uint> others, bool add, int limit)
    {
        var list = Read(_related.Bind(1, user).Bind(2, (long)relation));
        var changed = others.Where(other => add ? list.Add(other) : list.Remove(other)).ToList();
        if (add && list.Count > limit)
            return null;
        foreach (var other in changed)
            (add ? _relate : _unrelate).Bind(1, user).Bind(2, (long)relation).Bind(3, other).Run();
        return [.. list];
    }

    public bool LimitPages(long pages)
    {
        SqliteFile.Execute(_connection, $"PRAGMA max_page_count = {(pages == 0 ? 1 : pages)}");
        return true;
    }

    public void Dispose()
    {
        foreach (var statement in _statements)
            statement.Dispose();
    }

    private static SortedSet<uint> Read(SqliteStatement statement)
    {
        var users = new SortedSet<uint>();
        while (statement.Step())
            users.Add((uint)statement.Int64(0));
        return users;
    }

    private long CountOthers(uint user, string source)
    {
        _countClaims.Bind(1, user).Bind(2, source).Step();
        var count = _countClaims.Int64(0);
        _countClaims.Reset();
        return count;
    }

    private uint? OwnerOf(string nameKey)
    {
        _ownerOfName.Bind(1, nameKey);
        uint? owner = _ownerOfName.Step() ? (uint)_ownerOfName.Int64(0) : null;
        _ownerOfName.Reset();
        return owner;
    }

    private SqliteStatement Prepare(string sql)
    {
        var statement = new SqliteStatement(_connection, sql);
        _statements.Add(statement);
        return statement;
    }
}

/// <summary>Profiles cannot be written. Rolls the command back.</summary>
internal sealed class ProfileConflictException(ProfileConflict conflict, int at) : Exception
{
    /// <summary>The result for the caller.</summary>
    public ProfileResult Result { get; } = new(0, 0, conflict, at);
}
