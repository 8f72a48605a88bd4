using System.Diagnostics;

namespace Aglow.Benchmarks.Nodes;

/// <summary>A node as <c>./aglow serve --redis …</c> has it, on a free port; killed with the measurement.</summary>
internal sealed class NodeProcess : IDisposable
{
    private readonly Child _child;

    private NodeProcess(Child child, int port)
    {
        _child = child;
        Port = port;
    }

    public int Port { get; }

    public int Process => _child.Process.Id;

    /// <summary>Starts a node on this cluster and waits until it is ready.</summary>
    public static async Task<NodeProcess> StartAsync(ClusterServers cluster, params string[] flags)
    {
        var port = Programs.FreePort();
        var child = Child.Start(
            "dotnet", 0, [Path.Combine(Machine.Root(), "out", "server", "aglow-server.dll"), "serve", "--urls", $"http://127.0.0.1:{port}", "--redis", cluster.Address, "--drain-seconds", "0", .. flags]);
        while (!(await child.ReadLineAsync()).Contains("Ready on", StringComparison.Ordinal))
        {
            // what it says before
        }

        _ = child.Process.StandardOutput.ReadToEndAsync();
        return new NodeProcess(child, port);
    }

    /// <summary>Lets it stand still, or go on.</summary>
    public void Pause(bool pause)
    {
        using var kill = System.Diagnostics.Process.Start("kill", [pause ? "-STOP" : "-CONT", $"{Process}"]);
        kill.WaitForExit();
    }

    /// <summary>Ends it without a word, as a machine that dies does.</summary>
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
