namespace Aglow.Benchmarks.Nodes;

/// <summary>HAProxy with <c>deploy/haproxy.cfg</c>, except for the addresses.</summary>
internal sealed class BalancerProcess(Child child, string file, int port) : IDisposable
{
    public int Port => port;

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
        var child = Child.Start(Programs.Find("haproxy", "haproxy"), 0, "-db", "-q", "-f", file);
        await Programs.UntilAsync("haproxy", child, () => new Connection(port).Dispose());
        // its health checks run once a second
        await Task.Delay(TimeSpan.FromSeconds(2.5));
        return new BalancerProcess(child, file, port);
    }

    public void Dispose()
    {
        child.Process.Kill();
        child.Dispose();
        File.Delete(file);
    }
}
