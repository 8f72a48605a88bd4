using System.Data.Common;
using System.Text;
using MySqlConnector;

namespace Aglow.Benchmarks.Baselines;

/// <summary>
/// MariaDB through MySqlConnector and its pool. Statements are text, which is safe because they contain only numbers, and the fastest way
/// to pass many users.
/// </summary>
internal sealed class MariaTable : SqlTable
{
    private readonly MariaServer _server;
    private readonly MySqlDataSource _source;

    private MariaTable(SqlSchema schema, MariaServer server, bool pooled)
        : base(schema, "MariaDB", server.CpuSeconds)
    {
        _server = server;
        _source = new MySqlDataSource($"{server.ConnectionString};Pooling={pooled};Connection Reset=false");
    }

    public static async Task<MariaTable> CreateAsync(SqlSchema schema, MariaServer server, bool pooled)
    {
        var table = new MariaTable(schema, server, pooled);
        await table.ExecuteAsync($"DROP TABLE IF EXISTS {schema.Name}");
        var index = schema.IsIndexed ? ", INDEX (value)" : "";
        await table.ExecuteAsync(
            $"CREATE TABLE {schema.Name} (user_id INT UNSIGNED PRIMARY KEY, value {schema.Type} NOT NULL{index}) ENGINE=InnoDB");
        return table;
    }

    public override Task UpsertAsync(uint user, long value) =>
        ExecuteAsync($"INSERT INTO {Name} VALUES ({user},{value}) ON DUPLICATE KEY UPDATE value={value}");

    public override Task UpsertAsync(ReadOnlyMemory<uint> users, long value)
    {
        // in ascending order: otherwise two batches with the same users would deadlock
        var sorted = users.ToArray();
        Array.Sort(sorted);
        var sql = new StringBuilder($"INSERT INTO {Name} VALUES ", 32 + (24 * sorted.Length));
        for (var i = 0; i < sorted.Length; i++)
            sql.Append($"{(i == 0 ? "" : ",")}({sorted[i]},{value})");
        return ExecuteAsync(sql.Append(" ON DUPLICATE KEY UPDATE value=VALUES(value)").ToString());
    }

    public override async Task SelectAsync(ReadOnlyMemory<uint> users, Action<uint, long> row)
    {
        await using var select = Command($"SELECT user_id, value FROM {Name} WHERE user_id IN ({string.Join(',', users.ToArray())})");
        await ReadAsync(select, row);
    }

    public override Task FillAsync(uint users, long value) =>
        ExecuteAsync($"INSERT INTO {Name} SELECT seq, {value} FROM seq_0_to_{users - 1}");

    public override Task<long> BytesAsync() => Task.FromResult(_server.TableBytes(Name));

    public override ValueTask DisposeAsync() => _source.DisposeAsync();

    protected override DbCommand Command(string sql) => _source.CreateCommand(sql);
}
