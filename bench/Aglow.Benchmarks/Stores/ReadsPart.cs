using System.Diagnostics;
using Aglow.Benchmarks.Baselines;

namespace Aglow.Benchmarks.Stores;

/// <summary>
/// Reads of a friends list of 20, one by one, as beginners do, and at once; and of 1,000 at once. One caller waits for each answer.
/// </summary>
internal static class ReadsPart
{
    private const int ListSize = 20, ManySize = 1000;
    private const string OneByOne = "20 one by one", List = "20 at once", Many = "1,000 at once";

    private static readonly TimeSpan Lease = TimeSpan.FromHours(1);

    public static async Task RunAsync(Run run)
    {
        await using var servers = new StoreServers();
        // the three kinds of rows read in the same way
        var all = await servers.DesignsAsync(StoresBenchmark.StoresOf(run), Lease);
        var designs = all.Where(d => d is not (BooleanRow or ExpiringRow)).ToList();
        var people = await StoresBenchmark.FillAsync(run, designs);
        var leg = TimeSpan.FromSeconds(run.Settings.Number("seconds"));
        var samples = await StoresBenchmark.RoundsAsync(
            run, designs, [OneByOne, List, Many], (design, kind) => LegAsync(design, people[design], leg, kind));
        var time = new Plot("Who is online of a list: how long one caller waits", "milliseconds", StoresBenchmark.CommandOf(run, "reads"));
        foreach (var design in designs)
        {
            foreach (var kind in (string[])[OneByOne, List, Many])
            {
                var of = samples[(design, kind)];
                run.Add($"{design.Name}: {kind}", "ms", [.. of.Select(s => Milliseconds(s, kind))]);
                run.Add($"{design.Name}: {kind}", "CPU us a user", [.. of.Select(s => s.CpuNanoseconds / 1000)]);
            }

            var faster = samples[(design, OneByOne)].Zip(samples[(design, List)], (one, list) => one.Nanoseconds / list.Nanoseconds);
            run.Add("  times faster at once than one by one", "ratio", [.. faster]);
            time.Add(design.Name, [.. ((string[])[OneByOne, List, Many]).Select(
                kind => new Bar(kind, [.. samples[(design, kind)].Select(s => Milliseconds(s, kind))]))]);
        }

        time.Save(run.Settings.Text("plots"), "read-time");
        foreach (var design in all)
            await design.DisposeAsync();

        static double Milliseconds(Sample sample, string kind) => sample.Nanoseconds * (kind == Many ? ManySize : ListSize) / 1e6;
    }

    private static async Task<Sample> LegAsync(PresenceDesign design, uint[] people, TimeSpan duration, string kind)
    {
        var size = kind == Many ? ManySize : ListSize;
        var (at, users, online) = (0, 0L, 0L);
        var seen = new Seen[size];
        var began = Stopwatch.GetTimestamp();
        var sample = await Sample.OfAsync(design.CpuSeconds, ReadAsync);
        return online == users
            ? sample with { Operations = users }
            : throw new BenchmarkException($"{design.Name}: {users - online} of {users} users read as offline who are online.");

        async Task ReadAsync()
        {
            while (Stopwatch.GetElapsedTime(began) < duration)
            {
                if (at + size > people.Length)
                    at = 0;
                var each = kind == OneByOne ? 1 : size;
                for (var i = 0; i < size; i += each)
                    await design.ReadAsync(people.AsMemory(at + i, each), seen.AsMemory(i, each));
                foreach (var one in seen)
                    online += one.IsOnline ? 1 : 0;
                at += size;
                users += size;
            }
        }
    }
}
