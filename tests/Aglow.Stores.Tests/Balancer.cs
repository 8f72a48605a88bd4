using System.Diagnostics;
using System.Net.Sockets;
using Aglow.Server.Tests;

namespace Aglow.Stores.Tests;

/// <summary>An HAProxy with <c>deploy/haproxy.cfg</c> as documented, except for the addresses.</summary>
internal sealed class Balancer(Process process, string file, int port) : IAsyncDisposable
{
    public Uri Address { get; } = new($"http://127.0.0.1:{port}");

    /// <summary>Starts an HAProxy in front of nodes on these ports. It takes up to three nodes, which need not run yet.</summary>
    public static async Task<Balancer> StartAsync(params int[] nodes)
    {
        var port = Ports.Free();
        var lines = await File.ReadAllLinesAsync(Path.Combine(AglowProcess.Root, "deploy", "haproxy.cfg"));
        var file = Path.GetTempFileName();
        await File.WriteAllLinesAsync(file, lines
            .Where(line => !line.Contains("10.0.0.1") || nodes.Where((_, i) => line.Contains(Documented(i))).Any())
            .Select(line =>
        {
            line = line.Replace("bind :8080", $"bind 127.0.0.1:{port}");
            for (var i = 0; i < nodes.Length; i++)
                line = line.Replace(Documented(i), $"127.0.0.1:{nodes[i]}");
            return line;
        }));
        var process = Process.Start(
            new ProcessStartInfo("haproxy", ["-db", "-q", "-f", file]) { RedirectStandardOutput = true, UseShellExecute = false })!;
        process.BeginOutputReadLine();
        var balancer = new Balancer(process, file, port);
        await Eventually.HoldsAsync(balancer.AcceptsAsync);
        return balancer;

        static string Documented(int node) => $"10.0.0.1{node + 1}:8080";
    }

    public async ValueTask DisposeAsync()
    {
        process.Kill();
        await process.WaitForExitAsync();
        process.Dispose();
        File.Delete(file);
    }

    private async Task<bool> AcceptsAsync()
    {
        if (process.HasExited)
            throw new InvalidOperationException(
                $"haproxy ended with {process.ExitCode}: does it read deploy/haproxy.cfg? Version 2.4 or newer does.");
        using var probe = new Socket(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await probe.ConnectAsync("127.0.0.1", Address.Port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
