using Aglow.Benchmarks.Nodes;

namespace Aglow.Benchmarks;

/// <summary>A server as in <c>./aglow serve</c>, on a free port; killed after the measurement.</summary>
/// <remarks>If <c>TEST_SERVER</c> names the native file, that is the program of a node on a cluster.</remarks>
internal sealed class ServeProcess : IDisposable
{
    private static readonly string[] Managed = ["dotnet", Path.Combine(Machine.Root(), "out", "server", "aglow-server.dll")];

    private readonly string[] _command;
    private readonly int _cores;
    private readonly string? _log;
    private Child _child = null!;

    private ServeProcess(string[] program, int cores, string? log, IEnumerable<string> flags)
    {
        Port = Programs.FreePort();
        (_cores, _log, _command) = (cores, log, [.. program, "serve", "--urls", $"http://127.0.0.1:{Port}", .. flags]);
    }

    public int Port { get; }

    public int Process => _child.Process.Id;

    /// <summary>Starts a server on these cores and waits until it is ready. No lease expires, unless the flags set one.</summary>
    public static async Task<ServeProcess> StartAsync(int cores, string folder, params string[] flags)
    {
        string[] lease = flags.Contains("--lease-seconds") ? [] : ["--lease-seconds", "86400"];
        var server = new ServeProcess(Managed, cores, log: null, ["--data", folder, .. lease, .. flags]);
        await server.StartAsync();
        return server;
    }

    /// <summary>Starts a node on this cluster, and waits until it is ready. What it says is appended to a file if there is one.</summary>
    public static async Task<ServeProcess> StartAsync(ClusterServers cluster, string[]? flags = null, string? log = null)
    {
        string[] program = Environment.GetEnvironmentVariable("TEST_SERVER") is { Length: > 0 } native ? [native] : Managed;
        var node = new ServeProcess(program, 0, log, ["--redis", cluster.Address, "--drain-seconds", "0", .. flags ?? []]);
        await node.StartAsync();
        return node;
    }

    /// <summary>Starts the program, again if it has ended, and waits until it is ready.</summary>
    public async Task StartAsync()
    {
        // what follows must not run on the thread that reads the output
        var ready = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _child = Child.Start(_command[0], _cores, _command[1..]);
        _child.Process.OutputDataReceived += (_, said) =>
        {
            if (said.Data is not { } line)
            {
                ready.TrySetException(new BenchmarkException("a server ended before it was ready."));
                return;
            }

            if (_log is not null)
                File.AppendAllText(_log, line + "\n");
            if (line.Contains("Ready on", StringComparison.Ordinal))
                ready.TrySetResult();
        };
        _child.Process.BeginOutputReadLine();
        await ready.Task;
    }

    /// <summary>Asks the process to stop, and waits until it has.</summary>
    public async Task StopAsync()
    {
        _child.Terminate();
        await _child.Process.WaitForExitAsync();
    }

    /// <summary>Pauses the process, or resumes it.</summary>
    public void Pause(bool pause) => Child.Pause(Process, pause);

    /// <summary>Kills the process, like a machine that dies.</summary>
    public void Kill()
    {
        _child.Process.Kill();
        _child.Process.WaitForExit();
    }

    public void Dispose()
    {
        _child.Process.Kill();
        _child.Dispose();
    }
}
