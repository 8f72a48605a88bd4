using System.Diagnostics;
using Aglow.Benchmarks.Baselines;

namespace Aglow.Benchmarks.Stores;

/// <summary>
/// Heartbeats of known users, one per call and in batches: how many a second, and how many per CPU second of the process that stores them.
/// </summary>
internal static class HeartbeatsPart
{
    private const int BatchSize = 500;
    private const string OneByOne = "one a call", Batched = "500 a call";

    // long enough that nothing expires during the turns of others
    private static readonly TimeSpan Lease = TimeSpan.FromHours(1);

    public static async Task RunAsync(Run run)
    {
        await using var servers = new StoreServers();
        var designs = await servers.DesignsAsync(StoresBenchmark.StoresOf(run), Lease);
        var people = await StoresBenchmark.FillAsync(run, designs);
        var leg = TimeSpan.FromSeconds(run.Settings.Number("seconds"));
        var samples = await StoresBenchmark.RoundsAsync(
            run, designs, [OneByOne, Batched], (design, kind) => LegAsync(design, people[design], leg, kind == Batched ? BatchSize : 1));
        var command = StoresBenchmark.CommandOf(run, "heartbeats");
        var cost = new Plot("What a heartbeat costs the process that keeps it", "CPU microseconds a heartbeat", command);
        var rate = new Plot("Heartbeats a second, one core for the store and one for the callers", "heartbeats/s", command);
        // compared with Aglow's store of the same kind: across a network, or in the process
        var ours = designs.Where(d => d is AglowEmbedded or AglowRedis).ToDictionary(d => d.Callers == 1);
        foreach (var design in designs)
        {
            foreach (var kind in (string[])[OneByOne, Batched])
            {
                var of = samples[(design, kind)];
                run.Add($"{design.Name}: heartbeats, {kind}", "CPU us each", [.. of.Select(s => s.CpuNanoseconds / 1000)]);
                run.Add($"{design.Name}: heartbeats, {kind}", "heartbeats/s", [.. of.Select(s => s.Rate)]);
            }

            if (ours.GetValueOrDefault(design.Callers == 1) is { } own && own != design)
            {
                foreach (var kind in (string[])[OneByOne, Batched])
                {
                    var ratios = samples[(design, kind)]
                        .Zip(samples[(own, kind)], (theirs, ownSample) => theirs.CpuNanoseconds / ownSample.CpuNanoseconds);
                    run.Add($"  times the CPU of {own.Name}, {kind}", "ratio", [.. ratios]);
                }
            }

            cost.Add(design.Name, Bars(design, s => s.CpuNanoseconds / 1000));
            rate.Add(design.Name, Bars(design, s => s.Rate));
        }

        cost.Save(run.Settings.Text("plots"), "heartbeat-cost");
        rate.Save(run.Settings.Text("plots"), "heartbeat-rate");
        foreach (var design in designs)
            await design.DisposeAsync();

        Bar[] Bars(PresenceDesign design, Func<Sample, double> value) =>
            [new(OneByOne, [.. samples[(design, OneByOne)].Select(value)]), new(Batched, [.. samples[(design, Batched)].Select(value)])];
    }

    // Each caller has its own users, in a random order.
    private static async Task<Sample> LegAsync(PresenceDesign design, uint[] people, TimeSpan duration, int batch)
    {
        var share = people.Length / design.Callers;
        var done = new long[design.Callers];
        var last = new uint[design.Callers];
        var startedAt = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var began = Stopwatch.GetTimestamp();
        var sample = await Sample.OfAsync(
            design.CpuSeconds, () => Task.WhenAll(Enumerable.Range(0, design.Callers).Select(c => Task.Run(() => CallAsync(c)))));
        var seen = new Seen[last.Length];
        await design.ReadAsync(last, seen);
        if (!seen.All(s => s.IsOnline && (s.LastSeen == 0 || s.LastSeen >= startedAt)))
            throw new BenchmarkException($"{design.Name}: a heartbeat went missing.");
        return sample with { Operations = done.Sum() };

        async Task CallAsync(int caller)
        {
            var mine = people.AsMemory(caller * share, share);
            var at = 0;
            var count = 0L;
            // in one process a call is shorter than a reading of the clock
            var between = design.Callers == 1 && batch == 1 ? 64 : 1;
            do
            {
                for (var i = 0; i < between; i++)
                {
                    if (at + batch > mine.Length)
                        at = 0;
                    if (batch == 1)
                        await design.HeartbeatAsync(mine.Span[at]);
                    else
                        await design.HeartbeatAsync(mine.Slice(at, batch));
                    last[caller] = mine.Span[at];
                    at += batch;
                    count += batch;
                }
            }
            while (Stopwatch.GetElapsedTime(began) < duration);

            done[caller] = count;
        }
    }
}
