using System.Diagnostics;
using Aglow.Benchmarks.Baselines;

namespace Aglow.Benchmarks.Stores;

/// <summary>
/// Common designs (<c>Baselines/</c>) and Aglow's own stores, with the same work in the same run.
/// </summary>
/// <remarks>
/// Servers run on the first core, this process on the second. Embedded stores (SQLite, Aglow) run in this process, so their costs are this
/// process's. In each round every design has one leg, alternately forwards and backwards, so that a machine that is slow for a minute is
/// slow for all. Ratios are computed round by round. After each leg a user with a heartbeat in it must be read as online. Costs are CPU
/// seconds of the process with the state. They exclude the cost for the caller (a driver, or HTTP); <c>./aglow bench http</c> has that of
/// Aglow. Each part is a file: <see cref="HeartbeatsPart"/>, <see cref="ReadsPart"/>, <see cref="MemoryPart"/>,
/// <see cref="ConnectionsPart"/>, <see cref="CrashPart"/>, <see cref="ExpiryPart"/>.
/// </remarks>
internal sealed class StoresBenchmark : Benchmark
{
    public override string Name => "stores";

    public override string Measures =>
        "boolean and last_heartbeat rows, expiring keys and items, beside Aglow's stores: heartbeats, reads, memory, connections, "
            + "crashes, expiry";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "heartbeats, reads, memory, connections, crash, expiry"),
        new("stores", "all", string.Join(", ", StoreServers.All)),
        new("users", "1m", "stored users for heartbeats and reads"),
        new("memory-users", "1m,10m", "stored users for the measurement of memory"),
        new("expiry-users", "2m", "users who stay online for the measurement of expiry"),
        new("lapsing", "20k", "users who go silent among them"),
        new("patience", "60", "seconds to wait for notices of them"),
        new("job-seconds", "10", "how often the job that deletes old rows runs"),
        new("seconds", "1", "length of a leg"),
        new("warm-up", "1", "rounds before the first that counts"),
        new("plots", "", "folder for plots (SVG): docs/plots for those in the documents"),
    ];

    public override async Task RunAsync(Run run)
    {
        Cores.PinThisProcess();
        run.Note("no server waits for the disk: PostgreSQL synchronous_commit=off, MariaDB innodb_flush_log_at_trx_commit=0, "
            + "SQLite synchronous=NORMAL, Redis without a file");
        await run.RunPartsAsync(
            ("heartbeats", () => HeartbeatsPart.RunAsync(run)),
            ("reads", () => ReadsPart.RunAsync(run)),
            ("memory", () => MemoryPart.RunAsync(run)),
            ("connections", () => ConnectionsPart.RunAsync(run)),
            ("crash", () => CrashPart.RunAsync(run)),
            ("expiry", () => ExpiryPart.RunAsync(run)));
    }

    /// <summary>The requested stores.</summary>
    public static string[] StoresOf(Run run) => run.Settings.Choices("stores", StoreServers.All);

    /// <summary>The command line of a plot.</summary>
    public static string CommandOf(Run run, string part) => $"./aglow bench stores --parts {part} --pairs {run.PairCount}";

    /// <summary>Fills each design with <c>--users</c>, and returns its users in random order.</summary>
    public static async Task<Dictionary<PresenceDesign, uint[]>> FillAsync(Run run, IEnumerable<PresenceDesign> designs)
    {
        var people = new Dictionary<PresenceDesign, uint[]>();
        foreach (var design in designs)
        {
            var users = await FillAsync(run, design, run.Settings.Number("users", least: 10_000));
            people[design] = EngineBenchmark.RandomUsers(users, users);
        }

        return people;
    }

    /// <summary>Fills a design, and returns how many users it has.</summary>
    public static async Task<uint> FillAsync(Run run, PresenceDesign design, long users)
    {
        var count = (uint)Math.Min(users, design.MostUsers);
        var began = Stopwatch.GetTimestamp();
        await design.FillAsync(count);
        run.Progress($"{design.Name}: {count:#,0} users in {Stopwatch.GetElapsedTime(began).TotalSeconds:0.0} s");
        if (count < users)
            run.Note(
                $"{design.Name}: {count:#,0} users instead of {users:#,0}, since the emulator takes "
                    + $"{count / Stopwatch.GetElapsedTime(began).TotalSeconds:#,0} items a second and slows down as they become more");
        return count;
    }

    /// <summary>Runs legs of every design in turn, forwards and backwards; returns the samples by design and by leg.</summary>
    public static async Task<Dictionary<(PresenceDesign Design, string Leg), List<Sample>>> RoundsAsync(
        Run run, IReadOnlyList<PresenceDesign> designs, IReadOnlyList<string> legs, Func<PresenceDesign, string, Task<Sample>> measure)
    {
        var samples = designs.SelectMany(d => legs.Select(l => (d, l))).ToDictionary(k => k, _ => new List<Sample>());
        var warmUp = run.Settings.Number("warm-up", least: 0);
        for (var round = 0L; round < warmUp + run.PairCount; round++)
        {
            foreach (var design in round % 2 == 0 ? designs : designs.Reverse())
            {
                foreach (var leg in legs)
                {
                    var sample = await measure(design, leg);
                    if (round >= warmUp)
                        samples[(design, leg)].Add(sample);
                }
            }

            run.Progress(round < warmUp ? "warmed up" : $"round {round - warmUp + 1} of {run.PairCount}");
        }

        return samples;
    }
}
