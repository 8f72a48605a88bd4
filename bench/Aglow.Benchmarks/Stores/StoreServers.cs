using Aglow.Benchmarks.Baselines;
using Aglow.Redis;
using Aglow.Redis.Connections;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Benchmarks.Stores;

/// <summary>The servers of one run, each started at its first use, on the first core, and the designs on them.</summary>
/// <param name="hasRedisFile">Whether Aglow's Redis has an append-only file.</param>
internal sealed class StoreServers(bool hasRedisFile = false) : IAsyncDisposable
{
    public const string Sqlite = "sqlite", Postgres = "postgres", Maria = "mariadb", RedisName = "redis", Dynamo = "dynamodb",
        AglowName = "aglow", AglowOnRedis = "aglow-redis";

    private readonly TemporaryFolder _folder = new();
    private readonly List<RedisCluster> _clusters = [];
    private PostgresServer? _postgres;
    private MariaServer? _maria;
    private RedisServer? _redis;
    private RedisServer? _redisOfAglow;
    private DynaliteServer? _dynalite;
    private int _made;

    /// <summary>The names of all stores.</summary>
    public static string[] All { get; } = [Sqlite, Postgres, Maria, RedisName, Dynamo, AglowName, AglowOnRedis];

    public async Task<PostgresServer> PostgresAsync() => _postgres ??= await PostgresServer.StartAsync(Cores.Server);

    public async Task<MariaServer> MariaAsync() => _maria ??= await MariaServer.StartAsync(Cores.Server);

    /// <summary>The Redis for keys that expire.</summary>
    public async Task<RedisServer> RedisAsync() => _redis ??= await RedisServer.StartAsync(Cores.Server, Folder());

    /// <summary>The Redis for Aglow's pages: a separate one, so that keys and bytes are counted separately.</summary>
    public async Task<RedisServer> RedisOfAglowAsync() =>
        _redisOfAglow ??= await RedisServer.StartAsync(Cores.Server, Folder(), hasRedisFile);

    public async Task<DynaliteServer> DynaliteAsync() => _dynalite ??= await DynaliteServer.StartAsync(Cores.Server);

    /// <summary>Aglow's connections to a Redis, which are closed with this object.</summary>
    public async Task<RedisCluster> ConnectAsync(RedisServer server)
    {
        var cluster = await RedisCluster.ConnectAsync(
            RedisAddress.Parse($"127.0.0.1:{server.Port}"), TimeProvider.System, new RedisLog(NullLogger.Instance));
        _clusters.Add(cluster);
        return cluster;
    }

    /// <summary>A table in one of the databases.</summary>
    public async Task<SqlTable> TableAsync(string store, SqlSchema schema, bool pooled = true) => store switch
    {
        Sqlite => new SqliteTable(schema, Folder()),
        Postgres => await PostgresTable.CreateAsync(schema, await PostgresAsync(), pooled),
        _ => await MariaTable.CreateAsync(schema, await MariaAsync(), pooled),
    };

    /// <summary>The designs on these stores, with a lease, in the order of the table. The caller closes them.</summary>
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
                var redis = await RedisAsync();
                return [new RedisKey(await redis.ConnectAsync(), redis, lease)];
            case Dynamo:
                var dynalite = await DynaliteAsync();
                var item = new DynamoItem(dynalite.Connect(), dynalite, lease);
                await item.CreateAsync();
                return [item];
            case AglowName:
                return [await AglowEmbedded.OpenAsync(lease)];
            case AglowOnRedis:
                var pages = await RedisOfAglowAsync();
                return [new AglowRedis(await ConnectAsync(pages), pages, lease)];
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
        _redisOfAglow?.Dispose();
        _dynalite?.Dispose();
        _folder.Dispose();
    }

    private string Folder() => Directory.CreateDirectory(Path.Combine(_folder.Path, $"{++_made}")).FullName;
}
