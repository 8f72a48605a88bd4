using Microsoft.Data.Sqlite;
using SQLitePCL;
using static SQLitePCL.raw;

namespace Aglow.Sqlite;

/// <summary>
/// A prepared statement for repeated use. It binds and reads blobs and texts as spans. So a page of 255 KiB needs no managed copy, and a
/// batch needs no object for each user.
/// </summary>
/// <remarks>Failures are <see cref="SqliteException"/>s. Threading: one thread at a time, like its connection.</remarks>
internal sealed class SqliteStatement : IDisposable
{
    private readonly sqlite3 _connection;
    private readonly sqlite3_stmt _statement;

    public SqliteStatement(SqliteConnection connection, string sql)
    {
        _connection = connection.Handle!;
        Check(sqlite3_prepare_v2(_connection, sql, out _statement));
    }

    /// <summary>Binds an integer to parameter <paramref name="index"/>, counted from 1.</summary>
    public SqliteStatement Bind(int index, long value)
    {
        Check(sqlite3_bind_int64(_statement, index, value));
        return this;
    }

    /// <summary>Binds an integer, or null, to parameter <paramref name="index"/>, counted from 1.</summary>
    public SqliteStatement Bind(int index, long? value)
    {
        Check(value is { } integer ? sqlite3_bind_int64(_statement, index, integer) : sqlite3_bind_null(_statement, index));
        return this;
    }

    /// <summary>Binds a text, or null, to parameter <paramref name="index"/>, counted from 1.</summary>
    public SqliteStatement Bind(int index, string? text)
    {
        Check(text is null ? sqlite3_bind_null(_statement, index) : sqlite3_bind_text(_statement, index, text));
        return this;
    }

    /// <summary>Binds a blob, copied, to parameter <paramref name="index"/>, counted from 1.</summary>
    public SqliteStatement Bind(int index, ReadOnlySpan<byte> value)
    {
        Check(value.IsEmpty ? sqlite3_bind_zeroblob(_statement, index, 0) : sqlite3_bind_blob(_statement, index, value));
        return this;
    }

    /// <summary>Moves to the next row. False after the last one; the statement is then ready for its next use.</summary>
    public bool Step()
    {
        var result = sqlite3_step(_statement);
        if (result == SQLITE_ROW)
            return true;
        var reset = sqlite3_reset(_statement);
        Check(result == SQLITE_DONE ? reset : result);
        return false;
    }

    /// <summary>Runs the statement to its end and ignores rows.</summary>
    public void Run()
    {
        while (Step())
        {
            // rows of a pragma do not matter
        }
    }

    /// <summary>Makes the statement ready for its next use before it has reached the last row.</summary>
    public void Reset() => _ = sqlite3_reset(_statement);

    /// <summary>The integer of a query's first row; null: there is no row. Makes the statement ready for its next use.</summary>
    public long? First()
    {
        long? first = Step() ? Int64(0) : null;
        Reset();
        return first;
    }

    /// <summary>An integer of the current row; columns are counted from 0.</summary>
    public long Int64(int column) => sqlite3_column_int64(_statement, column);

    /// <summary>A text of the current row, or null; columns are counted from 0.</summary>
    public string? Text(int column) =>
        sqlite3_column_type(_statement, column) == SQLITE_NULL ? null : sqlite3_column_text(_statement, column).utf8_to_string();

    /// <summary>A blob of the current row, or the UTF-8 of a text, valid until the next step; columns are counted from 0.</summary>
    public ReadOnlySpan<byte> Blob(int column) => sqlite3_column_blob(_statement, column);

    /// <summary>
    /// Binds the columns of the current row to the parameters of another statement. False if a text contains a zero character. Our texts
    /// never do, but a blank page does.
    /// </summary>
    public bool CopyTo(SqliteStatement other, int columns)
    {
        for (var i = 0; i < columns; i++)
        {
            var type = sqlite3_column_type(_statement, i);
            var bytes = type is SQLITE_TEXT or SQLITE_BLOB ? Blob(i) : default;
            if (type == SQLITE_TEXT && bytes.Contains((byte)0))
                return false;
            if (type == SQLITE_TEXT)
                Check(sqlite3_bind_text(other._statement, i + 1, bytes));
            else if (type == SQLITE_BLOB)
                other.Bind(i + 1, bytes);
            else
                other.Bind(i + 1, type == SQLITE_NULL ? null : Int64(i));
        }

        return true;
    }

    public void Dispose() => _statement.Dispose();

    private void Check(int result)
    {
        if (result != SQLITE_OK)
            SqliteException.ThrowExceptionForRC(result, _connection);
    }
}
