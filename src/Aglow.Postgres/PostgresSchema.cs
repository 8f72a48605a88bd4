using Aglow.Model;
using Aglow.Storage;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>The tables, and how they come about: versions, one script each, run at start by whichever node is first.</summary>
/// <remarks>
/// <code>
///   state           one row: the next number, the last change, the version of these tables, a secret for cursors
///   users           number, name (unique), display name, times; both names as search sees them
///   deleted         numbers never to be given again, and for an hour their names, for nodes that have to forget them
///   manual_status   number, kind, last seen to show; kind 0 for an hour where one was taken back
///   visibility      number, who sees them online, how exactly they are last seen; a row for each user who has set either, or approved or blocked somebody, and for an hour longer
///   relation        number, approved or blocked, whom
///   subscription    follower, followed; an index each way
/// </code>
/// Whoever registers, deletes or sets a status or a visibility locks the row of <c>state</c> first and has it until the commit. So numbers have no gaps, changes are
/// committed in the order of their numbers (who has read up to one has missed nothing before it), and two nodes cannot wait for each other. A
/// sequence would burn a number for each key that another node registered a moment before, and has an order of its own.
/// <para>Nodes that start at once wait for one another at an advisory lock; a node of an earlier version goes on with tables that were added to.</para>
/// </remarks>
internal static class PostgresSchema
{
    /// <summary>The constraint that is broken when all numbers are given.</summary>
    public const string NumbersLeft = "numbers_left";

    // trusted extensions came with 13: who owns a database may make pg_trgm there
    private const int OldestVersion = 13;

    // any number of one's own: "Aglow" in ASCII
    private const long Lock = 0x41676C6F77;

    private static readonly TimeSpan LockWithin = TimeSpan.FromMinutes(1);

    private static readonly string[] Versions =
    [
        """
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'aglow') THEN CREATE SCHEMA aglow; END IF;
        END $$;
        CREATE TABLE aglow.state (
            id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
            version integer NOT NULL,
            next_number bigint NOT NULL CONSTRAINT numbers_left CHECK (next_number <= 4294967295),
            change bigint NOT NULL,
            cursors bytea NOT NULL);
        INSERT INTO aglow.state (version, next_number, change, cursors) VALUES (0, 2147483648, 0, uuid_send(gen_random_uuid()));
        CREATE TABLE aglow.users (
            number bigint PRIMARY KEY,
            created_at bigint NOT NULL,
            updated_at bigint NOT NULL,
            name text COLLATE "C" NOT NULL,
            display_name text,
            folded text COLLATE "C" NOT NULL,
            display_folded text COLLATE "C");
        CREATE UNIQUE INDEX users_name ON aglow.users (name);
        CREATE INDEX users_beginning ON aglow.users (folded, number);
        CREATE INDEX users_display_beginning ON aglow.users (display_folded, number) WHERE display_folded IS NOT NULL;
        CREATE TABLE aglow.deleted (number bigint PRIMARY KEY, name text COLLATE "C", change bigint NOT NULL, deleted_at bigint NOT NULL);
        CREATE INDEX deleted_change ON aglow.deleted (change) WHERE name IS NOT NULL;
        CREATE TABLE aglow.manual_status (
            number bigint PRIMARY KEY, kind smallint NOT NULL, shown_last_seen bigint NOT NULL, change bigint NOT NULL, changed_at bigint NOT NULL);
        CREATE INDEX manual_status_change ON aglow.manual_status (change);
        CREATE TABLE aglow.subscription (follower bigint, followed bigint, PRIMARY KEY (follower, followed));
        CREATE INDEX subscription_followed ON aglow.subscription (followed, follower);
        """,
        """
        CREATE TABLE aglow.visibility (
            number bigint PRIMARY KEY, online smallint NOT NULL, last_seen smallint NOT NULL, change bigint NOT NULL, changed_at bigint NOT NULL);
        CREATE INDEX visibility_change ON aglow.visibility (change);
        CREATE INDEX visibility_undone ON aglow.visibility (changed_at) WHERE online = 0 AND last_seen = 0;
        CREATE TABLE aglow.relation (number bigint, kind smallint, other bigint, PRIMARY KEY (number, kind, other));
        CREATE INDEX relation_other ON aglow.relation (other, number);
        """,
    ];

    /// <summary>Brings the tables to this version, and returns what the server is like.</summary>
    /// <exception cref="StoreUnavailableException">The server, or what is in it, is not for this program; the message is one line.</exception>
    public static async Task<Server> PrepareAsync(NpgsqlDataSource source, PostgresOptions options, PostgresLog log)
    {
        await using var connection = await source.OpenConnectionAsync();
        var version = connection.PostgreSqlVersion;
        if (version.Major < OldestVersion)
            throw new StoreUnavailableException($"PostgreSQL at {options} is version {version}: {OldestVersion} is the oldest that will do.");
        if ((string)(await ScalarAsync(connection, "SHOW transaction_read_only"))! == "on")
            throw new StoreUnavailableException(PostgresFailure.ReadOnly(options));
        if (await VersionAsync(connection, options) < Versions.Length || !await HasInsideIndexAsync(connection))
            await MigrateAsync(connection, options, log);
        var hasIndex = await HasInsideIndexAsync(connection);
        await using var command = new NpgsqlCommand("SELECT cursors, next_number FROM aglow.state", connection);
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        var (secret, users) = (reader.GetFieldValue<byte[]>(0), reader.GetInt64(1) - UserId.FirstDirectoryNumber);
        log.Connected(version.ToString(), options.ToString(), users);
        return new Server(version, secret, hasIndex);
    }

    private static async Task MigrateAsync(NpgsqlConnection connection, PostgresOptions options, PostgresLog log)
    {
        await using var transaction = await connection.BeginTransactionAsync();
        await ExecuteAsync(connection, $"SET LOCAL lock_timeout = {LockWithin.TotalMilliseconds:0}");
        await ExecuteAsync(connection, $"SELECT pg_advisory_xact_lock({Lock})");
        var version = await VersionAsync(connection, options);
        for (var next = version; next < Versions.Length; next++)
        {
            await ExecuteAsync(connection, Versions[next]);
            await ExecuteAsync(connection, $"UPDATE aglow.state SET version = {next + 1}");
        }

        if (!await HasInsideIndexAsync(connection))
            await MakeInsideIndexAsync(connection, transaction, options, log);
        await transaction.CommitAsync();
        if (version < Versions.Length)
            log.Migrated(options.ToString(), Versions.Length);
    }

    private static async Task MakeInsideIndexAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PostgresOptions options, PostgresLog log)
    {
        const string where = "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'";
        var schema = (string?)await ScalarAsync(connection, where);
        if (schema is null)
        {
            await transaction.SaveAsync("trigrams");
            try
            {
                await ExecuteAsync(connection, "CREATE EXTENSION pg_trgm WITH SCHEMA aglow");
                schema = "aglow";
            }
            catch (PostgresException refused)
            {
                await transaction.RollbackAsync("trigrams");
                log.NoTrigrams(refused.MessageText);
                return;
            }
        }

        log.Indexing(options.ToString());
        await ExecuteAsync(connection, $"CREATE INDEX users_inside ON aglow.users USING gin (folded {schema}.gin_trgm_ops, display_folded {schema}.gin_trgm_ops)");
    }

    private static async Task<int> VersionAsync(NpgsqlConnection connection, PostgresOptions options)
    {
        if (!await HasAsync(connection, "state"))
            return 0;
        var version = (int)(await ScalarAsync(connection, "SELECT version FROM aglow.state"))!;
        return version <= Versions.Length
            ? version
            : throw new StoreUnavailableException(
                $"The directory in {options} was made by a newer Aglow (version {version} of its tables, this program knows {Versions.Length}): run that.");
    }

    private static Task<bool> HasInsideIndexAsync(NpgsqlConnection connection) => HasAsync(connection, "users_inside");

    // read as rows: what to_regclass finds may be as of before the wait for the lock
    private static async Task<bool> HasAsync(NpgsqlConnection connection, string table) => (bool)(await ScalarAsync(
        connection, $"SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'aglow' AND c.relname = '{table}')"))!;

    private static async Task<object?> ScalarAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync();
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql)
    {
        // an index over millions of names takes its time
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 0 };
        await command.ExecuteNonQueryAsync();
    }

    /// <summary>What a server is like.</summary>
    /// <param name="Version">Of PostgreSQL.</param>
    /// <param name="CursorSecret">Seals cursors, for all nodes alike.</param>
    /// <param name="HasTrigrams">Whether there is an index for searching inside of names.</param>
    internal sealed record Server(Version Version, byte[] CursorSecret, bool HasTrigrams);
}
