using System.Diagnostics;
using Aglow.Fuzz.Targets;
using Aglow.Server;

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
internal sealed class FuzzRun(FuzzedServer[] servers, Worker[] workers, Findings findings)
{
    private static readonly TimeSpan RuleLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan LettingGo = TimeSpan.FromSeconds(30);

    private readonly List<MemorySample> _samples = [];
    private readonly long _beganAt = Stopwatch.GetTimestamp();

    private long Inputs => workers.Sum(static worker => worker.Pools.Sum(static pool => pool.Count));

    /// <summary>Creates all targets for a server that is open and one that takes tokens.</summary>
    private static IReadOnlyList<Target> Targets(FuzzedServer open, FuzzedServer guarded) =>
    [
        new FrameTarget(), new UpgradeTarget(), new BodyTarget(), new NameTarget(), new HintTarget(), new SettingsTarget(),
        new HttpTarget(open), new SocketTarget(open), new GuessTarget(open), new GuessTarget(guarded),
    ];

    /// <summary>Runs with these options; progress goes to <paramref name="output"/>.</summary>
    public static async Task<FuzzReport> RunAsync(FuzzOptions options, TextWriter output, CancellationToken stop)
    {
        var folder = Directory.CreateTempSubdirectory("aglow-fuzz-").FullName;
        try
        {
            await using var open = await FuzzedServer.StartAsync(Path.Combine(folder, "open"));
            await using var guarded = await FuzzedServer.StartAsync(Path.Combine(folder, "guarded"), takesTokens: true);
            var all = Targets(open, guarded);
            var targets = all.Where(t => options.Targets.Count == 0 || options.Targets.Contains(t.Name)).ToArray();
            if (targets.Length == 0)
                throw new UsageException(
                    $"--target {options.Targets[0]} does not exist: use {string.Join(", ", all.Select(static t => t.Name))}.");
            var findings = new Findings(options.KeepsFindings ? options.CorpusFolder : null);
            var corpus = targets.Select(t => (t, options.CorpusFolder is { } kept ? Corpus.Read(kept, t) : [])).ToArray();
            var workers = Enumerable.Range(0, options.Workers)
                .Select(i => new Worker((options.Seed * 1000) + i, corpus, findings, () => open.TakeError() ?? guarded.TakeError()))
                .ToArray();
            var run = new FuzzRun([open, guarded], workers, findings);
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
            await Task.WhenAll(workers.Select(worker => Task.Run(
                async () =>
                {
                    while (Seconds < until && Inputs < options.Inputs && !stop.IsCancellationRequested)
                        await worker.TurnAsync();
                },
                CancellationToken.None)));
            await RequireLetGoAsync();
            _samples.Add(MemorySample.Take(Inputs));
            await output.WriteLineAsync($"{Seconds,7:0} s  {Inputs,13:#,0} inputs  {_samples[^1]}  {findings.All.Count} findings");
        }
    }

    private double Seconds => Stopwatch.GetElapsedTime(_beganAt).TotalSeconds;

    // All clients have disconnected, so the server must not hold anything of them.
    private async Task RequireLetGoAsync()
    {
        var beganAt = Stopwatch.GetTimestamp();
        while (Array.Find(servers, static server => server.Held != default) is { } holding)
        {
            if (Stopwatch.GetElapsedTime(beganAt) > LettingGo)
            {
                var (connections, watchers, watches) = holding.Held;
                var left = $"{connections} connections, {watchers} watchers with {watches} watches are left when all clients are gone";
                findings.Add(new SocketTarget(holding), [], new FindingException(left));
                return;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
        }
    }

    // A rule that does not return cannot be interrupted: its input is kept, and the run ends.
    private void LookForHangs()
    {
        foreach (var worker in workers)
        {
            if (worker.Stuck(RuleLimit) is not var (target, input))
                continue;
            findings.Add(target, input, new FindingException($"it hangs: not done after {RuleLimit.TotalSeconds} s"));
            Console.Error.WriteLine(Report());
            Environment.Exit(1);
        }
    }

    private void Keep(string folder)
    {
        foreach (var pools in workers.SelectMany(static worker => worker.Pools).GroupBy(static pool => pool.Target))
        {
            // the short inputs, because people read them and every run of the tests sends them
            var some = pools.SelectMany(static pool => pool.Found)
                .Where(static input => input.Length <= 400)
                .OrderBy(static input => input.Length)
                .Take(100);
            Corpus.Add(folder, pools.Key, "made something new happen", some);
        }
    }

    private FuzzReport Report() => new(
        [
            .. workers.SelectMany(static worker => worker.Pools).GroupBy(static pool => pool.Target).Select(pools => new FuzzedTarget(
                pools.Key,
                pools.Sum(static pool => pool.Count),
                TimeSpan.FromTicks(pools.Sum(static pool => pool.Took.Ticks)),
                pools.Sum(static pool => pool.Found.Count))),
        ],
        findings.All,
        _samples,
        Seconds);
}
