using Aglow.Benchmarks.Baselines;

namespace Aglow.Benchmarks.Stores;

/// <summary>
/// The traces of a crashed client. A hundred users come online and then vanish. Two and a half leases later: which of them are shown
/// online, which have a last seen, and what is still stored.
/// </summary>
internal static class CrashPart
{
    private const int Crashed = 100;
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(4);

    public static async Task RunAsync(Run run)
    {
        await using var servers = new StoreServers();
        var designs = await servers.DesignsAsync(StoresBenchmark.StoresOf(run), Lease);
        var crashed = Enumerable.Range(0, Crashed).Select(i => (uint)i).ToArray();
        foreach (var design in designs)
        {
            await design.HeartbeatAsync(crashed);
            if (await LookAsync(design, crashed) is var look && look.Online != Crashed)
                throw new BenchmarkException($"{design.Name}: {look.Online} of {Crashed} users with a heartbeat are online.");
        }

        await Task.Delay(2.5 * Lease);
        foreach (var design in designs)
        {
            await using (design)
                await ReportAsync(run, design, crashed);
        }

        run.Note("nothing in a boolean lets a reader or a job judge it: a user who crashed stays online for ever");
    }

    private static async Task ReportAsync(Run run, PresenceDesign design, uint[] crashed)
    {
        if (design is ExpiringRow job)
            await job.ExpireAsync();
        var (shown, known) = await LookAsync(design, crashed);
        run.Add(
            $"{design.Name}: shown online {2.5 * Lease.TotalSeconds:0} s after a crash (lease {Lease.TotalSeconds:0} s)", $"of {Crashed}",
            [shown]);
        run.Add($"{design.Name}: last seen still known", $"of {Crashed}", [known]);
        run.Add($"{design.Name}: kept of them", "rows, keys or words", [await design.CountAsync()]);
    }

    private static async Task<(int Online, int Known)> LookAsync(PresenceDesign design, uint[] users)
    {
        var seen = new Seen[users.Length];
        await design.ReadAsync(users, seen);
        return (seen.Count(s => s.IsOnline), seen.Count(s => s.LastSeen > 0));
    }
}
