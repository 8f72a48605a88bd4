using System.Text;
using MySqlConnector;

namespace Aglow.Benchmarks.Baselines;

/// <summary>
/// MariaDB through MySqlConnector and its pool. Statements are text, which is safe because they contain only numbers, and the fastest way
/// to pass many users.
/// </summary>
internal sealed class MariaTable : SqlTable
{
    private readonly SqlSchema _schema;
    private readonly MariaServer _server;
    private readonly MySqlDataSource _source;

    private MariaTable(SqlSchema schema, MariaServer server, bool pooled)
    {
        _schema = schema;
        _server = server;
        _source = new MySqlDataSource($"{server.ConnectionString};Pooling={pooled};Connection Reset=false");
    }

    public override string Database => "MariaDB";

    public override string BytesAre => "disk";

    public static async Task<MariaTable> CreateAsync(SqlSchema schema, MariaServer server, bool pooled = true)
    {
        var table = new MariaTable(schema, server, pooled);
        await table.RunAsync($"DROP TABLE IF EXISTS {schema.Name}");
        var index = schema.IsIndexed ? ", INDEX (value)" : "";
        await table.RunAsync(
            $"CREATE TABLE {schema.Name} (user_id INT UNSIGNED PRIMARY KEY, value {schema.Type} NOT NULL{index}) ENGINE=InnoDB");
        return table;
    }

    public override double CpuSeconds() => _server.CpuSeconds();

    public override Task UpsertAsync(uint user, long value) =>
        RunAsync($"INSERT INTO {_schema.Name} VALUES ({user},{value}) ON DUPLICATE KEY UPDATE value={value}");

    public override Task UpsertAsync(ReadOnlyMemory<uint> users, long value)
    {
        // in ascending order: otherwise two batches with the same users would deadlock
        var sorted = users.ToArray();
        Array.Sort(sorted);
        var sql = new StringBuilder($"INSERT INTO {_schema.Name} VALUES ", 32 + (24 * sorted.Length));
        for (var i = 0; i < sorted.Length; i++)
            sql.Append($"{(i == 0 ? "" : ",")}({sorted[i]},{value})");
        return RunAsync(sql.Append(" ON DUPLICATE KEY UPDATE value=VALUES(value)").ToString());
    }

    public override Task SelectAsync(ReadOnlyMemory<uint> users, Action<uint, long> row) =>
        ReadAsync($"SELECT user_id, value FROM {_schema.Name} WHERE user_id IN ({string.Join(',', users.ToArray())})", row);

    public override async Task<List<uint>> DeleteBelowAsync(long value)
    {
        var deleted = new List<uint>();
        await ReadAsync($"DELETE FROM {_schema.Name} WHERE value < {value} RETURNING user_id, value", (user, _) => deleted.Add(user));
        return deleted;
    }

    public override Task FillAsync(uint users, long value) =>
        RunAsync($"INSERT INTO {_schema.Name} SELECT seq, {value} FROM seq_0_to_{users - 1}");

    public override async Task<long> CountAsync()
    {
        await using var command = _source.CreateCommand($"SELECT count(*) FROM {_schema.Name}");
        return (long)(await command.ExecuteScalarAsync())!;
    }

    public override Task<long> BytesAsync() => Task.FromResult(_server.TableBytes(_schema.Name));

    public override ValueTask DisposeAsync() => _source.DisposeAsync();

    private async Task RunAsync(string sql)
    {
        await using var command = _source.CreateCommand(sql);
        command.CommandTimeout = 600;
        await command.ExecuteNonQueryAsync();
    }

    private async Task ReadAsync(string sql, Action<uint, long> row)
    {
        await using var command = _source.CreateCommand(sql);
        await using var reader = await command.ExecuteReaderAsync();
        while (await reader.ReadAsync())
            row((uint)reader.GetInt64(0), reader.GetInt64(1));
    }
}
