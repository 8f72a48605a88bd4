using Aglow.Benchmarks.Baselines;
using Aglow.Redis;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Benchmarks.Stores;

/// <summary>The servers of one run, each started when it is first asked for, on the first core; and the designs on them.</summary>
internal sealed class StoreServers(bool waitsForDisk) : IAsyncDisposable
{
    public const string Sqlite = "sqlite", Postgres = "postgres", Maria = "mariadb", RedisName = "redis", Dynamo = "dynamodb", AglowName = "aglow", AglowOnRedis = "aglow-redis";

    private const int ServerCore = 1;

    private readonly string _folder = Directory.CreateTempSubdirectory("aglow-bench-").FullName;
    private readonly List<RedisCluster> _clusters = [];
    private PostgresServer? _postgres;
    private MariaServer? _maria;
    private RedisServer? _redis;
    private DynaliteServer? _dynalite;
    private int _made;

    /// <summary>Every store there is.</summary>
    public static string[] All { get; } = [Sqlite, Postgres, Maria, RedisName, Dynamo, AglowName, AglowOnRedis];

    public async Task<PostgresServer> PostgresAsync() => _postgres ??= await PostgresServer.StartAsync(ServerCore, waitsForDisk);

    public async Task<MariaServer> MariaAsync() => _maria ??= await MariaServer.StartAsync(ServerCore, waitsForDisk);

    public async Task<RedisServer> RedisAsync() => _redis ??= await RedisServer.StartAsync(ServerCore, _folder, waitsForDisk);

    public async Task<DynaliteServer> DynaliteAsync() => _dynalite ??= await DynaliteServer.StartAsync(ServerCore);

    /// <summary>Connections of its own to the Redis that is shared.</summary>
    public async Task<RedisCluster> ConnectAsync()
    {
        var server = await RedisAsync();
        var cluster = await RedisCluster.ConnectAsync(new RedisOptions { Endpoints = [new("127.0.0.1", server.Port)] }, TimeProvider.System, new RedisLog(NullLogger.Instance));
        _clusters.Add(cluster);
        return cluster;
    }

    /// <summary>A table in one of the databases.</summary>
    public async Task<SqlTable> TableAsync(string store, SqlSchema schema) => store switch
    {
        Sqlite => new SqliteTable(schema, Directory.CreateDirectory(Path.Combine(_folder, $"{++_made}")).FullName),
        Postgres => await PostgresTable.CreateAsync(schema, await PostgresAsync()),
        _ => await MariaTable.CreateAsync(schema, await MariaAsync()),
    };

    /// <summary>The designs on these stores, with a lease. Made in the order of the table; closed by who asked.</summary>
    public async Task<List<PresenceDesign>> DesignsAsync(IEnumerable<string> stores, TimeSpan lease)
    {
        var designs = new List<PresenceDesign>();
        foreach (var store in stores)
            designs.AddRange(await DesignsAsync(store, lease));
        return designs;
    }

    /// <summary>The designs on one store.</summary>
    public async Task<PresenceDesign[]> DesignsAsync(string store, TimeSpan lease)
    {
        switch (store)
        {
            case RedisName:
                return [new RedisKey(await ConnectAsync(), await RedisAsync(), lease)];
            case Dynamo:
                var dynalite = await DynaliteAsync();
                var item = new DynamoItem(dynalite.Connect(), dynalite, lease);
                await item.CreateAsync();
                return [item];
            case AglowName:
                return [await AglowEmbedded.OpenAsync(lease)];
            case AglowOnRedis:
                return [new AglowRedis(await ConnectAsync(), await RedisAsync(), lease)];
            default:
                return
                [
                    new BooleanRow(await TableAsync(store, BooleanRow.Schema)),
                    new HeartbeatRow(await TableAsync(store, HeartbeatRow.Schema), lease),
                    new ExpiringRow(await TableAsync(store, ExpiringRow.Schema), lease),
                ];
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var cluster in _clusters)
            await cluster.DisposeAsync();
        if (_postgres is not null)
            await _postgres.DisposeAsync();
        _maria?.Dispose();
        _redis?.Dispose();
        _dynalite?.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
