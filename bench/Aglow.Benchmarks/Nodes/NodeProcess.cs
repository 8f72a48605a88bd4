namespace Aglow.Benchmarks.Nodes;

/// <summary>A node as in <c>./aglow serve --redis …</c>, on a free port; killed after the measurement.</summary>
/// <remarks>If <c>TEST_SERVER</c> names the native file, that is the node.</remarks>
internal sealed class NodeProcess(Child child, int port) : IDisposable
{
    public int Port => port;

    public int Process => child.Process.Id;

    /// <summary>Starts a node on this cluster and waits until it is ready.</summary>
    public static Task<NodeProcess> StartAsync(ClusterServers cluster, params string[] flags) =>
        StartAsync(cluster, Programs.FreePort(), log: null, flags);

    /// <summary>Starts a node on this port, and appends what it says to a file.</summary>
    public static async Task<NodeProcess> StartAsync(ClusterServers cluster, int port, string? log, params string[] flags)
    {
        string[] command = Environment.GetEnvironmentVariable("TEST_SERVER") is { Length: > 0 } native
            ? [native]
            : ["dotnet", Path.Combine(Machine.Root(), "out", "server", "aglow-server.dll")];
        var child = Child.Start(
            command[0],
            0,
            [
                .. command[1..], "serve", "--urls", $"http://127.0.0.1:{port}", "--redis", cluster.Address, "--drain-seconds", "0",
                .. flags,
            ]);
        string line;
        do
        {
            line = await child.ReadLineAsync();
            if (log is not null)
                await File.AppendAllTextAsync(log, line + "\n");
        }
        while (!line.Contains("Ready on", StringComparison.Ordinal));
        _ = log is null ? child.Process.StandardOutput.ReadToEndAsync() : CopyAsync(child.Process.StandardOutput, log);
        return new NodeProcess(child, port);
    }

    /// <summary>Asks the process to stop, and waits until it has.</summary>
    public async Task StopAsync()
    {
        child.Terminate();
        await child.Process.WaitForExitAsync();
    }

    private static async Task CopyAsync(StreamReader output, string log)
    {
        while (await output.ReadLineAsync() is { } line)
            await File.AppendAllTextAsync(log, line + "\n");
    }

    /// <summary>Pauses the process, or resumes it.</summary>
    public void Pause(bool pause) => Child.Pause(Process, pause);

    /// <summary>Kills the process, like a machine that dies.</summary>
    public void Kill()
    {
        child.Process.Kill();
        child.Process.WaitForExit();
    }

    public void Dispose()
    {
        child.Process.Kill();
        child.Dispose();
    }
}
