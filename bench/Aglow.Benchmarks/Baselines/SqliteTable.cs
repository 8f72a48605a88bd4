using System.Text.Json;
using Microsoft.Data.Sqlite;

namespace Aglow.Benchmarks.Baselines;

/// <summary>SQLite in this process: WAL, <c>synchronous=NORMAL</c>, and statements that are prepared once on one connection.</summary>
internal sealed class SqliteTable : SqlTable
{
    private readonly SqlSchema _schema;
    private readonly string _file;
    private readonly SqliteConnection _connection;
    private readonly SqliteCommand _upsert;
    private readonly SqliteCommand _begin;
    private readonly SqliteCommand _commit;
    private readonly SqliteCommand _select;

    public SqliteTable(SqlSchema schema, string folder)
    {
        _schema = schema;
        _file = Path.Combine(folder, $"{schema.Name}.db");
        _connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = _file, Pooling = false }.ToString());
        _connection.Open();
        Execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-262144");
        Execute($"CREATE TABLE {schema.Name} (user_id INTEGER PRIMARY KEY, value {schema.Type} NOT NULL)");
        if (schema.IsIndexed)
            Execute($"CREATE INDEX {schema.Name}_value ON {schema.Name} (value)");
        _upsert = Command(
            $"INSERT INTO {schema.Name} VALUES ($user, $value) ON CONFLICT DO UPDATE SET value = excluded.value", "$user", "$value");
        // the list is one parameter, because a thousand parameters cost more than the search
        _select = Command($"SELECT user_id, value FROM {schema.Name} WHERE user_id IN (SELECT value FROM json_each($users))");
        _select.Parameters.Add("$users", SqliteType.Text);
        _begin = Command("BEGIN IMMEDIATE");
        _commit = Command("COMMIT");
    }

    public override string Database => "SQLite";

    public override string BytesAre => "disk";

    public override int Callers => 1;

    public override double CpuSeconds() => Cpu.OfThisProcess();

    public override Task UpsertAsync(uint user, long value)
    {
        Upsert(user, value);
        return Task.CompletedTask;
    }

    public override Task UpsertAsync(ReadOnlyMemory<uint> users, long value)
    {
        _begin.ExecuteNonQuery();
        foreach (var user in users.Span)
            Upsert(user, value);
        _commit.ExecuteNonQuery();
        return Task.CompletedTask;
    }

    public override Task SelectAsync(ReadOnlyMemory<uint> users, Action<uint, long> row)
    {
        _select.Parameters[0].Value = JsonSerializer.Serialize(users);
        using var reader = _select.ExecuteReader();
        while (reader.Read())
            row((uint)reader.GetInt64(0), reader.GetInt64(1));
        return Task.CompletedTask;
    }

    public override Task<List<uint>> DeleteBelowAsync(long value)
    {
        using var delete = Command($"DELETE FROM {_schema.Name} WHERE value < $value RETURNING user_id", "$value");
        delete.Parameters[0].Value = value;
        using var reader = delete.ExecuteReader();
        var deleted = new List<uint>();
        while (reader.Read())
            deleted.Add((uint)reader.GetInt64(0));
        return Task.FromResult(deleted);
    }

    public override Task FillAsync(uint users, long value)
    {
        Execute(
            $"INSERT INTO {_schema.Name} WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {users}) SELECT "
                + $"i, {value} FROM n");
        Execute("PRAGMA wal_checkpoint(TRUNCATE)");
        return Task.CompletedTask;
    }

    public override Task<long> CountAsync()
    {
        using var count = Command($"SELECT count(*) FROM {_schema.Name}");
        return Task.FromResult((long)count.ExecuteScalar()!);
    }

    public override Task<long> BytesAsync()
    {
        Execute("PRAGMA wal_checkpoint(TRUNCATE)");
        return Task.FromResult(new FileInfo(_file).Length);
    }

    public override ValueTask DisposeAsync()
    {
        foreach (var command in (SqliteCommand[])[_upsert, _select, _begin, _commit])
            command.Dispose();
        _connection.Dispose();
        return default;
    }

    private void Upsert(uint user, long value)
    {
        _upsert.Parameters[0].Value = (long)user;
        _upsert.Parameters[1].Value = value;
        _upsert.ExecuteNonQuery();
    }

    private void Execute(string sql)
    {
        using var command = Command(sql);
        command.ExecuteNonQuery();
    }

    private SqliteCommand Command(string sql, params string[] parameters)
    {
        var command = _connection.CreateCommand();
        command.CommandText = sql;
        foreach (var name in parameters)
            command.Parameters.Add(name, SqliteType.Integer);
        return command;
    }
}
