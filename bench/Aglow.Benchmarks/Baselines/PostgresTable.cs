using Npgsql;
using NpgsqlTypes;

namespace Aglow.Benchmarks.Baselines;

/// <summary>PostgreSQL through Npgsql: its pool, prepared statements, and arrays for many users at once.</summary>
internal sealed class PostgresTable : SqlTable
{
    private readonly SqlSchema _schema;
    private readonly PostgresServer _server;
    private readonly NpgsqlDataSource _source;

    private PostgresTable(SqlSchema schema, PostgresServer server, bool pooled)
    {
        _schema = schema;
        _server = server;
        _source = NpgsqlDataSource.Create(
            $"{server.ConnectionString};Pooling={pooled};Max Auto Prepare=16;Auto Prepare Min Usages=2;No Reset On Close=true");
    }

    public override string Database => "PostgreSQL";

    public override string BytesAre => "disk";

    public static async Task<PostgresTable> CreateAsync(SqlSchema schema, PostgresServer server, bool pooled = true)
    {
        var table = new PostgresTable(schema, server, pooled);
        await table.ExecuteAsync($"DROP TABLE IF EXISTS {schema.Name}");
        await table.ExecuteAsync($"CREATE TABLE {schema.Name} (user_id BIGINT PRIMARY KEY, value {schema.Type} NOT NULL)");
        if (schema.IsIndexed)
            await table.ExecuteAsync($"CREATE INDEX ON {schema.Name} (value)");
        return table;
    }

    public override double CpuSeconds() => _server.CpuSeconds();

    public override async Task UpsertAsync(uint user, long value)
    {
        await using var upsert = _source.CreateCommand(
            $"INSERT INTO {_schema.Name} VALUES ($1, $2) ON CONFLICT (user_id) DO UPDATE SET value = excluded.value");
        upsert.Parameters.Add(new NpgsqlParameter<long> { TypedValue = user });
        upsert.Parameters.Add(new NpgsqlParameter<long> { TypedValue = value });
        await upsert.ExecuteNonQueryAsync();
    }

    public override async Task UpsertAsync(ReadOnlyMemory<uint> users, long value)
    {
        // in ascending order: otherwise two batches with the same users would deadlock
        await using var upsert = _source.CreateCommand(
            $"INSERT INTO {_schema.Name} SELECT u, $2 FROM unnest($1) u ON CONFLICT (user_id) DO UPDATE SET value = excluded.value");
        upsert.Parameters.Add(Many(users, sorted: true));
        upsert.Parameters.Add(new NpgsqlParameter<long> { TypedValue = value });
        await upsert.ExecuteNonQueryAsync();
    }

    public override async Task SelectAsync(ReadOnlyMemory<uint> users, Action<uint, long> row)
    {
        await using var select = _source.CreateCommand($"SELECT user_id, value::bigint FROM {_schema.Name} WHERE user_id = ANY($1)");
        select.Parameters.Add(Many(users, sorted: false));
        await using var reader = await select.ExecuteReaderAsync();
        while (await reader.ReadAsync())
            row((uint)reader.GetInt64(0), reader.GetInt64(1));
    }

    public override async Task<List<uint>> DeleteBelowAsync(long value)
    {
        await using var delete = _source.CreateCommand($"DELETE FROM {_schema.Name} WHERE value < $1 RETURNING user_id");
        delete.Parameters.Add(new NpgsqlParameter<long> { TypedValue = value });
        await using var reader = await delete.ExecuteReaderAsync();
        var deleted = new List<uint>();
        while (await reader.ReadAsync())
            deleted.Add((uint)reader.GetInt64(0));
        return deleted;
    }

    public override async Task FillAsync(uint users, long value)
    {
        await ExecuteAsync($"INSERT INTO {_schema.Name} SELECT i, {value} FROM generate_series(0, {users} - 1) i");
        await ExecuteAsync($"VACUUM ANALYZE {_schema.Name}");
        await ExecuteAsync("CHECKPOINT");
    }

    public override async Task<long> CountAsync() => (long)(await ScalarAsync($"SELECT count(*) FROM {_schema.Name}"))!;

    public override async Task<long> BytesAsync() => (long)(await ScalarAsync($"SELECT pg_total_relation_size('{_schema.Name}')"))!;

    public override ValueTask DisposeAsync() => _source.DisposeAsync();

    private static NpgsqlParameter Many(ReadOnlyMemory<uint> users, bool sorted)
    {
        var numbers = new long[users.Length];
        for (var i = 0; i < numbers.Length; i++)
            numbers[i] = users.Span[i];
        if (sorted)
            Array.Sort(numbers);
        return new NpgsqlParameter<long[]> { TypedValue = numbers, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Bigint };
    }

    private async Task ExecuteAsync(string sql)
    {
        await using var command = _source.CreateCommand(sql);
        command.CommandTimeout = 600;
        await command.ExecuteNonQueryAsync();
    }

    private async Task<object?> ScalarAsync(string sql)
    {
        await using var command = _source.CreateCommand(sql);
        return await command.ExecuteScalarAsync();
    }
}
