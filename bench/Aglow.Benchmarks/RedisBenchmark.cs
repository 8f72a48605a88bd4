using Aglow.Benchmarks.Baselines;
using Aglow.Benchmarks.Stores;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Redis;
using Aglow.Redis.Connections;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Benchmarks;

/// <summary>
/// The cost of many nodes for the Redis that they share: heartbeats, reads and memory, compared with keys that expire. Also a node's own
/// cost.
/// </summary>
/// <remarks>
/// Redis runs alone on the first core, this process on the second. The layouts are compared on one server with the same IDs in the same
/// order, in steady state: every SET overwrites a key, and every word overwrites a word. Costs are the server's CPU seconds. With an
/// append-only file, they include the thread that syncs it.
/// </remarks>
internal sealed class RedisBenchmark : Benchmark
{
    public override string Name => "redis";

    public override string Measures =>
        "the cost of heartbeats, reads and memory for Redis, packed compared with SET EX and MGET; the cost for a node";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "heartbeats, reads, memory, node"),
        new("users", "10m", "registered users"),
        new("online", "5m", "online users for the measurement of memory"),
        new("connections", "4", "connections of the load generator, one pipeline under way on each"),
        new("seconds", "2", "length of a leg"),
        new("node-seconds", "20", "length of a leg at 10,000 heartbeats a second, through a node"),
        new("warm-up", "10", "seconds before the first pair of each comparison"),
    ];

    public override async Task RunAsync(Run run)
    {
        Cores.PinThisProcess();
        await run.RunPartsAsync(
            ("heartbeats", () => HeartbeatsAsync(run)),
            ("reads", () => ReadsAsync(run)),
            ("memory", () => MemoryAsync(run)),
            ("node", () => NodeAsync(run)));
    }

    private static async Task HeartbeatsAsync(Run run)
    {
        await HeartbeatsAsync(run, durable: false);
        await HeartbeatsAsync(run, durable: true);
    }

    private static async Task HeartbeatsAsync(Run run, bool durable)
    {
        var people = new People(run.Settings.Number("users", least: 1_000_000));
        await using var bench = await Bench.StartAsync(run, durable);
        var aof = durable ? "append-only file, fsync every second" : "nothing on disk";
        run.Note($"Redis {bench.Server.Version()}, {aof}: {people.Count:#,0} ids; "
                + "SET with EX 3600, so that every SET overwrites, as in steady state");
        var sets = new RedisSets(people, 100);
        var packed = new RedisBitfields(people, 64);
        bench.Fill(sets, people.Count / 100);
        bench.Fill(packed, people.Count / 64);
        var pairs = await bench.RunAsync(sets, packed);
        run.Add(
            $"heartbeats a Redis CPU second, {aof}: 64 words a BITFIELD against SET EX x 100", pairs, "heartbeat",
            durable ? Goal.Least(3) : null);
        pairs = await bench.RunAsync(new RedisSingleBitfields(people, 100), packed);
        run.Add($"heartbeats a Redis CPU second, {aof}: 64 words a BITFIELD against a BITFIELD each x 100", pairs, "heartbeat");
    }

    private static async Task ReadsAsync(Run run)
    {
        var people = new People(run.Settings.Number("users", least: 1_000_000));
        await using var bench = await Bench.StartAsync(run, durable: false);
        bench.Fill(new RedisSets(people, 100), people.Count / 100);
        bench.Fill(new RedisSingleBitfields(people, 100), people.Count / 100);
        foreach (var users in (int[])[20, 1000])
        {
            var pairs = await bench.RunAsync(new RedisGets(people, users), new RedisBitfieldGets(people, users));
            run.Add($"{users:#,0} users at once, a Redis CPU second: BITFIELD_RO by page against MGET", pairs, "user");
            pairs = await bench.RunAsync(new RedisRanges(people, users), new RedisBitfieldGets(people, users));
            run.Add($"{users:#,0} users at once, a Redis CPU second: BITFIELD_RO by page against GETRANGE of each", pairs, "user");
        }
    }

    private static async Task MemoryAsync(Run run)
    {
        var registered = run.Settings.Number("users", least: 1_000_000);
        var online = run.Settings.Number("online");
        double packed, keys;
        await using (var bench = await Bench.StartAsync(run, durable: false))
        {
            var log = new RedisLog(NullLogger.Instance);
            await using var cluster = await RedisCluster.ConnectAsync(bench.Options, TimeProvider.System, log);
            var redis = await bench.Server.ConnectAsync();
            var empty = await UsedAsync(bench.Server);
            // in the order in which people register, so that each page grows step by step
            var store = new AglowRedis(cluster, bench.Server, PresenceDesign.DefaultLease);
            await store.FillAsync((uint)registered);
            run.Add(
                $"{registered:#,0} registered, as they came: Redis memory a word", "bytes",
                [(await UsedAsync(bench.Server) - empty) / (double)registered]);
            // after two sweeps
            packed = await store.BytesAsync();
            var pages = await new RedisPlaneStore(cluster).PagesAsync(Plane.Pulse);
            var usages = await Task.WhenAll(pages.Select(page => redis.ExecuteAsync("MEMORY", "USAGE", RedisKeys.Page(Plane.Pulse, page))));
            run.Add(
                $"{registered:#,0} registered, after two sweeps: the pages, by MEMORY USAGE, a word", "bytes",
                [usages.Sum(usage => (long)usage) / (double)registered], Goal.Most(4.2));
        }

        await using (var bench = await Bench.StartAsync(run, durable: false))
        {
            var empty = await UsedAsync(bench.Server);
            var people = new People(online);
            bench.Fill(new RedisSets(people, 100), people.Count / 100);
            keys = await UsedAsync(bench.Server) - empty;
        }

        run.Add($"{online:#,0} online of {registered:#,0}: Redis memory a user online, pages", "bytes", [packed / online]);
        run.Add($"{online:#,0} online: Redis memory a user online, SET EX", "bytes", [keys / online]);
        run.Add("Redis memory a user online: pages against SET EX", "ratio", [packed / keys], Goal.Most(0.1));

        static async Task<double> UsedAsync(RedisServer server) => await server.InfoAsync("memory", "used_memory");
    }

    // 10,000 heartbeats a second from 100,000 people, each once in ten seconds, as on a node of the plan. The peer has the same rate.
    private static async Task NodeAsync(Run run)
    {
        const int perSecond = 10_000, nodesPeople = 100_000;
        var people = new People(run.Settings.Number("users", least: 1_000_000));
        await using var bench = await Bench.StartAsync(run, durable: true);
        var position = 0;
        var ours = people.Next(ref position, nodesPeople).ToArray();
        bench.Fill(new RedisSets(people, 100), people.Count / 100);
        // the lease is a day, so that users stay online during the peer's turn
        var options = new AglowOptions { MemoryMegabytes = 1024, LeaseSeconds = 86_400 };
        await using var node = await RedisPresence.OpenAsync(options, bench.Options, TimeProvider.System, NullLoggerFactory.Instance);
        // everybody is registered, so that a sweep reads all pages; our users are online
        for (position = 0; position < people.Count;)
            await node.Presence.HeartbeatPackedAsync(people.Next(ref position, nodesPeople).ToArray());
        var leg = TimeSpan.FromSeconds(run.Settings.Number("node-seconds"));
        var sets = new RedisSets(people, 100);
        var calling = new List<double>();
        var whole = new List<double>();
        var atOnce = new List<double>();
        var pairs = await Pairs.RunAsync(
            new Leg("SET EX x 100, 10,000/s", () => PacedAsync(() => bench.Fill(sets, 1))),
            new Leg("through a node, 10,000/s", ThroughNodeAsync),
            run.PairCount,
            TimeSpan.FromSeconds(run.Settings.Number("warm-up")));
        run.Add(
            "heartbeats a Redis CPU second through a node, 10,000/s: against SET EX x 100 at the same pace", pairs, "heartbeat",
            Goal.Least(1.5));
        run.Add("allocated by a heartbeat of who is online, in the node", "bytes", [.. calling.TakeLast((int)run.PairCount)], Goal.Most(0));
        run.Add("allocated by the node for everything, sweeps included, a heartbeat", "bytes", [.. whole.TakeLast((int)run.PairCount)]);
        run.Add("share of heartbeats that were written at once", "of 1", [.. atOnce.TakeLast((int)run.PairCount)]);

        async Task<Sample> ThroughNodeAsync()
        {
            var next = 0;
            long allocated = 0, written = 0;
            var before = GC.GetTotalAllocatedBytes(precise: true);
            var sample = await PacedAsync(() =>
            {
                var began = GC.GetAllocatedBytesForCurrentThread();
                for (var i = 0; i < 100; i++)
                {
                    if (!Done(node.Presence.HeartbeatAsync(ours[next])))
                        written++;
                    next = (next + 1) % ours.Length;
                }

                allocated += GC.GetAllocatedBytesForCurrentThread() - began;
            });
            atOnce.Add(written / sample.Operations);
            calling.Add(allocated / sample.Operations);
            whole.Add((GC.GetTotalAllocatedBytes(precise: true) - before) / sample.Operations);
            return sample;
        }

        static bool Done(ValueTask<Admission> heartbeat) => heartbeat.IsCompletedSuccessfully && heartbeat.Result == Admission.Accepted;

        // a hundred every ten milliseconds
        async Task<Sample> PacedAsync(Action hundred)
        {
            long done = 0;
            var sample = await Sample.OfAsync(() => Cpu.Of(bench.Server.Process), async () =>
            {
                done = await Pace.RunAsync(leg, perSecond, hundred);
                // work that waits for a second belongs to this leg too
                await Task.Delay(1200);
            });
            return sample with { Operations = done };
        }
    }

    /// <summary>A server, and connections to it.</summary>
    private sealed class Bench(Run run, RedisServer server, TemporaryFolder folder) : IAsyncDisposable
    {
        private readonly Connection[] _connections = Connection.Open(server.Port, (int)run.Settings.Number("connections"));

        public RedisServer Server => server;

        public StackExchange.Redis.ConfigurationOptions Options => RedisAddress.Parse($"127.0.0.1:{server.Port}");

        public static async Task<Bench> StartAsync(Run run, bool durable)
        {
            var folder = new TemporaryFolder();
            return new Bench(run, await RedisServer.StartAsync(Cores.Server, folder.Path, durable), folder);
        }

        /// <summary>A's cost divided by B's: how many times cheaper B is.</summary>
        public async Task<Pairs> RunAsync(Load a, Load b)
        {
            var leg = TimeSpan.FromSeconds(run.Settings.Number("seconds"));
            return await Pairs.RunAsync(
                new Leg(a.Name, () => a.Run(server.Process, _connections, leg)),
                new Leg(b.Name, () => b.Run(server.Process, _connections, leg)),
                run.PairCount,
                TimeSpan.FromSeconds(run.Settings.Number("warm-up")));
        }

        public void Fill(Load load, int requests) => load.Fill(_connections, requests);

        public ValueTask DisposeAsync()
        {
            foreach (var connection in _connections)
                connection.Dispose();
            server.Dispose();
            folder.Dispose();
            return default;
        }
    }
}
