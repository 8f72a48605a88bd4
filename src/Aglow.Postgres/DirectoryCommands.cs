using Aglow.Model;
using Aglow.Users;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>A change that a caller waits for; the <see cref="PostgresWriter"/> runs all that wait in one transaction.</summary>
internal abstract class DirectoryCommand
{
    /// <summary>How much work it is, in rows.</summary>
    public virtual int Weight => 1;

    /// <summary>Whether running it twice does what running it once does, so that it may be sent again where its answer was lost.</summary>
    public virtual bool IsRepeatable => true;

    /// <summary>Whether other nodes have to hear of it.</summary>
    public virtual bool IsNews => true;

    /// <summary>Whether it changes what users show, so that what they show after it is to be told, too.</summary>
    public virtual bool ChangesVisibility => false;

    /// <summary>Adds its statement. <c>aglow.state</c> has this transaction's change already.</summary>
    public abstract void AddTo(NpgsqlBatch batch, long now);

    /// <summary>Reads what its statement gave.</summary>
    public abstract Task ReadAsync(NpgsqlDataReader reader);

    /// <summary>What others are to be told, once it is committed.</summary>
    public virtual void Tell(List<KeyValuePair<uint, string>> deleted, List<KeyValuePair<uint, ManualStatus>> statuses)
    {
    }

    /// <summary>Completes its caller's task.</summary>
    public abstract void Complete();

    /// <summary>Fails its caller's task.</summary>
    public abstract void Fail(Exception failure);

    protected static async Task<uint[]> ReadNumbersAsync(NpgsqlDataReader reader)
    {
        var numbers = new List<uint>();
        while (await reader.ReadAsync())
            numbers.Add((uint)reader.GetInt64(0));
        return [.. numbers];
    }
}

/// <summary>A change with a result.</summary>
internal abstract class DirectoryCommand<T> : DirectoryCommand
{
    private readonly TaskCompletionSource<T> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<T> Result => _completion.Task;

    protected T? Outcome { get; set; }

    public override void Complete() => _completion.TrySetResult(Outcome!);

    public override void Fail(Exception failure) => _completion.TrySetException(failure);
}

/// <summary>Gives numbers to names that have none. The numbers, in the order of the names, and whether each is new.</summary>
/// <remarks>
/// All that are in one transaction are one statement: each one of its own would be planned, and would leave a dead version of the row of <c>aglow.state</c> for the
/// next ones to pass.
/// </remarks>
internal sealed class RegisterCommand(IReadOnlyList<string> names, string? displayName = null, bool isCreation = false) : DirectoryCommand<(uint Number, bool IsNew)[]>
{
    // Under the lock, so what another node registered meanwhile is seen. A name that is there twice gets its number at the first place.
    private const string Text = """
        WITH asked AS (
            SELECT given.*, users.number
            FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS given (name, display_name, folded, display_folded, place)
            LEFT JOIN aglow.users ON users.name = given.name),
        fresh AS (
            SELECT name, display_name, folded, display_folded, place, (SELECT next_number FROM aglow.state) - 1 + row_number() OVER (ORDER BY place) AS number
            FROM (SELECT DISTINCT ON (name COLLATE "C") * FROM asked WHERE number IS NULL ORDER BY name COLLATE "C", place) AS once),
        added AS (
            INSERT INTO aglow.users (number, created_at, updated_at, name, display_name, folded, display_folded)
            SELECT number, $5, $5, name, display_name, folded, display_folded FROM fresh ORDER BY number),
        counted AS (UPDATE aglow.state SET next_number = next_number + (SELECT count(*) FROM fresh) WHERE EXISTS (SELECT FROM fresh))
        SELECT coalesce(asked.number, fresh.number), fresh.place IS NOT DISTINCT FROM asked.place
        FROM asked LEFT JOIN fresh ON fresh.name = asked.name
        ORDER BY asked.place
        """;

    public override int Weight => names.Count;

    private IReadOnlyList<string> Names => names;

    private string? DisplayName => displayName;

    // a name that was registered and not acknowledged would seem taken by somebody else
    public override bool IsRepeatable => !isCreation;

    /// <summary>Adds one statement for all of these; a name that several want is new to the first.</summary>
    public static void AddTo(NpgsqlBatch batch, IReadOnlyList<RegisterCommand> commands, long now)
    {
        var rows = commands.Sum(static c => c.Weight);
        var (names, displayNames, folded, displayFolded) = (new string[rows], new string?[rows], new string[rows], new string?[rows]);
        var row = 0;
        foreach (var command in commands)
        {
            foreach (var name in command.Names)
            {
                names[row] = name;
                displayNames[row] = command.DisplayName;
                folded[row] = FoldedText.Fold(name);
                // only where it adds something
                var display = string.IsNullOrEmpty(command.DisplayName) ? null : FoldedText.Fold(command.DisplayName);
                displayFolded[row] = display == folded[row] ? null : display;
                row++;
            }
        }

        batch.BatchCommands.Add(Sql.Statement(Text, Sql.Texts(names), Sql.Texts(displayNames), Sql.Texts(folded), Sql.Texts(displayFolded), Sql.Number(now)));
    }

    public override void AddTo(NpgsqlBatch batch, long now) => AddTo(batch, [this], now);

    /// <summary>Reads its rows of the statement's.</summary>
    public override async Task ReadAsync(NpgsqlDataReader reader)
    {
        Outcome = new (uint, bool)[Names.Count];
        for (var i = 0; i < Names.Count && await reader.ReadAsync(); i++)
            Outcome[i] = ((uint)reader.GetInt64(0), reader.GetBoolean(1));
    }
}

/// <summary>Removes all there is of a user. Whether there was anything.</summary>
internal sealed class DeleteCommand(uint number) : DirectoryCommand<bool>
{
    private const string Text = """
        WITH gone AS (DELETE FROM aglow.users WHERE number = $1 RETURNING name),
        kept AS (INSERT INTO aglow.deleted (number, name, change, deleted_at) SELECT $1, name, (SELECT change FROM aglow.state), $2 FROM gone),
        unfollowed AS (DELETE FROM aglow.subscription WHERE follower = $1 OR followed = $1 RETURNING 1),
        cleared AS (
            UPDATE aglow.manual_status SET kind = 0, shown_last_seen = 0, change = (SELECT change FROM aglow.state), changed_at = $2
            WHERE number = $1 AND kind <> 0 RETURNING 1),
        unrelated AS (DELETE FROM aglow.relation WHERE number = $1 OR other = $1 RETURNING number),
        shown AS (
            UPDATE aglow.visibility SET
                online = CASE WHEN number = $1 THEN 0 ELSE online END,
                last_seen = CASE WHEN number = $1 THEN 0 ELSE last_seen END,
                change = (SELECT change FROM aglow.state), changed_at = $2
            WHERE number IN (SELECT number FROM unrelated UNION SELECT $1))
        SELECT
            (SELECT name FROM gone),
            EXISTS (SELECT FROM unfollowed) OR EXISTS (SELECT FROM unrelated)
                OR EXISTS (SELECT FROM aglow.visibility WHERE number = $1 AND (online <> 0 OR last_seen <> 0)),
            EXISTS (SELECT FROM cleared)
        """;

    private string? _name;
    private bool _hadStatus;

    public override bool IsRepeatable => false;

    public override bool ChangesVisibility => true;

    public override void AddTo(NpgsqlBatch batch, long now) => batch.BatchCommands.Add(Sql.Statement(Text, Sql.Number(number), Sql.Number(now)));

    public override async Task ReadAsync(NpgsqlDataReader reader)
    {
        await reader.ReadAsync();
        _name = await reader.IsDBNullAsync(0) ? null : reader.GetString(0);
        _hadStatus = reader.GetBoolean(2);
        Outcome = _name is not null || reader.GetBoolean(1) || _hadStatus;
    }

    public override void Tell(List<KeyValuePair<uint, string>> deleted, List<KeyValuePair<uint, ManualStatus>> statuses)
    {
        if (_name is not null)
            deleted.Add(new(number, _name));
        if (_hadStatus)
            statuses.Add(new(number, ManualStatus.Auto));
    }
}

/// <summary>Sets a manual status, or takes it back.</summary>
internal sealed class SetStatusCommand(uint number, ManualStatus status) : DirectoryCommand<bool>
{
    private const string Text = """
        INSERT INTO aglow.manual_status (number, kind, shown_last_seen, change, changed_at) VALUES ($1, $2, $3, (SELECT change FROM aglow.state), $4)
        ON CONFLICT (number) DO UPDATE SET kind = excluded.kind, shown_last_seen = excluded.shown_last_seen, change = excluded.change, changed_at = excluded.changed_at
        RETURNING number
        """;

    public override void AddTo(NpgsqlBatch batch, long now) => batch.BatchCommands.Add(Sql.Statement(
        Text, Sql.Number(number), Sql.Number((long)status.Kind), Sql.Number(status.ShownLastSeen), Sql.Number(now)));

    public override Task ReadAsync(NpgsqlDataReader reader) => Task.CompletedTask;

    public override void Tell(List<KeyValuePair<uint, string>> deleted, List<KeyValuePair<uint, ManualStatus>> statuses) => statuses.Add(new(number, status));
}

/// <summary>Adds to or takes from whom a user follows. The list after it; null, and nothing changed, where it would be too long.</summary>
internal sealed class FollowCommand(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) : DirectoryCommand<uint[]?>
{
    private const string Add = """
        WITH before AS (SELECT followed FROM aglow.subscription WHERE follower = $1),
        after AS (SELECT followed FROM before UNION SELECT unnest($2)),
        added AS (
            INSERT INTO aglow.subscription (follower, followed)
            SELECT $1, followed FROM after WHERE (SELECT count(*) FROM after) <= $3 ON CONFLICT DO NOTHING)
        SELECT followed FROM after ORDER BY followed LIMIT $3 + 1
        """;

    private const string Remove = """
        WITH removed AS (DELETE FROM aglow.subscription WHERE follower = $1 AND followed = ANY ($2) RETURNING followed)
        SELECT followed FROM aglow.subscription WHERE follower = $1 AND followed <> ALL ($2) ORDER BY followed
        """;

    public override int Weight => followed.Count;

    // a node reads whom somebody follows when they connect
    public override bool IsNews => false;

    public override void AddTo(NpgsqlBatch batch, long now)
    {
        var statement = Sql.Statement(follow ? Add : Remove, Sql.Number(follower), Sql.Numbers(followed));
        if (follow)
            statement.Parameters.Add(Sql.Number(limit));
        batch.BatchCommands.Add(statement);
    }

    public override async Task ReadAsync(NpgsqlDataReader reader)
    {
        var list = await ReadNumbersAsync(reader);
        Outcome = follow && list.Length > limit ? null : list;
    }
}

/// <summary>Sets who sees that a user is online, and how exactly they see when; what is null stays.</summary>
internal sealed class SetVisibilityCommand(uint number, OnlineVisibility? online, LastSeenVisibility? lastSeen) : DirectoryCommand<bool>
{
    private const string Text = """
        INSERT INTO aglow.visibility (number, online, last_seen, change, changed_at)
        VALUES ($1, coalesce($2, 0), coalesce($3, 0), (SELECT change FROM aglow.state), $4)
        ON CONFLICT (number) DO UPDATE SET
            online = coalesce($2, visibility.online), last_seen = coalesce($3, visibility.last_seen), change = excluded.change, changed_at = excluded.changed_at
        RETURNING number
        """;

    public override bool ChangesVisibility => true;

    public override void AddTo(NpgsqlBatch batch, long now) => batch.BatchCommands.Add(Sql.Statement(
        Text, Sql.Number(number), Sql.NumberOrNull((long?)online), Sql.NumberOrNull((long?)lastSeen), Sql.Number(now)));

    public override Task ReadAsync(NpgsqlDataReader reader) => Task.CompletedTask;
}

/// <summary>Adds to or takes from whom a user approved or blocked. The list after it; null, and nothing changed, where it would be too long.</summary>
internal sealed class RelateCommand(uint number, Relation relation, IReadOnlyList<uint> others, bool add, int limit) : DirectoryCommand<uint[]?>
{
    private const string Add = $"""
        WITH after AS (SELECT other FROM aglow.relation WHERE number = $1 AND kind = $2 UNION SELECT unnest($4)),
        added AS (
            INSERT INTO aglow.relation (number, kind, other)
            SELECT $1, $2, other FROM after WHERE (SELECT count(*) FROM after) <= $5 ON CONFLICT DO NOTHING),
        {Touched}
        SELECT other FROM after ORDER BY other LIMIT $5 + 1
        """;

    private const string Remove = $"""
        WITH removed AS (DELETE FROM aglow.relation WHERE number = $1 AND kind = $2 AND other = ANY ($4)),
        {Touched}
        SELECT other FROM aglow.relation WHERE number = $1 AND kind = $2 AND other <> ALL ($4) ORDER BY other
        """;

    // who reads what changed goes by the user's row
    private const string Touched = """
        touched AS (
            INSERT INTO aglow.visibility (number, online, last_seen, change, changed_at) VALUES ($1, 0, 0, (SELECT change FROM aglow.state), $3)
            ON CONFLICT (number) DO UPDATE SET change = excluded.change, changed_at = excluded.changed_at)
        """;

    public override int Weight => others.Count;

    public override bool ChangesVisibility => true;

    public override void AddTo(NpgsqlBatch batch, long now)
    {
        var statement = Sql.Statement(add ? Add : Remove, Sql.Number(number), Sql.Number((long)relation), Sql.Number(now), Sql.Numbers(others));
        if (add)
            statement.Parameters.Add(Sql.Number(limit));
        batch.BatchCommands.Add(statement);
    }

    public override async Task ReadAsync(NpgsqlDataReader reader)
    {
        var list = await ReadNumbersAsync(reader);
        Outcome = add && list.Length > limit ? null : list;
    }
}
