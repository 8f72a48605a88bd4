// ./aglow bench NAME [--option value ...] measures one figure, or a family of figures. Without a name, it lists the benchmarks.
// A benchmark is a class in this folder that is listed here. It gets a Run and returns Figures; there is no other framework. Rejected:
// BenchmarkDotNet. It has no pairs, which make figures from a shared machine repeatable (two things in turn, compared one by one). It also
// cannot measure the CPU seconds of other processes, which are the cost of a server.
using Aglow.Benchmarks;
using Aglow.Benchmarks.Changes;
using Aglow.Benchmarks.Devices;
using Aglow.Benchmarks.Door;
using Aglow.Benchmarks.Faults;
using Aglow.Benchmarks.Million;
using Aglow.Benchmarks.Nodes;
using Aglow.Benchmarks.Page;
using Aglow.Benchmarks.Planning;
using Aglow.Benchmarks.Sockets;
using Aglow.Benchmarks.Stores;

Benchmark[] benchmarks =
[
    new EngineBenchmark(), new HttpBenchmark(), new RestartBenchmark(), new SocketsBenchmark(), new FanoutBenchmark(),
    new DirectoryBenchmark(), new PageBenchmark(), new RedisBenchmark(), new StoresBenchmark(), new PlanBenchmark(),
    new AttackBenchmark(), new DoorBenchmark(), new NodesBenchmark(), new FailoverBenchmark(),
    new CutBenchmark(), new StartBenchmark(), new InstructionsBenchmark(), new MillionBenchmark(),
    new DevicesBenchmark(), new ClaimsBenchmark(), new ChangesBenchmark(), new FaultsBenchmark(),
];

// hidden verbs: processes that benchmarks start to measure them
if (args is [EngineMemory.Verb, .. var rest])
    return await EngineMemory.FillAsync(rest);
if (args is [RestartBenchmark.Verb, var folder])
    return await RestartBenchmark.LoadAsync(folder);
if (args is [LoadGenerator.Verb, .. var load])
    return LoadGenerator.Run(load);
if (args is [HostedServers.Verb, .. var host])
    return await HostedServers.RunAsync(host);

if (args is [] or ["help" or "--help" or "-h"])
{
    Console.WriteLine("aglow bench NAME [--option value ...], where NAME is one of:");
    foreach (var benchmark in benchmarks)
        Describe(benchmark);
    return 0;
}

try
{
    var benchmark = Array.Find(benchmarks, b => b.Name == args[0])
        ?? throw new UsageException(
            $"there is no benchmark \"{args[0]}\": use one of {string.Join(", ", benchmarks.Select(b => b.Name))}.");
    if (args.AsSpan(1).ContainsAny("--help", "-h"))
    {
        Describe(benchmark);
        return 0;
    }

    var run = new Run(benchmark, Settings.Parse(benchmark.AllOptions, args.AsSpan(1)));
    await benchmark.RunAsync(run);
    run.Finish();
    return 0;
}
catch (UsageException wrong)
{
    Console.Error.WriteLine($"aglow bench: {wrong.Message}");
    return 2;
}
catch (BenchmarkException failed)
{
    Console.Error.WriteLine($"aglow bench: {failed.Message}");
    return 1;
}

static void Describe(Benchmark benchmark)
{
    Console.WriteLine();
    Console.WriteLine($"{benchmark.Name}: {benchmark.Measures}");
    foreach (var option in benchmark.AllOptions)
        Console.WriteLine($"  --{option.Name,-14} {option.Meaning}{(option.Default.Length > 0 ? $" [{option.Default}]" : "")}");
}
