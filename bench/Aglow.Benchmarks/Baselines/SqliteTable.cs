using System.Data.Common;
using System.Text.Json;
using Microsoft.Data.Sqlite;

namespace Aglow.Benchmarks.Baselines;

/// <summary>SQLite in this process: WAL, <c>synchronous=NORMAL</c>, and statements that are prepared once on one connection.</summary>
internal sealed class SqliteTable : SqlTable
{
    private readonly string _file;
    private readonly SqliteConnection _connection;
    private readonly SqliteCommand _upsert;
    private readonly SqliteCommand _begin;
    private readonly SqliteCommand _commit;
    private readonly SqliteCommand _select;

    public SqliteTable(SqlSchema schema, string folder)
        : base(schema, "SQLite", Cpu.OfThisProcess)
    {
        _file = Path.Combine(folder, $"{schema.Name}.db");
        _connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = _file, Pooling = false }.ToString());
        _connection.Open();
        Execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-262144");
        Execute($"CREATE TABLE {schema.Name} (user_id INTEGER PRIMARY KEY, value {schema.Type} NOT NULL)");
        if (schema.IsIndexed)
            Execute($"CREATE INDEX {schema.Name}_value ON {schema.Name} (value)");
        _upsert = Create($"INSERT INTO {schema.Name} VALUES ($user, $value) ON CONFLICT DO UPDATE SET value = excluded.value");
        _upsert.Parameters.Add("$user", SqliteType.Integer);
        _upsert.Parameters.Add("$value", SqliteType.Integer);
        // the list is one parameter, because a thousand parameters cost more than the search
        _select = Create($"SELECT user_id, value FROM {schema.Name} WHERE user_id IN (SELECT value FROM json_each($users))");
        _select.Parameters.Add("$users", SqliteType.Text);
        _begin = Create("BEGIN IMMEDIATE");
        _commit = Create("COMMIT");
    }

    public override int Callers => 1;

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
        return ReadAsync(_select, row);
    }

    public override Task FillAsync(uint users, long value)
    {
        Execute(
            $"INSERT INTO {Name} WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {users}) SELECT i, {value} "
                + "FROM n");
        Execute("PRAGMA wal_checkpoint(TRUNCATE)");
        return Task.CompletedTask;
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

    protected override DbCommand Command(string sql) => Create(sql);

    private void Upsert(uint user, long value)
    {
        _upsert.Parameters[0].Value = (long)user;
        _upsert.Parameters[1].Value = value;
        _upsert.ExecuteNonQuery();
    }

    private void Execute(string sql)
    {
        using var command = Create(sql);
        command.ExecuteNonQuery();
    }

    private SqliteCommand Create(string sql)
    {
        var command = _connection.CreateCommand();
        command.CommandText = sql;
        return command;
    }
}
