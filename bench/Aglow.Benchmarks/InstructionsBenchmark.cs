using System.Diagnostics;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Aglow.Benchmarks.Sockets;

namespace Aglow.Benchmarks;

/// <summary>
/// Counts with valgrind the instructions of the native server for a heartbeat, a packed heartbeat, a status and a delivery. The counts
/// hardly depend on the machine's load, so <c>./test</c> allows only 3 % more or less than <c>bench/instructions.json</c>.
/// </summary>
/// <remarks>
/// Each leg runs several times. What the server does in that time without requests is subtracted, and the lowest count is used, because
/// threads that wake and turns of the hub only add instructions. Requests are pipelined, so that little time passes. Counts of two
/// processes differ by 1 %, by 2 % on a busy machine. So the lowest of three servers is recorded, and a count that is too high is repeated
/// on up to two more. Rejected: a harness that calls the engine, because it covers only part of the path and changes with every
/// refactoring.
/// </remarks>
internal sealed class InstructionsBenchmark : Benchmark
{
    private const double Tolerance = 1.03;
    private const int MostServers = 3;
    private const int Watchers = 500, ChangesPerLeg = 20;
    private const uint FirstWatched = 100_000;

    private static readonly TimeSpan IdleFor = TimeSpan.FromSeconds(0.5);

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    public override string Name => "instructions";

    public override string Measures =>
        "instructions of a heartbeat, a packed heartbeat, a status and a delivery on the native server, against those that were recorded";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("program", "out/publish/aglow-server", "the native server, as ./aglow publish makes it"),
        new("record", "no", "yes: writes bench/instructions.json instead of comparing with it"),
    ];

    public override int DefaultPairs => 5;

    private static string Recorded => Path.Combine(Machine.Root(), "bench", "instructions.json");

    public override async Task RunAsync(Run run)
    {
        var program = Path.Combine(Machine.Root(), run.Settings.Text("program"));
        if (!File.Exists(program))
            throw new BenchmarkException($"{program} is not there: run ./aglow publish first.");
        using var folder = new TemporaryFolder();
        // valgrind fails on the debug information
        var stripped = Path.Combine(folder.Path, "server");
        await Programs.RunAsync("strip", "-o", stripped, program);
        var records = run.Settings.Text("record") == "yes";
        var recorded = records ? [] : JsonSerializer.Deserialize<Dictionary<string, double>>(File.ReadAllText(Recorded))!;
        var counted = await CountPatientlyAsync(run, stripped);
        for (var servers = 1; servers < MostServers && (records || TooHigh(counted, recorded) is not null); servers++)
        {
            foreach (var (what, instructions) in await CountPatientlyAsync(run, stripped))
                counted[what] = Math.Min(counted[what], instructions);
        }

        foreach (var (what, instructions) in counted)
            run.Add(what, "instructions", [instructions]);
        if (records)
        {
            File.WriteAllText(
                Recorded,
                JsonSerializer.Serialize(counted.ToDictionary(static c => c.Key, static c => Math.Round(c.Value, 1)), Indented) + "\n");
            return;
        }

        Compare(run, counted, recorded);
    }

    private static string? TooHigh(Dictionary<string, double> counted, Dictionary<string, double> recorded) =>
        counted.FirstOrDefault(c => c.Value > recorded[c.Key] * Tolerance).Key;

    private static void Compare(Run run, Dictionary<string, double> counted, Dictionary<string, double> recorded)
    {
        foreach (var (what, instructions) in counted)
            run.Add(
                $"  {what}, against the {recorded[what]:#,0} that were recorded", "ratio", [instructions / recorded[what]],
                Goal.Most(Tolerance));
        if (TooHigh(counted, recorded) is { } most)
            throw new BenchmarkException(
                $"a {most} takes {counted[most]:#,0} instructions, more than 3 % above the {recorded[most]:#,0} that were recorded. "
                    + "Find out why; if it is worth it, run ./aglow bench instructions --record yes and commit bench/instructions.json.");
        if (counted.FirstOrDefault(c => c.Value < recorded[c.Key] / Tolerance) is { Key: { } least })
            throw new BenchmarkException(
                $"a {least} takes {counted[least]:#,0} instructions, more than 3 % below the {recorded[least]:#,0} that were "
                    + "recorded: run ./aglow bench instructions --record yes and commit bench/instructions.json.");
    }

    // On a busy machine the server is so slow under valgrind that it closes connections whose requests it did not read in time.
    private static async Task<Dictionary<string, double>> CountPatientlyAsync(Run run, string program)
    {
        for (var failures = 0; ; failures++)
        {
            try
            {
                return await CountAsync(run, program);
            }
            catch (Exception failure) when (failure is SocketException or BenchmarkException && failures < MostServers)
            {
                Console.Error.WriteLine($"instructions: {failure.Message} A new server is counted.");
            }
        }
    }

    private static async Task<Dictionary<string, double>> CountAsync(Run run, string program)
    {
        using var temporary = new TemporaryFolder();
        var folder = temporary.Path;
        var port = Programs.FreePort();
        // The limit is needed because the runtime otherwise reserves more addresses than valgrind has. No pings are due, and no lease
        // expires.
        using var server = Child.Start(
            "env",
            0,
            [
                "DOTNET_GCHeapHardLimit=10000000", "valgrind", "--tool=callgrind", $"--callgrind-out-file={folder}/callgrind.%p", program,
                "serve",
                "--urls", $"http://127.0.0.1:{port}", "--data", Path.Combine(folder, "data"), "--page", "off", "--lease-seconds", "86400",
                "--heartbeat-seconds", "600",
            ]);
        server.DiscardOutput();
        await Programs.UntilAsync("the server", server, () => new Connection(port).Dispose());
        using var calls = new Connection(port);
        var heartbeat = Request(calls, "/heartbeat", "application/json", "{\"user_id\":7}"u8);
        byte[] heartbeats = [.. Enumerable.Repeat(heartbeat, 200).SelectMany(static request => request)];
        var packedOnce = Request(calls, "/heartbeat", "application/octet-stream", MemoryMarshal.AsBytes([.. Enumerable.Range(0, 10_000)]));
        byte[] packed = [.. Enumerable.Repeat(packedOnce, 10).SelectMany(static request => request)];
        var batch = Request(
            calls,
            "/status/batch",
            "application/json",
            Encoding.ASCII.GetBytes($"{{\"user_ids\":[{string.Join(',', Enumerable.Range(0, 1000))}]}}"));
        var watchers = Watch(port, run.PairCount + 2);
        var nextChange = FirstWatched;
        (string Name, int Operations, Action Run)[] legs =
        [
            ("heartbeat", 1000, () => Repeat(5, () => Call(calls, heartbeats, 200))),
            ("packed heartbeat", 1_000_000, () => Repeat(10, () => Call(calls, packed, 10))),
            ("status in a batch", 20_000, () => Repeat(20, () => Call(calls, batch, 1))),
            ("delivery", ChangesPerLeg * Watchers, () => Repeat(ChangesPerLeg, () => Change(calls, nextChange++, watchers))),
        ];
        var counts = legs.ToDictionary(static leg => leg.Name, static _ => new List<(long Instructions, TimeSpan Took)>());
        var idleASecond = double.PositiveInfinity;
        // the first two rounds warm up
        for (var round = -2; round < run.PairCount; round++)
        {
            var (idle, idleFor) = await CountAsync(server, folder, static () => Thread.Sleep(IdleFor));
            idleASecond = Math.Min(idleASecond, idle / idleFor.TotalSeconds);
            foreach (var (name, operations, leg) in legs)
            {
                var count = await CountAsync(server, folder, leg);
                run.Progress(
                    $"{name}: {count.Instructions / (double)operations:#,0.0} instructions, with timers"
                        + (round < 0 ? ", not counted" : ""));
                if (round >= 0)
                    counts[name].Add(count);
            }
        }

        foreach (var watcher in watchers)
            watcher.Dispose();
        return legs.ToDictionary(
            static leg => leg.Name,
            leg => counts[leg.Name].Min(count => count.Instructions - (idleASecond * count.Took.TotalSeconds)) / leg.Operations);
    }

    private static void Repeat(int times, Action action)
    {
        for (var i = 0; i < times; i++)
            action();
    }

    private static byte[] Request(Connection connection, string path, string type, ReadOnlySpan<byte> body)
    {
        var length = connection.Head("POST", path, type, body.Length);
        body.CopyTo(connection.Request.AsSpan(connection.BodyAt));
        return connection.Request[..length];
    }

    // Sends requests at once, and reads their answers.
    private static void Call(Connection connection, byte[] requests, int count)
    {
        connection.Send(requests);
        Repeat(count, () => connection.ReceiveHttp());
    }

    // Opens sockets that watch all users who will come online.
    private static Connection[] Watch(int port, long legs)
    {
        var users = string.Join(',', Enumerable.Range((int)FirstWatched, (int)legs * ChangesPerLeg));
        var watchers = Connection.Open(port, Watchers);
        foreach (var (i, watcher) in watchers.Index())
        {
            watcher.Send(Frames.Upgrade($"/ws?user_id={i}"));
            watcher.Send(Frames.WriteText($"{{\"type\":\"watch\",\"users\":[{users}]}}"));
            Receive(watcher, (uint)(FirstWatched + (legs * ChangesPerLeg) - 1));
        }

        return watchers;
    }

    private static void Change(Connection calls, uint user, Connection[] watchers)
    {
        Call(calls, Request(calls, "/heartbeat", "application/json", Encoding.ASCII.GetBytes($"{{\"user_id\":{user}}}")), 1);
        foreach (var watcher in watchers)
            Receive(watcher, user);
    }

    private static void Receive(Connection watcher, uint user) => watcher.ReceiveUntil(Encoding.ASCII.GetBytes($"\"user_id\":{user},"));

    // The instructions of the server during an action, and the time that it took.
    private static async Task<(long Instructions, TimeSpan Took)> CountAsync(Child server, string folder, Action action)
    {
        await DumpAsync(server, folder);
        var began = Stopwatch.GetTimestamp();
        action();
        var instructions = await DumpAsync(server, folder);
        return (instructions, Stopwatch.GetElapsedTime(began));
    }

    // The number of instructions since the last dump.
    private static async Task<long> DumpAsync(Child server, string folder)
    {
        var before = Directory.GetFiles(folder, "callgrind.*");
        await Programs.RunAsync("callgrind_control", "--dump", $"{server.Process.Id}");
        string[] dumps = [];
        await Wait.UntilAsync(
            () => (dumps = [.. Directory.GetFiles(folder, "callgrind.*").Except(before)]).Length > 0
                && File.ReadAllText(dumps[0]).Contains("\ntotals:", StringComparison.Ordinal),
            60,
            "valgrind to write what it counted");
        var summary = File.ReadLines(dumps[0]).First(static line => line.StartsWith("summary:", StringComparison.Ordinal));
        File.Delete(dumps[0]);
        return long.Parse(summary["summary:".Length..]);
    }
}
