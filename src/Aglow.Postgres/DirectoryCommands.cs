using Aglow.Model;
using Aglow.Users;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>A change that a caller waits for. The <see cref="PostgresWriter"/> runs all waiting commands in one transaction.</summary>
internal abstract class DirectoryCommand
{
    /// <summary>The amount of work, in rows.</summary>
    public virtual int Weight => 1;

    /// <summary>Whether it may run twice with the same effect, so that it may be sent again if its answer was lost.</summary>
    public virtual bool IsRepeatable => true;

    /// <summary>Whether other nodes must be notified.</summary>
    public virtual bool IsNews => true;

    /// <summary>Adds its statement. <c>aglow.state</c> already has this transaction's change number.</summary>
    public abstract void AddTo(NpgsqlBatch batch, long now);

    public abstract Task ReadAsync(NpgsqlDataReader reader, CancellationToken cancel);

    public abstract void Complete();

    public abstract void Fail(Exception failure);
}

/// <summary>A change with a result.</summary>
internal abstract class DirectoryCommand<T> : DirectoryCommand
{
    private readonly TaskCompletionSource<T> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<T> Result => _completion.Task;

    protected T? Outcome { get; set; }

    public override void Complete() => _completion.TrySetResult(Outcome!);

    public override void Fail(Exception failure)
    {
        _completion.TrySetException(failure);
        // marks the exception as observed, because the caller may have stopped waiting
        _ = _completion.Task.Exception;
    }
}

/// <summary>Gives indexes to new IDs. The result is the index of each ID, in order, and whether it is new.</summary>
/// <remarks>
/// One statement serves all of these commands in a transaction. Separate statements would each be planned, and each would leave a dead
/// version of the row of <c>aglow.state</c> for the next ones to skip.
/// </remarks>
internal sealed class RegisterCommand(IReadOnlyList<string> ids) : DirectoryCommand<(uint Index, bool IsNew)[]>
{
    // It runs under the lock, so it sees what another node registered before. A repeated ID is new only at its first place.
    private const string Text = """
        WITH asked AS (
            SELECT given.id, given.place, ids.idx FROM unnest($1) WITH ORDINALITY AS given (id, place)
                LEFT JOIN aglow.ids ON ids.id = given.id),
        fresh AS (
            SELECT id, place, (SELECT next_index FROM aglow.state) - 1 + row_number() OVER (ORDER BY place) AS idx
            FROM (SELECT id COLLATE "C" AS id, min(place) AS place FROM asked WHERE idx IS NULL GROUP BY 1) AS once),
        added AS (INSERT INTO aglow.ids (id, idx) SELECT id, idx FROM fresh ORDER BY idx),
        counted AS (UPDATE aglow.state SET next_index = next_index + (SELECT count(*) FROM fresh) WHERE EXISTS (SELECT FROM fresh))
        SELECT coalesce(asked.idx, fresh.idx), fresh.place IS NOT DISTINCT FROM asked.place
        FROM asked LEFT JOIN fresh ON fresh.id = asked.id
        ORDER BY asked.place
        """;

    public override int Weight => ids.Count;

    private IReadOnlyList<string> Ids => ids;

    /// <summary>Adds one statement for all of these. An ID in several commands is new only to the first of them.</summary>
    public static void AddTo(NpgsqlBatch batch, IEnumerable<RegisterCommand> commands) =>
        batch.BatchCommands.Add(Sql.Statement(Text, Sql.Texts(commands.SelectMany(static c => c.Ids))));

    public override void AddTo(NpgsqlBatch batch, long now) => AddTo(batch, [this]);

    /// <summary>Reads its own rows of the shared result.</summary>
    public override async Task ReadAsync(NpgsqlDataReader reader, CancellationToken cancel)
    {
        Outcome = new (uint, bool)[ids.Count];
        for (var i = 0; i < ids.Count && await reader.ReadAsync(cancel); i++)
            Outcome[i] = ((uint)reader.GetInt64(0), reader.GetBoolean(1));
    }
}

/// <summary>Gives no index below this one from now on.</summary>
internal sealed class ReserveCommand(uint next) : DirectoryCommand<bool>
{
    public override bool IsNews => false;

    public override void AddTo(NpgsqlBatch batch, long now) => batch.BatchCommands.Add(
        Sql.Statement("UPDATE aglow.state SET next_index = greatest(next_index, $1) RETURNING next_index", Sql.Number(next)));

    public override Task ReadAsync(NpgsqlDataReader reader, CancellationToken cancel) => Task.CompletedTask;
}

/// <summary>Writes all profiles or none.</summary>
/// <remarks>
/// Conflicts are found before anything is written, so they do not fail the transaction that other commands share. The lock blocks other
/// writers meanwhile. The constraint on names is checked at the end of the statement, so one statement may swap names.
/// </remarks>
internal sealed class WriteProfilesCommand(IReadOnlyList<ProfileWrite> writes, bool create) : DirectoryCommand<ProfileResult>
{
    // If two users of the list would have one name, the conflict is the second one's. Users whose name the write does not touch come first.
    private const string Text = """
        WITH given AS (
            SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)
            WITH ORDINALITY AS g (idx, parts, user_name, name_key, user_search, display_name, display_search, place)),
        after AS (
            SELECT place, idx, p.idx IS NOT NULL AS existed, (parts & 1) = 0 AS keeps,
                CASE WHEN (parts & 1) = 0 THEN p.user_name ELSE g.user_name END AS user_name,
                CASE WHEN (parts & 1) = 0 THEN p.name_key ELSE g.name_key END COLLATE "C" AS name_key,
                CASE WHEN (parts & 1) = 0 THEN p.user_search ELSE g.user_search END AS user_search,
                CASE WHEN (parts & 2) = 0 THEN p.display_name ELSE g.display_name END AS display_name,
                CASE WHEN (parts & 2) = 0 THEN p.display_search ELSE g.display_search END AS display_search
            FROM given AS g LEFT JOIN aglow.profile AS p USING (idx)),
        conflict AS (
            SELECT 1 AS kind, place FROM after WHERE existed AND $8
            UNION ALL
            SELECT 2, place FROM after AS a JOIN aglow.profile AS p ON p.name_key = a.name_key
            WHERE p.idx <> a.idx AND NOT EXISTS (SELECT FROM given WHERE given.idx = p.idx)
            UNION ALL
            SELECT 2, place FROM (
                SELECT place, row_number() OVER (PARTITION BY name_key ORDER BY keeps DESC, place) AS nth FROM after
                    WHERE name_key IS NOT NULL) AS named
            WHERE nth > 1),
        first AS (SELECT kind, place FROM conflict ORDER BY place, kind LIMIT 1),
        removed AS (
            DELETE FROM aglow.profile USING after
            WHERE profile.idx = after.idx AND after.user_name IS NULL AND after.display_name IS NULL AND NOT EXISTS (SELECT FROM first)),
        written AS (
            INSERT INTO aglow.profile (idx, created_at, updated_at, user_name, display_name, name_key, user_search, display_search)
            SELECT idx, $9, $9, user_name, display_name, name_key, user_search, display_search FROM after
            WHERE (user_name IS NOT NULL OR display_name IS NOT NULL) AND NOT EXISTS (SELECT FROM first)
            ON CONFLICT (idx) DO UPDATE SET updated_at = excluded.updated_at, user_name = excluded.user_name,
                display_name = excluded.display_name,
                name_key = excluded.name_key, user_search = excluded.user_search, display_search = excluded.display_search)
        SELECT (SELECT count(*) FROM after WHERE existed), (SELECT kind FROM first), (SELECT place FROM first)
        """;

    public override int Weight => writes.Count;

    // if the answer to the first run was lost, a second run would find its own profiles and report a conflict
    public override bool IsRepeatable => !create;

    // no node caches profiles
    public override bool IsNews => false;

    public override void AddTo(NpgsqlBatch batch, long now) => batch.BatchCommands.Add(Sql.Statement(
        Text,
        Sql.Numbers(writes.Select(static w => w.User)),
        Sql.Numbers(writes.Select(static w => (uint)w.Parts)),
        Sql.Texts(writes.Select(static w => w.UserName)),
        Sql.Texts(writes.Select(static w => w.UserName is null ? null : NameFolding.ForUniqueness(w.UserName))),
        Sql.Texts(writes.Select(static w => w.UserName is null ? null : NameFolding.ForSearch(w.UserName))),
        Sql.Texts(writes.Select(static w => w.DisplayName)),
        Sql.Texts(writes.Select(static w => w.DisplayName is null ? null : NameFolding.ForSearch(w.DisplayName))),
        Sql.Flag(create),
        Sql.Number(now)));

    public override async Task ReadAsync(NpgsqlDataReader reader, CancellationToken cancel)
    {
        await reader.ReadAsync(cancel);
        var replaced = (int)reader.GetInt64(0);
        Outcome = reader.IsDBNull(1)
            ? new ProfileResult(writes.Count - replaced, replaced)
            : new ProfileResult(0, 0, (ProfileConflict)reader.GetInt32(1), (int)reader.GetInt64(2) - 1);
    }
}

/// <summary>Changes a fact about one user, by a statement without a useful result.</summary>
internal sealed class FactCommand(string text, params NpgsqlParameter[] parameters) : DirectoryCommand<bool>
{
    // keeps what others saved about the user
    private const string DeleteText = $"""
        WITH nameless AS (DELETE FROM aglow.profile WHERE idx = $1),
        unfollowing AS (DELETE FROM aglow.subscription WHERE follower = $1),
        unrelating AS (DELETE FROM aglow.relation WHERE idx = $1),
        unclaimed AS (UPDATE aglow.claim SET {ClaimCommand.Removed}, change = ({Change}), changed_at = $2 WHERE idx = $1),
        shown AS (UPDATE aglow.visibility SET online = 0, last_seen = 0, change = ({Change}), changed_at = $2 WHERE idx = $1)
        {NoteDeletionText}
        """;

    private const string NoteDeletionText = $"""
        INSERT INTO aglow.account AS old
            (idx, disabled, shown_last_seen, revoked_at, deleted, deleted_at, deleting, change, changed_at)
        VALUES ($1, false, 0, $3, true, $3, $4, ({Change}), $2)
        ON CONFLICT (idx) DO UPDATE SET disabled = old.disabled AND $4, shown_last_seen = CASE WHEN $4 THEN old.shown_last_seen ELSE 0 END,
            revoked_at = greatest(old.revoked_at, excluded.revoked_at), deleted = true,
            deleted_at = greatest(old.revoked_at, excluded.revoked_at), deleting = excluded.deleting, change = excluded.change,
            changed_at = excluded.changed_at
        RETURNING idx
        """;

    private const string RevokeText = $"""
        INSERT INTO aglow.account AS old (idx, disabled, shown_last_seen, revoked_at, deleted, change, changed_at)
        VALUES ($1, false, 0, $3, false, ({Change}), $2)
        ON CONFLICT (idx) DO UPDATE SET revoked_at = greatest(old.revoked_at, excluded.revoked_at),
            deleted = old.deleted AND old.revoked_at > excluded.revoked_at, change = excluded.change, changed_at = excluded.changed_at
        RETURNING idx
        """;

    private const string HoldText = $"""
        UPDATE aglow.account SET deleted = false, deleted_at = $1, change = ({Change}), changed_at = $2
        WHERE greatest(deleted_at, CASE WHEN deleted THEN revoked_at ELSE 0 END) > $1 + 60 RETURNING idx
        """;

    private const string DisableText = $"""
        INSERT INTO aglow.account (idx, disabled, shown_last_seen, revoked_at, deleted, change, changed_at)
        VALUES ($1, $3, $4, 0, false, ({Change}), $2)
        ON CONFLICT (idx) DO UPDATE SET disabled = excluded.disabled, shown_last_seen = excluded.shown_last_seen,
            change = excluded.change, changed_at = excluded.changed_at
        RETURNING idx
        """;

    private const string UnclaimText = $"""
        UPDATE aglow.claim SET {ClaimCommand.Removed}, change = ({Change}), changed_at = $2 WHERE idx = $1 AND source = $3
            AND status >= 0 RETURNING idx
        """;

    private const string VisibilityText = $"""
        INSERT INTO aglow.visibility AS old (idx, online, last_seen, change, changed_at)
            VALUES ($1, coalesce($3, 0), coalesce($4, 0), ({Change}), $2)
        ON CONFLICT (idx) DO UPDATE SET
            online = coalesce($3, old.online), last_seen = coalesce($4, old.last_seen), change = excluded.change,
            changed_at = excluded.changed_at
        RETURNING idx
        """;

    private const string Change = "SELECT change FROM aglow.state";

    public static FactCommand Delete(uint user, long at) => new(DeleteText, Sql.Number(user), Sql.Number(at), Sql.Flag(false));

    public static FactCommand NoteDeletion(uint user, long at) => new(NoteDeletionText, Sql.Number(user), Sql.Number(at), Sql.Flag(true));

    public static FactCommand HoldDeletions(long now) => new(HoldText, Sql.Number(now));

    public static FactCommand Revoke(uint user, long at) => new(RevokeText, Sql.Number(user), Sql.Number(at));

    public static FactCommand SetDisabled(uint user, bool disabled, uint shownLastSeen) =>
        new(DisableText, Sql.Number(user), Sql.Flag(disabled), Sql.Number(disabled ? shownLastSeen : 0));

    public static FactCommand RemoveClaim(uint user, string source) => new(UnclaimText, Sql.Number(user), Sql.Text(source));

    public static FactCommand SetVisibility(uint user, OnlineVisibility? online, LastSeenVisibility? lastSeen) =>
        new(VisibilityText, Sql.Number(user), Sql.NumberOrNull((long?)online), Sql.NumberOrNull((long?)lastSeen));

    // Each attempt creates its own parameters: a failed batch keeps those that it was given.
    public override void AddTo(NpgsqlBatch batch, long now)
    {
        var statement = Sql.Statement(text, parameters[0].Clone(), Sql.Number(now));
        foreach (var parameter in parameters.AsSpan(1))
            statement.Parameters.Add(parameter.Clone());
        batch.BatchCommands.Add(statement);
    }

    public override Task ReadAsync(NpgsqlDataReader reader, CancellationToken cancel) => Task.CompletedTask;
}

/// <summary>
/// Sets the claim of one source, and deletes claims that have ended. False, without a change, if the user has too many other claims.
/// </summary>
internal sealed class ClaimCommand(uint user, Claim claim, uint now) : DirectoryCommand<bool>
{
    /// <summary>What remains of a removed claim, for nodes that have not read the removal yet.</summary>
    public const string Removed = "status = -1, text = NULL, emoji = NULL, until = 0, priority = 0, set_at = 0, shown_last_seen = 0";

    private const string Change = "SELECT change FROM aglow.state";

    private static readonly string Text = $"""
        WITH admitted AS (
            SELECT $3 IN ('{Claim.QuietHoursSource}', '{Claim.UserSource}') OR count(*) < {Claim.MaxSources} AS yes FROM aglow.claim
            WHERE idx = $1 AND source NOT IN ($3, '{Claim.QuietHoursSource}') AND status >= 0 AND (until = 0 OR until > $11)),
        ended AS (
            UPDATE aglow.claim SET {Removed}, change = ({Change}), changed_at = $2
            WHERE idx = $1 AND source <> $3 AND until <> 0 AND until <= $11 AND (SELECT yes FROM admitted)),
        claimed AS (
            INSERT INTO aglow.claim (idx, source, status, text, emoji, until, priority, set_at, shown_last_seen, change, changed_at)
            SELECT $1, $3, $4, $5, $6, $7, $8, $9, $10, ({Change}), $2 WHERE (SELECT yes FROM admitted)
            ON CONFLICT (idx, source) DO UPDATE SET status = excluded.status, text = excluded.text, emoji = excluded.emoji,
                until = excluded.until,
                priority = excluded.priority, set_at = excluded.set_at, shown_last_seen = excluded.shown_last_seen,
                change = excluded.change, changed_at = excluded.changed_at)
        SELECT yes FROM admitted
        """;

    public override void AddTo(NpgsqlBatch batch, long at) => batch.BatchCommands.Add(Sql.Statement(
        Text,
        Sql.Number(user),
        Sql.Number(at),
        Sql.Text(claim.Source),
        Sql.Number((long)claim.Status),
        Sql.TextOrNull(claim.SavedText),
        Sql.TextOrNull(claim.Details?.Emoji),
        Sql.Number(claim.Until),
        Sql.Number(claim.Priority),
        Sql.Number(claim.SetAt),
        Sql.Number(claim.ShownLastSeen),
        Sql.Number(now)));

    public override async Task ReadAsync(NpgsqlDataReader reader, CancellationToken cancel)
    {
        await reader.ReadAsync(cancel);
        Outcome = reader.GetBoolean(0);
    }
}

/// <summary>
/// Adds users to a list or removes them. The result is the new list; null, without a change, if it would exceed the limit.
/// </summary>
internal sealed class ListCommand(string text, bool isNews, uint user, Relation relation, IReadOnlyList<uint> others, int limit)
    : DirectoryCommand<uint[]?>
{
    // $1: the user; $2: the others; $3: the limit; $4: the relation; $5: the time
    private const string Follow = """
        WITH after AS (SELECT followed FROM aglow.subscription WHERE follower = $1 UNION SELECT unnest($2)),
        added AS (
            INSERT INTO aglow.subscription (follower, followed)
            SELECT $1, followed FROM after WHERE (SELECT count(*) FROM after) <= $3 ON CONFLICT DO NOTHING)
        SELECT followed FROM after ORDER BY followed LIMIT $3 + 1
        """;

    private const string Unfollow = """
        WITH removed AS (DELETE FROM aglow.subscription WHERE follower = $1 AND followed = ANY ($2))
        SELECT followed FROM aglow.subscription WHERE follower = $1 AND followed <> ALL ($2) ORDER BY followed
        """;

    private const string Relate = $"""
        WITH after AS (SELECT other FROM aglow.relation WHERE idx = $1 AND kind = $4 UNION SELECT unnest($2)),
        added AS (
            INSERT INTO aglow.relation (idx, kind, other)
            SELECT $1, $4, other FROM after WHERE (SELECT count(*) FROM after) <= $3 ON CONFLICT DO NOTHING),
        {Touched}
        SELECT other FROM after ORDER BY other LIMIT $3 + 1
        """;

    private const string Unrelate = $"""
        WITH removed AS (DELETE FROM aglow.relation WHERE idx = $1 AND kind = $4 AND other = ANY ($2)),
        {Touched}
        SELECT other FROM aglow.relation WHERE idx = $1 AND kind = $4 AND other <> ALL ($2) ORDER BY other
        """;

    // nodes find changes by the user's row
    private const string Touched = """
        touched AS (
            INSERT INTO aglow.visibility (idx, online, last_seen, change, changed_at)
                VALUES ($1, 0, 0, (SELECT change FROM aglow.state), $5)
            ON CONFLICT (idx) DO UPDATE SET change = excluded.change, changed_at = excluded.changed_at)
        """;

    public override int Weight => others.Count;

    public override bool IsNews => isNews;

    /// <summary>The users whom a user follows. Nodes read this list when the user connects, so other nodes need no notification.</summary>
    public static ListCommand Subscription(uint follower, IReadOnlyList<uint> followed, bool add, int limit) =>
        new(add ? Follow : Unfollow, isNews: false, follower, default, followed, add ? limit : int.MaxValue);

    /// <summary>The users whom a user approved or blocked.</summary>
    public static ListCommand Of(uint user, Relation relation, IReadOnlyList<uint> others, bool add, int limit) =>
        new(add ? Relate : Unrelate, isNews: true, user, relation, others, add ? limit : int.MaxValue);

    public override void AddTo(NpgsqlBatch batch, long now) => batch.BatchCommands.Add(Sql.Statement(
        text, Sql.Number(user), Sql.Numbers(others), Sql.Number(limit), Sql.Number((long)relation), Sql.Number(now)));

    public override async Task ReadAsync(NpgsqlDataReader reader, CancellationToken cancel)
    {
        var list = new List<uint>();
        while (await reader.ReadAsync(cancel))
            list.Add((uint)reader.GetInt64(0));
        Outcome = list.Count > limit ? null : [.. list];
    }
}
