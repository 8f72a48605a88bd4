namespace Aglow.Benchmarks.Sockets;

/// <summary>
/// The cost of connections for a server: the memory of an idle one, of one that watches 20 users, and of one more watch; the CPU of an idle
/// node. Also the memory that remains when all are closed.
/// </summary>
/// <remarks>
/// Memory is the slope between 5,000 and 10,000 connections. It is read after at least one ping per connection and a forced collection.
/// Each sample of memory has a new process; those of idle CPU follow each other in one process. Kernel memory is that of the whole machine,
/// and includes both ends of each connection.
/// </remarks>
internal sealed class SocketsBenchmark : Benchmark
{
    public override string Name => "sockets";

    public override string Measures =>
        "memory per connection and per watch, CPU of an idle node, heap after churn; compared with ws, Socket.IO and SignalR";

    public override int DefaultPairs => 3;

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "memory, watch, idle, churn"),
        new("servers", "all", "aglow, signalr, ws, socketio: the servers whose memory and idle CPU is measured"),
        new("step", "5000", "connections: the slope is taken between one and two of these"),
        new("settle", "12", "seconds between connecting and measuring: longer than the interval of pings"),
        new("ping", "10", "seconds between two pings of an Aglow socket; the lease is three times as long"),
        new("churn", "200k", "connects and disconnects"),
    ];

    public override async Task RunAsync(Run run)
    {
        var parts = run.Settings.Choices("parts", "memory", "watch", "idle", "churn");
        var servers = run.Settings.Choices("servers", Server.All);
        Server.PingSeconds = (int)run.Settings.Number("ping");
        foreach (var name in servers)
        {
            if (parts.Contains("memory"))
                await MeasureMemoryAsync(run, name);
            if (parts.Contains("idle"))
                await MeasureIdleAsync(run, name);
        }

        if (parts.Contains("watch"))
            await MeasureWatchAsync(run);
        if (parts.Contains("churn"))
            await MeasureChurnAsync(run);
    }

    private static async Task MeasureMemoryAsync(Run run, string name)
    {
        foreach (var watching in new[] { 0, 20 })
        {
            List<Slope> slopes = [];
            for (var i = 0; i < run.PairCount; i++)
                slopes.Add(await SlopeAsync(run, name, watching));
            var title = $"{Server.Title(name)}, a connection {(watching == 0 ? "that is idle" : $"watching {watching}")}";
            var goal = name == Server.Aglow && watching > 0 ? Goal.Most(7.5) : null;
            run.Add($"{title}: resident", "KB", [.. slopes.Select(s => s.Resident / 1000)], goal);
            run.Add($"{title}: managed heap", "KB", [.. slopes.Select(s => s.Heap / 1000)]);
            run.Add($"{title}: kernel, both ends", "KB", [.. slopes.Select(s => s.Kernel / 1000)]);
        }
    }

    private static async Task MeasureIdleAsync(Run run, string name)
    {
        var sockets = 2 * Step(run);
        // whole intervals, because the pings of one socket are an interval apart
        var seconds = 2 * Server.PingSeconds;
        await using var server = await Server.StartAsync(name);
        using var load = Load.Start(server);
        await Task.Delay(TimeSpan.FromSeconds(run.Settings.Number("settle")));
        var alone = await BusyAsync();
        await load.AskAsync($"connect {sockets} 0 0 1");
        await Task.Delay(TimeSpan.FromSeconds(Math.Max(run.Settings.Number("settle"), Server.PingSeconds + 2)));
        var cpu = await BusyAsync();
        await RequireReadyAsync(load, name, sockets);
        var title = $"{Server.Title(name)}, {sockets:#,0} idle sockets";
        if (name == Server.Aglow)
            title += $", ping every {Server.PingSeconds} s";
        var goal = name == Server.Aglow ? Goal.Most(Server.PingSeconds < 25 ? 2 : 1) : null;
        run.Add($"{title}: CPU of each a second", "us", [.. cpu.Select(each => each * 1e6 / sockets)], goal);
        run.Add($"{title}: CPU of the node", "% of a core", [.. cpu.Select(static each => 100 * each)]);
        run.Add($"{Server.Title(name)}, no socket: CPU of the node", "% of a core", [.. alone.Select(static each => 100 * each)]);

        // CPU seconds a second, once for each sample
        async Task<List<double>> BusyAsync()
        {
            List<double> busy = [];
            for (var i = 0; i < run.PairCount; i++)
            {
                var before = Cpu.Of(server.Process);
                await Task.Delay(TimeSpan.FromSeconds(seconds));
                busy.Add((Cpu.Of(server.Process) - before) / seconds);
            }

            return busy;
        }
    }

    private static async Task MeasureWatchAsync(Run run)
    {
        List<double> bytes = [];
        for (var i = 0; i < run.PairCount; i++)
        {
            var few = await SlopeAsync(run, Server.Aglow, 20);
            var many = await SlopeAsync(run, Server.Aglow, 200);
            bytes.Add((many.Resident - few.Resident) / 180);
        }

        run.Add("Aglow, a watch more (watching 200 against 20): resident", "bytes", bytes, Goal.Most(24));
    }

    private static async Task<Slope> SlopeAsync(Run run, string name, int watching)
    {
        var step = Step(run);
        await using var server = await Server.StartAsync(name, canCollect: true);
        using var load = Load.Start(server);
        if (name == Server.Aglow)
            await load.AskAsync($"heartbeat 1 {2 * step}");
        await load.AskAsync($"connect {step} {watching} {(watching == 0 ? 0 : step)} 1");
        var one = await MeasureAsync(run, server);
        await load.AskAsync($"connect {step} {watching} {(watching == 0 ? 0 : step)} {step + 1}");
        var two = await MeasureAsync(run, server);
        await RequireReadyAsync(load, name, 2 * step);
        return new Slope((two.Resident - one.Resident) / step, (two.Heap - one.Heap) / step, (two.Kernel - one.Kernel) / step);
    }

    private static async Task RequireReadyAsync(Load load, string name, int sockets)
    {
        var state = await load.AskAsync("state");
        if (state.GetProperty("ready").GetInt32() != sockets)
            throw new BenchmarkException(
                $"{Server.Title(name)} holds {state.GetProperty("ready")} of {sockets} connections: no figure of this run counts.");
    }

    private static async Task<Slope> MeasureAsync(Run run, Server server)
    {
        await Task.Delay(TimeSpan.FromSeconds(Math.Max(run.Settings.Number("settle"), Server.PingSeconds + 2)));
        var heap = await server.CollectAsync();
        return new Slope(Cpu.ResidentBytes(server.Process), heap, Cpu.KernelBytes());
    }

    private static async Task MeasureChurnAsync(Run run)
    {
        var count = run.Settings.Number("churn");
        await using var server = await Server.StartAsync(Server.Aglow, canCollect: true);
        using var load = Load.Start(server);
        // these warm up what is made once and kept (pools, compiled code)
        await load.AskAsync($"churn {count / 10} 20");
        var before = await MeasureAsync(run, server);
        var churn = await load.AskAsync($"churn {count} 20");
        var after = await MeasureAsync(run, server);
        var title = $"Aglow, {count:#,0} connects and disconnects, watching 20";
        run.Add($"{title}: heap before", "KB", [before.Heap / 1000]);
        run.Add($"{title}: heap after", "KB", [after.Heap / 1000]);
        // the smallest object has 24 bytes, so less than half of that means that nothing of a connection remains
        run.Add($"{title}: left of each", "bytes", [(after.Heap - before.Heap) / count], Goal.Most(12));
        run.Add($"{title}: resident after", "MB", [after.Resident / 1e6]);
        run.Add($"{title}", "connections/s", [count / churn.GetProperty("seconds").GetDouble()]);
    }

    private static int Step(Run run) => (int)run.Settings.Number("step");

    private readonly record struct Slope(double Resident, double Heap, double Kernel);
}
