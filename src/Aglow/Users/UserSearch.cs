using System.Buffers;
using System.Text;
using Aglow.Model;
using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

/// <summary>
/// Search by name, on one read connection to each file: <see cref="NameIndex"/> up to the number it holds, and
/// <see cref="NameTail"/> above it. One thread at a time.
/// </summary>
/// <remarks>
/// Two stretches, one after the other, each in an order of its own that a cursor can stand in:
/// <list type="number">
/// <item>names that begin with the query, by (folded text, number): a range of table <c>beginning</c>, merged with the tail. A user
/// both of whose names begin with it comes once, by the name;</item>
/// <item>from 3 characters on, the others that hold it, by number: FTS5 trigrams, then the tail. See <see cref="GramQuery"/> for
/// which trigrams are asked for. Whatever the index says, the user's row decides.</item>
/// </list>
/// A page costs at most some thousand rows, or <see cref="Budget"/>: a query that has gone through so much without filling its page
/// ends it there, with a cursor. So a page may be short, or even empty, and not be the last one. That takes a query made of very
/// common trigrams that hardly ever stand together, or a million display names that begin as their users' names do.
/// </remarks>
internal sealed class UserSearch : IDisposable
{
    /// <summary>The shortest query that is found inside of names, in characters.</summary>
    private const int MinInside = 3;

    // in entries of the index; a row of users.db costs as much as some of those
    private const int MaxCost = 65_536;
    private const int RowCost = 16;

    // so many candidates, and what was estimated of the trigrams is to be estimated anew from here
    private const int MaxStretchRows = 256;

    private static readonly TimeSpan Budget = TimeSpan.FromMilliseconds(20);

    private readonly NameTail _tail;
    private readonly TimeProvider _time;
    private readonly SipHash _seal;
    private readonly GramQuery _grams;
    private readonly SqliteStatement _begin;
    private readonly SqliteStatement _end;
    private readonly SqliteStatement _beginUsers;
    private readonly SqliteStatement _endUsers;
    private readonly SqliteStatement _indexedTo;
    private readonly SqliteStatement _beginnings;
    private readonly SqliteStatement _user;

    public UserSearch(SqliteConnection users, SqliteConnection names, NameTail tail, SipHash seal, TimeProvider time)
    {
        _tail = tail;
        _seal = seal;
        _time = time;
        _grams = new GramQuery(names);
        _begin = new SqliteStatement(names, "BEGIN");
        _end = new SqliteStatement(names, "COMMIT");
        _beginUsers = new SqliteStatement(users, "BEGIN");
        _endUsers = new SqliteStatement(users, "COMMIT");
        _indexedTo = new SqliteStatement(names, "SELECT indexed_to FROM state");
        _beginnings = new SqliteStatement(names, "SELECT folded, number, shared FROM beginning WHERE (folded, number) > (?1, ?2) ORDER BY folded, number");
        _user = new SqliteStatement(users, "SELECT name, display_name, created_at, updated_at FROM user WHERE number = ?1");
    }

    /// <summary>The user with this number, or null.</summary>
    public DirectoryUser? Find(uint number)
    {
        _user.Bind(1, number);
        if (!_user.Step())
            return null;
        var user = new DirectoryUser(number, _user.Text(0)!, _user.Text(1), _user.Int64(2), _user.Int64(3));
        _user.Reset();
        return user;
    }

    /// <inheritdoc cref="IUserDirectory.SearchAsync"/>
    public DirectoryPage Search(string query, int limit, string? cursor)
    {
        var folded = FoldedText.Fold(query);
        var page = new Page(folded, limit, _time);
        var from = cursor is null ? SearchCursor.Start(page.Query) : SearchCursor.Parse(cursor, page.Query, _seal);

        // first the tail, then the index: who moves from one to the other in between is in both, and counted where the index ends
        var views = _tail.Views();
        _begin.Run();
        _beginUsers.Run();
        try
        {
            _indexedTo.Step();
            var indexedTo = (uint)_indexedTo.Int64(0);
            _indexedTo.Reset();

            var goOn = from.Inside || Beginnings(page, views, indexedTo, from);
            if (goOn && folded.EnumerateRunes().Count() >= MinInside)
                Insides(page, views, indexedTo, from.Inside ? from.Number : 0);
        }
        finally
        {
            _beginnings.Reset();
            _grams.Reset();
            _user.Reset();
            _endUsers.Run();
            _end.Run();
        }

        return new DirectoryPage(page.Users, page.Next?.ToText(page.Query, _seal));
    }

    public void Dispose()
    {
        _grams.Dispose();
        foreach (var statement in new[] { _begin, _end, _beginUsers, _endUsers, _indexedTo, _beginnings, _user })
            statement.Dispose();
    }

    /// <summary>Names that begin with the query. False where the page ended in them.</summary>
    private bool Beginnings(Page page, NameTail.View[] views, uint indexedTo, SearchCursor from)
    {
        _beginnings.Bind(1, Encoding.UTF8.GetString(from.Folded)).Bind(2, from.Number);
        var waiting = new TailBeginnings(views, indexedTo, page.Query, page.Limit + 1, from);
        var hasIndexed = StepBeginning(page.Query);
        var hasWaiting = waiting.MoveNext();
        while (hasIndexed || hasWaiting)
        {
            SearchCursor at;
            if (hasIndexed && (!hasWaiting || Compare(_beginnings.Blob(0), (uint)_beginnings.Int64(1), waiting.Current) < 0))
            {
                // a display name counts only where the name itself does not begin with the query
                var skip = _beginnings.Int64(2) >= page.Query.Length;
                if (skip && page.TrySpend(1))
                {
                    hasIndexed = StepBeginning(page.Query);
                    continue;
                }

                at = new SearchCursor(false, _beginnings.Blob(0).ToArray(), (uint)_beginnings.Int64(1));
                if (skip)
                    return page.EndAt(at);
                hasIndexed = StepBeginning(page.Query);
            }
            else
            {
                at = waiting.Current;
                hasWaiting = waiting.MoveNext();
            }

            if (!(Find(at.Number) is { } user ? page.TryAdd(user, at) : page.TryPass(at)))
                return false;
        }

        return true;
    }

    private bool StepBeginning(ReadOnlySpan<byte> query) => _beginnings.Step() && _beginnings.Blob(0).StartsWith(query);

    private static int Compare(ReadOnlySpan<byte> folded, uint number, SearchCursor other)
    {
        var order = folded.SequenceCompareTo(other.Folded);
        return order != 0 ? order : number.CompareTo(other.Number);
    }

    /// <summary>The others that hold the query, above a number.</summary>
    private void Insides(Page page, NameTail.View[] views, uint indexedTo, uint after)
    {
        after = Math.Max(after, UserId.FirstDirectoryNumber - 1);
        while (after < indexedTo)
        {
            var upTo = _grams.Begin(page.Query, after, indexedTo);
            for (var rows = 1; _grams.Step(out var number); rows++)
            {
                if (!Examine(page, number))
                    return;
                if (rows < MaxStretchRows)
                    continue;
                upTo = number;
                break;
            }

            after = upTo;
            if (after < indexedTo && !page.TryPass(SearchCursor.After(after)))
                return;
        }

        foreach (var view in views)
        {
            for (var user = view.After(Math.Max(after, indexedTo)); user < view.Count; user++)
            {
                var text = view.AllText;
                var position = text[view.Start(user)..].IndexOf(page.Query);
                if (position < 0)
                    break;
                user = view.UserAt(view.Start(user) + position);
                if (!Examine(page, view.Numbers[user]))
                    return;
            }
        }
    }

    /// <summary>Adds the user where a name holds the query and none begins with it. False where the page is over.</summary>
    private bool Examine(Page page, uint number)
    {
        var at = SearchCursor.After(number);
        var user = Find(number);
        if (user is null)
            return page.TryPass(at);
        var name = page.Fold(user.Name);
        var holds = name.IndexOf(page.Query) >= 0;
        if (name.StartsWith(page.Query))
            return page.TryPass(at);
        if (user.DisplayName is { } displayName)
        {
            name = page.Fold(displayName);
            holds |= name.IndexOf(page.Query) >= 0;
            if (name.StartsWith(page.Query))
                return page.TryPass(at);
        }

        return holds ? page.TryAdd(user, at) : page.TryPass(at);
    }

    /// <summary>A page being filled.</summary>
    private sealed class Page(string folded, int limit, TimeProvider time)
    {
        private readonly byte[] _query = Encoding.UTF8.GetBytes(folded);
        private readonly long _started = time.GetTimestamp();
        private readonly ArrayBufferWriter<byte> _folded = new(256);
        private SearchCursor? _last;
        private int _cost;

        public ReadOnlySpan<byte> Query => _query;

        public int Limit => limit;

        public List<DirectoryUser> Users { get; } = [];

        /// <summary>Where the next page begins; null where this is the last.</summary>
        public SearchCursor? Next { get; private set; }

        /// <summary>Adds a result. False where there is no room for it: then there is a next page.</summary>
        public bool TryAdd(DirectoryUser user, SearchCursor at)
        {
            if (Users.Count == limit)
            {
                Next = _last;
                return false;
            }

            Users.Add(user);
            _last = at;
            return TryPass(at);
        }

        /// <summary>Goes past a row that is no result. False where this page has cost enough.</summary>
        public bool TryPass(SearchCursor at) => TrySpend(RowCost) || EndAt(at);

        /// <summary>False where this page has cost enough: then it is to end.</summary>
        public bool TrySpend(int cost) => (_cost += cost) < MaxCost + (limit * RowCost) && time.GetElapsedTime(_started) < Budget;

        /// <summary>Ends the page here. False.</summary>
        public bool EndAt(SearchCursor at)
        {
            Next = at;
            return false;
        }

        /// <summary>Valid until the next call.</summary>
        public ReadOnlySpan<byte> Fold(string text)
        {
            _folded.ResetWrittenCount();
            FoldedText.Fold(text, _folded);
            return _folded.WrittenSpan;
        }
    }
}
