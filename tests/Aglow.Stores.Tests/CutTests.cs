using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>
/// Three nodes over a cluster of three shards, and packets that are dropped for longer than a lease. No node may show a user offline whose
/// client keeps trying.
/// </summary>
/// <remarks>
/// <code>
///   AGLOW_TEST_LONG=1 dotnet test tests/Aglow.Stores.Tests -c Release --filter FullyQualifiedName~CutTests
/// </code>
/// runs every fault for 25 and 60 s, five times each, with 300 people and the default lease of 30 s. It takes an hour and a half.
/// </remarks>
[Collection(GateCollection.Name)]
public sealed class CutTests(GatedCluster servers)
{
    private const int Runs = 5;
    private const string CutFromOne = "a node is cut from one shard", Parted = "a primary and a node are parted";
    private const string CutFromAll = "a node is cut from all shards", Refusing = "one shard refuses writes";
    private static readonly string[] AllFaults = [CutFromOne, Parted, CutFromAll, Refusing];
    private static readonly bool IsLong = Environment.GetEnvironmentVariable("AGLOW_TEST_LONG") == "1";
    private static readonly int Lease = IsLong ? 30 : 12;
    private static readonly int Heartbeat = IsLong ? 10 : 2;
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    // neighbouring numbers are on different pages
    private static readonly uint[] Everybody = [.. Enumerable.Range(256, IsLong ? 300 : 90).Select(static i => (uint)i)];

    /// <summary>The fault, its length in seconds, and the run.</summary>
    public static IEnumerable<object[]> Faults() =>
        from run in Enumerable.Range(1, IsLong ? Runs : 1)
        from seconds in IsLong ? [25, 60] : (int[])[18]
        from fault in IsLong ? AllFaults : AllFaults[..2]
        select (object[])[fault, seconds, run];

    [Theory]
    [MemberData(nameof(Faults))]
    public Task Nobody_who_keeps_trying_is_shown_offline_by_any_node(string fault, int seconds, int run)
    {
        run.ShouldBePositive();
        return Fairly.JudgeAsync(() => RunAsync(fault, seconds));
    }

    private async Task RunAsync(string fault, int seconds)
    {
        var cluster = servers.Cluster;
        await cluster.FlushAsync();
        await cluster.HealedAsync();
        var tunnels = new[] { new NodeTunnel(), new NodeTunnel(), new NodeTunnel() };
        var nodes = await Task.WhenAll(tunnels.Select(tunnel => NodeAsync(tunnel.Address(cluster.Address))));
        // A third of the people begin at each node, and go to the next node when theirs refuses them.
        var crowds = Enumerable.Range(0, 3).Select(i => new Crowd(
            [.. Everybody.Where(user => user % 3 == i)],
            Heartbeat * Second,
            [nodes[i].Address, nodes[(i + 1) % 3].Address, nodes[(i + 2) % 3].Address])).ToArray();
        var watchers = await Task.WhenAll(nodes.Select((node, i) => Watcher.StayAsync(node, (uint)i, Everybody)));
        try
        {
            await Eventually.HoldsAsync(() => watchers.All(static w => Everybody.All(user => w.Statuses(user)[^1] == "online")));
            const int page = 7;
            var primary = await cluster.PrimaryOfAsync(page);
            var id = (string)(await primary.CallAsync("CLUSTER", "MYID"))!;
            var shard = (await cluster.ShardOfAsync(page)).Select(static server => server.Endpoint.Port).ToArray();
            switch (fault)
            {
                case Refusing:
                    await primary.CallAsync("CONFIG", "SET", "maxmemory", "1mb");
                    break;
                case CutFromOne:
                    tunnels[0].Cut(shard.Contains);
                    break;
                case CutFromAll:
                    tunnels[0].Cut(static _ => true);
                    break;
                default:
                    // a primary and a node on one side, all others on the other side
                    foreach (var server in cluster.Servers)
                        server.Gate!.Cut(sender => server == primary || sender == id, replication: server == primary);
                    tunnels[0].Cut(port => port != primary.Endpoint.Port);
                    tunnels[1].Cut(port => port == primary.Endpoint.Port);
                    tunnels[2].Cut(port => port == primary.Endpoint.Port);
                    break;
            }

            var ends = Task.Delay(seconds * Second);
            // The fault is real: a node notices it, and if Redis is split, another server becomes primary.
            await Eventually.HoldsAsync(async () =>
                await MetricAsync(nodes[0], "aglow_redis_servers_away") + await MetricAsync(nodes[0], "aglow_redis_servers_refusing") > 0);
            var replica = cluster.Servers.First(server => server != primary && shard.Contains(server.Endpoint.Port));
            if (fault == Parted)
                await Eventually.HoldsAsync(async () =>
                    ((string)(await replica.CallAsync("INFO", "replication"))!).Contains("role:master"));
            await ends;
            await primary.CallAsync("CONFIG", "SET", "maxmemory", "0");
            foreach (var server in cluster.Servers)
                server.Gate!.Cut(static _ => false, replication: false);
            foreach (var tunnel in tunnels)
                tunnel.Cut(static _ => false);
            // all heartbeats are accepted again, and the stall guard has ended
            foreach (var node in nodes)
                await Eventually.HoldsAsync(async () => (await HeartbeatAsync(node, Everybody[0])).IsSuccessStatusCode);
            await Task.Delay((Lease + (2 * Heartbeat)) * Second);
            foreach (var watcher in watchers)
                crowds[0].NobodyWentOffline(Everybody, watcher);
            foreach (var node in nodes)
                crowds[0].ShouldBeOnline(await StatusAsync(node, Everybody[0]));
        }
        finally
        {
            foreach (var closing in crowds.Concat(watchers.Cast<IAsyncDisposable>()).Concat(nodes).Concat(tunnels))
                await closing.DisposeAsync();
        }
    }

    private static Task<AglowProcess> NodeAsync(string redis) => AglowProcess.StartAsync(
        null, ["--redis", redis, "--lease-seconds", $"{Lease}", "--heartbeat-seconds", $"{Heartbeat}", "--drain-seconds", "0"]);
}

/// <summary>Tests that use <see cref="GatedCluster"/>. They run one after the other, beside other tests, since they mostly wait.</summary>
[CollectionDefinition(Name)]
public sealed class GateCollection : ICollectionFixture<GatedCluster>
{
    public const string Name = "gates";
}
