using System.Diagnostics;

namespace Aglow.Benchmarks;

/// <summary>
/// What other users notice of ten thousand connections that never get to the point.
/// </summary>
/// <remarks>
/// The server on the first core, in a process of its own; the user who is measured and the slow clients on the second, those with the lowest priority, so that what is measured is not their own work.
/// A status is asked for at fixed moments, whether or not the one before was answered, and timed from its moment on (open loop). With the slow clients and without, in turn, once unmeasured; the ratio is taken pair by pair.
/// </remarks>
internal sealed class AttackBenchmark : Benchmark
{
    private const int ServerCore = 1, OurCore = 2;

    public override string Name => "attack";

    public override string Measures => "other users' latency beside thousands of half-open and byte-a-second connections";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("kinds", "all", "half (half of a request, then nothing), drip (a byte of it a second)"),
        new("clients", "10k", "slow connections; at most 18,000"),
        new("rate", "250", "statuses a second that are asked for"),
        new("seconds", "15", "length of a leg"),
        new("warm-up", "10", "seconds before the first pair"),
    ];

    public override int DefaultPairs => 7;

    public override async Task RunAsync(Run run)
    {
        var kinds = run.Settings.Choices("kinds", "half", "drip");
        var count = run.Settings.Number("clients");
        if (OperatingSystem.IsLinux() && Environment.ProcessorCount > 1)
            Process.GetCurrentProcess().ProcessorAffinity = OurCore;
        var folder = Directory.CreateTempSubdirectory("aglow-bench-").FullName;
        try
        {
            using var server = Child.Self(ServerCore, HttpHost.Verb, folder);
            var port = int.Parse(await server.ReadLineAsync());
            using var user = new Connection(port);
            Measure(user, run, run.Settings.Number("warm-up"));
            foreach (var kind in kinds)
                await PairsAsync(run, kind, count, port, user, server.Process);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task PairsAsync(Run run, string kind, long count, int port, Connection user, Process server)
    {
        var (with, without) = (new List<Latency>(), new List<Latency>());
        var before = Cpu.ResidentBytes(server.Id);
        await BesideAsync(run, kind, count, port, user);
        // what they made the server take is not given back, and used again by the next
        var memory = (Cpu.ResidentBytes(server.Id) - before) / 1024.0 / count;
        for (var i = 0; i < run.PairCount; i++)
        {
            if (i % 2 == 1)
                without.Add(Measure(user, run));
            with.Add(await BesideAsync(run, kind, count, port, user));
            if (i % 2 == 0)
                without.Add(Measure(user, run));
            run.Progress($"{kind}: p99 {with[^1].P99:0.00} ms with, {without[^1].P99:0.00} ms without");
        }

        run.Add(Figure.Of($"{kind}: others' p99 beside {count:#,0} slow connections, against without", "ratio", [.. with.Zip(without, static (a, b) => a.P99 / b.P99)], Goal.Most(2)));
        run.Add(Figure.Of($"  with", "p99 ms", [.. with.Select(static one => one.P99)]));
        run.Add(Figure.Of($"  without", "p99 ms", [.. without.Select(static one => one.P99)]));
        run.Add(Figure.Of($"  with", "p50 ms", [.. with.Select(static one => one.P50)]));
        run.Add(Figure.Of($"  without", "p50 ms", [.. without.Select(static one => one.P50)]));
        run.Add(Figure.Of($"  the server's memory a slow connection, the first time", "KB", [memory]));
    }

    private static async Task<Latency> BesideAsync(Run run, string kind, long count, int port, Connection user)
    {
        Latency latency;
        using (var slow = Child.Self(OurCore, SlowClients.Verb, $"{port}", $"{count}", kind))
        {
            await slow.ReadLineAsync();
            latency = Measure(user, run);
        }

        // until the server has heard that they are gone
        Measure(user, run, 1);
        return latency;
    }

    private static Latency Measure(Connection user, Run run, long seconds = 0)
    {
        var rate = run.Settings.Number("rate");
        var count = (int)(rate * (seconds == 0 ? run.Settings.Number("seconds") : seconds));
        var length = user.Head("GET", "/status/1", null, 0);
        var milliseconds = new double[count];
        var began = Stopwatch.GetTimestamp();
        for (var i = 0; i < count; i++)
        {
            var due = began + (i * Stopwatch.Frequency / rate);
            // the slow clients have the core meanwhile
            while (due - Stopwatch.GetTimestamp() is > 0 and var left)
            {
                if (left > Stopwatch.Frequency / 500)
                    Thread.Sleep(1);
                else
                    Thread.SpinWait(20);
            }

            user.Send(length);
            user.ReceiveHttp();
            milliseconds[i] = Stopwatch.GetElapsedTime(due).TotalMilliseconds;
        }

        Array.Sort(milliseconds);
        return new Latency(milliseconds[count / 2], milliseconds[count * 99 / 100]);
    }

    private readonly record struct Latency(double P50, double P99);
}
