using Aglow.Sqlite;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Aglow.Repair;

/// <summary>
/// Copies the readable rows of a table into a new database. Damaged pages are blank, and SQLite stops at them. So this reads a table from
/// its beginning to the first damaged page, and from its end back to the last.
/// </summary>
/// <remarks>Rows between two damaged pages of one table are lost. Threading: one thread.</remarks>
internal sealed class TableSalvage(SqliteConnection from, SqliteConnection to)
{
    /// <summary>Copies a table.</summary>
    /// <param name="table">Its name, the same in both.</param>
    /// <param name="keys">The columns of its key, in order.</param>
    /// <param name="columns">How many columns it has.</param>
    /// <returns>How many rows were kept, and whether all were read.</returns>
    public (long Kept, bool IsWhole) Copy(string table, string[] keys, int columns)
    {
        var places = string.Join(", ", Enumerable.Range(1, columns).Select(static i => $"?{i}"));
        using var insert = new SqliteStatement(to, $"INSERT OR IGNORE INTO {table} VALUES ({places})");
        var isWhole = Read(table, string.Join(", ", keys), insert, columns);
        if (!isWhole)
            Read(table, string.Join(", ", keys.Select(static key => $"{key} DESC")), insert, columns);
        return (SqliteFile.Ask(to, $"SELECT count(*) FROM {table}"), isWhole);
    }

    // returns whether it read to the end
    private bool Read(string table, string order, SqliteStatement insert, int columns)
    {
        try
        {
            using var rows = new SqliteStatement(from, $"SELECT * FROM {table} NOT INDEXED ORDER BY {order}");
            while (rows.Step())
            {
                if (rows.CopyTo(insert, columns))
                    insert.Run();
            }

            return true;
        }
        catch (SqliteException e) when (e.SqliteErrorCode is raw.SQLITE_CORRUPT or raw.SQLITE_ERROR or raw.SQLITE_NOTADB)
        {
            return false;
        }
    }
}
