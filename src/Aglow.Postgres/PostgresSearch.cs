using System.Text;
using Aglow.Users;
using Npgsql;
using Match = (Aglow.Users.DirectoryUser User, Aglow.Users.SearchPlace At);

namespace Aglow.Postgres;

/// <summary>Search by name, on one connection for each caller.</summary>
/// <remarks>
/// A search has three parts, one after the other:
/// <list type="number">
/// <item>user names that begin with the query, by (folded name, index);</item>
/// <item>display names that begin with it if the user name does not, likewise;</item>
/// <item>from 3 characters on, names that contain it elsewhere, by index. First it reads <see cref="SearchLimits.Walked"/> profiles in
/// order, which finds a common text. Then it finds a rare text by trigrams (<c>pg_trgm</c>), at most <see cref="SearchLimits.Candidates"/>
/// profiles. If neither is enough, it reads on.</item>
/// </list>
/// A page ends after <see cref="SearchLimits.Budget"/>, with a cursor: it may be short, even empty, and not the last. This code decides how
/// the third part is read, not the server's planner. The planner guesses how many names contain a text, and a wrong guess reads millions of
/// rows.
/// </remarks>
internal sealed class PostgresSearch(
    NpgsqlConnection connection, SearchLimits limits, CursorSeal seal, TimeProvider time, CancellationToken cancel)
{
    /// <summary>The columns of a profile, in the order of <see cref="ReadProfile"/>.</summary>
    public const string ProfileColumns = "user_name, display_name, created_at, updated_at";

    private const int MinInside = 3;

    // sorts after every name, because no name is long enough to hold more of the last character
    private static readonly string AfterAll = string.Concat(Enumerable.Repeat("\U0010FFFF", 65));

    private const string Columns = $"idx, (SELECT id FROM aglow.ids WHERE ids.idx = profile.idx), {ProfileColumns}";
    private const string UserBegins = "coalesce(starts_with(user_search, $3), false)";
    private const string Elsewhere =
        $"{PostgresSchema.Names} LIKE $4 AND NOT {UserBegins} AND NOT coalesce(starts_with(display_search, $3), false)";

    private readonly long _started = time.GetTimestamp();

    public async Task<DirectoryPage> SearchAsync(string query, int limit, string? cursor)
    {
        var folded = NameFolding.ForSearch(query);
        var parts = folded.Length == 0 ? 1 : folded.EnumerateRunes().Count() < MinInside ? 2 : 3;
        var place = cursor is null ? SearchPlace.Start(0, folded) : SearchPlace.Open(seal, cursor, folded);
        var page = new List<DirectoryUser>();
        var last = place;
        var mayFind = HasTrigram(folded);
        while (place.Part < parts)
        {
            var (found, next) = await ScanAsync(place, folded, limit + 1 - page.Count);
            if (next is { Part: 2 } && page.Count + found.Count <= limit && mayFind)
            {
                mayFind = false;
                if (await FindAsync(next, folded, limit + 1) is { } rest)
                    (found, next) = ([.. found, .. rest], null);
            }

            foreach (var (user, at) in found)
            {
                if (page.Count == limit)
                    return new DirectoryPage(page, last.Seal(seal, folded));
                page.Add(user);
                last = at;
            }

            place = next ?? SearchPlace.Start(place.Part + 1, folded);
            if (place.Part < parts && time.GetElapsedTime(_started) > limits.Budget)
                return new DirectoryPage(page, place.Seal(seal, folded));
        }

        return new DirectoryPage(page, null);
    }

    /// <summary>Reads a profile from a row that has <see cref="ProfileColumns"/> from a column on.</summary>
    public static Profile ReadProfile(NpgsqlDataReader row, int from) => new(
        row.IsDBNull(from) ? null : row.GetString(from),
        row.IsDBNull(from + 1) ? null : row.GetString(from + 1),
        row.GetInt64(from + 2),
        row.GetInt64(from + 3));

    /// <summary>Reads a stretch of a part. Returns the matches and the place where it ended; null at the end of the part.</summary>
    private async Task<(List<Match> Found, SearchPlace? Next)> ScanAsync(SearchPlace from, string query, int most)
    {
        // $1 and $2: the place; $3: the query; $4: as a pattern; $5: after all names that begin with the query
        var (key, range, order, rows, filter) = from.Part switch
        {
            0 => ("user_search", "(user_search, idx) > ($1, $2) AND user_search < $5", "user_search, idx", most, "true"),
            1 => (
                "display_search",
                "(display_search, idx) > ($1, $2) AND display_search < $5 AND display_search IS DISTINCT FROM user_search",
                "display_search, idx",
                limits.Walked,
                $"NOT {UserBegins}"),
            _ => ("''::text", "idx > $2", "idx", limits.Walked, Elsewhere),
        };
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(
            Statement($"SELECT {key}, idx FROM aglow.profile WHERE {range} ORDER BY {order} OFFSET {rows - 1} LIMIT 1"));
        batch.BatchCommands.Add(Statement(
            $"""
            SELECT {Columns}, {key} FROM (SELECT * FROM aglow.profile WHERE {range} ORDER BY {order} LIMIT {rows}) AS profile
            WHERE {filter} ORDER BY {order} LIMIT {most}
            """));
        await using var reader = await batch.ExecuteReaderAsync(cancel);
        var next = await reader.ReadAsync(cancel) ? new SearchPlace(from.Part, reader.GetString(0), reader.GetInt64(1)) : null;
        await reader.NextResultAsync(cancel);
        return ((await ReadAsync(reader, from.Part))!, next);

        NpgsqlBatchCommand Statement(string sql) => Sql.Statement(
            sql, Sql.Text(from.Name), Sql.Number(from.Index), Sql.Text(query), Sql.Text(Pattern(query)), Sql.Text(query + AfterAll));
    }

    /// <summary>Reads the rest of the third part by trigrams. Null if more names contain the query than may be sorted.</summary>
    private async Task<List<Match>?> FindAsync(SearchPlace from, string query, int most)
    {
        // forces the planner to use trigrams: no sequential scan, and "+ 0" keeps it from the index on idx
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(Sql.Statement("SELECT set_config('enable_seqscan', 'off', true)"));
        batch.BatchCommands.Add(Sql.Statement(
            $"""
            WITH candidate AS MATERIALIZED (
                SELECT * FROM aglow.profile WHERE {PostgresSchema.Names} LIKE $4 AND idx + 0 > $2 LIMIT {limits.Candidates + 1}),
            found AS (SELECT {Columns}, ''::text FROM candidate AS profile WHERE {Elsewhere} ORDER BY idx LIMIT {most})
            SELECT found.* FROM (SELECT count(*) AS candidates FROM candidate) AS counted
                LEFT JOIN found ON candidates <= {limits.Candidates}
            WHERE idx IS NOT NULL OR candidates > {limits.Candidates} ORDER BY idx
            """,
            Sql.Text(from.Name), Sql.Number(from.Index), Sql.Text(query), Sql.Text(Pattern(query))));
        await using var reader = await batch.ExecuteReaderAsync(cancel);
        await reader.NextResultAsync(cancel);
        return await ReadAsync(reader, from.Part);
    }

    // a row without a user index means that there are too many candidates to read
    private async Task<List<Match>?> ReadAsync(NpgsqlDataReader reader, int part)
    {
        var found = new List<Match>();
        while (await reader.ReadAsync(cancel))
        {
            if (reader.IsDBNull(0))
                return null;
            var user = (uint)reader.GetInt64(0);
            var id = reader.IsDBNull(1) ? user.ToString() : reader.GetString(1);
            found.Add((new DirectoryUser(user, id, ReadProfile(reader, 2)), new SearchPlace(part, reader.GetString(6), user)));
        }

        return found;
    }

    private static string Pattern(string query) => $"%{query.Replace(@"\", @"\\").Replace("%", @"\%").Replace("_", @"\_")}%";

    // three letters or digits in a row: the server builds trigrams only from those
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
}

/// <summary>The limits on the cost of one page of a search.</summary>
/// <param name="Walked">Profiles read in order at a time: 5,000 take about 5 ms, and fill a page if one name in 250 matches.</param>
/// <param name="Candidates">The most profiles that trigrams may find: reading and sorting 5,000 rows takes about 10 ms.</param>
/// <param name="Budget">A page ends after this time, full or not.</param>
internal sealed record SearchLimits(int Walked, int Candidates, TimeSpan Budget)
{
    public static SearchLimits Default { get; } = new(5_000, 5_000, TimeSpan.FromMilliseconds(100));
}
