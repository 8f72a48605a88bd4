using System.Collections.Concurrent;
using Aglow.Model;
using Aglow.Sqlite;
using Aglow.Storage;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

/// <summary>
/// A small pool of read connections to the directory's files. A caller takes one, reads on its own thread, and gives it back; where
/// all are taken it waits without holding a thread.
/// </summary>
internal sealed class UserReaders(SqliteFile users, NameIndex names, SipHash seal, TimeProvider time) : IAsyncDisposable
{
    // reads are short and bound by the processor; a few more than there are processors, for those that wait for the disk
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
                reader = new UserReader(users, names, seal, time);
            try
            {
                return read(reader);
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

    /// <summary>After those who read now.</summary>
    public async ValueTask DisposeAsync()
    {
        for (var i = 0; i < Readers; i++)
            await _free.WaitAsync();
        while (_idle.TryTake(out var reader))
            reader.Dispose();
        _free.Dispose();
    }
}

/// <summary>One read connection to each of the directory's files, with its statements. One caller at a time.</summary>
internal sealed class UserReader : IDisposable
{
    private readonly SqliteConnection _usersConnection;
    private readonly SqliteConnection _namesConnection;
    private readonly NameLookup _lookup;
    private readonly KeyBatch _keys;
    private readonly SqliteStatement _begin;
    private readonly SqliteStatement _end;
    private readonly SqliteStatement _name;
    private readonly SqliteStatement _deleted;
    private readonly SqliteStatement _following;
    private readonly SqliteStatement _statuses;
    private readonly SqliteStatement _visibilities;
    private readonly SqliteStatement _relations;
    private readonly SqliteStatement _waiting;

    public UserReader(SqliteFile users, NameIndex names, SipHash seal, TimeProvider time)
    {
        _usersConnection = users.ConnectToRead(cacheKibibytes: 16 * 1024);
        _namesConnection = names.Connect(cacheKibibytes: 16 * 1024);
        _lookup = new NameLookup(_usersConnection, _namesConnection, names.Tail);
        Search = new UserSearch(_usersConnection, _namesConnection, names.Tail, seal, time);
        _keys = new KeyBatch(names);
        _begin = new SqliteStatement(_usersConnection, "BEGIN");
        _end = new SqliteStatement(_usersConnection, "COMMIT");
        _name = new SqliteStatement(_usersConnection, "SELECT name FROM user WHERE number = ?1");
        _deleted = new SqliteStatement(_usersConnection, "SELECT number FROM deleted ORDER BY number");
        _following = new SqliteStatement(_usersConnection, "SELECT followed FROM subscription WHERE follower = ?1 ORDER BY followed");
        _statuses = new SqliteStatement(_usersConnection, "SELECT number, kind, shown_last_seen FROM manual_status");
        _visibilities = new SqliteStatement(_usersConnection, "SELECT number, online, last_seen FROM visibility");
        _relations = new SqliteStatement(_usersConnection, "SELECT number, kind, other FROM relation ORDER BY number, kind, other");
        _waiting = new SqliteStatement(
            _usersConnection,
            """
            SELECT follower FROM subscription
            WHERE followed = ?1 AND follower >= ?2 AND follower <> ?1 AND NOT EXISTS (SELECT 1 FROM relation WHERE number = ?1 AND other = follower)
            ORDER BY follower LIMIT ?3
            """);
    }

    public UserSearch Search { get; }

    public int FindNumbers(IReadOnlyList<string> keys, Span<uint> numbers)
    {
        _keys.Fill(keys);
        _begin.Run();
        try
        {
            _lookup.Find(_keys, numbers);
        }
        finally
        {
            _end.Run();
        }

        return keys.Count;
    }

    public int FindNames(ReadOnlySpan<uint> numbers, Span<string?> names)
    {
        _begin.Run();
        try
        {
            for (var i = 0; i < numbers.Length; i++)
            {
                _name.Bind(1, numbers[i]);
                names[i] = _name.Step() ? _name.Text(0) : null;
                _name.Reset();
            }
        }
        finally
        {
            _name.Reset();
            _end.Run();
        }

        return numbers.Length;
    }

    public IReadOnlyList<uint> DeletedNumbers() => Numbers(_deleted);

    public uint[] Subscriptions(uint follower) => [.. Numbers(_following.Bind(1, follower))];

    public uint[] Waiting(uint number, uint from, int limit) => [.. Numbers(_waiting.Bind(1, number).Bind(2, from).Bind(3, limit))];

    public IReadOnlyList<KeyValuePair<uint, ManualStatus>> ManualStatuses()
    {
        var statuses = new List<KeyValuePair<uint, ManualStatus>>();
        while (_statuses.Step())
            statuses.Add(new((uint)_statuses.Int64(0), new ManualStatus((ManualStatusKind)_statuses.Int64(1), (uint)_statuses.Int64(2))));
        return statuses;
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
        foreach (var part in new IDisposable[] { Search, _lookup, _begin, _end, _name, _deleted, _following, _statuses, _visibilities, _relations, _waiting, _usersConnection, _namesConnection })
            part.Dispose();
    }

    private static List<uint> Numbers(SqliteStatement statement)
    {
        var numbers = new List<uint>();
        while (statement.Step())
            numbers.Add((uint)statement.Int64(0));
        return numbers;
    }
}
