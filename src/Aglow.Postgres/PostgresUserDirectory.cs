using System.Globalization;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Users;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>
/// The user directory of many nodes: PostgreSQL 13 or newer, one that takes writes.
/// </summary>
/// <remarks>
/// <code>
///   CreateAsync, RegisterAsync, DeleteAsync, FollowAsync, RelateAsync, Set…Async ─► PostgresWriter (one loop, all that waits in one transaction)
///   Find…Async, SearchAsync, SubscriptionsAsync                                  ─► a connection of the pool
///   other nodes ─► NOTIFY ─► ChangeListener ─► PostgresWriter reads what changed ─► Changed
/// </code>
/// The tables are <see cref="PostgresSchema"/>'s. Lists are one round trip, whatever their length. Keys that a node knows are the <see cref="KeyCache"/>'s affair, before this;
/// nothing of the directory is held in memory here but the next number. Where the server is away, calls fail with <see cref="StoreUnavailableException"/> and
/// one line that says why; connections are made anew by themselves. Any number of callers at once.
/// </remarks>
public sealed class PostgresUserDirectory : IUserDirectory
{
    private readonly NpgsqlDataSource _source;
    private readonly PostgresOptions _options;
    private readonly PostgresSchema.Server _server;
    private readonly SipHash _seal;
    private readonly TimeProvider _time;
    private readonly PostgresWriter _writer;
    private readonly ChangeListener _listener;

    private PostgresUserDirectory(NpgsqlDataSource source, PostgresOptions options, PostgresSchema.Server server, TimeProvider time, PostgresLog log)
    {
        var node = Random.Shared.NextInt64().ToString("x", CultureInfo.InvariantCulture);
        _source = source;
        _options = options;
        _server = server;
        _seal = new SipHash(server.CursorSecret);
        SearchLimits = new SearchLimits(server.HasTrigrams);
        _time = time;
        _writer = new PostgresWriter(source, options, node, time, log);
        _listener = new ChangeListener(source, options, _writer, node, time, log);
    }

    /// <inheritdoc/>
    public event Action<DirectoryChanges>? Changed
    {
        add => _writer.Changed += value;
        remove => _writer.Changed -= value;
    }

    /// <inheritdoc/>
    public uint NextNumber => _writer.NextNumber;

    /// <inheritdoc/>
    public bool IsShared => true;

    /// <summary>What a search may cost. Set by tests.</summary>
    internal SearchLimits SearchLimits { get; set; }

    /// <summary>Connects, and makes or brings up to date the tables in the schema <c>aglow</c>; nodes that start at once wait for one another.</summary>
    /// <exception cref="StoreUnavailableException">The server cannot be used; the message is one line that says what to do.</exception>
    public static async Task<PostgresUserDirectory> OpenAsync(PostgresOptions options, TimeProvider time, ILoggerFactory logs)
    {
        var log = new PostgresLog(logs.CreateLogger("Aglow.Postgres"));
        var source = options.CreateSource();
        try
        {
            var directory = new PostgresUserDirectory(source, options, await PostgresSchema.PrepareAsync(source, options, log), time, log);
            await directory.CatchUpAsync();
            return directory;
        }
        catch (Exception failure)
        {
            await source.DisposeAsync();
            if (PostgresFailure.IsAway(failure))
                throw PostgresFailure.Explain(failure, options);
            throw;
        }
    }

    /// <summary>Where it is, for people.</summary>
    public override string ToString() => $"PostgreSQL {_server.Version} at {_options}";

    /// <inheritdoc/>
    public ValueTask CatchUpAsync() => _writer.CatchUpAsync();

    /// <inheritdoc/>
    public void Observe(AglowMetrics metrics)
    {
        metrics.Gauge("aglow.directory.away", "1 while the user directory cannot be reached.", () => _writer.IsAway ? 1 : 0);
        metrics.Gauge("aglow.directory.users.registered", "Numbers handed out, those of users deleted since included.", () => NextNumber - UserId.FirstDirectoryNumber);
        metrics.Count("aglow.directory.transactions", "Transactions that this node committed to the user directory.", () => _writer.Transactions);
        metrics.Count("aglow.directory.notifications", "Times another node said that it changed the user directory.", () => _listener.Heard);
        metrics.Count("aglow.directory.catchups", "Times it was read what other nodes changed in the user directory.", () => _writer.CatchUps);
    }

    /// <inheritdoc/>
    public async ValueTask<DirectoryUser?> CreateAsync(string name, string? displayName)
    {
        var now = _time.GetUtcNow().ToUnixTimeSeconds();
        var (number, isNew) = (await _writer.RunAsync(new RegisterCommand([name], displayName, isCreation: true)))[0];
        return isNew ? new DirectoryUser(number, name, displayName, now, now) : null;
    }

    /// <inheritdoc/>
    public async ValueTask<int> RegisterAsync(IReadOnlyList<string> keys, Memory<uint> numbers)
    {
        // mostly they are registered, and this node has forgotten them or never knew: that takes no lock
        await FindNumbersAsync(keys, numbers);
        var missing = Enumerable.Range(0, keys.Count).Where(i => numbers.Span[i] == 0).ToArray();
        if (missing.Length == 0)
            return 0;
        var given = await _writer.RunAsync(new RegisterCommand([.. missing.Select(i => keys[i])]));
        for (var i = 0; i < missing.Length; i++)
            numbers.Span[missing[i]] = given[i].Number;
        return given.Count(static g => g.IsNew);
    }

    /// <inheritdoc/>
    public async ValueTask FindNumbersAsync(IReadOnlyList<string> keys, Memory<uint> numbers)
    {
        numbers.Span[..keys.Count].Clear();
        if (keys.Count == 0)
            return;
        var found = await ReadAsync(
            "SELECT place, number FROM unnest($1) WITH ORDINALITY AS asked (name, place) JOIN aglow.users USING (name)",
            static reader => (Place: reader.GetInt64(0), Number: (uint)reader.GetInt64(1)),
            Sql.Texts(keys));
        foreach (var (place, number) in found)
            numbers.Span[(int)place - 1] = number;
    }

    /// <inheritdoc/>
    public async ValueTask FindNamesAsync(ReadOnlyMemory<uint> numbers, Memory<string?> names)
    {
        names.Span[..numbers.Length].Clear();
        // the application's own numbers have no names
        var places = Enumerable.Range(0, numbers.Length).Where(i => numbers.Span[i] >= UserId.FirstDirectoryNumber).ToArray();
        if (places.Length == 0)
            return;
        var found = await ReadAsync(
            "SELECT place, name FROM unnest($1) WITH ORDINALITY AS asked (number, place) JOIN aglow.users USING (number)",
            static reader => (Place: reader.GetInt64(0), Name: reader.GetString(1)),
            Sql.Numbers(places.Select(i => numbers.Span[i])));
        foreach (var (place, name) in found)
            names.Span[places[(int)place - 1]] = name;
    }

    /// <inheritdoc/>
    public async ValueTask<DirectoryUser?> FindAsync(uint number) =>
        (await ReadAsync($"SELECT {PostgresSearch.Columns} FROM aglow.users WHERE number = $1", PostgresSearch.Read, Sql.Number(number))).SingleOrDefault();

    /// <inheritdoc/>
    public ValueTask<bool> DeleteAsync(uint number) => _writer.RunAsync(new DeleteCommand(number));

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<uint>> DeletedNumbersAsync() =>
        await ReadAsync("SELECT number FROM aglow.deleted ORDER BY number", static reader => (uint)reader.GetInt64(0));

    /// <inheritdoc/>
    public ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return ReadAsync(connection => new PostgresSearch(connection, SearchLimits, _seal, _time).SearchAsync(query, limit, cursor));
    }

    /// <inheritdoc/>
    public async ValueTask<uint[]> SubscriptionsAsync(uint follower) =>
        [.. await ReadAsync("SELECT followed FROM aglow.subscription WHERE follower = $1 ORDER BY followed", static reader => (uint)reader.GetInt64(0), Sql.Number(follower))];

    /// <inheritdoc/>
    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) =>
        _writer.RunAsync(new FollowCommand(follower, followed, follow, limit));

    /// <inheritdoc/>
    public async ValueTask SetManualStatusAsync(uint number, ManualStatus status) => await _writer.RunAsync(new SetStatusCommand(number, status));

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<KeyValuePair<uint, ManualStatus>>> ManualStatusesAsync() => await ReadAsync(
        "SELECT number, kind, shown_last_seen FROM aglow.manual_status WHERE kind <> 0",
        static reader => KeyValuePair.Create((uint)reader.GetInt64(0), new ManualStatus((ManualStatusKind)reader.GetInt16(1), (uint)reader.GetInt64(2))));

    /// <inheritdoc/>
    public async ValueTask SetVisibilityAsync(uint number, OnlineVisibility? online, LastSeenVisibility? lastSeen) =>
        await _writer.RunAsync(new SetVisibilityCommand(number, online, lastSeen));

    /// <inheritdoc/>
    public ValueTask<uint[]?> RelateAsync(uint number, Relation relation, IReadOnlyList<uint> others, bool add, int limit) =>
        _writer.RunAsync(new RelateCommand(number, relation, others, add, limit));

    /// <inheritdoc/>
    public async ValueTask<uint[]> WaitingAsync(uint number, uint from, int limit) =>
        [.. await ReadAsync(
            """
            SELECT follower FROM aglow.subscription
            WHERE followed = $1 AND follower >= $2 AND follower <> $1 AND NOT EXISTS (SELECT FROM aglow.relation WHERE number = $1 AND other = follower)
            ORDER BY follower LIMIT $3
            """,
            static reader => (uint)reader.GetInt64(0),
            Sql.Number(number),
            Sql.Number(from),
            Sql.Number(limit))];

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync() => ReadAsync(async connection =>
    {
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(PostgresChanges.VisibilitiesSince(-1));
        await using var reader = await batch.ExecuteReaderAsync();
        var visibilities = await PostgresChanges.ReadVisibilitiesAsync(reader);
        return (IReadOnlyList<KeyValuePair<uint, Visibility>>)[.. visibilities.Where(static v => !v.Value.IsDefault)];
    });

    /// <summary>Finishes what waits to be written, and lets the connections go.</summary>
    public async ValueTask DisposeAsync()
    {
        await _listener.DisposeAsync();
        await _writer.DisposeAsync();
        await _source.DisposeAsync();
    }

    private ValueTask<List<T>> ReadAsync<T>(string sql, Func<NpgsqlDataReader, T> read, params NpgsqlParameter[] parameters) => ReadAsync(async connection =>
    {
        await using var command = new NpgsqlCommand(sql, connection);
        foreach (var parameter in parameters)
            command.Parameters.Add(parameter.Clone());
        var rows = new List<T>();
        await using var reader = await command.ExecuteReaderAsync();
        while (await reader.ReadAsync())
            rows.Add(read(reader));
        return rows;
    });

    /// <summary>Reads on a connection of the pool; once more on another where that one turned out to be lost.</summary>
    private async ValueTask<T> ReadAsync<T>(Func<NpgsqlConnection, Task<T>> read)
    {
        for (var isFirst = true; ; isFirst = false)
        {
            try
            {
                await using var connection = await _source.OpenConnectionAsync();
                return await read(connection);
            }
            catch (Exception failure) when (isFirst && PostgresFailure.IsConnectionLost(failure))
            {
                // a server that was restarted has closed all the others, too
                _source.Clear();
            }
            catch (Exception failure) when (PostgresFailure.IsAway(failure))
            {
                throw PostgresFailure.Explain(failure, _options);
            }
        }
    }
}
