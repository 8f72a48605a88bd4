namespace Aglow.Benchmarks.Sockets;

/// <summary>One of the compared servers, in a separate process.</summary>
internal sealed class Server(string name, Child child, int port, TemporaryFolder? folder) : IDisposable
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

    public int Process => child.Process.Id;

    /// <summary>The name in tables.</summary>
    public static string Title(string name) => name switch
    {
        Aglow => "Aglow",
        Before => "Aglow before",
        SignalR => "SignalR hub",
        Ws => "bare ws (Node)",
        _ => "Socket.IO",
    };

    /// <summary>Starts a server on these cores and waits until it listens.</summary>
    public static async Task<Server> StartAsync(string name, int cores = 0, int leaseSeconds = 30)
    {
        var port = Programs.FreePort();
        TemporaryFolder? folder = null;
        string[] command;
        if (name is Ws or SocketIo)
        {
            await Peers.InstallAsync();
            command = ["node", "--expose-gc", Path.Combine(Peers.Folder, name + ".js"), $"{port}"];
        }
        else
        {
            folder = new TemporaryFolder();
            string[] program = name == Before ? ["dotnet", Path.Combine(BeforeFolder, "Aglow.Benchmarks.dll")] : Child.OwnCommand;
            var hosted = name == Before ? Aglow : name;
            command = [.. program, HostedServers.Verb, hosted, $"{port}", folder.Path, $"{PingSeconds}", $"{leaseSeconds}"];
        }

        var start = Child.Info(cores, command);
        // the defaults of each: one heap for Aglow's server, several for an ASP.NET application
        start.Environment["DOTNET_gcServer"] = name == SignalR ? "1" : "0";
        if (name is Aglow or Before)
            start.Environment["DOTNET_ThreadPool_UnfairSemaphoreSpinLimit"] = "0";
        var server = new Server(name, Child.Start(start), port, folder);
        if (await server.ReadAsync() is not "ready" and var said)
            throw new BenchmarkException($"the {Title(name)} server did not start: {said}");
        return server;
    }

    /// <summary>Runs a full collection; returns the remaining bytes of heap.</summary>
    public async Task<long> CollectAsync()
    {
        await child.Process.StandardInput.WriteLineAsync("collect");
        return long.Parse(await ReadAsync());
    }

    public void Dispose()
    {
        child.Dispose();
        folder?.Dispose();
    }

    private Task<string> ReadAsync() => child.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(1));
}

/// <summary>The Node servers, installed once from the lock file.</summary>
internal static class Peers
{
    public static string Folder { get; } = Path.Combine(Machine.Root(), "bench", "Aglow.Benchmarks", "peers");

    public static async Task InstallAsync()
    {
        if (Directory.Exists(Path.Combine(Folder, "node_modules", "dynalite")))
            return;
        await Programs.RunAsync("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", Folder);
    }
}
