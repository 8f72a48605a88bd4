using System.Diagnostics;

namespace Aglow.Benchmarks;

/// <summary>
/// What other users notice of ten thousand connections that never get to the point.
/// </summary>
/// <remarks>
/// The server on the first core (or on both), in a process of its own; the user who is measured and the slow clients on the second, those only while nobody else wants it, so that what is measured is not their own work.
/// Statuses are asked for at random moments, as by many users, whether or not the one before was answered, and timed from their moment on (open loop): at even ones, 250 a second, all fell in step with
/// the kernel's tick of 4 ms, and waited for it or not by chance. With the slow clients, with the same ones at a process that takes
/// their connections and does nothing (what they cost the machine, whoever serves them), and without, in turn, once unmeasured; the ratios are taken round by round. A pause of the machine of a few
/// milliseconds a second is in the 99th percentile; the server's CPU is not touched by it.
/// </remarks>
internal sealed class AttackBenchmark : Benchmark
{
    private const int ServerCore = 1, OurCore = 2;

    public override string Name => "attack";

    public override string Measures => "other users' latency beside thousands of half-open and byte-a-second connections";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("kinds", "all", "half (half of a request, then nothing), drip (a byte of it a second), half-again and drip-again (the same on connections that had an answer before)"),
        new("clients", "10k", "slow connections; at most 18,000"),
        new("rate", "1k", "statuses a second that are asked for, at random moments"),
        new("seconds", "15", "length of a leg"),
        new("warm-up", "10", "seconds before the first pair"),
        new("server-cores", "1", "cores that the server may use: 1, or 2, of which it shares one with who is measured"),
    ];

    public override int DefaultPairs => 7;

    public override async Task RunAsync(Run run)
    {
        var kinds = run.Settings.Choices("kinds", "half", "drip", "half" + SlowClients.Again, "drip" + SlowClients.Again);
        var count = run.Settings.Number("clients");
        var serverCores = run.Settings.Number("server-cores") switch
        {
            1 => ServerCore,
            2 => ServerCore | OurCore,
            var other => throw new BenchmarkException($"--server-cores is 1 or 2, not {other}."),
        };
        if (OperatingSystem.IsLinux() && Environment.ProcessorCount > 1)
            Process.GetCurrentProcess().ProcessorAffinity = OurCore;
        var folder = Directory.CreateTempSubdirectory("aglow-bench-").FullName;
        try
        {
            using var server = Child.Self(serverCores, HttpHost.Verb, folder);
            var port = int.Parse(await server.ReadLineAsync());
            using var user = new Connection(port);
            var other = new Other(user, server.Process.Id, run.Settings.Number("rate"));
            other.Measure(run.Settings.Number("warm-up"));
            foreach (var kind in kinds)
                await RoundsAsync(run, kind, count, port, other);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task RoundsAsync(Run run, string kind, long count, int port, Other other)
    {
        var (with, beside, without) = (new List<Leg>(), new List<Leg>(), new List<Leg>());
        var seconds = run.Settings.Number("seconds");
        var before = Cpu.ResidentBytes(other.Server);
        await BesideAsync(port, kind);
        // what they made the server take is not given back, and used again by the next
        var memory = (Cpu.ResidentBytes(other.Server) - before) / 1024.0 / count;
        for (var i = 0; i < run.PairCount; i++)
        {
            if (i % 2 == 1)
                without.Add(other.Measure(seconds));
            with.Add(await BesideAsync(port, kind));
            using (var sink = Child.Self(ServerCore, SlowSink.Verb))
                beside.Add(await BesideAsync(int.Parse(await sink.ReadLineAsync()), kind.Replace(SlowClients.Again, "")));
            if (i % 2 == 0)
                without.Add(other.Measure(seconds));
            run.Progress($"{kind}: p99 {with[^1].P99:0.00} ms with, {beside[^1].P99:0.00} ms with them elsewhere, {without[^1].P99:0.00} ms without");
        }

        run.Add(Figure.Of($"{kind}: others' p99 beside {count:#,0} slow connections, against without", "ratio", [.. with.Zip(without, static (a, b) => a.P99 / b.P99)], Goal.Most(2)));
        run.Add(Figure.Of("  against the same connections to a process that does nothing", "ratio", [.. with.Zip(beside, static (a, b) => a.P99 / b.P99)]));
        Add("with", with);
        Add("with, to a process that does nothing", beside);
        Add("without", without);
        run.Add(Figure.Of("  the server's CPU with", "ms a second", [.. with.Select(static leg => leg.Cpu)]));
        run.Add(Figure.Of("  the server's CPU without", "ms a second", [.. without.Select(static leg => leg.Cpu)]));
        run.Add(Figure.Of("  of that with, the web server's walk over its connections, in one go", "ms a second", [.. with.Select(static leg => leg.Walk)]));
        run.Add(Figure.Of("  the server's memory a slow connection, the first time", "KB", [memory]));

        void Add(string what, List<Leg> legs)
        {
            run.Add(Figure.Of($"  {what}", "p99 ms", [.. legs.Select(static leg => leg.P99)]));
            run.Add(Figure.Of($"  {what}", "p50 ms", [.. legs.Select(static leg => leg.P50)]));
        }

        async Task<Leg> BesideAsync(int to, string those)
        {
            Leg leg;
            using (var slow = Child.SelfWhenIdle(OurCore, SlowClients.Verb, $"{to}", $"{count}", those))
            {
                await slow.ReadLineAsync();
                leg = other.Measure(seconds);
            }

            // until the server has heard that they are gone
            other.Measure(1);
            return leg;
        }
    }

    // Somebody else who asks meanwhile, of a server that is another process.
    private sealed class Other(Connection connection, int server, long rate)
    {
        // the thread on which the framework's web server looks after each of its connections, once a second
        private const string WalkThread = "Kestrel Timer";

        public int Server => server;

        public Leg Measure(long seconds)
        {
            var count = (int)(rate * seconds);
            // the same moments in each leg
            var random = new Random(17);
            var sinceBegan = 0.0;
            var length = connection.Head("GET", "/status/1", null, 0);
            var milliseconds = new double[count];
            var (cpu, walk) = (Cpu.Of(server), Cpu.OfThreads(server, WalkThread));
            var began = Stopwatch.GetTimestamp();
            for (var i = 0; i < count; i++)
            {
                sinceBegan -= Math.Log(1 - random.NextDouble()) / rate;
                var due = began + (long)(sinceBegan * Stopwatch.Frequency);
                // the slow clients have the core meanwhile
                while (due - Stopwatch.GetTimestamp() is > 0 and var left)
                {
                    if (left > Stopwatch.Frequency / 500)
                        Thread.Sleep(1);
                    else
                        Thread.SpinWait(20);
                }

                connection.Send(length);
                connection.ReceiveHttp();
                milliseconds[i] = Stopwatch.GetElapsedTime(due).TotalMilliseconds;
            }

            (cpu, walk) = (Cpu.Of(server) - cpu, Cpu.OfThreads(server, WalkThread) - walk);
            Array.Sort(milliseconds);
            return new Leg(milliseconds[count / 2], milliseconds[count * 99 / 100], cpu * 1000 / seconds, walk * 1000 / seconds);
        }
    }

    // latencies in milliseconds; CPU and the walk in milliseconds a second
    private readonly record struct Leg(double P50, double P99, double Cpu, double Walk);
}
