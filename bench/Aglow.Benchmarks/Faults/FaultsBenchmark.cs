using System.Text.Json.Nodes;
using Aglow.Benchmarks.Baselines;
using Aglow.Benchmarks.Nodes;

namespace Aglow.Benchmarks.Faults;

/// <summary>
/// The swarm on nodes that are killed, stopped and paused, over a Redis whose primaries fail over. One backend reads the feed, and another
/// gets a webhook; its receiver is down and then slow.
/// </summary>
/// <remarks>
/// <code>
///   ./aglow swarm --claims --devices --feed --webhook … ──► nodes ──► Redis Cluster of 3 + 3, PostgreSQL
///   ── faults in turn: a node killed, a primary replaced, a node stopped, a node paused ──┤ quiet ├─ every answer is compared
/// </code>
/// The swarm judges; this class only causes the faults. Its exit code is the swarm's. The nodes' logs are in <c>out/bench/faults</c>.
/// </remarks>
internal sealed class FaultsBenchmark : Benchmark
{
    private const double FirstAt = 15;
    private const double DownFor = 6;
    private const double PausedFor = 5;
    // longer than the time after which Redis replaces a primary
    private const double PrimaryAwayFor = 10;
    private const string PrimaryTimeout = "2000";

    public override string Name => "faults";

    public override string Measures =>
        "people whose truth is known, under every fault: what reads, watchers, the feed and a webhook say of them";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("people", "10000", "people of the swarm"),
        new("clients", "0", "people of each real client (.NET, JavaScript) besides"),
        new("seconds", "240", "time with faults"),
        new("quiet", "80", "time without, after which each answer must be right: the lease, the bound, and 40 s"),
        new("every", "20", "seconds from one fault to the next"),
        new("faults", "all", "kill, failover, stop, pause"),
        new("receiver-down", "120", "seconds for which the receiver of the webhook is down"),
        new("receiver-slow", "30", "seconds for which it takes a second an answer"),
        new("nodes", "3", "nodes"),
        new("seed", "1", "the plan of the people"),
    ];

    public override int DefaultPairs => 1;

    public override async Task RunAsync(Run run)
    {
        var logs = Directory.CreateDirectory(Path.Combine(Machine.Root(), "out", "bench", "faults")).FullName;
        await using var cluster = await ClusterServers.StartAsync(hasReplicas: true, "--cluster-node-timeout", PrimaryTimeout);
        await using var postgres = await PostgresServer.StartAsync(0);
        string[] flags = ["--postgres", postgres.ConnectionString];
        var nodes = new List<ServeProcess>();
        try
        {
            for (var i = 0; i < run.Settings.Number("nodes"); i++)
            {
                var log = Path.Combine(logs, $"node-{i}.log");
                File.Delete(log);
                nodes.Add(await ServeProcess.StartAsync(cluster, flags, log));
            }

            var json = Path.Combine(logs, "swarm.json");
            File.Delete(json);
            using var swarm = Start(run, nodes, json);
            var shown = ShowAsync(swarm);
            await DisturbAsync(run, cluster, nodes, shown);
            await shown;
            await swarm.Process.WaitForExitAsync();
            if (!File.Exists(json))
                throw new BenchmarkException("the swarm did not end with a report.");
            Report(run, JsonNode.Parse(await File.ReadAllTextAsync(json))!);
        }
        finally
        {
            foreach (var node in nodes)
                node.Dispose();
        }
    }

    private static Child Start(Run run, List<ServeProcess> nodes, string json)
    {
        var settings = run.Settings;
        return Child.Start(
            Path.Combine(Machine.Root(), "aglow"),
            0,
            [
                "swarm", .. nodes.SelectMany(static node => (string[])["--url", $"http://127.0.0.1:{node.Port}"]),
                "--people", settings.Text("people"),
                "--seconds", settings.Text("seconds"), "--quiet-seconds", settings.Text("quiet"), "--seed", settings.Text("seed"),
                "--claims", "--devices", "--feed", "--webhook", $"{Programs.FreePort()}", "--disturbed", "--receiver-down-seconds",
                settings.Text("receiver-down"), "--receiver-slow-seconds", settings.Text("receiver-slow"),
                .. settings.Number("clients", least: 0) is > 0 and var clients ? (string[])["--clients", $"{clients}"] : [],
                "--json", json,
            ]);
    }

    private static async Task ShowAsync(Child swarm)
    {
        while (await swarm.Process.StandardOutput.ReadLineAsync() is { } line)
            Console.WriteLine($"  | {line}");
    }

    private static async Task DisturbAsync(Run run, ClusterServers cluster, List<ServeProcess> nodes, Task shown)
    {
        var faults = run.Settings.Choices("faults", "kill", "failover", "stop", "pause");
        var (every, seconds) = (run.Settings.Number("every"), run.Settings.Number("seconds"));
        var random = new Random((int)run.Settings.Number("seed", least: 0));
        var began = TimeProvider.System.GetTimestamp();
        await Task.WhenAny(shown, Task.Delay(TimeSpan.FromSeconds(FirstAt)));
        for (var i = 0; !shown.IsCompleted; i++)
        {
            var next = TimeSpan.FromSeconds(FirstAt + ((i + 1) * every));
            if (next.TotalSeconds + 1 > seconds)
                return;
            var node = nodes[random.Next(nodes.Count)];
            var fault = faults[i % faults.Length];
            run.Progress($"fault: {fault}{(fault == "failover" ? "" : $" of the node on port {node.Port}")}");
            switch (fault)
            {
                case "kill" or "stop":
                    if (fault == "kill")
                        node.Kill();
                    else
                        await node.StopAsync();
                    await Task.Delay(TimeSpan.FromSeconds(DownFor));
                    await node.StartAsync();
                    break;
                case "pause":
                    node.Pause(true);
                    await Task.Delay(TimeSpan.FromSeconds(PausedFor));
                    node.Pause(false);
                    break;
                default:
                    await FailOverAsync(cluster, random);
                    break;
            }

            var left = next - TimeProvider.System.GetElapsedTime(began);
            if (left > TimeSpan.Zero)
                await Task.WhenAny(shown, Task.Delay(left));
        }
    }

    // a primary is paused until its replica has replaced it, and comes back as a replica
    private static async Task FailOverAsync(ClusterServers cluster, Random random)
    {
        var primaries = await cluster.PrimariesAsync();
        var primary = primaries[random.Next(primaries.Count)];
        cluster.Pause(primary, pause: true);
        await Task.Delay(TimeSpan.FromSeconds(PrimaryAwayFor));
        cluster.Pause(primary, pause: false);
    }

    private static void Report(Run run, JsonNode swarm)
    {
        var people = $"{run.Settings.Number("people"):#,0} people";
        foreach (var (kind, count) in swarm["violations"]!.AsObject())
            run.Add($"{people}: {kind}", "violations", [count!.GetValue<long>()], Goal.Most(0));
        foreach (var (name, count) in swarm["changes_heard"]!.AsObject())
        {
            run.Add($"changes by {name}", "changes", [count!.GetValue<long>()]);
            run.Add($"of them again", "changes", [swarm["changes_repeated"]![name]!.GetValue<long>()]);
            run.Add($"gaps said by {name}", "gaps", [swarm["gaps"]![name]!.GetValue<long>()]);
        }

        foreach (var name in (string[])["statuses_read", "records_told", "claims", "errors"])
            run.Add(name.Replace('_', ' '), "", [swarm[name]!.GetValue<long>()]);
        run.Note($"the swarm says: {swarm["outcome"]!.GetValue<string>()}");
    }
}
