using System.Diagnostics;
using Aglow.Benchmarks.Nodes;
using Aglow.Benchmarks.Sockets;
using Aglow.Model;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Benchmarks.Changes;

/// <summary>The feed of changes and its webhooks: what a transition costs, and how soon a receiver has it.</summary>
/// <remarks>
/// <code>
///   feed      users come and leave in this process, in durable batches, in turn with the feed and without
///   webhook   users come and leave over HTTP at a steady rate, in turn with a webhook for all and without; the server's CPU
///   latency   one user at a time comes, and expires ─► server(s) ──► webhook ──► this process
///   burst     many leases end in the same second ──► server ──► webhook ──► this process, until the last
/// </code>
/// </remarks>
internal sealed class ChangesBenchmark : Benchmark
{
    private const int Batch = 1_000;
    private const int BatchesASecond = 10;

    public override string Name => "changes";

    public override string Measures =>
        "the feed of changes: the CPU of a transition with it and with a webhook, and how soon a receiver has it";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "feed, webhook, latency, burst"),
        new("users", "50000", "feed: users who come and leave in a leg"),
        new("rate", "10000", "webhook: transitions a second"),
        new("seconds", "5", "webhook: length of a leg"),
        new("samples", "300", "latency: users who come, and whose leases then expire"),
        new("at-once", "20000", "burst: users whose leases expire at once"),
        new("lease-seconds", "30", "latency and burst: the lease"),
    ];

    public override int DefaultPairs => 5;

    public override async Task RunAsync(Run run)
    {
        string[] lease = ["--lease-seconds", run.Settings.Text("lease-seconds")];
        await run.RunPartsAsync(
            ("feed", () => FeedAsync(run)),
            ("webhook", () => AloneAsync([], server => WebhookAsync(run, server))),
            ("latency", () => LatencyAsync(run, lease)),
            ("burst", () => AloneAsync(lease, server => BurstAsync(run, server))));
    }

    // ---- feed -------------------------------------------------------------------------------------------------------------------

    private static async Task FeedAsync(Run run)
    {
        var users = (int)run.Settings.Number("users");
        // the first round, which is not counted, compiles the code of both
        var pairs = await Pairs.RunAsync(
            new Leg("feed on", () => FeedLegAsync(users, hours: 24)),
            new Leg("feed off", () => FeedLegAsync(users, hours: 0)),
            run.PairCount,
            TimeSpan.Zero);
        run.Add("CPU of a transition, feed on over off", pairs, "transition", Goal.Most(1.25));
    }

    private static async Task<Sample> FeedLegAsync(int users, int hours)
    {
        using var folder = new TemporaryFolder();
        var options = new AglowOptions { DataDirectory = folder.Path, ChangesHours = hours };
        await using var opened = await EmbeddedPresence.OpenAsync(options, TimeProvider.System, NullLoggerFactory.Instance);
        var batches = Enumerable.Range(0, users).Select(static i => (uint)i).Chunk(Batch).ToArray();
        var sample = await Sample.OfAsync(Cpu.OfThisProcess, ComeAndGoAsync, users * 2);
        if (opened.Presence.Changes is { } feed && (await feed.ReadAsync(null, 1)).Changes.Count == 0)
            throw new BenchmarkException("the feed recorded nothing");
        return sample;

        async Task ComeAndGoAsync()
        {
            foreach (var batch in batches)
            {
                await opened.Presence.HeartbeatAsync(batch);
                await opened.Presence.LeaveAsync(batch);
            }
        }
    }

    // ---- webhook ----------------------------------------------------------------------------------------------------------------

    private static async Task WebhookAsync(Run run, ServeProcess server)
    {
        using var http = Http.Client(server.Port);
        var pairs = await Pairs.RunAsync(
            new Leg("a webhook for all", () => WebhookLegAsync(run, server, http, isWith: true)),
            new Leg("no webhook", () => WebhookLegAsync(run, server, http, isWith: false)),
            run.PairCount,
            TimeSpan.Zero);
        var (with, without) = (pairs.SamplesA, pairs.SamplesB);
        run.AddLeg(pairs.B.Name, without, "transition");
        run.AddLeg(pairs.A.Name, with, "transition");
        run.Add(
            $"CPU of a transition with a webhook for all, {run.Settings.Number("rate"):#,0}/s, all of it", "us",
            [.. with.Select(static s => s.CpuNanoseconds / 1000)], Goal.Most(15));
        run.Add("of it for the webhook", "us", [.. with.Zip(without, static (a, b) => (a.CpuNanoseconds - b.CpuNanoseconds) / 1000)]);
    }

    private static async Task<Sample> WebhookLegAsync(Run run, ServeProcess server, HttpClient http, bool isWith)
    {
        var (rate, seconds) = ((int)run.Settings.Number("rate"), (int)run.Settings.Number("seconds"));
        await using var receiver = isWith ? await ChangeReceiver.StartAsync(http, notesUsers: false) : null;
        var batch = Enumerable.Range(0, rate / BatchesASecond / 2).ToArray();
        var (cpu, began) = (Cpu.Of(server.Process), Stopwatch.GetTimestamp());
        for (var turn = 0; turn < seconds * BatchesASecond; turn++)
        {
            await Http.PostAsync(http, "/heartbeat", new { user_ids = batch });
            await Http.PostAsync(http, "/offline", new { user_ids = batch });
            var left = TimeSpan.FromSeconds((turn + 1.0) / BatchesASecond) - Stopwatch.GetElapsedTime(began);
            if (left > TimeSpan.Zero)
                await Task.Delay(left);
        }

        var sent = (long)batch.Length * 2 * seconds * BatchesASecond;
        var took = Stopwatch.GetElapsedTime(began).TotalSeconds;
        if (receiver is not null)
            await receiver.UntilAsync(sent);
        var sample = new Sample(sent, took, Cpu.Of(server.Process) - cpu);
        if (receiver is not null)
            (await http.DeleteAsync(new Uri($"/webhooks/{receiver.Id}", UriKind.Relative))).EnsureSuccessStatusCode().Dispose();
        return sample;
    }

    // ---- latency ----------------------------------------------------------------------------------------------------------------

    private static async Task LatencyAsync(Run run, string[] lease)
    {
        await AloneAsync(lease, server => LatencyAsync(run, "one node", server.Port, server.Port));
        await using var cluster = await ClusterServers.StartAsync();
        using var one = await ServeProcess.StartAsync(cluster, lease);
        using var other = await ServeProcess.StartAsync(cluster, lease);
        await LatencyAsync(run, "two nodes on a Redis Cluster", one.Port, other.Port);
    }

    private static async Task LatencyAsync(Run run, string where, int port, int other)
    {
        using var http = Http.Client(port);
        using var calls = Http.Client(other);
        await using var receiver = await ChangeReceiver.StartAsync(http, notesUsers: true);
        var samples = (int)run.Settings.Number("samples");
        // users of the warm-up, who are not counted, come first
        var warm = Math.Min(50, samples);
        var sent = new long[warm + samples];
        for (var i = 0; i < sent.Length; i++)
        {
            sent[i] = Stopwatch.GetTimestamp();
            await Http.PostAsync(calls, "/heartbeat", new { user_id = i });
            await Task.Delay(TimeSpan.FromMilliseconds(20 + (Random.Shared.NextDouble() * 40)));
        }

        await receiver.UntilAsync(2L * sent.Length);
        var leaseSeconds = run.Settings.Number("lease-seconds");
        var (online, offline) = (new Lags(), new Lags());
        for (var i = warm; i < sent.Length; i++)
        {
            online.Add(Stopwatch.GetElapsedTime(sent[i], receiver.ReceivedAt((uint)i, isOnline: true)!.Value).TotalSeconds);
            offline.Add(
                Stopwatch.GetElapsedTime(sent[i], receiver.ReceivedAt((uint)i, isOnline: false)!.Value).TotalSeconds - leaseSeconds);
        }

        run.Add($"{where}: online, at the receiver, p50", "ms", [online.Quantile(0.5, 0)]);
        run.Add($"{where}: online, at the receiver, p99", "ms", [online.Quantile(0.99, 0)], Goal.Most(250));
        run.Add($"{where}: offline, at the receiver, after the lease, p50", "ms", [offline.Quantile(0.5, 0)]);
        run.Add($"{where}: offline, at the receiver, after the lease, p99", "ms", [offline.Quantile(0.99, 0)], Goal.Most(1500));
    }

    // ---- burst ------------------------------------------------------------------------------------------------------------------

    private static async Task BurstAsync(Run run, ServeProcess server)
    {
        using var http = Http.Client(server.Port);
        await using var receiver = await ChangeReceiver.StartAsync(http, notesUsers: false);
        var users = (int)run.Settings.Number("at-once");
        var seconds = new List<double>();
        for (var i = 0; i < run.PairCount; i++)
        {
            var before = receiver.Count;
            foreach (var some in Enumerable.Range(0, users).Chunk(10_000))
                await Http.PostAsync(http, "/heartbeat", new { user_ids = some });
            var expires = Stopwatch.GetTimestamp() + (run.Settings.Number("lease-seconds") * Stopwatch.Frequency);
            await receiver.UntilAsync(before + (2L * users));
            seconds.Add(Stopwatch.GetElapsedTime(expires, receiver.LastAt).TotalSeconds);
        }

        run.Add($"{users:#,0} leases expire at once: the last at the receiver, after the lease", "s", seconds, Goal.Most(10));
    }

    private static async Task AloneAsync(string[] flags, Func<ServeProcess, Task> measure)
    {
        using var folder = new TemporaryFolder();
        using var server = await ServeProcess.StartAsync(0, folder.Path, flags);
        await measure(server);
    }
}
