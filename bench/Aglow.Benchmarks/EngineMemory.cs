using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Sweeping;

namespace Aglow.Benchmarks;

/// <summary>
/// The memory of a whole process with this many users, where every page is touched. It is a separate process, so nothing else is in it.
/// </summary>
internal static class EngineMemory
{
    /// <summary>The hidden verb of the measured process: <c>engine-memory USERS ACTIVE pulse|both</c>.</summary>
    public const string Verb = "engine-memory";

    /// <summary>Starts the process, and reads its answer.</summary>
    public static async Task MeasureAsync(Run run, long users, bool activity)
    {
        var title = EngineBenchmark.Title(users);
        run.Progress($"{title}: filling a process of its own");
        var resident = await ResidentAsync(users, run.Settings.Number("active"), activity);
        var what = activity ? "pulse, activity and belief" : "pulse and belief";
        // the runtime is a fixed cost, which is negligible only beside a full table
        var goal = users < 1_000_000_000 ? null : Goal.Most(activity ? 8.5 : 4.3);
        run.Add($"{title}: whole process, {what}", "bytes/user", [(double)resident / users], goal);
        run.Add($"{title}: whole process, {what}", "MiB", [resident / 1048576.0]);
    }

    /// <summary>Resident bytes of a process with this many users.</summary>
    public static async Task<long> ResidentAsync(long users, long active, bool activity)
    {
        using var child = Child.Self(cores: 0, Verb, $"{users}", $"{active}", activity ? "both" : "pulse");
        var answer = await child.Process.StandardOutput.ReadToEndAsync();
        return long.TryParse(answer, out var resident)
            ? resident
            : throw new BenchmarkException(
                $"the process for {EngineBenchmark.Title(users)} ended early: it wants {users * (activity ? 9 : 5) >> 30} GiB of memory.");
    }

    /// <summary>Fills a store in this process, sweeps it, and prints its resident bytes.</summary>
    public static async Task<int> FillAsync(string[] args)
    {
        var users = long.Parse(args[0]);
        var active = long.Parse(args[1]);
        await using var store = new MemoryPlaneStore(new PageBudget(2 * PageLayout.Pages));
        var clock = new Clock(TimeProvider.System, new StallGuard(20));
        using var beliefs = new Beliefs(new Definitions(new AglowOptions()), new LocalTransitionBus());
        EngineBenchmark.Register(store, Plane.Pulse, users, clock.Now - 3600);
        if (args[2] == "both")
            EngineBenchmark.Register(store, Plane.Activity, users, clock.Now - 3600);
        // online users on every page (an odd step visits all lanes): the most expensive distribution
        var step = ((users / active) - 1) | 1;
        for (var i = 0L; i < active; i++)
            store.Exchange(Plane.Pulse, (uint)(i * step), clock.Now + 3600);
        await new Sweep(store, clock, beliefs).PassAsync();
        if (store.Registered != users || beliefs.Default.Online != active)
            throw new BenchmarkException(
                $"{store.Registered} users registered and {beliefs.Default.Online} online instead of {users} and {active}.");
        GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        Console.WriteLine(Cpu.ResidentBytes(Environment.ProcessId));
        return 0;
    }
}
