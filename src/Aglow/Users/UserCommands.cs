using System.Buffers;
using Aglow.Model;
using Aglow.Sqlite;
using Aglow.Storage;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

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
    private readonly KeyBatch _keys;
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
    private readonly SqliteStatement _setVisibility;
    private readonly SqliteStatement _dropDefault;
    private readonly SqliteStatement _related;
    private readonly SqliteStatement _relate;
    private readonly SqliteStatement _unrelate;
    private readonly SqliteStatement _forgetVisibility;
    private readonly SqliteStatement _forgetRelations;
    private readonly SqliteStatement _changes;
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
        _keys = new KeyBatch(names);
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
        _setVisibility = Prepare(
            "INSERT INTO visibility VALUES (?1, ifnull(?2, 0), ifnull(?3, 0)) ON CONFLICT (number) DO UPDATE SET online = ifnull(?2, online), last_seen = ifnull(?3, last_seen)");
        _dropDefault = Prepare("DELETE FROM visibility WHERE number = ?1 AND online = 0 AND last_seen = 0");
        _related = Prepare("SELECT other FROM relation WHERE number = ?1 AND kind = ?2 ORDER BY other");
        _relate = Prepare("INSERT OR IGNORE INTO relation VALUES (?1, ?2, ?3)");
        _unrelate = Prepare("DELETE FROM relation WHERE number = ?1 AND kind = ?2 AND other = ?3");
        _forgetVisibility = Prepare("DELETE FROM visibility WHERE number = ?1");
        _forgetRelations = Prepare("DELETE FROM relation WHERE number = ?1 OR other = ?1");
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
        Span<uint> number = stackalloc uint[1];
        _keys.Fill([name]);
        _lookup.Find(_keys, number);
        if (number[0] != 0)
            return null;
        UndoNumbers();
        var now = Now();
        return new DirectoryUser(Insert(name, 0, displayName, now), name, displayName, now, now);
    }

    public int Register(IReadOnlyList<string> keys, Span<uint> numbers)
    {
        _keys.Fill(keys);
        _lookup.Find(_keys, numbers);
        UndoNumbers();
        var now = Now();
        var first = _next;
        for (var i = 0; i < keys.Count; i++)
        {
            // named twice, it has got its number a moment ago
            if (numbers[i] == 0 && _keys.SharesHash(i))
                numbers[i] = _lookup.FindWaiting(_keys[i], _keys.Hash(i));
            if (numbers[i] == 0)
                numbers[i] = Insert(keys[i], i, null, now);
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
        any |= Changes(_forgetVisibility.Bind(1, number));
        any |= Changes(_forgetRelations.Bind(1, number));
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

    public bool SetVisibility(uint number, OnlineVisibility? online, LastSeenVisibility? lastSeen)
    {
        _setVisibility.Bind(1, number).Bind(2, (long?)online).Bind(3, (long?)lastSeen).Run();
        _dropDefault.Bind(1, number).Run();
        return true;
    }

    public uint[]? Relate(uint number, Relation relation, IReadOnlyList<uint> others, bool add, int limit)
    {
        var list = new SortedSet<uint>();
        _related.Bind(1, number).Bind(2, (long)relation);
        while (_related.Step())
            list.Add((uint)_related.Int64(0));
        var changed = others.Where(other => add ? list.Add(other) : list.Remove(other)).ToList();
        if (add && list.Count > limit)
            return null;
        foreach (var other in changed)
            (add ? _relate : _unrelate).Bind(1, number).Bind(2, (long)relation).Bind(3, other).Run();
        return [.. list];
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

    private void UndoNumbers()
    {
        var before = _next;
        OnUndo(() =>
        {
            _names.Tail.Truncate(before);
            _next = before;
        });
    }

    /// <summary>Gives the next number to a key of the batch.</summary>
    private uint Insert(string name, int place, string? displayName, long now)
    {
        // the last number of all is never given: the next one must be a number, too
        if (_next == uint.MaxValue)
            throw new StoreUnavailableException("The user directory has given all of its 2,147,483,647 numbers.");
        _insert.Bind(1, _next).BindText(2, _keys[place]).Bind(3, displayName).Bind(4, now).Run();
        FoldedText.FoldFields(name, displayName, _fields);
        _names.Tail.Append(_next, _keys.Hash(place), _fields.WrittenSpan);
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
