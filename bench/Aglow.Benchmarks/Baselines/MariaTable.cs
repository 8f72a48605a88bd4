using System.Globalization;
using System.Text;

namespace Aglow.Benchmarks.Baselines;

/// <summary>
/// MariaDB through its own C library (<see cref="MariaConnection"/>), with a small pool of connections. Statements are text, which is safe
/// because they contain only numbers.
/// </summary>
internal sealed class MariaTable : SqlTable
{
    private readonly SqlSchema _schema;
    private readonly MariaServer _server;
    private readonly bool _pooled;
    private readonly System.Collections.Concurrent.ConcurrentBag<MariaConnection> _pool = [];

    private MariaTable(SqlSchema schema, MariaServer server, bool pooled)
    {
        _schema = schema;
        _server = server;
        _pooled = pooled;
    }

    public override string Database => "MariaDB";

    public override string BytesAre => "disk";

    public static async Task<MariaTable> CreateAsync(SqlSchema schema, MariaServer server, bool pooled = true)
    {
        var table = new MariaTable(schema, server, pooled);
        await table.RunAsync($"DROP TABLE IF EXISTS {schema.Name}");
        await table.RunAsync(
            $"CREATE TABLE {schema.Name} (user_id INT UNSIGNED PRIMARY KEY, value {schema.Type} NOT NULL{(schema.IsIndexed ? ", INDEX (value)" : "")}) ENGINE=InnoDB");
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
            sql.Append(CultureInfo.InvariantCulture, $"{(i == 0 ? "" : ",")}({sorted[i]},{value})");
        return RunAsync(sql.Append(" ON DUPLICATE KEY UPDATE value=VALUES(value)").ToString());
    }

    public override Task SelectAsync(ReadOnlyMemory<uint> users, Action<uint, long> row)
    {
        var sql = new StringBuilder($"SELECT user_id, value FROM {_schema.Name} WHERE user_id IN (", 64 + (11 * users.Length));
        for (var i = 0; i < users.Length; i++)
            sql.Append(CultureInfo.InvariantCulture, $"{(i == 0 ? "" : ",")}{users.Span[i]}");
        return RunAsync(sql.Append(')').ToString(), row);
    }

    public override async Task<List<uint>> DeleteBelowAsync(long value)
    {
        var deleted = new List<uint>();
        await RunAsync($"DELETE FROM {_schema.Name} WHERE value < {value} RETURNING user_id, value", (user, _) => deleted.Add(user));
        return deleted;
    }

    public override Task FillAsync(uint users, long value) =>
        RunAsync($"INSERT INTO {_schema.Name} SELECT seq, {value} FROM seq_0_to_{users - 1}");

    public override async Task<long> CountAsync()
    {
        var count = 0L;
        await RunAsync($"SELECT 0, count(*) FROM {_schema.Name}", (_, value) => count = value);
        return count;
    }

    public override Task<long> BytesAsync() => Task.FromResult(_server.TableBytes(_schema.Name));

    public override ValueTask DisposeAsync()
    {
        foreach (var connection in _pool)
            connection.Dispose();
        return default;
    }

    // the library blocks until the answer, so this runs on a pool thread, as in a driver without async
    private Task RunAsync(string sql, Action<uint, long>? row = null) => Task.Run(() =>
    {
        if (!_pooled || !_pool.TryTake(out var connection))
            connection = new MariaConnection(_server.Port);
        try
        {
            connection.Run(sql, row);
        }
        finally
        {
            if (_pooled)
                _pool.Add(connection);
            else
                connection.Dispose();
        }
    });
}
