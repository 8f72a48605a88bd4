using System.Buffers;
using System.Text;
using Microsoft.Data.Sqlite;

namespace Aglow;

/// <summary>What <see cref="SqliteUserDirectory"/> changes in <c>users.db</c>: each method is a command for <see cref="SqliteWriter"/> and runs on its thread.</summary>
/// <remarks>
/// What a command changes in memory (the next number, the tail of names) it undoes where it is rolled back; others see it only
/// after <see cref="Committed"/>.
/// </remarks>
internal sealed class UserCommands : IDisposable
{
    private readonly NameIndex _names;
    private readonly NameLookup _lookup;
    private readonly SqliteConnection _index;
    private readonly SqliteConnection _connection;
    private readonly TimeProvider _time;
    private readonly ArrayBufferWriter<byte> _fields = new(512);
    private readonly List<SqliteStatement> _statements = [];
    private readonly SqliteStatement _insert;
    private readonly SqliteStatement _find;
    private readonly SqliteStatement _delete;
    private readonly SqliteStatement _remember;
    private readonly SqliteStatement _forget;
    private readonly SqliteStatement _following;
    private readonly SqliteStatement _follow;
    private readonly SqliteStatement _unfollow;
    private readonly SqliteStatement _unfollowAll;
    private readonly SqliteStatement _loseFollowers;
    private readonly SqliteStatement _setStatus;
    private readonly SqliteStatement _clearStatus;
    private readonly SqliteStatement _changes;
    private byte[] _utf8 = new byte[4096];
    private int[] _ends = [];
    private long[] _order = [];
    private uint _next;
    private volatile uint _published;

    public UserCommands(SqliteConnection connection, NameIndex names, uint next, TimeProvider time)
    {
        _connection = connection;
        _names = names;
        _next = next;
        _published = next;
        _time = time;
        _index = names.Connect(cacheKibibytes: 64 * 1024);
        _lookup = new NameLookup(connection, _index, names.Tail);
        _insert = Prepare("INSERT INTO user VALUES (?1, ?2, ?3, ?4, ?4)");
        _find = Prepare("SELECT name, display_name FROM user WHERE number = ?1");
        _delete = Prepare("DELETE FROM user WHERE number = ?1");
        _remember = Prepare("INSERT INTO deleted VALUES (?1, ?2, ?3)");
        _forget = Prepare("UPDATE deleted SET name = NULL, display_name = NULL WHERE number = ?1");
        _following = Prepare("SELECT followed FROM subscription WHERE follower = ?1 ORDER BY followed");
        _follow = Prepare("INSERT OR IGNORE INTO subscription VALUES (?1, ?2)");
        _unfollow = Prepare("DELETE FROM subscription WHERE follower = ?1 AND followed = ?2");
        _unfollowAll = Prepare("DELETE FROM subscription WHERE follower = ?1");
        _loseFollowers = Prepare("DELETE FROM subscription WHERE followed = ?1");
        _setStatus = Prepare("INSERT OR REPLACE INTO manual_status VALUES (?1, ?2, ?3)");
        _clearStatus = Prepare("DELETE FROM manual_status WHERE number = ?1");
        _changes = Prepare("SELECT changes()");
    }

    /// <inheritdoc cref="IUserDirectory.NextNumber"/>
    public uint NextNumber => _published;

    /// <summary>Set once, before the first command.</summary>
    public Action<Action> OnUndo { get; set; } = _ => { };

    public static uint ReadNextNumber(SqliteConnection connection)
    {
        using var highest = new SqliteStatement(
            connection, "SELECT max(ifnull((SELECT max(number) FROM user), 0), ifnull((SELECT max(number) FROM deleted), 0))");
        highest.Step();
        return Math.Max((uint)highest.Int64(0) + 1, UserId.FirstDirectoryNumber);
    }

    public static Dictionary<string, string> ReadProperties(SqliteConnection connection)
    {
        using var rows = new SqliteStatement(connection, "SELECT name, value FROM property");
        var properties = new Dictionary<string, string>();
        while (rows.Step())
            properties.Add(rows.Text(0)!, rows.Text(1)!);
        return properties;
    }

    /// <summary>After a commit: lets everyone see the new names and numbers.</summary>
    public void Committed()
    {
        if (_published == _next)
            return;
        _names.Tail.Publish();
        _published = _next;
    }

    public DirectoryUser? Create(string name, string? displayName)
    {
        var utf8 = Encoding.UTF8.GetBytes(name);
        var hash = _names.Hash(utf8);
        if (_lookup.Find(utf8, hash) != 0)
            return null;
        UndoNumbers();
        var now = Now();
        return new DirectoryUser(Insert(name, utf8, hash, displayName, now), name, displayName, now, now);
    }

    /// <summary>
    /// Looks all keys up in the order of their hashes, which is the index's, so that neighbours share its pages; then gives numbers
    /// to those without one, in the order given.
    /// </summary>
    public int Register(IReadOnlyList<string> keys, Span<uint> numbers)
    {
        var count = keys.Count;
        if (_ends.Length < count)
        {
            _ends = new int[count];
            _order = new long[count];
        }

        var end = 0;
        for (var i = 0; i < count; i++)
        {
            if (_utf8.Length - end < UserId.MaxKeyBytes * 2)
                Array.Resize(ref _utf8, _utf8.Length * 2);
            var length = Encoding.UTF8.GetBytes(keys[i], _utf8.AsSpan(end));
            _ends[i] = end + length;
            _order[i] = NameIndex.HashId(_names.Hash(_utf8.AsSpan(end, length)), (uint)i);
            end += length;
        }

        var order = _order.AsSpan(0, count);
        order.Sort();
        var missing = 0;
        foreach (var hashAndPlace in order)
        {
            var place = (int)(uint)hashAndPlace;
            numbers[place] = _lookup.Find(Key(place), (uint)(hashAndPlace >> 32));
            if (numbers[place] == 0)
                order[missing++] = ((long)place << 32) | (uint)(hashAndPlace >> 32);
        }

        if (missing == 0)
            return 0;
        UndoNumbers();
        order = order[..missing];
        order.Sort();
        var now = Now();
        var first = _next;
        foreach (var placeAndHash in order)
        {
            var place = (int)(placeAndHash >> 32);
            var number = _lookup.FindWaiting(Key(place), (uint)placeAndHash);
            numbers[place] = number != 0 ? number : Insert(keys[place], Key(place), (uint)placeAndHash, null, now);
        }

        return (int)(_next - first);
    }

    public bool Delete(uint number)
    {
        var any = false;
        _find.Bind(1, number);
        if (_find.Step())
        {
            var (name, displayName) = (_find.Text(0), _find.Text(1));
            _find.Reset();
            _remember.Bind(1, number).Bind(2, name).Bind(3, displayName).Run();
            any |= Changes(_delete.Bind(1, number));
        }

        any |= Changes(_unfollowAll.Bind(1, number));
        any |= Changes(_loseFollowers.Bind(1, number));
        any |= Changes(_clearStatus.Bind(1, number));
        return any;
    }

    /// <summary>Forgets the names of deleted users that the index has dropped.</summary>
    public int Forget(IReadOnlyList<uint> numbers)
    {
        foreach (var number in numbers)
            _forget.Bind(1, number).Run();
        return numbers.Count;
    }

    public uint[]? Follow(uint follower, IReadOnlyList<uint> followed, bool follow, int limit)
    {
        var list = new SortedSet<uint>();
        _following.Bind(1, follower);
        while (_following.Step())
            list.Add((uint)_following.Int64(0));

        if (follow)
        {
            var added = followed.Where(list.Add).ToList();
            if (list.Count > limit)
                return null;
            foreach (var user in added)
                _follow.Bind(1, follower).Bind(2, user).Run();
        }
        else
        {
            foreach (var user in followed.Where(list.Remove))
                _unfollow.Bind(1, follower).Bind(2, user).Run();
        }

        return [.. list];
    }

    public bool SetManualStatus(uint number, ManualStatus status)
    {
        if (status.Kind == ManualStatusKind.Auto)
            _clearStatus.Bind(1, number).Run();
        else
            _setStatus.Bind(1, number).Bind(2, (long)status.Kind).Bind(3, status.ShownLastSeen).Run();
        return true;
    }

    public bool LimitPages(long pages)
    {
        SqliteFile.Execute(_connection, $"PRAGMA max_page_count = {(pages == 0 ? 1 : pages)}");
        return true;
    }

    public void Dispose()
    {
        _lookup.Dispose();
        _index.Dispose();
        foreach (var statement in _statements)
            statement.Dispose();
    }

    private SqliteStatement Prepare(string sql)
    {
        var statement = new SqliteStatement(_connection, sql);
        _statements.Add(statement);
        return statement;
    }

    private long Now() => _time.GetUtcNow().ToUnixTimeSeconds();

    private ReadOnlySpan<byte> Key(int place) => _utf8.AsSpan((place == 0 ? 0 : _ends[place - 1]).._ends[place]);

    private void UndoNumbers()
    {
        var before = _next;
        OnUndo(() =>
        {
            _names.Tail.Truncate(before);
            _next = before;
        });
    }

    private uint Insert(string name, ReadOnlySpan<byte> utf8, uint hash, string? displayName, long now)
    {
        // the last number of all is never given: the next one must be a number, too
        if (_next == uint.MaxValue)
            throw new StoreUnavailableException("The user directory has given all of its 2,147,483,647 numbers.");
        _insert.Bind(1, _next).BindText(2, utf8).Bind(3, displayName).Bind(4, now).Run();
        FoldedText.FoldFields(name, displayName, _fields);
        _names.Tail.Append(_next, hash, _fields.WrittenSpan);
        return _next++;
    }

    private bool Changes(SqliteStatement statement)
    {
        statement.Run();
        _changes.Step();
        var changes = _changes.Int64(0);
        _changes.Reset();
        return changes > 0;
    }
}
