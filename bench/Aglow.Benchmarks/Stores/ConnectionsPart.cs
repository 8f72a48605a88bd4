using System.Text;
using Aglow.Benchmarks.Baselines;

namespace Aglow.Benchmarks.Stores;

/// <summary>
/// Heartbeats on kept connections, and on a new connection for each. Shows how many connections were opened, by the server's own count, and
/// their cost.
/// </summary>
internal static class ConnectionsPart
{
    private const int Callers = 8, Heartbeats = 1000;
    private const uint Users = 10_000;

    public static async Task RunAsync(Run run)
    {
        var stores = StoresBenchmark.StoresOf(run);
        await using var servers = new StoreServers();
        if (stores.Contains(StoreServers.Postgres))
            await MeasureSqlAsync(run, servers, StoreServers.Postgres, (await servers.PostgresAsync()).ConnectionsAsync);
        if (stores.Contains(StoreServers.Maria))
            await MeasureSqlAsync(run, servers, StoreServers.Maria, (await servers.MariaAsync()).ConnectionsAsync);

        if (stores.Contains(StoreServers.RedisName))
        {
            var server = await servers.RedisAsync();
            await using var kept = new RedisKey(await server.ConnectAsync(), server, PresenceDesign.DefaultLease);
            await MeasureAsync(
                run, "Redis", u => kept.HeartbeatAsync(u).AsTask(), EachAsync, () => Cpu.Of(server.Process),
                () => server.InfoAsync("stats", "total_connections_received"));

            Task EachAsync(uint user)
            {
                using var connection = new Connection(server.Port);
                connection.Send(Encoding.ASCII.GetBytes($"SET hb:{user} 1 EX 30\r\n", connection.Request));
                connection.ReceiveLines(1);
                return Task.CompletedTask;
            }
        }
    }

    private static async Task MeasureSqlAsync(Run run, StoreServers servers, string store, Func<Task<long>> connections)
    {
        await using var kept = await servers.TableAsync(store, new("kept", "BIGINT"));
        await using var each = await servers.TableAsync(store, new("opened", "BIGINT"), pooled: false);
        await MeasureAsync(run, kept.Database, u => kept.UpsertAsync(u, 1), u => each.UpsertAsync(u, 1), kept.CpuSeconds, connections);
    }

    private static async Task MeasureAsync(
        Run run, string name, Func<uint, Task> kept, Func<uint, Task> each, Func<double> cpu, Func<Task<long>> connections)
    {
        var opened = new Dictionary<string, double>();
        var pairs = await Pairs.RunAsync(
            new Leg($"{name}: a connection for each heartbeat", () => LegAsync("each", each)),
            new Leg($"{name}: connections kept", () => LegAsync("kept", kept)),
            run.PairCount,
            TimeSpan.FromSeconds(1));
        run.Add($"{name}: server CPU of a heartbeat on a connection of its own, against one that is kept", pairs, "heartbeat");
        run.Add($"{name}: connections opened for {Heartbeats:#,0} heartbeats, one for each", "connections", [opened["each"]]);
        run.Add($"{name}: connections opened for {Heartbeats:#,0} heartbeats, kept", "connections", [opened["kept"]]);

        async Task<Sample> LegAsync(string kind, Func<uint, Task> heartbeat)
        {
            // counted in the first leg only, because counting uses a connection too
            var before = opened.ContainsKey(kind) ? -1 : await connections();
            // enough heartbeats for a measurable CPU time of the cheap kind
            var count = kind == "each" ? Heartbeats : before >= 0 ? Heartbeats : 20 * Heartbeats;
            var sample = await Sample.OfAsync(
                cpu,
                () => Task.WhenAll(Enumerable.Range(0, Callers).Select(caller => Task.Run(async () =>
                {
                    for (var i = caller; i < count; i += Callers)
                        await heartbeat((uint)(i % Users));
                }))),
                count);
            var asking = name == "Redis" ? 0 : 1;
            if (before >= 0)
                opened[kind] = await connections() - before - asking;
            return sample;
        }
    }
}
