using System.Diagnostics;

namespace Aglow.Benchmarks.Nodes;

/// <summary>A node as in <c>./aglow serve --redis …</c>, on a free port; killed after the measurement.</summary>
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
            // skips the lines before
        }

        _ = child.Process.StandardOutput.ReadToEndAsync();
        return new NodeProcess(child, port);
    }

    /// <summary>Pauses the process, or resumes it.</summary>
    public void Pause(bool pause)
    {
        using var kill = System.Diagnostics.Process.Start("kill", [pause ? "-STOP" : "-CONT", $"{Process}"]);
        kill.WaitForExit();
    }

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
