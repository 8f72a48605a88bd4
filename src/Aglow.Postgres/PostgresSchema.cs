using Aglow.Model;
using Aglow.Storage;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>The tables, and how they are created: versions with one script each, which the first node to start runs.</summary>
/// <remarks>
/// <code>
///   state           one row: the next index, the last change, the version of these tables, a secret for cursors
///   ids             ID (text), its index from 2^31 up; rows are never deleted
///   profile         index, names; both names in their search form
///   account         index, what the application decided; a row stays for an hour after everything was revoked
///   claim           index, source, the claim, last seen to show; a removed one stays for an hour without content (status -1)
///   visibility      index, who sees the user online, precision of last seen; a row for each user who has set either, or who
///                   approved or blocked somebody, and for an hour longer
///   relation        index, approved or blocked, the other user
///   subscription    follower, followed; an index in each direction
/// </code>
/// Each writing transaction locks the row of <c>state</c> first, and holds the lock until the commit. So indexes have no gaps, and changes
/// are committed in the order of their numbers. A node that has read up to a number has missed nothing before it. Two nodes cannot
/// deadlock. Rejected: a sequence. It would waste an index for each ID that another node had just registered, and it has its own order.
/// <para>Nodes that start at the same time wait for one another at an advisory lock.</para>
/// </remarks>
internal static class PostgresSchema
{
    /// <summary>The constraint that fails when all indexes are in use.</summary>
    public const string IndexesLeft = "indexes_left";

    /// <summary>Both names in their search form, as the trigram index has them.</summary>
    public const string Names = @"(coalesce(user_search, '') || E'\n' || coalesce(display_search, ''))";

    // Trusted extensions exist since version 13: there the owner of a database may create pg_trgm.
    private const int OldestVersion = 13;

    // an arbitrary number: "Aglow" in ASCII
    private const long Lock = 0x41676C6F77;

    private static readonly TimeSpan LockWithin = TimeSpan.FromMinutes(1);

    private static readonly string[] Versions =
    [
        $"""
        CREATE TABLE aglow.state (
            id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
            version integer NOT NULL,
            next_index bigint NOT NULL CONSTRAINT {IndexesLeft} CHECK (next_index <= 4294967295),
            change bigint NOT NULL,
            cursors bytea NOT NULL);
        INSERT INTO aglow.state (version, next_index, change, cursors) VALUES (0, 2147483648, 0, uuid_send(gen_random_uuid()));
        CREATE TABLE aglow.ids (id text COLLATE "C" PRIMARY KEY, idx bigint NOT NULL UNIQUE);
        CREATE TABLE aglow.profile (
            idx bigint PRIMARY KEY,
            created_at bigint NOT NULL,
            updated_at bigint NOT NULL,
            user_name text,
            display_name text,
            name_key text COLLATE "C" CONSTRAINT profile_name UNIQUE DEFERRABLE INITIALLY IMMEDIATE,
            user_search text COLLATE "C",
            display_search text COLLATE "C");
        CREATE INDEX profile_user_beginning ON aglow.profile (user_search, idx);
        CREATE INDEX profile_display_beginning ON aglow.profile (display_search, idx) WHERE display_search IS DISTINCT FROM user_search;
        CREATE INDEX profile_inside ON aglow.profile USING gin ({Names} gin_trgm_ops);
        CREATE TABLE aglow.account (
            idx bigint PRIMARY KEY, disabled boolean NOT NULL, shown_last_seen bigint NOT NULL, revoked_at bigint NOT NULL,
            deleted boolean NOT NULL,
            change bigint NOT NULL, changed_at bigint NOT NULL);
        CREATE INDEX account_change ON aglow.account (change);
        CREATE INDEX account_undone ON aglow.account (changed_at) WHERE NOT disabled AND revoked_at = 0;
        CREATE TABLE aglow.manual_status (
            idx bigint PRIMARY KEY, kind smallint NOT NULL, shown_last_seen bigint NOT NULL, change bigint NOT NULL,
            changed_at bigint NOT NULL);
        CREATE INDEX manual_status_change ON aglow.manual_status (change);
        CREATE INDEX manual_status_undone ON aglow.manual_status (changed_at) WHERE kind = 0;
        CREATE TABLE aglow.visibility (
            idx bigint PRIMARY KEY, online smallint NOT NULL, last_seen smallint NOT NULL, change bigint NOT NULL,
            changed_at bigint NOT NULL);
        CREATE INDEX visibility_change ON aglow.visibility (change);
        CREATE INDEX visibility_undone ON aglow.visibility (changed_at) WHERE online = 0 AND last_seen = 0;
        CREATE TABLE aglow.relation (idx bigint, kind smallint, other bigint, PRIMARY KEY (idx, kind, other));
        CREATE TABLE aglow.subscription (follower bigint, followed bigint, PRIMARY KEY (follower, followed));
        CREATE INDEX subscription_followed ON aglow.subscription (followed, follower);
        """,

        // before this version a user had only one claim, the person's own
        $"""
        CREATE TABLE aglow.claim (
            idx bigint, source text COLLATE "C", status smallint NOT NULL, text text, emoji text, until bigint NOT NULL,
            priority integer NOT NULL,
            set_at bigint NOT NULL, shown_last_seen bigint NOT NULL, change bigint NOT NULL, changed_at bigint NOT NULL,
            PRIMARY KEY (idx, source));
        INSERT INTO aglow.claim
        SELECT idx, '{Claim.UserSource}', kind, NULL, NULL, 0, 0, 0, shown_last_seen, change, changed_at FROM aglow.manual_status
            WHERE kind <> 0;
        DROP TABLE aglow.manual_status;
        CREATE INDEX claim_change ON aglow.claim (change);
        CREATE INDEX claim_undone ON aglow.claim (changed_at) WHERE status < 0;
        """,

        // before this version, a revocation replaced a deletion; its nodes still read and write only the column deleted
        """
        ALTER TABLE aglow.account
            ADD COLUMN deleted_at bigint NOT NULL DEFAULT 0, ADD COLUMN deleting boolean NOT NULL DEFAULT false;
        """,
    ];

    /// <summary>
    /// Upgrades the tables to this version. Returns PostgreSQL's version and the secret that encrypts cursors for all nodes.
    /// </summary>
    /// <exception cref="StoreUnavailableException">
    /// This program cannot use the server or its tables; the message is one line.
    /// </exception>
    public static async Task<(Version Version, byte[] CursorSecret)> PrepareAsync(
        NpgsqlDataSource source, PostgresOptions options, PostgresLog log)
    {
        await using var connection = await source.OpenConnectionAsync();
        var version = connection.PostgreSqlVersion;
        if (version.Major < OldestVersion)
            throw new StoreUnavailableException(
                $"PostgreSQL at {options} is version {version}: {OldestVersion} is the oldest that works.");
        if ((string)(await ScalarAsync(connection, "SHOW transaction_read_only"))! == "on")
            throw new StoreUnavailableException(PostgresFailure.ReadOnly(options));
        if (await VersionAsync(connection, options) < Versions.Length)
            await MigrateAsync(connection, options, log);
        await using var command = new NpgsqlCommand("SELECT cursors, next_index FROM aglow.state", connection);
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        log.Connected(version.ToString(), options.ToString(), reader.GetInt64(1) - UserId.FirstDirectoryNumber);
        return (version, reader.GetFieldValue<byte[]>(0));
    }

    private static async Task MigrateAsync(NpgsqlConnection connection, PostgresOptions options, PostgresLog log)
    {
        await using var transaction = await connection.BeginTransactionAsync();
        await ExecuteAsync(connection, $"SET LOCAL lock_timeout = {LockWithin.TotalMilliseconds:0}");
        await ExecuteAsync(connection, $"SELECT pg_advisory_xact_lock({Lock})");
        var version = await VersionAsync(connection, options);
        if (version == Versions.Length)
            return;
        if (version == 0)
            await ExecuteAsync(
                connection,
                "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'aglow') THEN CREATE SCHEMA aglow; END IF; END $$");
        await ExecuteAsync(connection, $"SET LOCAL search_path TO {await TrigramsAsync(connection, options)}");
        for (var next = version; next < Versions.Length; next++)
        {
            await ExecuteAsync(connection, Versions[next]);
            await ExecuteAsync(connection, $"UPDATE aglow.state SET version = {next + 1}");
        }

        await transaction.CommitAsync();
        log.Migrated(options.ToString(), Versions.Length);
    }

    /// <summary>The schema that contains pg_trgm.</summary>
    private static async Task<string> TrigramsAsync(NpgsqlConnection connection, PostgresOptions options)
    {
        const string where =
            "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'";
        if ((string?)await ScalarAsync(connection, where) is { } schema)
            return schema;
        try
        {
            await ExecuteAsync(connection, "CREATE EXTENSION pg_trgm WITH SCHEMA aglow");
            return "aglow";
        }
        catch (PostgresException refused)
        {
            throw new StoreUnavailableException(
                $"Search needs pg_trgm, and {options.User} cannot make it in PostgreSQL at {options} ({refused.MessageText}): "
                + "have the owner of the database run CREATE EXTENSION pg_trgm.",
                refused);
        }
    }

    private static async Task<int> VersionAsync(NpgsqlConnection connection, PostgresOptions options)
    {
        if (await HasAsync(connection, "users"))
        {
            throw new StoreUnavailableException(
                $"The directory in {options} was made by Aglow 0.1, and this version cannot read it: "
                + "name another database, or run DROP SCHEMA aglow CASCADE in this one and create its users again.");
        }

        if (!await HasAsync(connection, "state"))
            return 0;
        var version = (int)(await ScalarAsync(connection, "SELECT version FROM aglow.state"))!;
        return version <= Versions.Length
            ? version
            : throw new StoreUnavailableException(
                $"The directory in {options} was made by a newer Aglow (version {version} of its tables, this program knows "
                    + $"{Versions.Length}): run that.");
    }

    // reads rows instead of to_regclass, which may see the state from before the wait for the lock
    private static async Task<bool> HasAsync(NpgsqlConnection connection, string table) => (bool)(await ScalarAsync(
        connection,
        $"""
        SELECT EXISTS (
            SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'aglow' AND c.relname = '{table}')
        """))!;

    private static async Task<object?> ScalarAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync();
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }
}
