using Aglow.Benchmarks.Nodes;

namespace Aglow.Benchmarks.Devices;

/// <summary>
/// People with two devices, one of which leaves, for every pair of transports and nodes. Counts the people who are shown offline while the
/// other device is alive.
/// </summary>
/// <remarks>On a single node with its folder, and on two nodes with one Redis Cluster. See <see cref="DevicePairs"/>.</remarks>
internal sealed class DevicesBenchmark : Benchmark
{
    private const uint First = 50_000_000;

    public override string Name => "devices";

    public override string Measures =>
        "people with two devices who are shown offline when one device leaves, for every pair of transports and nodes";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("runs", "1000", "people, over all pairs"),
        new("at-once", "250", "people of a round"),
        new("heartbeat-seconds", "2", "the heartbeat interval"),
    ];

    public override int DefaultPairs => 1;

    public override async Task RunAsync(Run run)
    {
        var runs = (int)run.Settings.Number("runs");
        var seconds = run.Settings.Number("heartbeat-seconds");
        string[] flags = ["--heartbeat-seconds", $"{seconds}", "--lease-seconds", $"{10 * seconds}"];
        using var folder = new TemporaryFolder();
        using (var alone = await ServeProcess.StartAsync(0, folder.Path, flags))
            await MeasureAsync(run, "one node on its folder", [alone.Port], runs / 3);
        await using var cluster = await ClusterServers.StartAsync();
        using var one = await ServeProcess.StartAsync(cluster, flags);
        using var other = await ServeProcess.StartAsync(cluster, flags);
        await MeasureAsync(run, "two nodes on a Redis Cluster", [one.Port, other.Port], runs - (runs / 3));
    }

    private static async Task MeasureAsync(Run run, string where, int[] ports, int people)
    {
        var findings = new PairFindings();
        var pairs = DevicePair.All(ports.Length);
        Uri[] nodes = [.. ports.Select(Http.Local)];
        var devices = new DevicePairs(nodes, TimeSpan.FromSeconds(run.Settings.Number("heartbeat-seconds")));
        var most = (int)run.Settings.Number("at-once");
        for (var done = 0; done < people; done += most)
        {
            DevicePair[] round = [.. Enumerable.Range(done, Math.Min(most, people - done)).Select(i => pairs[i % pairs.Count])];
            await devices.RunAsync(round, First + (uint)(done * 2), findings);
            run.Progress($"{where}: {findings.Judged} judged, {findings.Late} late, {findings.Flickers} flickered");
        }

        foreach (var wrong in findings.Wrong)
            run.Note(wrong);
        var judged = $"of {findings.Judged} people ({findings.Late} not judged)";
        run.Add($"{where}: seen offline while a device was alive, {judged}", "people", [findings.Flickers], Goal.Most(0));
        if (!findings.OfflineAfter.IsEmpty)
            run.Add($"{where}: from the last leave to offline", "s", [.. findings.OfflineAfter]);
        if (findings.Wrong.TryPeek(out var first))
            throw new BenchmarkException($"{findings.Wrong.Count} of {findings.Judged} people were not shown as they were: {first}");
    }
}
