using System.Diagnostics;

namespace Aglow.Benchmarks.Sockets;

/// <summary>One of the compared servers, in a separate process.</summary>
internal sealed class Server(string name, Process process, int port, TemporaryFolder? folder) : IAsyncDisposable
{
    public const string Aglow = "aglow";
    public const string SignalR = "signalr";
    public const string Ws = "ws";
    public const string SocketIo = "socketio";

    /// <summary>An earlier build of this program (<see cref="BeforeFolder"/>), with the Aglow of that time.</summary>
    public const string Before = "before";

    public static string[] All { get; } = [Aglow, SignalR, Ws, SocketIo];

    /// <summary>The folder of an earlier build; empty if nothing is compared with one.</summary>
    public static string BeforeFolder { get; set; } = "";

    /// <summary>Seconds between two pings of Aglow's sockets.</summary>
    public static int PingSeconds { get; set; } = 10;

    public string Name => name;

    public int Port => port;

    public int Process => process.Id;

    /// <summary>The name in tables.</summary>
    public static string Title(string name) => name switch
    {
        Aglow => "Aglow",
        Before => "Aglow before",
        SignalR => "SignalR hub",
        Ws => "bare ws (Node)",
        _ => "Socket.IO",
    };

    /// <summary>Starts a server and waits until it listens. <paramref name="core"/>: the only core it may use.</summary>
    public static async Task<Server> StartAsync(string name, int? core = null, bool canCollect = false)
    {
        var port = Programs.FreePort();
        TemporaryFolder? folder = null;
        List<string> command;
        if (name is Ws or SocketIo)
        {
            await Peers.InstallAsync();
            command =
                ["node", .. canCollect ? ["--expose-gc"] : Array.Empty<string>(), Path.Combine(Peers.Folder, name + ".js"), $"{port}"];
        }
        else
        {
            folder = new TemporaryFolder();
            command = name == Before ? ["dotnet", Path.Combine(BeforeFolder, "Aglow.Benchmarks.dll")] : [.. Child.OwnCommand];
            command.AddRange([HostedServers.Verb, name == Before ? Aglow : name, $"{port}", folder.Path, $"{PingSeconds}"]);
        }

        var start = Child.Info(core is { } only ? 1 << only : 0, command[0], command.Skip(1));
        // the defaults of each: one heap for Aglow's server, several for an ASP.NET application
        start.Environment["DOTNET_gcServer"] = name == SignalR ? "1" : "0";
        if (name is Aglow or Before)
            start.Environment["DOTNET_ThreadPool_UnfairSemaphoreSpinLimit"] = "0";
        var process = System.Diagnostics.Process.Start(start) ?? throw new BenchmarkException($"{command[0]} does not start.");
        var server = new Server(name, process, port, folder);
        if (await server.ReadAsync(TimeSpan.FromSeconds(60)) is not "ready" and var said)
            throw new BenchmarkException($"the {Title(name)} server did not start: {said}");
        return server;
    }

    /// <summary>Runs a full collection; returns the remaining bytes of heap.</summary>
    public async Task<long> CollectAsync()
    {
        await process.StandardInput.WriteLineAsync("collect");
        return long.Parse(await ReadAsync(TimeSpan.FromSeconds(60)));
    }

    public async ValueTask DisposeAsync()
    {
        process.StandardInput.Close();
        using (var patience = new CancellationTokenSource(TimeSpan.FromSeconds(10)))
        {
            try
            {
                await process.WaitForExitAsync(patience.Token);
            }
            catch (OperationCanceledException)
            {
                process.Kill();
            }
        }

        process.Dispose();
        folder?.Dispose();
    }

    private async Task<string> ReadAsync(TimeSpan patience) =>
        await process.StandardOutput.ReadLineAsync().WaitAsync(patience)
            ?? throw new BenchmarkException($"the {Title(name)} server has ended.");
}

/// <summary>The Node servers, installed once from the lock file.</summary>
internal static class Peers
{
    public static string Folder { get; } = Path.Combine(Machine.Root(), "bench", "Aglow.Benchmarks", "peers");

    public static async Task InstallAsync()
    {
        if (Directory.Exists(Path.Combine(Folder, "node_modules", "dynalite")))
            return;
        using var install = Process.Start(
            new ProcessStartInfo("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]) { WorkingDirectory = Folder })!;
        await install.WaitForExitAsync();
        if (install.ExitCode != 0)
            throw new BenchmarkException("npm ci failed: the peers on Node want Node 20 or later, and the npm registry once.");
    }
}
