using Microsoft.Data.Sqlite;

namespace Aglow.Sqlite;

/// <summary>The statements of a connection by their text. Each is prepared at its first use, and kept.</summary>
/// <remarks>The texts are constants, so there are few. Threading: one thread at a time, like the connection.</remarks>
internal sealed class SqliteStatements(SqliteConnection connection) : IDisposable
{
    private readonly Dictionary<string, SqliteStatement> _bySql = new(StringComparer.Ordinal);

    public SqliteStatement this[string sql]
    {
        get
        {
            if (!_bySql.TryGetValue(sql, out var statement))
                _bySql.Add(sql, statement = new SqliteStatement(connection, sql));
            return statement;
        }
    }

    /// <summary>Makes all statements ready for their next use.</summary>
    public void Reset()
    {
        foreach (var statement in _bySql.Values)
            statement.Reset();
    }

    public void Dispose()
    {
        foreach (var statement in _bySql.Values)
            statement.Dispose();
    }
}
