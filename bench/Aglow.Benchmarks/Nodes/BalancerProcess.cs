namespace Aglow.Benchmarks.Nodes;

/// <summary>HAProxy with <c>deploy/haproxy.cfg</c>, except for the addresses.</summary>
internal sealed class BalancerProcess : IDisposable
{
    private readonly Child _child;
    private readonly string _file;

    private BalancerProcess(Child child, string file, int port)
    {
        _child = child;
        _file = file;
        Port = port;
    }

    public int Port { get; }

    /// <summary>Starts it before nodes on these ports, at most three, and waits until it sees all of them as ready.</summary>
    public static async Task<BalancerProcess> StartAsync(params int[] nodes)
    {
        var port = Programs.FreePort();
        var lines = (await File.ReadAllLinesAsync(Path.Combine(Machine.Root(), "deploy", "haproxy.cfg"))).AsEnumerable();
        for (var i = 0; i < 3; i++)
        {
            var documented = $"10.0.0.1{i + 1}:8080";
            lines = i < nodes.Length
                ? lines.Select(line => line.Replace(documented, $"127.0.0.1:{nodes[i]}", StringComparison.Ordinal)).ToArray()
                : lines.Where(line => !line.Contains(documented, StringComparison.Ordinal)).ToArray();
        }

        var file = Path.GetTempFileName();
        await File.WriteAllLinesAsync(
            file, lines.Select(line => line.Replace("bind :8080", $"bind 127.0.0.1:{port}", StringComparison.Ordinal)));
        var balancer = new BalancerProcess(Child.Start(Programs.Find("haproxy", "haproxy"), 0, "-db", "-q", "-f", file), file, port);
        await Programs.UntilAsync("haproxy", balancer._child, () => new Connection(port).Dispose());
        // its health checks run once a second
        await Task.Delay(TimeSpan.FromSeconds(2.5));
        return balancer;
    }

    public void Dispose()
    {
        _child.Process.Kill();
        _child.Dispose();
        File.Delete(_file);
    }
}
