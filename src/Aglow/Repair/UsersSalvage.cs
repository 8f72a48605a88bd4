using Aglow.Durable;
using Aglow.Sqlite;
using Aglow.Users;
using Microsoft.Data.Sqlite;

namespace Aglow.Repair;

/// <summary>Copies the readable rows of a damaged <c>users.db</c>. Rebuilds the search index from the profiles.</summary>
/// <remarks>
/// A user whose ID is lost is removed everywhere, because nobody can ask for them, and readers would find an index without an ID. The index
/// is never given again, because a stored cursor may still mean it. So the next index is above all known ones.
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

    // the columns of indexes, besides that of IDs
    private static readonly (string Table, string Column)[] Indexes =
    [
        ("profile", "user"), ("account", "user"), ("subscription", "follower"), ("subscription", "followed"), ("claim", "user"),
        ("visibility", "user"), ("relation", "user"), ("relation", "other"),
    ];

    /// <summary>Copies the good data; returns what is lost, in a few words; null: nothing that was read.</summary>
    /// <param name="from">The damaged file.</param>
    /// <param name="folder">The folder of the new file, which already has the new <c>presence.db</c>.</param>
    public static string? Run(SqliteConnection from, string folder)
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

        long highest = RemoveLostUsers(connection, folder, lost);
        foreach (var (table, column) in Indexes.Append(("id", "user")))
            highest = Math.Max(highest, SqliteFile.QueryInt64(connection, $"SELECT max({column}) FROM {table}"));
        if (RemoveLostRows(connection) is > 0 and var rows)
            lost.Add($"{rows} rows of users whose IDs are lost");
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
        Reserve(connection, highest);
        SqliteFile.Execute(connection, "COMMIT");
        file.Seal.Committed(connection);
        file.Seal.Finish(connection);
        connection.Dispose();
        file.Dispose();
        return lost.Count > 0 ? string.Join(", ", lost) : null;
    }

    // returns the highest index that the words or the feed named
    private static uint RemoveLostUsers(SqliteConnection connection, string folder, List<string> lost)
    {
        using var known = new UserBits();
        using (var ids = new SqliteStatement(connection, "SELECT user FROM id"))
        {
            while (ids.Step())
                known.Set((uint)ids.Int64(0), present: true);
        }

        using var presence = PresenceFile.Open(Path.Combine(folder, PresenceFile.FileName));
        using var users = new LostUsers(presence, known);
        users.Remove();
        if (users.Count > 0)
            lost.Add($"the presence of {users.Count} users whose IDs are lost");
        if (users.DropsFeed)
            lost.Add("the feed of changes, which starts again");
        return users.Highest;
    }

    private static int RemoveLostRows(SqliteConnection connection)
    {
        var rows = 0;
        foreach (var (table, column) in Indexes)
        {
            using var delete = new SqliteStatement(
                connection, $"DELETE FROM {table} WHERE {column} >= ? AND {column} NOT IN (SELECT user FROM id) RETURNING 1");
            for (delete.Bind(1, UserId.FirstDirectoryNumber); delete.Step();)
                rows++;
        }

        return rows;
    }

    // an ID that nobody can have, since it has a control character
    private static void Reserve(SqliteConnection connection, long highest)
    {
        if (highest < UserId.FirstDirectoryNumber || highest + 1 >= UserId.Nobody)
            return;
        using var reserve = new SqliteStatement(connection, "INSERT INTO id VALUES (?1, char(1) || 'repaired ' || ?1)");
        reserve.Bind(1, highest + 1).Run();
    }
}
