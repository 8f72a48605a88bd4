using System.Buffers.Text;
using System.Text;
using Aglow.Model;
using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

/// <summary>Searches users by name, on one read connection. One thread at a time.</summary>
/// <remarks>
/// A search has three parts, one after the other. Each has an order that a cursor can continue:
/// <list type="number">
/// <item>user names that begin with the query, by (name, index), from the index of the column;</item>
/// <item>display names that begin with it, in the same way, unless the user name does;</item>
/// <item>from 3 characters on, names that contain it elsewhere, by index: FTS5 with the trigram tokenizer.</item>
/// </list>
/// A page reads at most <see cref="MaxRows"/> rows. If they do not fill the page, it ends there with a cursor. A cursor holds the last name
/// and ID, never an index.
/// </remarks>
internal sealed class UserSearch : IDisposable
{
    /// <summary>The shortest query, in characters, that matches inside names.</summary>
    internal const int MinInside = 3;

    internal const int MaxRows = 2_000;

    private const string Columns = "p.user, i.id, p.user_name, p.display_name, p.created_at, p.updated_at, p.user_search, p.display_search";

    private readonly SqliteStatement[] _parts;
    private readonly SqliteStatement _indexOf;

    public UserSearch(SqliteConnection connection)
    {
        _parts =
        [
            new SqliteStatement(connection, Beginnings("user_search")),
            new SqliteStatement(connection, Beginnings("display_search")),
            new SqliteStatement(
                connection,
                $"""
                SELECT {Columns} FROM profile_text t JOIN profile p ON p.user = t.rowid LEFT JOIN id i ON i.user = p.user
                WHERE profile_text MATCH ?1 AND t.rowid > ?2 ORDER BY t.rowid
                """),
        ];
        _indexOf = new SqliteStatement(connection, "SELECT user FROM id WHERE id = ?1");
    }

    /// <inheritdoc cref="IUserDirectory.SearchAsync"/>
    public DirectoryPage Search(string query, int limit, string? cursor)
    {
        var folded = NameFolding.ForSearch(query);
        var from = cursor is null ? new SearchCursor(0, folded, folded, "") : SearchCursor.Parse(cursor, folded);
        var users = new List<DirectoryUser>();
        var rows = 0;
        var parts = folded.EnumerateRunes().Count() >= MinInside ? 3 : folded.Length == 0 ? 1 : 2;
        SearchCursor? last = null;
        for (var part = from.Part; part < parts; part++)
        {
            var statement = Bind(part, folded, part == from.Part ? from : new SearchCursor(part, folded, folded, ""));
            try
            {
                while (statement.Step())
                {
                    if (users.Count == limit || rows++ == MaxRows)
                        return new DirectoryPage(users, last?.ToText());
                    var user = Read(statement);
                    var (userSearch, displaySearch) = (statement.Text(6), statement.Text(7));
                    last = new SearchCursor(part, folded, part == 1 ? displaySearch! : userSearch ?? "", user.Id);
                    if (part > 0 && Begins(userSearch, folded) || part > 1 && Begins(displaySearch, folded))
                        continue;
                    users.Add(user);
                }
            }
            finally
            {
                statement.Reset();
            }
        }

        return new DirectoryPage(users, null);
    }

    public void Dispose()
    {
        foreach (var part in _parts)
            part.Dispose();
        _indexOf.Dispose();
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

    private SqliteStatement Bind(int part, string folded, SearchCursor from)
    {
        var after = from.Id.Length == 0 ? -1 : IndexOf(from.Id);
        return part == 2
            ? _parts[part].Bind(1, $"\"{folded.Replace("\"", "\"\"")}\"").Bind(2, after)
            : _parts[part].Bind(1, from.Name).Bind(2, after).Bind(3, folded + "\U0010FFFF");
    }

    private long IndexOf(string id)
    {
        if (UserId.TryParseNumber(Encoding.UTF8.GetBytes(id), out var number))
            return number;
        _indexOf.Bind(1, id);
        var user = _indexOf.Step() ? _indexOf.Int64(0) : -1;
        _indexOf.Reset();
        return user;
    }
}

/// <summary>A place in search results: the part, the query, and the last name and ID.</summary>
internal sealed record SearchCursor(int Part, string Query, string Name, string Id)
{
    private const char Separator = '\n';

    /// <summary>URL-safe text.</summary>
    public string ToText() => Base64Url.EncodeToString(Encoding.UTF8.GetBytes($"{Part}{Separator}{Query}{Separator}{Name}{Separator}{Id}"));

    /// <summary>
    /// Reads the text that <see cref="ToText"/> wrote for the same query; throws <see cref="FormatException"/> for any other.
    /// </summary>
    public static SearchCursor Parse(string text, string query)
    {
        if (Base64Url.IsValid(text))
        {
            var parts = Encoding.UTF8.GetString(Base64Url.DecodeFromChars(text)).Split(Separator);
            if (parts is [['0' or '1' or '2'] part, var asked, var name, var id] && asked == query && UserId.TryParse(id, out _))
                return new SearchCursor(part[0] - '0', query, name, id);
        }

        throw new FormatException("The cursor is not one of this search; send the next of its last page, or none to begin again.");
    }
}
