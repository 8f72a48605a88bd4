using Aglow.Benchmarks.Sockets;

namespace Aglow.Benchmarks.Nodes;

/// <summary>
/// One, two and three nodes on the same cluster of three primaries. Measures how the cost of a heartbeat, a delivery and a sweep changes
/// with the number of nodes. Also how long a change takes from one node to the watchers of another.
/// </summary>
/// <remarks>
/// <code>
///   load 1 ── changes ──► node 2 ──┐                    every node has its own sockets, and its changes come from the next load
///   load 2 ── changes ──► node 3 ──┼──► Redis ──► hints ──► every node ──► its sockets
///   load 3 ── changes ──► node 1 ──┘
/// </code>
/// All processes share one machine, so times are worse than on separate machines; the CPU seconds of the processes are compared. The legs
/// alternate between the numbers of nodes.
/// </remarks>
internal sealed class NodesBenchmark : Benchmark
{
    private const int MostNodes = 3;

    public override string Name => "nodes";

    public override string Measures =>
        "the cost of a heartbeat, a delivery, a sweep and a hint with one, two and three nodes on one Redis Cluster; lag from node to "
            + "node";

    public override int DefaultPairs => 5;

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "heartbeats, deliveries, lag, sweep, hints"),
        new("registered", "10m", "registered users, whose words sweeps read"),
        new("heartbeats", "5000", "heartbeats a second and node, by 100, each user's every ten seconds"),
        new("sockets", "1000", "watchers a node, 20 users each, each user watched by 20"),
        new("rate", "200", "changes a second and node"),
        new("lag-sockets", "5000", "watchers on one node, where lag is measured"),
        new("lag-rate", "1000", "changes a second at the other"),
        new("hint-rate", "2000", "users a second who come and go at another node, by 100, and are watched nowhere"),
        new("seconds", "10", "length of a leg"),
    ];

    public override async Task RunAsync(Run run)
    {
        await using var cluster = await ClusterServers.StartAsync();
        run.Note($"Redis {cluster.Version}, three primaries, append-only files; {run.Settings.Number("registered"):#,0} registered users");
        await cluster.RegisterAsync((uint)run.Settings.Number("registered"));
        List<ServeProcess> nodes = [];
        try
        {
            while (nodes.Count < MostNodes)
                nodes.Add(await ServeProcess.StartAsync(cluster));
            await run.RunPartsAsync(
                ("sweep", () => SweepAsync(run, cluster, nodes)),
                ("hints", () => HintsAsync(run, nodes)),
                ("heartbeats", () => HeartbeatsAsync(run, cluster, nodes)),
                ("deliveries", () => DeliveriesAsync(run, nodes)),
                ("lag", () => LagAsync(run, nodes)));
        }
        finally
        {
            foreach (var node in nodes)
                node.Dispose();
        }
    }

    // Measures nodes that only sweep; the nodes that do not take part are paused.
    private static async Task SweepAsync(Run run, ClusterServers cluster, List<ServeProcess> nodes)
    {
        var costs = await EachAsync(run, nodes, async count =>
        {
            await Task.Delay(TimeSpan.FromSeconds(2));
            var redis = cluster.CpuSeconds();
            // the time of two whole sweeps
            var own = await Sample.OfAsync(() => CpuOf(nodes, count), () => Task.Delay(TimeSpan.FromSeconds(20)));
            return (Redis: 100 * (cluster.CpuSeconds() - redis) / own.Seconds, Own: 100 * own.CoresBusy / count);
        });
        for (var count = 1; count <= nodes.Count; count++)
        {
            run.Add($"{Nodes(count)}, idle: Redis, three primaries", "% of a core", [.. costs[count].Select(c => c.Redis)]);
            run.Add($"{Nodes(count)}, idle: a node", "% of a core", [.. costs[count].Select(c => c.Own)]);
        }

        run.Add(
            "what the sweeps of one more node cost Redis", "% of a core",
            [.. costs[nodes.Count].Zip(costs[1], (most, one) => (most.Redis - one.Redis) / (nodes.Count - 1))]);
    }

    // The cost of events at other nodes: users come and go at one node, and another node without calls receives the hints.
    private static async Task HintsAsync(Run run, List<ServeProcess> nodes)
    {
        var (rate, leg) = ((int)run.Settings.Number("hint-rate"), TimeSpan.FromSeconds(run.Settings.Number("seconds")));
        using var comings = new Heartbeats(nodes[1], 20_000_000, rate);
        await LegAsync(rate);
        List<double> costs = [];
        for (var i = 0; i < run.PairCount; i++)
        {
            var (idle, _) = await LegAsync(0);
            var (busy, hints) = await LegAsync(rate);
            costs.Add((busy - idle) * 1e6 / hints);
        }

        run.Add($"a hint heard by a node where nobody watches, {2 * rate:#,0}/s", "CPU us", costs);

        async Task<(double Cpu, long Hints)> LegAsync(int perSecond)
        {
            var before = Cpu.Of(nodes[0].Process);
            var sent = await Pace.RunAsync(leg, perSecond, comings.ComeAndGo);
            return (Cpu.Of(nodes[0].Process) - before, 2 * sent);
        }
    }

    private static async Task HeartbeatsAsync(Run run, ClusterServers cluster, List<ServeProcess> nodes)
    {
        var perSecond = (int)run.Settings.Number("heartbeats");
        var leg = TimeSpan.FromSeconds(run.Settings.Number("seconds"));
        var loads = nodes.Select((node, i) => new Heartbeats(node, 1 + ((uint)i * 10 * (uint)perSecond), perSecond)).ToArray();
        foreach (var load in loads)
        {
            for (var sent = 0; sent < 10 * perSecond; sent += 100)
                load.Send();
        }

        var costs = await EachAsync(run, nodes, async count =>
        {
            var (redis, own) = (cluster.CpuSeconds(), CpuOf(nodes, count));
            var sent = await Pace.RunAsync(leg, perSecond, () =>
            {
                foreach (var load in loads.AsSpan(0, count))
                    load.Send();
            });
            // work that waits for a second belongs to this leg too
            await Task.Delay(1200);
            return (Own: (CpuOf(nodes, count) - own) * 1e9 / (sent * count), Redis: (cluster.CpuSeconds() - redis) * 1e9 / (sent * count));
        });
        foreach (var load in loads)
            load.Dispose();
        for (var count = 1; count <= nodes.Count; count++)
        {
            run.Add(
                $"{Nodes(count)}, {perSecond:#,0} heartbeats/s each, sweeps included: nodes", "CPU ns/heartbeat",
                [.. costs[count].Select(c => c.Own)]);
            run.Add(
                $"{Nodes(count)}, {perSecond:#,0} heartbeats/s each, sweeps included: Redis", "CPU ns/heartbeat",
                [.. costs[count].Select(c => c.Redis)]);
        }

        run.Add(
            "a heartbeat's cost at a node, three nodes against one", "ratio",
            [.. costs[nodes.Count].Zip(costs[1], (most, one) => most.Own / one.Own)], Goal.Most(1.25));
    }

    private static async Task DeliveriesAsync(Run run, List<ServeProcess> nodes)
    {
        var (sockets, rate, seconds) = (
            (int)run.Settings.Number("sockets"), (int)run.Settings.Number("rate"), (int)run.Settings.Number("seconds"));
        var loads = nodes.Select(node => SocketLoad.Start(Server.Aglow, node.Port, node.Process, Next(nodes, node).Port)).ToArray();
        try
        {
            for (var i = 0; i < loads.Length; i++)
                await loads[i].SendAsync($"connect {sockets} 20 {sockets} {1_000_000 + (i * sockets)}");
            // the nodes' code is compiled meanwhile
            await Task.WhenAll(loads.Select(load => load.SendAsync($"run {rate} {seconds}")));
            var costs = await EachAsync(run, nodes, async count =>
            {
                // only nodes that are counted get changes: a single node those of its own sockets, several those of each other's
                for (var i = 0; i < count; i++)
                    await loads[i].SendAsync($"calls {nodes[(i + 1) % count].Port}");
                var own = CpuOf(nodes, count);
                var legs = await Task.WhenAll(loads.Take(count).Select(load => load.SendAsync<FanoutLeg>($"run {rate} {seconds}")));
                if (legs.Sum(leg => leg.Missing + leg.Lost) is > 0 and var missing)
                    throw new BenchmarkException($"{missing} deliveries never came: no figure of this run counts.");
                return (CpuOf(nodes, count) - own) * 1e9 / legs.Sum(leg => leg.Deliveries);
            },
            pausesOthers: false);
            for (var count = 1; count <= nodes.Count; count++)
                run.Add(
                    $"{Nodes(count)} with watchers, {rate} changes/s of each, told 20 watchers, sweeps included", "CPU ns/delivery",
                    costs[count]);
            run.Add(
                "a delivery's cost, three nodes against one", "ratio", [.. costs[nodes.Count].Zip(costs[1], (most, one) => most / one)],
                Goal.Most(1.15));
        }
        finally
        {
            foreach (var load in loads)
                load.Dispose();
        }
    }

    private static async Task LagAsync(Run run, List<ServeProcess> nodes)
    {
        var (sockets, rate) = ((int)run.Settings.Number("lag-sockets"), (int)run.Settings.Number("lag-rate"));
        // two nodes are measured; a third would only use the shared cores
        foreach (var other in nodes.Skip(2))
            other.Pause(true);
        using var load = SocketLoad.Start(Server.Aglow, nodes[0].Port, nodes[0].Process, nodes[1].Port);
        await load.SendAsync($"connect {sockets} 20 {sockets} 2000000");
        await load.SendAsync($"run {rate} 5");
        List<FanoutLeg> legs = [];
        for (var i = 0; i < run.PairCount; i++)
            legs.Add(await load.SendAsync<FanoutLeg>($"run {rate} {run.Settings.Number("seconds")}"));
        var title = $"heartbeat on one node to watcher on another, {rate:#,0} changes/s, {sockets:#,0} sockets";
        foreach (var other in nodes.Skip(2))
            other.Pause(false);
        run.Add($"{title}: p50", "ms", [.. legs.Select(leg => leg.ArrivalP50)]);
        run.Add($"{title}: p99", "ms", [.. legs.Select(leg => leg.ArrivalP99)], Goal.Most(150));
        run.Add($"{title}: p99.9", "ms", [.. legs.Select(leg => leg.ArrivalP999)]);
    }

    // Runs a leg with one node, with two, with three, and again. The nodes that do not take part are paused if their work would be counted.
    private static async Task<Dictionary<int, List<T>>> EachAsync<T>(
        Run run, List<ServeProcess> nodes, Func<int, Task<T>> leg, bool pausesOthers = true)
    {
        var results = Enumerable.Range(1, nodes.Count).ToDictionary(static count => count, static _ => new List<T>());
        for (var round = 0; round < run.PairCount; round++)
        {
            for (var count = 1; count <= nodes.Count; count++)
            {
                foreach (var other in nodes.Skip(count).Where(_ => pausesOthers))
                    other.Pause(true);
                results[count].Add(await leg(count));
                foreach (var other in nodes.Skip(count).Where(_ => pausesOthers))
                    other.Pause(false);
            }
        }

        return results;
    }

    private static string Nodes(int count) => count == 1 ? "1 node" : $"{count} nodes";

    private static double CpuOf(List<ServeProcess> nodes, int count) => nodes.Take(count).Sum(node => Cpu.Of(node.Process));

    private static ServeProcess Next(List<ServeProcess> nodes, ServeProcess node) => nodes[(nodes.IndexOf(node) + 1) % nodes.Count];

    /// <summary>Sends packed heartbeats of this many users, in turn, to one node.</summary>
    private sealed class Heartbeats(ServeProcess node, uint first, int perSecond) : IDisposable
    {
        private readonly Connection _connection = new(node.Port);
        private int _next;

        /// <summary>The next hundred users send a heartbeat.</summary>
        public void Send()
        {
            Call("/heartbeat");
            Advance();
        }

        /// <summary>The next hundred users come online, and leave.</summary>
        public void ComeAndGo()
        {
            Call("/heartbeat");
            Call("/offline");
            Advance();
        }

        private void Call(string path)
        {
            var length = _connection.Head("POST", path, "application/octet-stream", 400);
            for (var i = 0; i < 100; i++)
                BitConverter.TryWriteBytes(_connection.Request.AsSpan(_connection.BodyAt + (i * 4)), first + (uint)(_next + i));
            _connection.Send(length);
            _connection.ReceiveHttp();
        }

        private void Advance() => _next = (_next + 100) % (10 * perSecond);

        public void Dispose() => _connection.Dispose();
    }
}
