using System.Text;
using Aglow.Model;
using Aglow.Users;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>
/// Search by name, over one connection; a caller each.
/// </summary>
/// <remarks>
/// Two stretches, one after the other, as in the embedded directory, and with its cursors:
/// <list type="number">
/// <item>names that begin with the query, by (folded text, number): an index of names and one of display names, merged. A user both of whose names begin with it
/// comes once, by the name;</item>
/// <item>from 3 characters on, the others that hold it, by number. First <see cref="SearchLimits.Walked"/> users are looked at as they come: what many hold is found there. What few
/// hold is found by trigrams (<c>pg_trgm</c>), at most <see cref="SearchLimits.Candidates"/> of them. What neither finds (many hold it, but nobody for a long
/// stretch; or it has no three letters or digits in a row, or there is no <c>pg_trgm</c>) is looked for by walking on.</item>
/// </list>
/// A page that has taken <see cref="SearchLimits.Budget"/> ends there, with a cursor: it may be short, even empty, and not be the last. Which way is taken is decided here and not by the
/// server's planner, whose estimate for a text inside of others is a guess, and a wrong one reads millions of rows.
/// </remarks>
internal sealed class PostgresSearch(NpgsqlConnection connection, SearchLimits limits, SipHash seal, TimeProvider time)
{
    /// <summary>The columns of a user, in the order in which <see cref="Read"/> takes them.</summary>
    public const string Columns = "number, name, display_name, created_at, updated_at";

    private const int MinInside = 3;
    private const string Begins = "(starts_with(folded, $1) OR coalesce(starts_with(display_folded, $1), false))";

    private readonly long _started = time.GetTimestamp();

    public async Task<DirectoryPage> SearchAsync(string query, int limit, string? cursor)
    {
        var folded = FoldedText.Fold(query);
        var utf8 = Encoding.UTF8.GetBytes(folded);
        var from = cursor is null ? SearchCursor.Start(utf8) : SearchCursor.Parse(cursor, utf8, seal);
        var page = new Page(limit);
        if (!from.Inside)
            await BeginningsAsync(page, utf8, from);
        if (!page.IsOver && folded.EnumerateRunes().Count() >= MinInside)
            await InsidesAsync(page, folded, from.Inside ? from.Number : 0);
        return new DirectoryPage(page.Users, page.Next?.ToText(utf8, seal));
    }

    // ---- names that begin with the query ------------------------------------------------------------------------------------

    private async Task BeginningsAsync(Page page, byte[] query, SearchCursor from)
    {
        // of display names so many, that some are left where most begin as the name does
        var mostDisplays = (page.Limit * 4) + 100;
        List<Beginning> names = [], displays = [];
        await using (var batch = new NpgsqlBatch(connection))
        {
            batch.BatchCommands.Add(Sql.Statement(
                $"SELECT {Columns}, folded FROM aglow.users WHERE (folded, number) > ($1, $2) ORDER BY folded, number LIMIT $3",
                Sql.Text(Encoding.UTF8.GetString(from.Folded)), Sql.Number(from.Number), Sql.Number(page.Limit + 1)));
            batch.BatchCommands.Add(Sql.Statement(
                $"SELECT {Columns}, folded, display_folded FROM aglow.users WHERE display_folded IS NOT NULL AND (display_folded, number) > ($1, $2) ORDER BY display_folded, number LIMIT $3",
                Sql.Text(Encoding.UTF8.GetString(from.Folded)), Sql.Number(from.Number), Sql.Number(query.Length == 0 ? 0 : mostDisplays)));
            await using var reader = await batch.ExecuteReaderAsync();
            while (await reader.ReadAsync())
                names.Add(new Beginning(Read(reader), Encoding.UTF8.GetBytes(reader.GetString(5)), IsShown: true));
            await reader.NextResultAsync();
            while (await reader.ReadAsync())
            {
                var begins = Encoding.UTF8.GetBytes(reader.GetString(5)).AsSpan().StartsWith(query);
                displays.Add(new Beginning(Read(reader), Encoding.UTF8.GetBytes(reader.GetString(6)), IsShown: !begins));
            }
        }

        // where this one ends the display names go on, unread
        var unreadAfter = displays.Count == mostDisplays && displays[^1].Begins(query) ? displays[^1].At : null;
        foreach (var beginning in Merge(names.TakeWhile(n => n.Begins(query)), displays.TakeWhile(d => d.Begins(query))))
        {
            if (unreadAfter is not null && beginning.CompareTo(unreadAfter) > 0)
                break;
            if (beginning.IsShown && !page.TryAdd(beginning.User, beginning.At))
                return;
        }

        if (unreadAfter is not null)
            page.EndAt(unreadAfter);
    }

    private static IEnumerable<Beginning> Merge(IEnumerable<Beginning> names, IEnumerable<Beginning> displays)
    {
        using var name = names.GetEnumerator();
        using var display = displays.GetEnumerator();
        var (hasName, hasDisplay) = (name.MoveNext(), display.MoveNext());
        while (hasName || hasDisplay)
        {
            if (hasName && (!hasDisplay || name.Current.CompareTo(display.Current.At) < 0))
            {
                yield return name.Current;
                hasName = name.MoveNext();
            }
            else
            {
                yield return display.Current;
                hasDisplay = display.MoveNext();
            }
        }
    }

    // ---- the others that hold it ------------------------------------------------------------------------------------------------

    private async Task InsidesAsync(Page page, string query, uint after)
    {
        after = Math.Max(after, UserId.FirstDirectoryNumber - 1);
        var pattern = $"%{query.Replace(@"\", @"\\").Replace("%", @"\%").Replace("_", @"\_")}%";
        var upTo = await WalkAsync(page, query, pattern, after);
        if (page.IsOver || upTo is null)
            return;
        if (limits.HasTrigrams && HasTrigram(query) && await FindAsync(page, query, pattern, upTo.Value))
            return;
        while (upTo is not null && !page.IsOver)
        {
            if (time.GetElapsedTime(_started) > limits.Budget)
                page.EndAt(SearchCursor.After(upTo.Value));
            else
                upTo = await WalkAsync(page, query, pattern, upTo.Value);
        }
    }

    /// <summary>Looks at the next users as they come. Where it got to; null where there are no more.</summary>
    private async Task<uint?> WalkAsync(Page page, string query, string pattern, uint after)
    {
        var upTo = after + limits.Walked;
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(Sql.Statement(
            $"SELECT {Columns} FROM aglow.users WHERE number > $3 AND number <= $4 AND (folded LIKE $2 OR display_folded LIKE $2) AND NOT {Begins} ORDER BY number LIMIT $5",
            Sql.Text(query), Sql.Text(pattern), Sql.Number(after), Sql.Number(upTo), Sql.Number(page.Limit + 1)));
        batch.BatchCommands.Add(Sql.Statement("SELECT next_number FROM aglow.state"));
        await using var reader = await batch.ExecuteReaderAsync();
        while (await reader.ReadAsync())
            Add(page, Read(reader));
        await reader.NextResultAsync();
        await reader.ReadAsync();
        return upTo + 1 < reader.GetInt64(0) ? (uint)upTo : null;
    }

    /// <summary>Asks for them by trigrams. False where more hold it than it is worth to sort.</summary>
    private async Task<bool> FindAsync(Page page, string query, string pattern, uint after)
    {
        // ways that do not use the trigrams are ruled out; "+ 0" rules out the one by number
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(Sql.Statement("SELECT set_config('enable_seqscan', 'off', true)"));
        batch.BatchCommands.Add(Sql.Statement(
            $"""
            WITH candidate AS MATERIALIZED (
                SELECT * FROM aglow.users WHERE (folded LIKE $2 OR display_folded LIKE $2) AND number + 0 > $3 LIMIT $4)
            SELECT {Columns}, candidates FROM (SELECT count(*) AS candidates FROM candidate) AS counted
            LEFT JOIN (SELECT * FROM candidate WHERE NOT {Begins} ORDER BY number LIMIT $5) AS found ON true
            ORDER BY number
            """,
            Sql.Text(query), Sql.Text(pattern), Sql.Number(after), Sql.Number(limits.Candidates + 1), Sql.Number(page.Limit + 1)));
        await using var reader = await batch.ExecuteReaderAsync();
        await reader.NextResultAsync();
        while (await reader.ReadAsync())
        {
            if (reader.GetInt64(5) > limits.Candidates)
                return false;
            if (!await reader.IsDBNullAsync(0))
                Add(page, Read(reader));
        }

        return true;
    }

    // three letters or digits in a row; beyond ASCII the server decides what is a letter, and where it says that none is, nothing is gained and nothing lost
    private static bool HasTrigram(string query)
    {
        var run = 0;
        foreach (var rune in query.EnumerateRunes())
        {
            run = Rune.IsLetterOrDigit(rune) ? run + 1 : 0;
            if (run == MinInside)
                return true;
        }

        return false;
    }

    // ---- rows ---------------------------------------------------------------------------------------------------------------------

    private static void Add(Page page, DirectoryUser user) => page.TryAdd(user, SearchCursor.After(user.Number));

    /// <summary>A user, of a row that begins with <see cref="Columns"/>.</summary>
    public static DirectoryUser Read(NpgsqlDataReader reader) =>
        new((uint)reader.GetInt64(0), reader.GetString(1), reader.IsDBNull(2) ? null : reader.GetString(2), reader.GetInt64(3), reader.GetInt64(4));

    /// <summary>A name that begins with the query, or one that comes after those.</summary>
    private sealed record Beginning(DirectoryUser User, byte[] Folded, bool IsShown)
    {
        public SearchCursor At => new(false, Folded, User.Number);

        public bool Begins(byte[] query) => Folded.AsSpan().StartsWith(query);

        public int CompareTo(SearchCursor other)
        {
            var order = Folded.AsSpan().SequenceCompareTo(other.Folded);
            return order != 0 ? order : User.Number.CompareTo(other.Number);
        }
    }

    /// <summary>A page being filled.</summary>
    private sealed class Page(int limit)
    {
        private SearchCursor? _last;

        public int Limit => limit;

        public List<DirectoryUser> Users { get; } = [];

        /// <summary>Whether it is full and more is to come, or has cost enough.</summary>
        public bool IsOver => Next is not null;

        /// <summary>Where the next page begins; null where this is the last.</summary>
        public SearchCursor? Next { get; private set; }

        /// <summary>Adds a result. False where there is no room for it: then there is a next page.</summary>
        public bool TryAdd(DirectoryUser user, SearchCursor at)
        {
            if (Users.Count == limit)
            {
                Next ??= _last;
                return false;
            }

            Users.Add(user);
            _last = at;
            return true;
        }

        public void EndAt(SearchCursor at) => Next = at;
    }
}

/// <summary>What a page of a search may cost.</summary>
/// <param name="Walked">Numbers whose users are looked at one after another, at a time: 20,000 take some 10 ms, and have a page of what one in a thousand holds.</param>
/// <param name="Candidates">Users that trigrams may find: 5,000 rows read and sorted are some 10 ms, too.</param>
/// <param name="Budget">After this much a page ends, full or not.</param>
/// <param name="HasTrigrams">Whether there is an index of trigrams.</param>
internal sealed record SearchLimits(long Walked, int Candidates, TimeSpan Budget, bool HasTrigrams)
{
    /// <summary>As they are in service.</summary>
    public SearchLimits(bool hasTrigrams)
        : this(20_000, 5_000, TimeSpan.FromMilliseconds(50), hasTrigrams)
    {
    }
}
