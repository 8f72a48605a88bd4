using Aglow.Sqlite;

namespace Aglow.Users;

/// <summary>Searches users by name, on one read connection. One thread at a time.</summary>
/// <remarks>
/// A search has three parts, one after the other. Each has an order that a cursor can continue:
/// <list type="number">
/// <item>user names that begin with the query, by (name, index), from the index of the column;</item>
/// <item>display names that begin with it, in the same way, unless the user name does;</item>
/// <item>from 3 characters on, names that contain it elsewhere, by index: FTS5 with the trigram tokenizer.</item>
/// </list>
/// A page reads at most <see cref="MaxRows"/> rows. If they do not fill the page, it ends there with a cursor.
/// </remarks>
internal sealed class UserSearch(SqliteStatements sql, CursorSeal seal)
{
    /// <summary>The shortest query, in characters, that matches inside names.</summary>
    internal const int MinInside = 3;
    internal const int MaxRows = 2_000;
    private const string Columns = "p.user, i.id, p.user_name, p.display_name, p.created_at, p.updated_at, p.user_search, p.display_search";

    private static readonly string[] Parts =
    [
        Beginnings("user_search"),
        Beginnings("display_search"),
        $"""
        SELECT {Columns} FROM profile_text t JOIN profile p ON p.user = t.rowid LEFT JOIN id i ON i.user = p.user
        WHERE profile_text MATCH ?1 AND t.rowid > ?2 ORDER BY t.rowid
        """,
    ];

    /// <inheritdoc cref="IUserDirectory.SearchAsync"/>
    public DirectoryPage Search(string query, int limit, string? cursor)
    {
        var folded = NameFolding.ForSearch(query);
        var from = cursor is null ? SearchPlace.Start(0, folded) : SearchPlace.Open(seal, cursor, folded);
        var users = new List<DirectoryUser>();
        var rows = 0;
        var parts = folded.EnumerateRunes().Count() >= MinInside ? 3 : folded.Length == 0 ? 1 : 2;
        SearchPlace? last = null;
        for (var part = from.Part; part < parts; part++)
        {
            var statement = Bind(part, folded, part == from.Part ? from : SearchPlace.Start(part, folded));
            while (statement.Step())
            {
                if (users.Count == limit || rows++ == MaxRows)
                    return new DirectoryPage(users, last?.Seal(seal, folded));
                var user = Read(statement);
                var (userSearch, displaySearch) = (statement.Text(6), statement.Text(7));
                last = new SearchPlace(part, part == 1 ? displaySearch! : userSearch ?? "", user.User);
                if (part > 0 && Begins(userSearch, folded) || part > 1 && Begins(displaySearch, folded))
                    continue;
                users.Add(user);
            }
        }

        return new DirectoryPage(users, null);
    }

    private static string Beginnings(string column) =>
        $"""
        SELECT {Columns} FROM profile p LEFT JOIN id i ON i.user = p.user
        WHERE (p.{column}, p.user) > (?1, ?2) AND p.{column} < ?3 ORDER BY p.{column}, p.user
        """;

    private static bool Begins(string? name, string folded) => name is not null && name.StartsWith(folded, StringComparison.Ordinal);

    private static DirectoryUser Read(SqliteStatement row)
    {
        var user = (uint)row.Int64(0);
        return new DirectoryUser(user, row.Text(1) ?? user.ToString(), new Profile(row.Text(2), row.Text(3), row.Int64(4), row.Int64(5)));
    }

    // the reader resets the statement after the search
    private SqliteStatement Bind(int part, string folded, SearchPlace from) => part == 2
        ? sql[Parts[part]].Bind(1, $"\"{folded.Replace("\"", "\"\"")}\"").Bind(2, from.Index)
        : sql[Parts[part]].Bind(1, from.Name).Bind(2, from.Index).Bind(3, folded + "\U0010FFFF");
}
