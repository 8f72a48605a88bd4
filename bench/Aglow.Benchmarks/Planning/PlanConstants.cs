using System.Diagnostics;
using System.Text.Json;
using Aglow.Benchmarks.Sockets;
using Aglow.Benchmarks.Stores;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Plan;
using Aglow.Storage;
using Aglow.Sweeping;

namespace Aglow.Benchmarks.Planning;

/// <summary>Measures the constants of the plan, and writes them into the file that the plan reads.</summary>
internal sealed class PlanConstants(Run run)
{
    private const string Command = "./aglow bench plan";

    private const string Head =
        "// What ./aglow plan rests on: each constant says which command measured it, what it follows from, or that it is an estimate.\n"
        + $"// {Command} measures them on your machine and writes this file.\n";

    private readonly Dictionary<string, Constant> _found = [];

    // each server is new, and compiles hot code in its first minute
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(12);
    private static readonly TimeSpan IdleWarmUp = TimeSpan.FromSeconds(40);

    private TimeSpan Seconds => TimeSpan.FromSeconds(run.Settings.Number("seconds"));

    private int Step => (int)run.Settings.Number("sockets");

    /// <summary>Measures a node by itself, the words in its memory, heartbeats by HTTP and packed, and sweeps.</summary>
    public async Task NodeAsync()
    {
        const long few = 1_000_000, many = 5_000_000, pace = 2_000_000;
        List<double> idle = [], resident = [], word = [], packed = [], http = [];
        for (var i = 0; i < run.PairCount; i++)
        {
            using var server = await Server.StartAsync(Server.Aglow, Cores.Server);
            await Task.Delay(IdleWarmUp);
            await server.CollectAsync();
            idle.Add(await CoresAsync(server, Task.Delay(Seconds)));
            resident.Add(Cpu.ResidentBytes(server.Process));

            var some = new People(few);
            await FillAsync(server, some);
            var before = Cpu.ResidentBytes(server.Process);
            await FillAsync(server, new People(many));
            word.Add((Cpu.ResidentBytes(server.Process) - before) / (double)(many - few));

            // all of these expire, which the journal records; some come back
            await Task.Delay(TimeSpan.FromSeconds(40));
            await FillAsync(server, some);
            var connections = Connection.Open(server.Port, 8);
            var single = new OneHeartbeat(some, nothing: false);
            single.Run(server.Process, connections, WarmUp);
            http.Add(single.Run(server.Process, connections, TimeSpan.FromSeconds(5)).CpuNanoseconds / 1000);
            foreach (var connection in connections)
                connection.Dispose();

            using (var warm = new CancellationTokenSource(WarmUp))
                await Task.Run(() => PlanBenchmark.PackedAsync(server.Port, some, pace, warm.Token));
            using var stop = new CancellationTokenSource(Seconds);
            var sending = Task.Run(() => PlanBenchmark.PackedAsync(server.Port, some, pace, stop.Token));
            var busy = await CoresAsync(server, sending);
            packed.Add((busy - idle[^1]) * 1e6 * Seconds.TotalSeconds / await sending);
        }

        Found("node_cores", "CPU of an idle node", "cores", idle);
        Found("node_bytes", "memory of a node without users", "bytes", resident);
        Found("word_bytes", "bytes a registered user", "bytes", word);
        Found("http_heartbeat_us", "us a heartbeat by HTTP", "us", http);
        Found("packed_heartbeat_us", "us a packed heartbeat", "us", packed);
        await SweepAsync();
        Save();
    }

    /// <summary>Measures a connection: its memory in the process and in the kernel, its pings, and an additional watch.</summary>
    public async Task SocketsAsync()
    {
        const int watching = 100;
        List<double> socket = [], kernel = [], heartbeat = [], watch = [];
        for (var i = 0; i < run.PairCount; i++)
        {
            var idle = await SlopeAsync(0);
            socket.Add(idle.Resident);
            kernel.Add(idle.Kernel / 2);
            heartbeat.Add(idle.Heartbeat);
            watch.Add(((await SlopeAsync(watching)).Resident - idle.Resident) / watching);
        }

        Found("socket_bytes", "bytes a connection", "bytes", socket);
        Found("socket_kernel_bytes", "kernel bytes a connection", "bytes", kernel);
        Found("socket_heartbeat_us", "us a heartbeat by socket", "us", heartbeat);
        Found("watch_bytes", "bytes a watch", "bytes", watch);
        Save();
    }

    /// <summary>
    /// Measures users who come and go: the cost of each transition, of each delivery, and the fixed cost of having any.
    /// </summary>
    public async Task DeliveriesAsync()
    {
        const int sockets = 2000, watching = 20, rate = 200, highRate = 2000;
        List<double> delivery = [], transition = [], telling = [];
        for (var i = 0; i < run.PairCount; i++)
        {
            // each change has twenty watchers, or two
            var many = (await ChangesAsync(users: 2000, rate))[0];
            var few = await ChangesAsync(users: 20_000, rate, highRate);
            delivery.Add((many - few[0]) * 1e6 / (rate * (20 - 2)));
            // a beat with changes has a fixed cost, so its first change is expensive; the slope is that of the others
            transition.Add(((few[1] - few[0]) * 1e6 / (highRate - rate)) - (2 * delivery[^1]));
            telling.Add(few[0] - (rate * (transition[^1] + (2 * delivery[^1])) / 1e6));
        }

        Found("delivery_us", "us a delivery", "us", delivery);
        Found("transition_us", "us a transition", "us", transition);
        Found("telling_cores", "CPU of telling anybody of anything", "cores", telling);
        Save();

        // cores in addition to those that the same node uses without changes
        async Task<double[]> ChangesAsync(int users, params int[] rates)
        {
            using var server = await Server.StartAsync(Server.Aglow, Cores.Server);
            using var load = SocketLoad.Start(server, Cores.Load);
            await load.SendAsync($"connect {sockets} {watching} {users} 1");
            await load.SendAsync<FanoutLeg>($"run {highRate} {WarmUp.TotalSeconds:0}");
            await load.SendAsync<FanoutLeg>($"run {rates[0]} {WarmUp.TotalSeconds:0}");
            await Task.Delay(TimeSpan.FromSeconds(5));
            var idle = await CoresAsync(server, Task.Delay(Seconds));
            var measured = new List<double>();
            foreach (var perSecond in rates)
            {
                var leg = await load.SendAsync<FanoutLeg>($"run {perSecond} {Seconds.TotalSeconds:0}");
                measured.Add((leg.ServerCpu / leg.Seconds) - idle);
            }

            return [.. measured];
        }
    }

    /// <summary>
    /// Measures Redis's cost of a command, of a word in it, and of a page that a sweep reads; and a node's cost of a sent word.
    /// </summary>
    public async Task RedisAsync()
    {
        const uint users = 10_000_000;
        const int small = 500, large = 16_384;
        await using var servers = new StoreServers(hasRedisFile: true);
        var design = (AglowRedis)(await servers.DesignsAsync(StoreServers.AglowOnRedis, TimeSpan.FromHours(1)))[0];
        await design.FillAsync(users);
        var people = EngineBenchmark.RandomUsers(users, 4_000_000);
        // a batch needs one command per page
        var (fewWords, manyWords) = (WordsACommand(small), WordsACommand(large));
        List<double> word = [], command = [], node = [], sweep = [];
        for (var i = 0; i < run.PairCount; i++)
        {
            var (fewCost, _) = await WriteAsync(small);
            var (manyCost, ours) = await WriteAsync(large);
            command.Add((fewCost - manyCost) / ((1 / fewWords) - (1 / manyWords)));
            word.Add(manyCost - (command[^1] / manyWords));
            node.Add(ours);
            var before = design.CpuSeconds();
            await design.CountAsync();
            await design.CountAsync();
            sweep.Add((design.CpuSeconds() - before) * 1e6 / (2 * users * 4 / 1e6));
        }

        Found("redis_command_us", "us a Redis command", "us", command);
        Found("redis_word_us", "us a word in Redis", "us", word);
        Found("redis_sweep_us_per_mb", "us a MB read from Redis", "us", sweep);
        Found("redis_word_bytes", "bytes a word in Redis", "bytes", [await design.BytesAsync() / (double)users]);
        Found("node_redis_word_us", "us to send a word", "us", node);
        Save();

        async Task<(double Theirs, double Ours)> WriteAsync(int batch)
        {
            var words = people.Length / batch * batch;
            var (theirs, ours) = (design.CpuSeconds(), Cpu.OfThisProcess());
            for (var at = 0; at < words; at += batch)
                await design.HeartbeatAsync(people.AsMemory(at, batch));
            return ((design.CpuSeconds() - theirs) * 1e6 / words, (Cpu.OfThisProcess() - ours) * 1e6 / words);
        }

        static double WordsACommand(int batch)
        {
            const double pages = 256;
            return batch / (pages * (1 - Math.Pow(1 - (1 / pages), batch)));
        }
    }

    private async Task SweepAsync()
    {
        const long users = 10_000_000;
        await using var store = new MemoryPlaneStore(new PageBudget(PageLayout.Pages));
        var clock = new Clock(TimeProvider.System, new StallGuard(20));
        using var beliefs = new Beliefs(new Definitions(new AglowOptions()), new LocalTransitionBus());
        EngineBenchmark.Register(store, Plane.Pulse, users, clock.Now + 3600);
        var sweep = new Sweep(store, clock, beliefs);
        var passes = new List<double>();
        for (var i = 0; i < 20; i++)
        {
            var cpu = Cpu.OfThisProcess();
            await sweep.PassAsync();
            // the first passes find all users, and measure how long a pass takes
            if (i >= 5)
                passes.Add((Cpu.OfThisProcess() - cpu) * 1e6 / (users / 1e6));
        }

        Found("sweep_us_per_million", "us to sweep a million", "us", passes);
    }

    private async Task<(double Resident, double Kernel, double Heartbeat)> SlopeAsync(int watching)
    {
        using var server = await Server.StartAsync(Server.Aglow, Cores.Server);
        using var load = SocketLoad.Start(server, Cores.Load);
        await load.SendAsync($"heartbeat 1 {2 * Step}");
        var (one, two) = await load.StepsAsync(Step, watching, async () =>
        {
            await Task.Delay(TimeSpan.FromSeconds(12));
            await server.CollectAsync();
            var cores = await CoresAsync(server, Task.Delay(Seconds));
            return (Resident: Cpu.ResidentBytes(server.Process), Kernel: Cpu.KernelBytes(), Cores: cores);
        });
        var step = (double)Step;
        // each connection causes one heartbeat in ten seconds
        return ((two.Resident - one.Resident) / step, (two.Kernel - one.Kernel) / step, (two.Cores - one.Cores) * 1e6 / (step / 10));
    }

    private static async Task FillAsync(Server server, People people)
    {
        using var connection = new Connection(server.Port);
        var load = new PackedHeartbeats(people, 100_000);
        for (var sent = 0; sent < people.Count; sent += 100_000)
        {
            load.Send(connection);
            load.Receive(connection);
        }

        // waits until the journal of these users is written
        await Task.Delay(TimeSpan.FromSeconds(3));
        await server.CollectAsync();
    }

    private static async Task<double> CoresAsync(Server server, Task meanwhile) =>
        (await Sample.OfAsync(() => Cpu.Of(server.Process), () => meanwhile)).CoresBusy;

    // Writes the results into the file. Constants that were not measured stay as they are there, or in the project's file.
    private void Save()
    {
        var file = run.Settings.Text("constants");
        var all = Constants.Load(File.Exists(file) ? file : PlanBenchmark.ProjectConstants).All.ToDictionary();
        foreach (var (key, constant) in _found)
            all[key] = constant;
        var machine = Machine.This();
        var record = new
        {
            MeasuredAt = DateTimeOffset.UtcNow.ToString("yyyy-MM-dd"),
            Machine = $"{machine.Processor}, {machine.Cores} cores, {machine.MemoryGib} GiB, {machine.Runtime}, commit {machine.Commit}",
            Constants = all.OrderBy(c => c.Key, StringComparer.Ordinal).ToDictionary(c => c.Key, c => c.Value),
        };
        File.WriteAllText(file, $"{Head}{JsonSerializer.Serialize(record, JsonFile.Options)}\n");
        run.Progress($"written: {Path.GetRelativePath(Environment.CurrentDirectory, file)}");
    }

    private void Found(string key, string name, string unit, IReadOnlyList<double> samples)
    {
        run.Add(name, unit, samples);
        var (median, low, high) = Spread.Of(samples);
        var spread = samples.Count > 1 ? $" ({Table.Number(low)} to {Table.Number(high)})" : "";
        _found[key] = new Constant(
            name,
            double.Parse(Math.Max(0, median).ToString("G5")),
            unit,
            $"{Command}{spread}");
    }
}
