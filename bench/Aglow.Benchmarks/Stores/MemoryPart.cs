using Aglow.Benchmarks.Baselines;

namespace Aglow.Benchmarks.Stores;

/// <summary>
/// Bytes per user after filling, and again after three more heartbeats of every user if updates leave dead rows behind. Each store runs in
/// new servers.
/// </summary>
internal static class MemoryPart
{
    private const int Rounds = 3, BatchSize = 500;

    // updates of ten million rows three times would take many minutes and show the same
    private const long MostUpdated = 1_000_000;

    public static async Task RunAsync(Run run)
    {
        var plot = new Plot("Bytes a user", "bytes a user: memory, or disk for SQL", StoresBenchmark.CommandOf(run, "memory"));
        var rows = new Dictionary<string, List<Bar>>();
        foreach (var users in run.Settings.Numbers("memory-users", least: 10_000))
        {
            foreach (var store in StoresBenchmark.StoresOf(run))
            {
                await using var servers = new StoreServers();
                foreach (var design in await servers.DesignsAsync(store, TimeSpan.FromHours(1)))
                {
                    await using (design)
                        await MeasureAsync(run, design, users, rows);
                }
            }
        }

        foreach (var (name, bars) in rows)
            plot.Add(name, [.. bars]);
        plot.Save(run.Settings.Text("plots"), "memory");
    }

    private static async Task MeasureAsync(Run run, PresenceDesign design, long users, Dictionary<string, List<Bar>> rows)
    {
        var title = EngineBenchmark.Title(users);
        if (design is DynamoItem)
        {
            run.Note(
                $"{design.Name}, {title}: skipped: the emulator's memory says nothing about DynamoDB, which bills an item of 3 numbers "
                    + "as the bytes of its names and values and 100 more");
            return;
        }

        var count = await StoresBenchmark.FillAsync(run, design, users);
        if (await design.CountAsync() is var kept && kept != count)
            throw new BenchmarkException($"{design.Name} keeps {kept:#,0} of {count:#,0} users.");
        var filled = await design.BytesAsync() / (double)count;
        run.Add($"{design.Name}, {title}", $"bytes/user of {design.BytesAre}", [filled]);
        if (!rows.TryGetValue(design.Name, out var bars))
            rows[design.Name] = bars = [];
        bars.Add(new Bar(title, [filled]));
        if (design is not (HeartbeatRow or ExpiringRow) || users > MostUpdated)
            return;
        var people = EngineBenchmark.RandomUsers(count, count);
        for (var round = 0; round < Rounds; round++)
        {
            for (var at = 0; at < people.Length; at += BatchSize)
                await design.HeartbeatAsync(people.AsMemory(at, Math.Min(BatchSize, people.Length - at)));
        }

        run.Add(
            $"{design.Name}, {title}, {Rounds} heartbeats of everybody later", $"bytes/user of {design.BytesAre}",
            [await design.BytesAsync() / (double)count]);
    }
}
