using System.Diagnostics;
using Aglow.Model;
using Aglow.Redis;
using Aglow.Redis.Connections;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Benchmarks.Nodes;

/// <summary>Runs our own Redis Cluster on free ports: three primaries, on request each with a replica.</summary>
internal sealed class ClusterServers : IAsyncDisposable
{
    private const int Primaries = 3;

    private readonly RedisServer[] _servers;
    private readonly TemporaryFolder _folder;

    private ClusterServers(RedisServer[] servers, TemporaryFolder folder) => (_servers, _folder) = (servers, folder);

    public string Address => string.Join(',', _servers.Select(server => $"127.0.0.1:{server.Port}"));

    public string Version => _servers[0].Version();

    /// <summary>Starts the servers, each with an append-only file.</summary>
    /// <param name="hasReplicas">Whether each primary has a replica, which has caught up when this returns.</param>
    /// <param name="flags">Additional flags of the servers.</param>
    public static async Task<ClusterServers> StartAsync(bool hasReplicas = false, params string[] flags)
    {
        var folder = new TemporaryFolder();
        var servers = new RedisServer[hasReplicas ? 2 * Primaries : Primaries];
        for (var i = 0; i < servers.Length; i++)
        {
            servers[i] = await RedisServer.StartAsync(
                0, Directory.CreateDirectory(Path.Combine(folder.Path, $"{i}")).FullName, durable: true,
                    ["--cluster-enabled", "yes", "--cluster-port", $"{Programs.FreePort()}", .. flags]);
        }

        var cluster = new ClusterServers(servers, folder);
        await CliAsync(
            ["--cluster", "create", .. cluster.Address.Split(','), "--cluster-replicas", hasReplicas ? "1" : "0", "--cluster-yes"]);
        if (!hasReplicas)
            return cluster;
        foreach (var replica in servers[Primaries..])
        {
            string[] ask = ["-p", $"{replica.Port}", "info", "replication"];
            await Wait.UntilAsync(
                async () => (await CliAsync(ask)).Contains("master_link_status:up", StringComparison.Ordinal), 30, "a replica to catch up");
        }

        return cluster;
    }

    /// <summary>Registers users who were seen long ago; sweeps read each word.</summary>
    public async Task RegisterAsync(uint count)
    {
        await using var cluster = await RedisCluster.ConnectAsync(
            RedisAddress.Parse(Address), TimeProvider.System, new RedisLog(NullLogger.Instance));
        var store = new RedisPlaneStore(cluster);
        for (var first = 0u; first < count; first += 100_000)
        {
            uint[] users = [.. Enumerable.Range((int)first, (int)Math.Min(100_000, count - first)).Select(user => (uint)user)];
            await store.ExchangeAsync(Plane.Pulse, users, users.Select(static _ => 1000u).ToArray(), new uint[users.Length]);
        }
    }

    /// <summary>Kills one of the primaries. Returns a function that tells whether a slot was one of its slots.</summary>
    public Predicate<int> KillPrimary(int place)
    {
        // the same division as that of redis-cli
        var (first, last) = (
            (int)Math.Round(RedisKeys.Slots / (double)Primaries * place),
            (int)Math.Round(RedisKeys.Slots / (double)Primaries * (place + 1)));
        using (var process = System.Diagnostics.Process.GetProcessById(_servers[place].Process))
            process.Kill();
        return slot => slot >= first && slot < last;
    }

    /// <summary>The servers that are primaries now.</summary>
    public async Task<IReadOnlyList<int>> PrimariesAsync()
    {
        var primaries = new List<int>();
        for (var i = 0; i < _servers.Length; i++)
        {
            if ((await CliAsync(["-p", $"{_servers[i].Port}", "role"])).StartsWith("master", StringComparison.Ordinal))
                primaries.Add(i);
        }

        return primaries;
    }

    /// <summary>Pauses a server, or resumes it.</summary>
    public void Pause(int server, bool pause) => Child.Pause(_servers[server].Process, pause);

    public double CpuSeconds() => _servers.Sum(server => Cpu.Of(server.Process));

    public ValueTask DisposeAsync()
    {
        foreach (var server in _servers)
            server.Dispose();
        _folder.Dispose();
        return default;
    }

    private static async Task<string> CliAsync(string[] arguments)
    {
        var start = new ProcessStartInfo("redis-cli", arguments) { RedirectStandardOutput = true, UseShellExecute = false };
        using var cli = System.Diagnostics.Process.Start(start)!;
        var said = await cli.StandardOutput.ReadToEndAsync();
        await cli.WaitForExitAsync();
        return cli.ExitCode == 0 ? said : throw new BenchmarkException($"redis-cli {string.Join(' ', arguments.Take(2))} failed: {said}");
    }
}
