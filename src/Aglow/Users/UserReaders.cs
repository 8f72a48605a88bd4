using System.Collections.Concurrent;
using Aglow.Sqlite;
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

    // never disposed, because that would not wake those who wait for it
    private readonly SemaphoreSlim _free = new(Readers, Readers);
    private readonly ConcurrentBag<UserReader> _idle = [];
    private bool _isClosed;

    public async ValueTask<T> RunAsync<T>(Func<UserReader, T> read)
    {
        await _free.WaitAsync();
        try
        {
            if (_isClosed)
                throw new StoreUnavailableException("The user directory is closed.");
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

    /// <summary>Waits for current reads, and closes the connections. Later reads are refused.</summary>
    public async ValueTask DisposeAsync()
    {
        for (var i = 0; i < Readers; i++)
            await _free.WaitAsync();
        while (_idle.TryTake(out var reader))
            reader.Dispose();
        _isClosed = true;
        _free.Release(Readers);
    }
}

/// <summary>One read connection with its statements. One caller at a time; a caller sees one state of the file.</summary>
internal sealed class UserReader : IDisposable
{
    private readonly SqliteConnection _connection;
    private readonly UserSearch _search;
    private readonly SqliteStatements _sql;

    public UserReader(SqliteFile users, CursorSeal seal, int cacheKibibytes)
    {
        _connection = users.ConnectToRead(cacheKibibytes);
        _sql = new SqliteStatements(_connection);
        _search = new UserSearch(_sql, seal);
    }

    public T Run<T>(Func<UserReader, T> read)
    {
        _sql["BEGIN"].Run();
        try
        {
            return read(this);
        }
        finally
        {
            _sql.Reset();
            _sql["COMMIT"].Run();
        }
    }

    /// <summary>The indexes of as many IDs as there is room for, from one of them on.</summary>
    public int FindIndexes(IReadOnlyList<string> ids, int from, Span<uint> indexes)
    {
        var row = _sql["SELECT user FROM id WHERE id = ?1"];
        for (var i = 0; i < indexes.Length; i++)
        {
            row.Bind(1, ids[from + i]);
            indexes[i] = row.Step() ? (uint)row.Int64(0) : 0;
            row.Reset();
        }

        return indexes.Length;
    }

    public int FindIds(ReadOnlySpan<uint> indexes, Span<string?> ids)
    {
        var row = _sql["SELECT id FROM id WHERE user = ?1"];
        for (var i = 0; i < indexes.Length; i++)
        {
            ids[i] = null;
            if (indexes[i] < UserId.FirstDirectoryNumber)
                continue;
            row.Bind(1, indexes[i]);
            ids[i] = row.Step() ? row.Text(0) : null;
            row.Reset();
        }

        return indexes.Length;
    }

    public Profile? FindProfile(uint user)
    {
        var row = _sql["SELECT user_name, display_name, created_at, updated_at FROM profile WHERE user = ?1"].Bind(1, user);
        return row.Step() ? new Profile(row.Text(0), row.Text(1), row.Int64(2), row.Int64(3)) : null;
    }

    public DirectoryPage Search(string query, int limit, string? cursor) => _search.Search(query, limit, cursor);

    public uint[] Subscriptions(uint follower) =>
        Users(_sql["SELECT followed FROM subscription WHERE follower = ?1 ORDER BY followed"].Bind(1, follower));

    public uint[] Waiting(uint user, uint from, int limit) => Users(_sql[
        """
        SELECT follower FROM subscription
        WHERE followed = ?1 AND follower >= ?2 AND follower <> ?1
            AND NOT EXISTS (SELECT 1 FROM relation WHERE user = ?1 AND other = follower)
        ORDER BY follower LIMIT ?3
        """].Bind(1, user).Bind(2, from).Bind(3, limit));

    public IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>> Claims()
    {
        var row = _sql["SELECT user, source, status, text, emoji, until, priority, set_at, shown_last_seen FROM claim ORDER BY user"];
        var claims = new ClaimRows();
        while (row.Step())
        {
            claims.Add((uint)row.Int64(0), Claim.Load(
                row.Text(1)!,
                (ClaimStatus)row.Int64(2),
                row.Text(3),
                row.Text(4),
                (uint)row.Int64(5),
                (int)row.Int64(6),
                row.Int64(7),
                (uint)row.Int64(8)));
        }

        return claims.ToList();
    }

    public IReadOnlyList<KeyValuePair<uint, Account>> Accounts()
    {
        var row = _sql["SELECT user, disabled, shown_last_seen, revoked_at, deleted FROM account"];
        var accounts = new List<KeyValuePair<uint, Account>>();
        while (row.Step())
        {
            var (revokedAt, deletedAt) = (row.Int64(3), row.Int64(4));
            accounts.Add(new((uint)row.Int64(0), new Account(
                row.Int64(1) != 0, (uint)row.Int64(2), revokedAt, deletedAt == 1 ? revokedAt : Math.Abs(deletedAt), deletedAt < 0)));
        }

        return accounts;
    }

    public IReadOnlyList<KeyValuePair<uint, Visibility>> Visibilities()
    {
        var rows = new VisibilityRows();
        var visibility = _sql["SELECT user, online, last_seen FROM visibility"];
        while (visibility.Step())
            rows.Add((uint)visibility.Int64(0), (OnlineVisibility)visibility.Int64(1), (LastSeenVisibility)visibility.Int64(2));
        var relation = _sql["SELECT user, kind, other FROM relation ORDER BY user, kind, other"];
        while (relation.Step())
            rows.Add((uint)relation.Int64(0), (Relation)relation.Int64(1), (uint)relation.Int64(2));
        return rows.ToList();
    }

    public void Dispose()
    {
        _sql.Dispose();
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
