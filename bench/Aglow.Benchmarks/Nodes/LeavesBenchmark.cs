using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Http.Json;
using Aglow.Model;
using Aglow.Redis.Connections;

namespace Aglow.Benchmarks.Nodes;

/// <summary>
/// Leaves over a Redis Cluster with replicas: how many that were acknowledged a failover undoes, and what waiting for a replica costs.
/// </summary>
/// <remarks>
/// <code>
///   lost:  leaves ──► node ──► primary ──► replica      the replica is cut off, 1.2 s later the primary is killed, the replica goes on
///   cost:  heartbeat and leave of one user after another, by callers in parallel, on a node that waits and on one that does not, in turn
/// </code>
/// What is lost is read from the new primary.
/// </remarks>
internal sealed class LeavesBenchmark : Benchmark
{
    private const int Callers = 16;
    private static readonly TimeSpan CutFor = TimeSpan.FromSeconds(1.2);

    public override string Name => "leaves";

    public override string Measures => "leaves over Redis: how many a failover undoes, and what waiting for a replica costs";

    public override int DefaultPairs => 5;

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "lost, cost"),
        new("leaves", "1000", "leaves of one failover"),
        new("seconds", "5", "length of a leg of the cost"),
    ];

    public override async Task RunAsync(Run run)
    {
        await run.RunPartsAsync(("lost", () => LostAsync(run)), ("cost", () => CostAsync(run)));
    }

    private static async Task LostAsync(Run run)
    {
        foreach (var wait in (string[])["off", "leaves"])
            await LostAsync(run, wait);
    }

    private static async Task LostAsync(Run run, string wait)
    {
        List<double> undone = [], acknowledged = [];
        var count = (int)run.Settings.Number("leaves", least: 100);
        for (var i = 0; i < run.PairCount; i++)
        {
            await using var cluster = await ClusterServers.StartAsync(hasReplicas: true, "--cluster-node-timeout", "2000");
            using var node = await NodeProcess.StartAsync(cluster, "--wait-for-replica", wait);
            using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{node.Port}") };
            // the next gossip message says that a replica has caught up
            await Task.Delay(TimeSpan.FromSeconds(2));
            var replica = await cluster.ReplicaOfAsync(0);
            var page = Enumerable.Range(0, 256).First(page => RedisKeys.SlotOf(page) < RedisKeys.Slots / 3);
            uint[] users = [.. Enumerable.Range(0, count).Select(slot => PageLayout.User(page, slot))];
            (await http.PostAsJsonAsync("/heartbeat", new { user_ids = users })).EnsureSuccessStatusCode();
            ConcurrentBag<uint> left = [];
            await LeaveAsync(http, users[..(count / 2)], left);
            // the replica gets nothing more, and cannot connect again
            cluster.Pause(replica, true);
            await cluster.CutReplicasAsync(0);
            var leaving = LeaveAsync(http, users[(count / 2)..], left);
            await Task.Delay(CutFor);
            cluster.KillPrimary(0);
            cluster.Pause(replica, false);
            await leaving;
            acknowledged.Add(left.Count);
            undone.Add(await cluster.CountAsync(replica, page, users.Intersect(left), static word => !Pulse.Left(word)));
        }

        var title = $"a primary fails just after its replica was cut off, --wait-for-replica {wait}";
        run.Add($"{title}: leaves acknowledged, of {count}", "leaves", acknowledged);
        run.Add($"{title}: of those, undone", "leaves", undone, wait == "off" ? null : Goal.Most(0));
    }

    private static async Task LeaveAsync(HttpClient http, uint[] users, ConcurrentBag<uint> left) =>
        await Parallel.ForEachAsync(users, new ParallelOptions { MaxDegreeOfParallelism = Callers }, async (user, _) =>
        {
            using var answer = await http.PostAsJsonAsync("/offline", new { user_id = user }, CancellationToken.None);
            if (answer.IsSuccessStatusCode)
                left.Add(user);
        });

    private static async Task CostAsync(Run run)
    {
        await using var cluster = await ClusterServers.StartAsync(hasReplicas: true);
        using var off = await NodeProcess.StartAsync(cluster, "--wait-for-replica", "off");
        using var waits = await NodeProcess.StartAsync(cluster, "--wait-for-replica", "leaves");
        var next = 0u;
        await LegAsync(off, 2);
        await LegAsync(waits, 2);
        List<(double Cpu, double Median, double Late)> without = [], with = [];
        for (var pair = 0; pair < run.PairCount; pair++)
        {
            var seconds = run.Settings.Number("seconds", least: 1);
            without.Add(await LegAsync(off, seconds));
            with.Add(await LegAsync(waits, seconds));
        }

        run.Add(
            "CPU of a heartbeat and a leave, node and Redis: waiting against not waiting", "ratio",
            [.. with.Zip(without, static (a, b) => a.Cpu / b.Cpu)]);
        run.Add("CPU of a heartbeat and a leave, not waiting", "us", [.. without.Select(static leg => leg.Cpu * 1e6)]);
        run.Add("CPU of a heartbeat and a leave, waiting", "us", [.. with.Select(static leg => leg.Cpu * 1e6)]);
        run.Add("a leave, not waiting: median", "ms", [.. without.Select(static leg => leg.Median)]);
        run.Add("a leave, waiting: median", "ms", [.. with.Select(static leg => leg.Median)]);
        run.Add("a leave, not waiting: 99 of 100 within", "ms", [.. without.Select(static leg => leg.Late)]);
        run.Add("a leave, waiting: 99 of 100 within", "ms", [.. with.Select(static leg => leg.Late)]);

        async Task<(double Cpu, double Median, double Late)> LegAsync(NodeProcess node, double seconds)
        {
            using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{node.Port}") };
            ConcurrentBag<double> took = [];
            var (began, before) = (Stopwatch.GetTimestamp(), Cpu.Of(node.Process) + cluster.CpuSeconds());
            await Task.WhenAll(Enumerable.Range(0, Callers).Select(_ => Task.Run(async () =>
            {
                while (Stopwatch.GetElapsedTime(began).TotalSeconds < seconds)
                {
                    var user = Interlocked.Increment(ref next);
                    (await http.PostAsJsonAsync("/heartbeat", new { user_id = user })).EnsureSuccessStatusCode();
                    var at = Stopwatch.GetTimestamp();
                    (await http.PostAsJsonAsync("/offline", new { user_id = user })).EnsureSuccessStatusCode();
                    took.Add(Stopwatch.GetElapsedTime(at).TotalMilliseconds);
                }
            })));
            var spent = Cpu.Of(node.Process) + cluster.CpuSeconds() - before;
            double[] sorted = [.. took.Order()];
            return (spent / sorted.Length, sorted[sorted.Length / 2], sorted[sorted.Length * 99 / 100]);
        }
    }
}
