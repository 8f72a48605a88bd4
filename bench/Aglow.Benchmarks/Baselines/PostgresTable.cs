using System.Data.Common;
using Npgsql;
using NpgsqlTypes;

namespace Aglow.Benchmarks.Baselines;

/// <summary>PostgreSQL through Npgsql: its pool, prepared statements, and arrays for many users at once.</summary>
internal sealed class PostgresTable : SqlTable
{
    private readonly NpgsqlDataSource _source;

    private PostgresTable(SqlSchema schema, PostgresServer server, bool pooled)
        : base(schema, "PostgreSQL", server.CpuSeconds) =>
        _source = NpgsqlDataSource.Create(
            $"{server.ConnectionString};Pooling={pooled};Max Auto Prepare=16;Auto Prepare Min Usages=2;No Reset On Close=true");

    public static async Task<PostgresTable> CreateAsync(SqlSchema schema, PostgresServer server, bool pooled)
    {
        var table = new PostgresTable(schema, server, pooled);
        await table.ExecuteAsync($"DROP TABLE IF EXISTS {schema.Name}");
        await table.ExecuteAsync($"CREATE TABLE {schema.Name} (user_id BIGINT PRIMARY KEY, value {schema.Type} NOT NULL)");
        if (schema.IsIndexed)
            await table.ExecuteAsync($"CREATE INDEX ON {schema.Name} (value)");
        return table;
    }

    public override Task UpsertAsync(uint user, long value) =>
        UpsertAsync("VALUES ($1, $2)", new NpgsqlParameter<long> { TypedValue = user }, value);

    // in ascending order: otherwise two batches with the same users would deadlock
    public override Task UpsertAsync(ReadOnlyMemory<uint> users, long value) =>
        UpsertAsync("SELECT u, $2 FROM unnest($1) u", Many(users, sorted: true), value);

    public override async Task SelectAsync(ReadOnlyMemory<uint> users, Action<uint, long> row)
    {
        await using var select = Command($"SELECT user_id, value::bigint FROM {Name} WHERE user_id = ANY($1)");
        select.Parameters.Add(Many(users, sorted: false));
        await ReadAsync(select, row);
    }

    public override async Task FillAsync(uint users, long value)
    {
        await ExecuteAsync($"INSERT INTO {Name} SELECT i, {value} FROM generate_series(0, {users} - 1) i");
        await ExecuteAsync($"VACUUM ANALYZE {Name}");
        await ExecuteAsync("CHECKPOINT");
    }

    public override Task<long> BytesAsync() => NumberAsync($"SELECT pg_total_relation_size('{Name}')");

    public override ValueTask DisposeAsync() => _source.DisposeAsync();

    protected override DbCommand Command(string sql) => _source.CreateCommand(sql);

    private async Task UpsertAsync(string rows, NpgsqlParameter users, long value)
    {
        await using var upsert = Command($"INSERT INTO {Name} {rows} ON CONFLICT (user_id) DO UPDATE SET value = excluded.value");
        upsert.Parameters.Add(users);
        upsert.Parameters.Add(new NpgsqlParameter<long> { TypedValue = value });
        await upsert.ExecuteNonQueryAsync();
    }

    private static NpgsqlParameter Many(ReadOnlyMemory<uint> users, bool sorted)
    {
        var numbers = new long[users.Length];
        for (var i = 0; i < numbers.Length; i++)
            numbers[i] = users.Span[i];
        if (sorted)
            Array.Sort(numbers);
        return new NpgsqlParameter<long[]> { TypedValue = numbers, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Bigint };
    }
}
