using Aglow.Benchmarks.Sockets;
using Aglow.Plan;

namespace Aglow.Benchmarks.Planning;

/// <summary>
/// Measures the constants of <c>./aglow plan</c>, and checks the plan with a run of everything at once.
/// </summary>
/// <remarks>
/// Each constant is measured separately, as a slope if it is one of many (<see cref="PlanConstants"/>). The check then combines packed
/// heartbeats, open connections, users who come and go, and deliveries, at sizes at which no constant was measured. The CPU and memory of
/// the process must be within a quarter of the plan's. The server has the first core; this process and the other ends of the connections
/// have the second.
/// </remarks>
internal sealed class PlanBenchmark : Benchmark
{
    /// <summary>The constants that come with the project.</summary>
    public static string ProjectConstants { get; } = Path.Combine(Machine.Root(), "tools", "Aglow.Plan", "constants.json");

    public override string Name => "plan";

    public override string Measures => "the constants of ./aglow plan, and a run of everything at once compared with the plan";

    public override int DefaultPairs => 3;

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "node, sockets, deliveries, redis: constants; check: a run against the plan"),
        new("constants", ProjectConstants, "the file of constants: those measured are written into it, and the check reads it"),
        new("sockets", "4000", "connections of a step: slopes are taken between one and two of these"),
        new("seconds", "10", "how long the CPU of each leg is counted"),
        new("check-active", "1m", "active users of the check, by packed heartbeats every 10 s"),
        new("check-sockets", "5000", "connections of the check, each watching 20"),
        new("check-changes", "200", "changes a second of users who are watched, in the check"),
        new("check-seconds", "60", "length of the check"),
    ];

    public override async Task RunAsync(Run run)
    {
        Cores.PinThisProcess();
        var constants = new PlanConstants(run);
        await run.RunPartsAsync(
            ("node", constants.NodeAsync),
            ("sockets", constants.SocketsAsync),
            ("deliveries", constants.DeliveriesAsync),
            ("redis", constants.RedisAsync),
            ("check", () => CheckAsync(run)));
    }

    private static Constants ConstantsOf(Run run)
    {
        try
        {
            return Constants.Load(run.Settings.Text("constants"));
        }
        catch (Plan.UsageException wrong)
        {
            throw new UsageException(wrong.Message);
        }
    }

    private static async Task CheckAsync(Run run)
    {
        const int watching = 20;
        var sockets = (int)run.Settings.Number("check-sockets");
        var changes = (int)run.Settings.Number("check-changes");
        var people = new People(run.Settings.Number("check-active", least: 100_000));
        var seconds = (int)run.Settings.Number("check-seconds");
        var measured = ConstantsOf(run);
        // as many users as a connection watches, so that twenty connections watch each user
        var plan = new Capacity(
            new Demand
            {
                Active = people.Count,
                Registered = people.Count + sockets,
                SessionSeconds = 2.0 * people.Count / changes,
                Watch = watching,
                Watchers = watching,
                Arrival = Arrival.Packed,
                SocketCount = sockets,
            },
            measured);

        List<double> cores = [], gigabytes = [];
        for (var i = 0; i < run.PairCount; i++)
        {
            using var server = await Server.StartAsync(Server.Aglow, Cores.Server);
            using var load = SocketLoad.Start(server, Cores.Load);
            await load.SendAsync($"heartbeat 1 {sockets}");
            await load.SendAsync($"connect {sockets} {watching} {sockets} 1");
            using var stop = new CancellationTokenSource();
            var packed = Task.Run(() => PackedAsync(server.Port, people, people.Count / 10, stop.Token));
            // everybody is online, the journal is written, and users with a heartbeat before the watches have expired
            await Task.Delay(TimeSpan.FromSeconds(45));
            // and hot code is compiled
            await load.SendAsync<FanoutLeg>($"run {10 * changes} 12");
            await load.SendAsync<FanoutLeg>($"run {changes} 12");
            var leg = load.SendAsync<FanoutLeg>($"run {changes} {seconds}");
            cores.Add((await Sample.OfAsync(() => Cpu.Of(server.Process), () => leg)).CoresBusy);
            await server.CollectAsync();
            gigabytes.Add(Cpu.ResidentBytes(server.Process) / 1e9);
            await stop.CancelAsync();
            var sent = await packed;
            var (deliveries, missing, lost) = ((await leg).Deliveries, (await leg).Missing, (await leg).Lost);
            if (missing > 0 || lost > 0)
                throw new BenchmarkException(
                    $"{missing} deliveries are missing and {lost} connections were lost: no figure of this run counts.");
            run.Progress($"{sent:#,0} packed heartbeats, {deliveries:#,0} deliveries");
        }

        var what = $"{people.Count:#,0} active, {sockets:#,0} sockets, {changes} changes/s to {watching} watchers each";
        run.Add($"{what}: CPU measured", "cores", cores);
        run.Add($"{what}: CPU planned", "cores", [plan.OneNodeCores.Value]);
        run.Add("CPU planned, off by", "%", [.. cores.Select(c => 100 * Math.Abs((plan.OneNodeCores.Value / c) - 1))], Goal.Most(25));
        run.Add($"{what}: memory measured", "GB", gigabytes);
        run.Add($"{what}: memory planned", "GB", [plan.OneNodeBytes.Value]);
        run.Add(
            "memory planned, off by", "%", [.. gigabytes.Select(g => 100 * Math.Abs((plan.OneNodeBytes.Value / g) - 1))], Goal.Most(25));
    }

    /// <summary>Sends packed heartbeats at a steady rate, all users in turn, until it is stopped; returns how many it sent.</summary>
    public static async Task<long> PackedAsync(int port, People people, double perSecond, CancellationToken stop)
    {
        const int batch = 1000;
        using var connection = new Connection(port);
        var load = new PackedHeartbeats(people, batch);
        return await Pace.RunAsync(
            perSecond,
            batch,
            () =>
            {
                load.Send(connection);
                load.Receive(connection);
            },
            everyMilliseconds: 20,
            stop);
    }
}
