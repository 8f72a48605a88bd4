using System.Globalization;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Users;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>The user directory of many nodes, in PostgreSQL 13 or newer. The server must take writes.</summary>
/// <remarks>
/// <code>
///   RegisterAsync, WriteProfilesAsync, DeleteAsync, FollowAsync, Set…Async ─► PostgresWriter (one loop, one transaction for the queue)
///   Find…Async, SearchAsync, SubscriptionsAsync                           ─► a connection of the pool
///   other nodes ─► NOTIFY ─► ChangeListener ─► PostgresWriter reads what changed ─► Changed
/// </code>
/// <see cref="PostgresSchema"/> defines the tables. A list takes one round trip, whatever its length. The <see cref="KeyCache"/> in front
/// of this class holds known IDs; this class holds nothing in memory but the next index. While the server is away, calls fail with
/// <see cref="StoreUnavailableException"/> and a line that says why, and connections are reopened automatically. Threading: any thread.
/// </remarks>
public sealed class PostgresUserDirectory : IUserDirectory
{
    private readonly NpgsqlDataSource _source;
    private readonly PostgresOptions _options;
    private readonly Version _version;
    private readonly CursorSeal _seal;
    private readonly TimeProvider _time;
    private readonly PostgresWriter _writer;
    private readonly ChangeListener _listener;

    private PostgresUserDirectory(
        NpgsqlDataSource source, PostgresOptions options, (Version Version, byte[] CursorSecret) server, TimeProvider time, PostgresLog log)
    {
        var node = Random.Shared.NextInt64().ToString("x", CultureInfo.InvariantCulture);
        _source = source;
        _options = options;
        _version = server.Version;
        CursorSecret = server.CursorSecret;
        _seal = new CursorSeal(server.CursorSecret);
        _time = time;
        _writer = new PostgresWriter(source, options, node, time, log);
        _listener = new ChangeListener(source, options, _writer, node, time, log);
        _listener.Start();
    }

    /// <inheritdoc/>
    public event Action<DirectoryChanges>? Changed
    {
        add => _writer.Changed += value;
        remove => _writer.Changed -= value;
    }

    /// <inheritdoc/>
    public uint NextIndex => _writer.NextIndex;

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> CursorSecret { get; }

    /// <inheritdoc/>
    public bool IsShared => true;

    /// <summary>The cost limits of a search. Tests set them.</summary>
    internal SearchLimits SearchLimits { get; set; } = SearchLimits.Default;

    /// <summary>
    /// Connects, and creates or upgrades the tables in the schema <c>aglow</c>. Nodes that start at the same time wait for one another.
    /// </summary>
    /// <exception cref="StoreUnavailableException">The server cannot be used; the message is one line that says what to do.</exception>
    public static async Task<PostgresUserDirectory> OpenAsync(PostgresOptions options, TimeProvider time, ILoggerFactory logs)
    {
        var log = new PostgresLog(logs.CreateLogger("Aglow.Postgres"));
        var source = options.CreateSource();
        PostgresUserDirectory? directory = null;
        try
        {
            directory = new PostgresUserDirectory(source, options, await PostgresSchema.PrepareAsync(source, options, log), time, log);
            await directory.CatchUpAsync();
            return directory;
        }
        catch (Exception failure)
        {
            await ((IAsyncDisposable?)directory ?? source).DisposeAsync();
            if (PostgresFailure.IsAway(failure))
                throw PostgresFailure.Explain(failure, options);
            throw;
        }
    }

    /// <summary>The server's version and address, for people.</summary>
    public override string ToString() => $"PostgreSQL {_version} at {_options}";

    /// <inheritdoc/>
    public ValueTask CatchUpAsync() => _writer.CatchUpAsync();

    /// <inheritdoc/>
    public void Observe(AglowMetrics metrics)
    {
        metrics.Gauge("aglow.directory.away", "1 while the user directory cannot be used.", () => _writer.IsAway ? 1 : 0);
        metrics.Gauge(
            "aglow.directory.users.registered",
            "IDs that have an index, those of deleted users included.",
            () => NextIndex - UserId.FirstDirectoryNumber);
        metrics.Count(
            "aglow.directory.transactions", "Transactions that this node committed to the user directory.", () => _writer.Transactions);
        metrics.Count(
            "aglow.directory.notifications",
            "Notifications of other nodes that they changed the user directory.",
            () => _listener.Received);
        metrics.Count(
            "aglow.directory.catchups", "Times this node read what other nodes changed in the user directory.", () => _writer.CatchUps);
    }

    /// <inheritdoc/>
    public async ValueTask<int> RegisterAsync(IReadOnlyList<string> ids, Memory<uint> indexes)
    {
        // most IDs already have an index that this node does not know; a lookup takes no lock
        await FindIndexesAsync(ids, indexes);
        var missing = Enumerable.Range(0, ids.Count).Where(i => indexes.Span[i] == 0).ToArray();
        if (missing.Length == 0)
            return 0;
        var given = await _writer.RunAsync(new RegisterCommand([.. missing.Select(i => ids[i])]));
        for (var i = 0; i < missing.Length; i++)
            indexes.Span[missing[i]] = given[i].Index;
        return given.Count(static g => g.IsNew);
    }

    /// <inheritdoc/>
    public async ValueTask ReserveAsync(uint next) => await _writer.RunAsync(new ReserveCommand(next));

    /// <inheritdoc/>
    public async ValueTask FindIndexesAsync(IReadOnlyList<string> ids, Memory<uint> indexes)
    {
        indexes.Span[..ids.Count].Clear();
        if (ids.Count == 0)
            return;
        var found = await ReadAsync(
            "SELECT place, idx FROM unnest($1) WITH ORDINALITY AS asked (id, place) JOIN aglow.ids USING (id)",
            static reader => (Place: reader.GetInt64(0), Index: (uint)reader.GetInt64(1)),
            Sql.Texts(ids));
        foreach (var (place, index) in found)
            indexes.Span[(int)place - 1] = index;
    }

    /// <inheritdoc/>
    public async ValueTask FindIdsAsync(ReadOnlyMemory<uint> indexes, Memory<string?> ids)
    {
        ids.Span[..indexes.Length].Clear();
        // smaller indexes are themselves the IDs
        var places = Enumerable.Range(0, indexes.Length).Where(i => indexes.Span[i] >= UserId.FirstDirectoryNumber).ToArray();
        if (places.Length == 0)
            return;
        var found = await ReadAsync(
            "SELECT place, id FROM unnest($1) WITH ORDINALITY AS asked (idx, place) JOIN aglow.ids USING (idx)",
            static reader => (Place: reader.GetInt64(0), Id: reader.GetString(1)),
            Sql.Numbers(places.Select(i => indexes.Span[i])));
        foreach (var (place, id) in found)
            ids.Span[places[(int)place - 1]] = id;
    }

    /// <inheritdoc/>
    public async ValueTask<Profile?> FindProfileAsync(uint user) => (await ReadAsync(
        $"SELECT {PostgresSearch.ProfileColumns} FROM aglow.profile WHERE idx = $1",
        static reader => PostgresSearch.ReadProfile(reader, 0),
        Sql.Number(user))).SingleOrDefault();

    /// <inheritdoc/>
    public ValueTask<ProfileResult> WriteProfilesAsync(IReadOnlyList<ProfileWrite> writes, bool create) =>
        writes.Count == 0 ? new(new ProfileResult(0, 0)) : _writer.RunAsync(new WriteProfilesCommand(writes, create));

    /// <inheritdoc/>
    public ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return ReadAsync(
            (connection, cancel) => new PostgresSearch(connection, SearchLimits, _seal, _time, cancel).SearchAsync(query, limit, cursor));
    }

    /// <inheritdoc/>
    public async ValueTask DeleteAsync(uint user, long at) => await _writer.RunAsync(FactCommand.Delete(user, at));

    /// <inheritdoc/>
    public async ValueTask HoldDeletionsAsync(long now) => await _writer.RunAsync(FactCommand.HoldDeletions(now));

    /// <inheritdoc/>
    public async ValueTask NoteDeletionAsync(uint user, long at) => await _writer.RunAsync(FactCommand.NoteDeletion(user, at));

    /// <inheritdoc/>
    public async ValueTask RevokeAsync(uint user, long at) => await _writer.RunAsync(FactCommand.Revoke(user, at));

    /// <inheritdoc/>
    public async ValueTask SetDisabledAsync(uint user, bool disabled, uint shownLastSeen) =>
        await _writer.RunAsync(FactCommand.SetDisabled(user, disabled, shownLastSeen));

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<KeyValuePair<uint, Account>>> AccountsAsync() =>
        ReadAllAsync(PostgresChanges.AllAccounts, PostgresChanges.ReadAccountsAsync);

    /// <inheritdoc/>
    public async ValueTask<uint[]> SubscriptionsAsync(uint follower) =>
        [.. await ReadAsync(
            "SELECT followed FROM aglow.subscription WHERE follower = $1 ORDER BY followed",
            static reader => (uint)reader.GetInt64(0),
            Sql.Number(follower))];

    /// <inheritdoc/>
    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) =>
        _writer.RunAsync(ListCommand.Subscription(follower, followed, follow, limit));

    /// <inheritdoc/>
    public async ValueTask<bool> SetClaimAsync(uint user, Claim claim, uint now) =>
        await _writer.RunAsync(new ClaimCommand(user, claim, now));

    /// <inheritdoc/>
    public async ValueTask RemoveClaimAsync(uint user, string source) => await _writer.RunAsync(FactCommand.RemoveClaim(user, source));

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>>> ClaimsAsync() =>
        ReadAllAsync(PostgresChanges.AllClaims, PostgresChanges.ReadClaimsAsync);

    /// <inheritdoc/>
    public async ValueTask SetVisibilityAsync(uint user, OnlineVisibility? online, LastSeenVisibility? lastSeen) =>
        await _writer.RunAsync(FactCommand.SetVisibility(user, online, lastSeen));

    /// <inheritdoc/>
    public ValueTask<uint[]?> RelateAsync(uint user, Relation relation, IReadOnlyList<uint> others, bool add, int limit) =>
        _writer.RunAsync(ListCommand.Of(user, relation, others, add, limit));

    /// <inheritdoc/>
    public async ValueTask<uint[]> WaitingAsync(uint user, uint from, int limit) =>
        [.. await ReadAsync(
            """
            SELECT follower FROM aglow.subscription
            WHERE followed = $1 AND follower >= $2 AND follower <> $1
                AND NOT EXISTS (SELECT FROM aglow.relation WHERE idx = $1 AND other = follower)
            ORDER BY follower LIMIT $3
            """,
            static reader => (uint)reader.GetInt64(0),
            Sql.Number(user),
            Sql.Number(from),
            Sql.Number(limit))];

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync() =>
        [.. (await ReadAllAsync(PostgresChanges.AllVisibilities, PostgresChanges.ReadVisibilitiesAsync))
            .Where(static v => !v.Value.IsDefault)];

    /// <summary>Finishes queued writes, and closes the connections.</summary>
    public async ValueTask DisposeAsync()
    {
        await _listener.DisposeAsync();
        await _writer.DisposeAsync();
        await _source.DisposeAsync();
    }

    private ValueTask<List<T>> ReadAsync<T>(string sql, Func<NpgsqlDataReader, T> read, params NpgsqlParameter[] parameters) =>
        ReadAsync(async (connection, cancel) =>
    {
        await using var command = new NpgsqlCommand(sql, connection);
        foreach (var parameter in parameters)
            command.Parameters.Add(parameter.Clone());
        var rows = new List<T>();
        await using var reader = await command.ExecuteReaderAsync(cancel);
        while (await reader.ReadAsync(cancel))
            rows.Add(read(reader));
        return rows;
    });

    private ValueTask<T> ReadAllAsync<T>(string sql, Func<NpgsqlDataReader, CancellationToken, Task<T>> read) => ReadAsync(
        async (connection, cancel) =>
        {
            await using var command = new NpgsqlCommand(sql, connection);
            await using var reader = await command.ExecuteReaderAsync(cancel);
            return await read(reader, cancel);
        },
        PostgresChanges.AllWithin);

    /// <summary>
    /// Reads on a connection of the pool. The caller waits no longer than the answer may take, and does not wait for the cancel: Npgsql
    /// connects for it, which takes seconds while the server is away.
    /// </summary>
    private async ValueTask<T> ReadAsync<T>(Func<NpgsqlConnection, CancellationToken, Task<T>> read, TimeSpan? within = null)
    {
        try
        {
            var most = within ?? _options.AnswersWithin;
            var reading = ReadTwiceAsync(read, most);
            // marks a failure after the wait as observed
            _ = reading.ContinueWith(
                static late => late.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
            return await reading.WaitAsync(most, _time);
        }
        catch (TimeoutException late)
        {
            throw PostgresFailure.Explain(late, _options);
        }
    }

    /// <summary>Retries once on another connection if the first one turns out to be lost.</summary>
    private async Task<T> ReadTwiceAsync<T>(Func<NpgsqlConnection, CancellationToken, Task<T>> read, TimeSpan within)
    {
        for (var isFirst = true; ; isFirst = false)
        {
            try
            {
                using var deadline = new Deadline(within);
                await using var connection = await _source.OpenConnectionAsync(deadline.Token);
                return await read(connection, deadline.Token);
            }
            catch (Exception failure) when (isFirst && PostgresFailure.IsConnectionLost(failure))
            {
                // a restarted server has closed all other connections too
                _source.Clear();
            }
            catch (Exception failure) when (PostgresFailure.IsAway(failure))
            {
                throw PostgresFailure.Explain(failure, _options);
            }
        }
    }
}
