using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Aglow.Benchmarks;

/// <summary>
/// How long a server takes to become ready on an empty folder: from the start of the process to the first 200 of <c>/health/ready</c>.
/// </summary>
/// <remarks>
/// Several programs, or one program with several settings of the runtime, start in turn, so that a slow minute affects all.
/// </remarks>
internal sealed class StartBenchmark : Benchmark
{
    private static readonly TimeSpan GiveUpAfter = TimeSpan.FromMinutes(1);

    public override string Name => "start";

    public override string Measures =>
        "the program of ./aglow publish: size, milliseconds from process start to ready on an empty folder, and memory when ready";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("programs", "out/publish/aglow-server", "the files to start, comma-separated; :NAME=VALUE after one sets a variable"),
    ];

    public override async Task RunAsync(Run run)
    {
        var programs = run.Settings.Text("programs").Split(',');
        var took = programs.ToDictionary(static program => program, static _ => new List<(double Milliseconds, double Megabytes)>());
        // first one run of each, which is not counted, so that all files are in the page cache
        for (var i = -1; i < run.PairCount; i++)
        {
            foreach (var program in programs)
            {
                var start = await StartAsync(program);
                if (i >= 0)
                    took[program].Add(start);
            }
        }

        foreach (var program in programs)
        {
            run.Add($"{program}: size", "MB", [new FileInfo(Resolve(program.Split(':')[0])).Length / 1e6], Goal.Most(32));
            run.Add($"{program}: start to ready", "ms", [.. took[program].Select(static start => start.Milliseconds)], Goal.Most(150));
            run.Add($"{program}: resident then", "MB", [.. took[program].Select(static start => start.Megabytes)], Goal.Most(45));
        }
    }

    private static string Resolve(string program)
    {
        var path = Path.Combine(Machine.Root(), program);
        return File.Exists(path) ? path : throw new BenchmarkException($"{program} is not there: run ./aglow publish first.");
    }

    private static async Task<(double Milliseconds, double Megabytes)> StartAsync(string program)
    {
        var parts = program.Split(':');
        using var data = new TemporaryFolder();
        var port = Programs.FreePort();
        var start = Child.Info(0, [Resolve(parts[0]), "serve", "--urls", $"http://127.0.0.1:{port}", "--data", data.Path]);
        foreach (var variable in parts.Skip(1))
            start.Environment[variable.Split('=')[0]] = variable.Split('=')[1];
        var began = Stopwatch.GetTimestamp();
        using var server = Child.Start(start);
        server.DiscardOutput();
        while (!await IsReadyAsync(port))
        {
            if (server.Process.HasExited || Stopwatch.GetElapsedTime(began) > GiveUpAfter)
                throw new BenchmarkException($"{program} did not become ready.");
            await Task.Delay(TimeSpan.FromMilliseconds(1), TimeProvider.System);
        }

        var milliseconds = Stopwatch.GetElapsedTime(began).TotalMilliseconds;
        return (milliseconds, Cpu.ResidentBytes(server.Process.Id) / 1e6);
    }

    // Written by hand: an HTTP client takes longer to start than the measured server.
    private static async Task<bool> IsReadyAsync(int port)
    {
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, port);
            await socket.SendAsync("GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray());
            var answer = new byte[1024];
            return Encoding.ASCII.GetString(answer, 0, await socket.ReceiveAsync(answer))
                .StartsWith("HTTP/1.1 200", StringComparison.Ordinal);
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
