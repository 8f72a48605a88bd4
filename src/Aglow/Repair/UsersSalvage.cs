using Aglow.Sqlite;
using Aglow.Users;
using Microsoft.Data.Sqlite;

namespace Aglow.Repair;

/// <summary>Copies the readable rows of a damaged <c>users.db</c>. Rebuilds the search index from the profiles.</summary>
/// <remarks>
/// An index whose ID is lost is never given again, because its words, blocks and approvals belong to another person. So the next index is
/// above all known ones.
/// </remarks>
internal static class UsersSalvage
{
    private static readonly (string Name, string[] Keys, int Columns, string What)[] Tables =
    [
        ("id", ["user"], 2, "IDs"),
        ("profile", ["user"], 8, "profiles"),
        ("account", ["user"], 5, "accounts"),
        ("subscription", ["follower", "followed"], 2, "subscriptions"),
        ("claim", ["user", "source"], 9, "statuses that were set"),
        ("visibility", ["user"], 3, "settings of visibility"),
        ("relation", ["user", "kind", "other"], 3, "blocks and approvals"),
    ];

    private static readonly string[] Indexes =
    [
        "SELECT max(user) FROM id", "SELECT max(user) FROM profile", "SELECT max(user) FROM account", "SELECT max(user) FROM claim",
        "SELECT max(follower) FROM subscription", "SELECT max(followed) FROM subscription", "SELECT max(user) FROM visibility",
        "SELECT max(user) FROM relation", "SELECT max(other) FROM relation",
    ];

    /// <summary>Copies the good data; returns what is lost, in a few words.</summary>
    /// <param name="from">The damaged file.</param>
    /// <param name="folder">The folder of the new file.</param>
    /// <param name="highestIndex">The highest index that the words name.</param>
    public static string Run(SqliteConnection from, string folder, uint highestIndex)
    {
        var file = SqliteUserDirectory.OpenFile(folder);
        using var connection = file.ConnectToWrite(cacheKibibytes: 64 * 1024);
        var lost = new List<string>();
        SqliteFile.Execute(connection, "BEGIN IMMEDIATE");
        var salvage = new TableSalvage(from, connection);
        foreach (var (name, keys, columns, what) in Tables)
        {
            var (kept, isWhole) = salvage.Copy(name, keys, columns);
            if (!isWhole)
                lost.Add($"some {what} ({kept} are kept)");
        }

        SqliteFile.Execute(
            connection,
            """
            INSERT INTO profile_text (rowid, names)
            SELECT user, ifnull(user_search, '') || char(10) || ifnull(display_search, '') FROM profile
            """);
        // keeps the old secret if it can be read, so that callers' cursors stay valid
        SqliteFile.Execute(connection, "DELETE FROM secret");
        if (salvage.Copy("secret", ["rowid"], 1).Kept != 1)
            SqliteFile.Execute(connection, "DELETE FROM secret; INSERT INTO secret VALUES (randomblob(16))");
        Reserve(connection, highestIndex);
        SqliteFile.Execute(connection, "COMMIT");
        file.Seal.Committed(connection);
        file.Seal.Finish(connection);
        connection.Dispose();
        file.Dispose();
        return lost.Count > 0 ? string.Join(", ", lost) : "no row of a table";
    }

    // an ID that nobody can have, since it has a control character
    private static void Reserve(SqliteConnection connection, uint highestIndex)
    {
        long highest = highestIndex;
        foreach (var sql in Indexes)
            highest = Math.Max(highest, SqliteFile.Ask(connection, sql));
        if (highest < UserId.FirstDirectoryNumber || highest + 1 >= UserId.Nobody)
            return;
        using var reserve = new SqliteStatement(connection, "INSERT INTO id VALUES (?1, char(1) || 'repaired ' || ?1)");
        reserve.Bind(1, highest + 1).Run();
    }
}
