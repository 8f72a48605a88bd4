using System.Collections.Concurrent;
using Aglow.Model;
using Aglow.Sqlite;
using Aglow.Storage;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

/// <summary>
/// A small pool of read connections to <c>users.db</c>. A caller takes one, reads on its own thread, and returns it. If all are taken, the
/// caller waits without blocking a thread.
/// </summary>
internal sealed class UserReaders(SqliteFile users, CursorSeal seal, int cacheKibibytes) : IAsyncDisposable
{
    // reads are short and need the processor; a few more readers than processors cover those that wait for the disk
    private static readonly int Readers = Environment.ProcessorCount + 2;

    private readonly SemaphoreSlim _free = new(Readers, Readers);
    private readonly ConcurrentBag<UserReader> _idle = [];

    public async ValueTask<T> RunAsync<T>(Func<UserReader, T> read)
    {
        try
        {
            await _free.WaitAsync();
        }
        catch (ObjectDisposedException e)
        {
            throw new StoreUnavailableException("The user directory is closed.", e);
        }

        try
        {
            if (!_idle.TryTake(out var reader))
                reader = new UserReader(users, seal, cacheKibibytes);
            try
            {
                return reader.Run(read);
            }
            finally
            {
                _idle.Add(reader);
            }
        }
        catch (SqliteException e)
        {
            throw new StoreUnavailableException($"{users.Path} cannot be read: {e.Message}.", e);
        }
        finally
        {
            _free.Release();
        }
    }

    /// <summary>Waits for current reads, and closes the connections.</summary>
    public async ValueTask DisposeAsync()
    {
        for (var i = 0; i < Readers; i++)
            await _free.WaitAsync();
        while (_idle.TryTake(out var reader))
            reader.Dispose();
        _free.Dispose();
    }
}

/// <summary>One read connection with its statements. One caller at a time; a caller sees one state of the file.</summary>
internal sealed class UserReader : IDisposable
{
    private readonly SqliteConnection _connection;
    private readonly UserSearch _search;
    private readonly SqliteStatement _begin;
    private readonly SqliteStatement _end;
    private readonly SqliteStatement _index;
    private readonly SqliteStatement _id;
    private readonly SqliteStatement _profile;
    private readonly SqliteStatement _following;
    private readonly SqliteStatement _claims;
    private readonly SqliteStatement _accounts;
    private readonly SqliteStatement _visibilities;
    private readonly SqliteStatement _relations;
    private readonly SqliteStatement _waiting;

    public UserReader(SqliteFile users, CursorSeal seal, int cacheKibibytes)
    {
        _connection = users.ConnectToRead(cacheKibibytes);
        _search = new UserSearch(_connection, seal);
        _begin = new SqliteStatement(_connection, "BEGIN");
        _end = new SqliteStatement(_connection, "COMMIT");
        _index = new SqliteStatement(_connection, "SELECT user FROM id WHERE id = ?1");
        _id = new SqliteStatement(_connection, "SELECT id FROM id WHERE user = ?1");
        _profile = new SqliteStatement(_connection, "SELECT user_name, display_name, created_at, updated_at FROM profile WHERE user = ?1");
        _following = new SqliteStatement(_connection, "SELECT followed FROM subscription WHERE follower = ?1 ORDER BY followed");
        _claims = new SqliteStatement(
            _connection, "SELECT user, source, status, text, emoji, until, priority, set_at, shown_last_seen FROM claim ORDER BY user");
        _accounts = new SqliteStatement(_connection, "SELECT user, disabled, shown_last_seen, revoked_at, deleted FROM account");
        _visibilities = new SqliteStatement(_connection, "SELECT user, online, last_seen FROM visibility");
        _relations = new SqliteStatement(_connection, "SELECT user, kind, other FROM relation ORDER BY user, kind, other");
        _waiting = new SqliteStatement(
            _connection,
            """
            SELECT follower FROM subscription
            WHERE followed = ?1 AND follower >= ?2 AND follower <> ?1
                AND NOT EXISTS (SELECT 1 FROM relation WHERE user = ?1 AND other = follower)
            ORDER BY follower LIMIT ?3
            """);
    }

    /// <summary>Runs a read in a transaction.</summary>
    public T Run<T>(Func<UserReader, T> read)
    {
        _begin.Run();
        try
        {
            return read(this);
        }
        finally
        {
            foreach (var statement in new[] { _index, _id, _profile, _following, _claims, _accounts, _visibilities, _relations, _waiting })
                statement.Reset();
            _end.Run();
        }
    }

    /// <summary>The indexes of as many IDs as there is room for, from one of them on.</summary>
    public int FindIndexes(IReadOnlyList<string> ids, int from, Span<uint> indexes)
    {
        for (var i = 0; i < indexes.Length; i++)
        {
            _index.Bind(1, ids[from + i]);
            indexes[i] = _index.Step() ? (uint)_index.Int64(0) : 0;
            _index.Reset();
        }

        return indexes.Length;
    }

    public int FindIds(ReadOnlySpan<uint> indexes, Span<string?> ids)
    {
        for (var i = 0; i < indexes.Length; i++)
        {
            ids[i] = null;
            if (indexes[i] < UserId.FirstDirectoryNumber)
                continue;
            _id.Bind(1, indexes[i]);
            ids[i] = _id.Step() ? _id.Text(0) : null;
            _id.Reset();
        }

        return indexes.Length;
    }

    public Profile? FindProfile(uint user)
    {
        _profile.Bind(1, user);
        return _profile.Step() ? new Profile(_profile.Text(0), _profile.Text(1), _profile.Int64(2), _profile.Int64(3)) : null;
    }

    public DirectoryPage Search(string query, int limit, string? cursor) => _search.Search(query, limit, cursor);

    public uint[] Subscriptions(uint follower) => Users(_following.Bind(1, follower));

    public uint[] Waiting(uint user, uint from, int limit) => Users(_waiting.Bind(1, user).Bind(2, from).Bind(3, limit));

    public IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>> Claims()
    {
        var rows = new ClaimRows();
        while (_claims.Step())
        {
            rows.Add((uint)_claims.Int64(0), Claim.Load(
                _claims.Text(1)!,
                (ClaimStatus)_claims.Int64(2),
                _claims.Text(3),
                _claims.Text(4),
                (uint)_claims.Int64(5),
                (int)_claims.Int64(6),
                _claims.Int64(7),
                (uint)_claims.Int64(8)));
        }

        return rows.ToList();
    }

    public IReadOnlyList<KeyValuePair<uint, Account>> Accounts()
    {
        var accounts = new List<KeyValuePair<uint, Account>>();
        while (_accounts.Step())
        {
            accounts.Add(new(
                (uint)_accounts.Int64(0),
                new Account(_accounts.Int64(1) != 0, (uint)_accounts.Int64(2), _accounts.Int64(3), _accounts.Int64(4) != 0)));
        }

        return accounts;
    }

    public IReadOnlyList<KeyValuePair<uint, Visibility>> Visibilities()
    {
        var rows = new VisibilityRows();
        while (_visibilities.Step())
            rows.Add((uint)_visibilities.Int64(0), (OnlineVisibility)_visibilities.Int64(1), (LastSeenVisibility)_visibilities.Int64(2));
        while (_relations.Step())
            rows.Add((uint)_relations.Int64(0), (Relation)_relations.Int64(1), (uint)_relations.Int64(2));
        return rows.ToList();
    }

    public void Dispose()
    {
        _search.Dispose();
        foreach (var statement in new[]
        {
            _begin, _end, _index, _id, _profile, _following, _claims, _accounts, _visibilities, _relations, _waiting,
        })
            statement.Dispose();
        _connection.Dispose();
    }

    private static uint[] Users(SqliteStatement statement)
    {
        var users = new List<uint>();
        while (statement.Step())
            users.Add((uint)statement.Int64(0));
        return [.. users];
    }
}
