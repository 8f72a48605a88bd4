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
        return (SqliteFile.QueryInt64(to, $"SELECT count(*) FROM {table}"), isWhole);
    }

    // returns whether it read to the end
    private bool Read(string table, string order, SqliteStatement insert, int columns)
    {
        using var rows = Prepare($"SELECT * FROM {table} NOT INDEXED ORDER BY {order}");
        bool? more = null;
        while (rows is not null && (more = Step(rows)) == true)
        {
            if (rows.CopyTo(insert, columns))
                insert.Run();
        }

        return more == false;
    }

    private SqliteStatement? Prepare(string sql)
    {
        try
        {
            return new SqliteStatement(from, sql);
        }
        catch (SqliteException e) when (IsOfDamage(e))
        {
            return null;
        }
    }

    // null: the next row cannot be read
    private static bool? Step(SqliteStatement rows)
    {
        try
        {
            return rows.Step();
        }
        catch (SqliteException e) when (IsOfDamage(e))
        {
            return null;
        }
    }

    // an I/O error: the file ends before a page that the WAL names
    private static bool IsOfDamage(SqliteException e) =>
        e.SqliteErrorCode is raw.SQLITE_CORRUPT or raw.SQLITE_ERROR or raw.SQLITE_NOTADB or raw.SQLITE_IOERR;
}
