using System.Net.Sockets;

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
    private const int MostAtOnce = 256;

    public override string Name => "sockets";

    public override string Measures =>
        "memory per connection and per watch, compared with ws, Socket.IO and SignalR; CPU of an idle node; heap after churn";

    public override int DefaultPairs => 3;

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "memory, watch, idle, churn"),
        new("servers", "all", "aglow, signalr, ws, socketio: the servers whose memory is measured"),
        new("step", "5000", "connections: the slope is taken between one and two of these"),
        new("settle", "12", "seconds between connecting and measuring: longer than the interval of pings"),
        new("ping", "10", "seconds between two pings of an Aglow socket; the lease is three times as long"),
        new("churn", "200k", "connects and disconnects"),
    ];

    public override async Task RunAsync(Run run)
    {
        var servers = run.Settings.Choices("servers", Server.All);
        Server.PingSeconds = (int)run.Settings.Number("ping");
        await run.RunPartsAsync(
            ("memory", () => MeasureMemoryAsync(run, servers)),
            ("idle", () => MeasureIdleAsync(run)),
            ("watch", () => MeasureWatchAsync(run)),
            ("churn", () => MeasureChurnAsync(run)));
    }

    private static async Task MeasureMemoryAsync(Run run, string[] servers)
    {
        foreach (var (name, watching) in servers.SelectMany(static name => new[] { (name, 0), (name, 20) }))
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

    private static async Task MeasureIdleAsync(Run run)
    {
        var sockets = 2 * Step(run);
        // whole intervals, because the pings of one socket are an interval apart
        var seconds = 2 * Server.PingSeconds;
        using var server = await Server.StartAsync(Server.Aglow);
        using var load = SocketLoad.Start(server);
        await Task.Delay(TimeSpan.FromSeconds(run.Settings.Number("settle")));
        var alone = await BusyAsync();
        await load.SendAsync($"connect {sockets} 0 0 1");
        await Task.Delay(TimeSpan.FromSeconds(Math.Max(run.Settings.Number("settle"), Server.PingSeconds + 2)));
        var cpu = await BusyAsync();
        await RequireReadyAsync(load, Server.Aglow, sockets);
        var title = $"{Server.Title(Server.Aglow)}, {sockets:#,0} idle sockets, ping every {Server.PingSeconds} s";
        var goal = Goal.Most(Server.PingSeconds < 25 ? 2 : 1);
        run.Add($"{title}: CPU of each a second", "us", [.. cpu.Select(each => each * 1e6 / sockets)], goal);
        run.Add($"{title}: CPU of the node", "% of a core", [.. cpu.Select(static each => 100 * each)]);
        run.Add($"{Server.Title(Server.Aglow)}, no socket: CPU of the node", "% of a core", [.. alone.Select(static each => 100 * each)]);

        // CPU seconds a second, once for each sample
        async Task<List<double>> BusyAsync()
        {
            List<double> busy = [];
            for (var i = 0; i < run.PairCount; i++)
                busy.Add((await Sample.OfAsync(() => Cpu.Of(server.Process), () => Task.Delay(TimeSpan.FromSeconds(seconds)))).CoresBusy);
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
        using var server = await Server.StartAsync(name);
        using var load = SocketLoad.Start(server);
        if (name == Server.Aglow)
            await load.SendAsync($"heartbeat 1 {2 * step}");
        var (one, two) = await load.StepsAsync(step, watching, () => MeasureAsync(run, server));
        await RequireReadyAsync(load, name, 2 * step);
        return new Slope((two.Resident - one.Resident) / step, (two.Heap - one.Heap) / step, (two.Kernel - one.Kernel) / step);
    }

    private static async Task RequireReadyAsync(SocketLoad load, string name, int sockets)
    {
        var state = await load.SendAsync("state");
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
        var count = (int)run.Settings.Number("churn");
        using var server = await Server.StartAsync(Server.Aglow);
        // these warm up what is made once and kept (pools, compiled code)
        await ChurnAsync(count / 10);
        var before = await MeasureAsync(run, server);
        var churn = await Sample.OfAsync(() => Cpu.Of(server.Process), () => ChurnAsync(count), count);
        var after = await MeasureAsync(run, server);
        var title = $"Aglow, {count:#,0} connects and disconnects, watching 20";
        run.Add($"{title}: heap before", "KB", [before.Heap / 1000]);
        run.Add($"{title}: heap after", "KB", [after.Heap / 1000]);
        // the smallest object has 24 bytes, so less than half of that means that nothing of a connection remains
        run.Add($"{title}: left of each", "bytes", [(after.Heap - before.Heap) / count], Goal.Most(12));
        run.Add($"{title}: resident after", "MB", [after.Resident / 1e6]);
        run.Add($"{title}", "connections/s", [churn.Rate]);

        Task ChurnAsync(int connections) => Parallel.ForEachAsync(
            Enumerable.Range(0, connections), new ParallelOptions { MaxDegreeOfParallelism = MostAtOnce },
            async (number, _) => await ComeAndGoAsync(server.Port, number));
    }

    // Opens a connection and watches twenty users. Every other one leaves, the rest vanish.
    private static async Task ComeAndGoAsync(int port, int number)
    {
        var aglow = new AglowDialect();
        using var socket = await AttackBenchmark.OpenAsync(port, number, Frames.Upgrade(aglow.Path(number % MostAtOnce)));
        socket.LingerState = new LingerOption(enable: true, seconds: 0);
        await socket.SendAsync(aglow.Watch([.. Enumerable.Range(1 + (20 * number % 5000), 20)]));
        var bytes = new byte[16 * 1024];
        for (var received = 0; bytes.AsSpan(0, received).Count("\"is_online\":"u8) < 20;)
        {
            var more = await socket.ReceiveAsync(bytes.AsMemory(received));
            received += more > 0 ? more : throw new BenchmarkException("Aglow closed a connection.");
        }

        if (number % 2 == 0)
            return;
        await socket.SendAsync(Frames.Write(Frames.Close, [0x03, 0xE8]));
        while (await socket.ReceiveAsync(bytes) > 0)
        {
            // until the server has closed
        }
    }

    private static int Step(Run run) => (int)run.Settings.Number("step");

    private readonly record struct Slope(double Resident, double Heap, double Kernel);
}
