using System.Diagnostics;
using Aglow.Fuzz.Targets;
using Aglow.Server;
using Aglow.Watching;

namespace Aglow.Fuzz;

/// <summary>
/// A run: workers feed the targets for some time and stop, and the memory is measured. This repeats until the time or the inputs are used
/// up.
/// </summary>
/// <remarks>
/// A crash is an exception that no caller expects. A hang is an input that takes over ten seconds, or a connection that is open half a
/// minute after its client disconnected. A leak is memory that keeps growing with the inputs, or connections and watches that remain when
/// all clients have disconnected. The memory is measured after a full collection, while no worker feeds.
/// </remarks>
internal sealed class FuzzRun
{
    private static readonly TimeSpan RuleLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan LettingGo = TimeSpan.FromSeconds(30);

    private readonly FuzzedServer _server;
    private readonly Worker[] _workers;
    private readonly Findings _findings;
    private readonly List<MemorySample> _samples = [];
    private readonly long _beganAt = Stopwatch.GetTimestamp();

    private FuzzRun(FuzzedServer server, Worker[] workers, Findings findings)
    {
        _server = server;
        _workers = workers;
        _findings = findings;
    }

    private long Inputs => _workers.Sum(static worker => worker.Counts.Sum(static one => one.Count));

    /// <summary>Creates all targets for this server.</summary>
    public static IReadOnlyList<Target> Targets(FuzzedServer server) =>
    [
        new FrameTarget(), new UpgradeTarget(), new BodyTarget(), new NameTarget(), new HintTarget(),
        new SettingsTarget(), new HttpTarget(server), new SocketTarget(server), new GuessTarget(server),
    ];

    /// <summary>Runs with these options; progress goes to <paramref name="output"/>.</summary>
    public static async Task<FuzzReport> RunAsync(FuzzOptions options, TextWriter output, CancellationToken stop)
    {
        var folder = Directory.CreateTempSubdirectory("aglow-fuzz-").FullName;
        try
        {
            await using var server = await FuzzedServer.StartAsync(folder);
            var targets = Targets(server).Where(t => options.Targets.Count == 0 || options.Targets.Contains(t.Name)).ToArray();
            if (targets.Length == 0)
                throw new UsageException(
                    $"--target {options.Targets[0]} is none: use {string.Join(", ", Targets(server).Select(static t => t.Name))}.");
            var findings = new Findings(options.KeepsFindings ? options.CorpusFolder : null);
            var corpus = targets.Select(t => (t, options.CorpusFolder is { } kept ? Corpus.Read(kept, t) : [])).ToArray();
            var workers = Enumerable.Range(0, options.Workers).Select(
                i => new Worker((options.Seed * 1000) + i, corpus, findings, server.TakeError)).ToArray();
            var run = new FuzzRun(server, workers, findings);
            using var watch = new Timer(_ => run.LookForHangs(), null, RuleLimit, TimeSpan.FromSeconds(1));
            await run.FeedAsync(options, output, stop);
            if (options is { Keep: true, CorpusFolder: { } keepIn })
                run.Keep(keepIn);
            return run.Report();
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private async Task FeedAsync(FuzzOptions options, TextWriter output, CancellationToken stop)
    {
        // Thirty samples are enough to tell a slope from noise. The first ones include code that is still being compiled.
        var between = Math.Clamp(options.Seconds / 30, 1, 20);
        while (Seconds < options.Seconds && Inputs < options.Inputs && !stop.IsCancellationRequested)
        {
            var until = Math.Min(options.Seconds, Seconds + between);
            await Task.WhenAll(_workers.Select(worker => Task.Run(
                async () =>
                {
                    while (Seconds < until && Inputs < options.Inputs && !stop.IsCancellationRequested)
                        await worker.TurnAsync();
                },
                CancellationToken.None)));
            await RequireLetGoAsync();
            _samples.Add(MemorySample.Take(Inputs));
            await output.WriteLineAsync($"{Seconds,7:0} s  {Inputs,13:#,0} inputs  {_samples[^1]}  {_findings.All.Count} findings");
        }
    }

    private double Seconds => Stopwatch.GetElapsedTime(_beganAt).TotalSeconds;

    // All clients have disconnected, so the server must not hold anything of them.
    private async Task RequireLetGoAsync()
    {
        var beganAt = Stopwatch.GetTimestamp();
        while (_server.Network.Open + _server.Hub.Connections + _server.Hub.Watches > 0)
        {
            if (Stopwatch.GetElapsedTime(beganAt) > LettingGo)
            {
                var left = $"{_server.Network.Open} connections, {_server.Hub.Connections} watchers with "
                    + $"{_server.Hub.Watches} watches are left when all clients are gone";
                _findings.Add(new SocketTarget(_server), [], new FindingException(left));
                return;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
        }
    }

    // A rule that does not return cannot be interrupted: its input is kept, and the run ends.
    private void LookForHangs()
    {
        foreach (var worker in _workers)
        {
            if (worker.Stuck(RuleLimit) is not var (target, input))
                continue;
            _findings.Add(target, input, new FindingException($"it hangs: not done after {RuleLimit.TotalSeconds} s"));
            Console.Error.WriteLine(Report());
            Environment.Exit(1);
        }
    }

    private void Keep(string folder)
    {
        foreach (var found in _workers.SelectMany(static worker => worker.Kept).GroupBy(
            static kept => kept.Target, static kept => kept.Inputs))
        {
            // the short inputs, because people read them and every run of the tests sends them
            var some = found.SelectMany(static inputs => inputs)
                .Where(static input => input.Length <= 400)
                .OrderBy(static input => input.Length)
                .Take(100);
            Corpus.Add(folder, found.Key, "made something new happen", some);
        }
    }

    private FuzzReport Report() => new(
        [
            .. _workers.SelectMany(static worker => worker.Counts).GroupBy(static one => one.Target.Name).Select(group => new FuzzedTarget(
                group.First().Target,
                group.Sum(static one => one.Count),
                TimeSpan.FromTicks(group.Sum(static one => one.Took.Ticks)),
                _workers.Sum(worker => worker.Kept.Where(kept => kept.Target.Name == group.Key).Sum(static kept => kept.Inputs.Count)))),
        ],
        _findings.All,
        _samples,
        Seconds);
}
