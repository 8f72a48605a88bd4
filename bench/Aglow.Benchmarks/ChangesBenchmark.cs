using System.Diagnostics;
using Aglow.Model;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Benchmarks;

/// <summary>
/// The cost of the feed of changes per transition. Users come online and leave in durable batches on the embedded store, alternately with
/// and without the feed.
/// </summary>
internal sealed class ChangesBenchmark : Benchmark
{
    private const int Batch = 1_000;

    public override string Name => "changes";

    public override string Measures =>
        "CPU of a transition on the embedded store, with the feed of changes and without; users come and leave 1,000 at a time";

    public override IReadOnlyList<Option> Options { get; } = [new("users", "50000", "users who come and leave in a leg")];

    public override int DefaultPairs => 5;

    public override async Task RunAsync(Run run)
    {
        var users = (int)run.Settings.Number("users");
        var (off, on) = (new List<Sample>(), new List<Sample>());
        // one round more, which is not counted, so that both sides run compiled code
        for (var i = -1; i < run.PairCount; i++)
        {
            var samples = (await LegAsync(users, hours: 0), await LegAsync(users, hours: 24));
            if (i < 0)
                continue;
            off.Add(samples.Item1);
            on.Add(samples.Item2);
        }

        run.AddLeg("feed off", off, "transition");
        run.AddLeg("feed on", on, "transition");
        var ratios = on.Zip(off, static (a, b) => a.CpuNanoseconds / b.CpuNanoseconds).ToArray();
        run.Add(Figure.Of("CPU of a transition, feed on over off", "ratio", ratios, Goal.Most(1.25)));
    }

    private static async Task<Sample> LegAsync(int users, int hours)
    {
        var folder = Directory.CreateTempSubdirectory("aglow-bench-").FullName;
        try
        {
            var options = new AglowOptions { DataDirectory = folder, ChangesHours = hours };
            await using var opened = await EmbeddedPresence.OpenAsync(options, TimeProvider.System, NullLoggerFactory.Instance);
            var batches = Enumerable.Range(0, users).Select(static i => (uint)i).Chunk(Batch).ToArray();
            var (cpu, began) = (Cpu.OfThisProcess(), Stopwatch.GetTimestamp());
            foreach (var batch in batches)
            {
                await opened.Presence.HeartbeatAsync(batch);
                await opened.Presence.LeaveAsync(batch);
            }

            var sample = new Sample(users * 2, Stopwatch.GetElapsedTime(began).TotalSeconds, Cpu.OfThisProcess() - cpu);
            if (opened.Presence.Changes is { } feed && (await feed.ReadAsync(null, 1)).Changes.Count == 0)
                throw new BenchmarkException("the feed recorded nothing");
            return sample;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
