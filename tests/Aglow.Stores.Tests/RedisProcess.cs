using System.Diagnostics;
using System.Net;
using System.Runtime.InteropServices;
using Aglow.Redis.Connections;
using Aglow.Server.Tests;

namespace Aglow.Stores.Tests;

/// <summary>A private redis-server on loopback, in a temporary folder, which stops with the tests.</summary>
/// <param name="folder">Its folder.</param>
/// <param name="flags">The flags after the usual ones.</param>
/// <param name="watched">For a Sentinel, the port of the primary that it watches.</param>
/// <param name="isGarnet">Whether it is Garnet instead of Redis.</param>
/// <param name="gate">The gate in front of it. The server announces the gate's ports to others.</param>
internal sealed partial class RedisProcess(string folder, string[] flags, int? watched, bool isGarnet, ServerGate? gate) : IAsyncDisposable
{
    private static readonly TimeSpan StartsWithin = TimeSpan.FromSeconds(60);

    private Process? _process;

    public int Port { get; } = Ports.Free();

    public int BusPort { get; } = Ports.Free();

    public ServerGate? Gate => gate;

    /// <summary>The address that others use.</summary>
    public IPEndPoint Endpoint => new(IPAddress.Loopback, Gate?.Port ?? Port);

    public static Task<RedisProcess> StartAsync(params string[] flags) => StartAsync(flags, watched: null);

    /// <summary>A server of a cluster behind a gate.</summary>
    public static async Task<RedisProcess> StartAsync(ServerGate gate, params string[] flags)
    {
        string[] announced = ["--cluster-announce-port", $"{gate.Port}", "--cluster-announce-bus-port", $"{gate.BusPort}"];
        var server = await StartAsync([.. flags, .. announced], watched: null, gate: gate);
        gate.Server = server;
        return server;
    }

    /// <summary>
    /// A Sentinel that watches the primary on a port under the name "presence". A second after the primary is gone, the Sentinel replaces
    /// it.
    /// </summary>
    public static Task<RedisProcess> StartSentinelAsync(int primary) => StartAsync([], primary);

    /// <summary>A garnet-server, which uses the same protocol.</summary>
    public static Task<RedisProcess> StartGarnetAsync() => StartAsync([], watched: null, isGarnet: true);

    private static async Task<RedisProcess> StartAsync(string[] flags, int? watched, bool isGarnet = false, ServerGate? gate = null)
    {
        var folder = Directory.CreateTempSubdirectory("aglow-redis-").FullName;
        // another process may take the free port before the server has it
        for (var attempt = 0; ; attempt++)
        {
            var server = new RedisProcess(folder, flags, watched, isGarnet, gate);
            if (await server.RunAsync() || attempt == 5)
                return server;
        }
    }

    /// <summary>Starts it again after <see cref="KillAsync"/>, on the same port and folder.</summary>
    public async Task RestartAsync() => (await RunAsync()).ShouldBeTrue();

    /// <summary>Ends it as a crash would.</summary>
    public async Task KillAsync()
    {
        _process!.Kill();
        await _process.WaitForExitAsync();
    }

    /// <summary>Sends a signal: 19 suspends the process, 18 resumes it.</summary>
    public void Signal(int signal) => _ = kill(_process!.Id, signal);

    /// <summary>Sends one command, and returns the answer.</summary>
    public Task<object?> CallAsync(params string[] parts) => RedisConnection.CallAsync(Port, parts);

    public async ValueTask DisposeAsync()
    {
        if (_process is { HasExited: false })
            await KillAsync();
        _process?.Dispose();
        Directory.Delete(folder, recursive: true);
    }

    private async Task<bool> RunAsync()
    {
        string[] arguments = isGarnet
            ? ["--port", $"{Port}", "--bind", "127.0.0.1", "--checkpointdir", folder, "--file-logger", Path.Combine(folder, "garnet.log")]
            : watched is not null
                ? [await WriteSentinelAsync(), "--sentinel"]
                :
                [
                    "--port", $"{Port}", "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--daemonize", "no",
                    "--logfile", "redis.log",
                    .. flags.Select(f => f.Replace("BUS-PORT", $"{BusPort}")),
                ];
        // ./test installs it there
        var program = isGarnet ? Path.Combine(AglowProcess.Root, "out", "tools", "garnet-server") : "redis-server";
        _process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = isGarnet })!;
        if (isGarnet)
            _ = _process.StandardOutput.ReadToEndAsync();
        var began = Stopwatch.GetTimestamp();
        while (!_process.HasExited && Stopwatch.GetElapsedTime(began) < StartsWithin)
        {
            try
            {
                await CallAsync("PING");
                // another server may have taken the port, and this one is about to end
                if (isGarnet || ((string)(await CallAsync("INFO", "server"))!).Contains($"process_id:{_process.Id}\r"))
                    return true;
            }
            catch (Exception e) when (e is IOException or RedisErrorException)
            {
                // it does not answer yet
            }

            await Task.Delay(20);
        }

        return false;
    }

    private async Task<string> WriteSentinelAsync()
    {
        var file = Path.Combine(folder, "sentinel.conf");
        await File.WriteAllLinesAsync(file,
        [
            $"port {Port}", "bind 127.0.0.1", $"dir {folder}", "logfile redis.log", $"sentinel monitor presence 127.0.0.1 {watched} 1",
            "sentinel down-after-milliseconds presence 1000", "sentinel failover-timeout presence 3000",
        ]);
        return file;
    }

    [LibraryImport("libc")]
    private static partial int kill(int pid, int signal);
}

/// <summary>Three primaries with one replica each.</summary>
internal sealed class RedisClusterProcesses : IAsyncDisposable
{
    /// <summary>How long a server is silent before its replica takes its place, where that is tested.</summary>
    public static readonly TimeSpan ShortTimeout = TimeSpan.FromSeconds(2);

    /// <summary>The same in other clusters: no server may be replaced only because a busy machine delayed it.</summary>
    public static readonly TimeSpan LongTimeout = TimeSpan.FromMinutes(1);

    private readonly List<RedisProcess> _servers = [];

    public IReadOnlyList<RedisProcess> Servers => _servers;

    public string Address => string.Join(',', _servers.Take(3).Select(s => s.Endpoint));

    /// <summary>
    /// Starts six servers and joins them. Retries if that fails, because a busy disk may delay a server for longer than a call waits.
    /// </summary>
    public static Task<RedisClusterProcesses> StartAsync() => StartAsync(hasGates: false, LongTimeout);

    /// <summary>
    /// A cluster for tests that break it. If one shard is away, the others continue, as with an operator's corresponding setting. With
    /// gates, the servers can be separated from one another.
    /// </summary>
    public static Task<RedisClusterProcesses> StartFragileAsync(bool hasGates, TimeSpan nodeTimeout) =>
        StartAsync(
            hasGates, nodeTimeout, "--cluster-require-full-coverage", "no",
            // however long a busy machine took, a replica takes over
            "--cluster-replica-validity-factor", "0");

    private static async Task<RedisClusterProcesses> StartAsync(bool hasGates, TimeSpan nodeTimeout, params string[] flags)
    {
        string[] all = ["--cluster-node-timeout", $"{nodeTimeout.TotalMilliseconds}", .. flags];
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await TryStartAsync(hasGates, all);
            }
            catch (Exception e) when (attempt < 4
                && (e is IOException or RedisErrorException or OperationCanceledException or TimeoutException))
            {
                // all six servers have ended
            }
        }
    }

    private static async Task<RedisClusterProcesses> TryStartAsync(bool hasGates, string[] flags)
    {
        var cluster = new RedisClusterProcesses();
        try
        {
            string[] all = ["--cluster-enabled", "yes", "--cluster-port", "BUS-PORT", "--appendonly", "yes", .. flags];
            cluster._servers.AddRange(await Task.WhenAll(Enumerable.Range(0, 6).Select(_ =>
                hasGates ? RedisProcess.StartAsync(new ServerGate(), all) : RedisProcess.StartAsync(all))));
            await cluster.JoinAsync();
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>The port of each slot's primary, as one server reports it; 0: the slot has no owner.</summary>
    public static async Task<int[]> PortsOfSlotsAsync(RedisProcess server)
    {
        var ports = new int[RedisKeys.Slots];
        foreach (var range in ((object?[])(await server.CallAsync("CLUSTER", "SLOTS"))!).Cast<object[]>())
            ports.AsSpan((int)(long)range[0], (int)((long)range[1] - (long)range[0]) + 1).Fill((int)(long)((object[])range[2])[1]);
        return ports;
    }

    /// <summary>The running server that owns a page now.</summary>
    public async Task<RedisProcess> PrimaryOfAsync(int page)
    {
        foreach (var server in _servers)
        {
            try
            {
                if ((await PortsOfSlotsAsync(server))[RedisKeys.SlotOf(page)] == server.Endpoint.Port)
                    return server;
            }
            catch (IOException)
            {
                // killed
            }
        }

        throw new InvalidOperationException("Nobody has that page.");
    }

    /// <summary>The primary of a page, and its replicas.</summary>
    public async Task<RedisProcess[]> ShardOfAsync(int page)
    {
        var primary = await PrimaryOfAsync(page);
        var id = (string)(await primary.CallAsync("CLUSTER", "MYID"))!;
        var ports = ((string)(await primary.CallAsync("CLUSTER", "NODES"))!).Split('\n')
            .Where(line => line.Split(' ') is [_, _, _, var of, ..] && of == id)
            .Select(line => int.Parse(line.Split(' ')[1].Split('@')[0].Split(':')[^1]));
        return [primary, .. _servers.Where(server => ports.Contains(server.Endpoint.Port))];
    }

    /// <summary>Waits until every slot is served, and every primary has its replica.</summary>
    public async Task HealedAsync()
    {
        foreach (var server in _servers)
        {
            await Eventually.HoldsAsync(async () =>
                ((string)(await server.CallAsync("CLUSTER", "INFO"))!).Contains("cluster_slots_ok:16384")
                && (string)(await server.CallAsync("INFO", "replication"))! is var said && (
                    said.Contains("role:slave") ? said.Contains("master_link_status:up") : said.Contains("connected_slaves:1")));
        }
    }

    /// <summary>Sets how long a server is silent before its replica takes its place.</summary>
    public Task SetNodeTimeoutAsync(TimeSpan timeout) => Task.WhenAll(_servers.Select(
        server => server.CallAsync("CONFIG", "SET", "cluster-node-timeout", $"{timeout.TotalMilliseconds}")));

    /// <summary>Deletes all keys.</summary>
    public Task FlushAsync() => Task.WhenAll(_servers.Select(async server =>
    {
        try
        {
            await server.CallAsync("FLUSHALL", "SYNC");
        }
        catch (Exception e) when (e is RedisErrorException or IOException)
        {
            // a replica is flushed by its primary
        }
    }));

    public async ValueTask DisposeAsync()
    {
        foreach (var server in _servers)
        {
            await server.DisposeAsync();
            if (server.Gate is { } gate)
                await gate.DisposeAsync();
        }
    }

    private async Task JoinAsync()
    {
        (int First, int Last)[] slots = [(0, 5460), (5461, 10922), (10923, 16383)];
        for (var i = 0; i < 3; i++)
            await _servers[i].CallAsync("CLUSTER", "ADDSLOTSRANGE", $"{slots[i].First}", $"{slots[i].Last}");
        for (var i = 1; i < 6; i++)
        {
            await _servers[i].CallAsync("CLUSTER", "SET-CONFIG-EPOCH", $"{i + 1}");
            await _servers[i].CallAsync(
                "CLUSTER", "MEET", "127.0.0.1", $"{_servers[0].Endpoint.Port}", $"{_servers[0].Gate?.BusPort ?? _servers[0].BusPort}");
        }

        await UntilAsync(async server => ((string)(await server.CallAsync("CLUSTER", "NODES"))!)
            .Split('\n', StringSplitOptions.RemoveEmptyEntries).Count(line => !line.Contains("handshake")) == 6);
        for (var i = 3; i < 6; i++)
            await _servers[i].CallAsync("CLUSTER", "REPLICATE", (string)(await _servers[i - 3].CallAsync("CLUSTER", "MYID"))!);
        await UntilAsync(async server => ((string)(await server.CallAsync("CLUSTER", "INFO"))!).Contains("cluster_state:ok"));
        await UntilAsync(async server => (string)(await server.CallAsync("INFO", "replication"))! is var said && (
            said.Contains("role:slave") ? said.Contains("master_link_status:up") : said.Contains("connected_slaves:1")));
        await UntilAsync(async server => (await PortsOfSlotsAsync(server)).Distinct().Count() == 3);
    }

    private async Task UntilAsync(Func<RedisProcess, Task<bool>> holds)
    {
        var began = Stopwatch.GetTimestamp();
        foreach (var server in _servers)
        {
            while (!await holds(server))
            {
                if (Stopwatch.GetElapsedTime(began) > TimeSpan.FromMinutes(1))
                    throw new TimeoutException("The cluster did not come together within a minute.");
                await Task.Delay(50);
            }
        }
    }
}

/// <summary>The servers that all tests share, started once in each run: a single server and a cluster.</summary>
public sealed class RedisServers : IAsyncLifetime
{
    private RedisProcess? _alone;
    private RedisClusterProcesses? _cluster;

    internal RedisProcess Alone => _alone!;

    internal RedisClusterProcesses Cluster => _cluster!;

    public async Task InitializeAsync()
    {
        _alone = await RedisProcess.StartAsync();
        _cluster = await RedisClusterProcesses.StartAsync();
    }

    public async Task DisposeAsync()
    {
        if (_alone is not null)
            await _alone.DisposeAsync();
        if (_cluster is not null)
            await _cluster.DisposeAsync();
    }
}

/// <summary>A cluster for tests that break it.</summary>
public abstract class FragileCluster(bool hasGates, TimeSpan nodeTimeout) : IAsyncLifetime
{
    private RedisClusterProcesses? _cluster;

    internal RedisClusterProcesses Cluster => _cluster!;

    public async Task InitializeAsync() => _cluster = await RedisClusterProcesses.StartFragileAsync(hasGates, nodeTimeout);

    public async Task DisposeAsync()
    {
        if (_cluster is not null)
            await _cluster.DisposeAsync();
    }
}

/// <summary>A cluster whose servers fail. Replicas take over only where a test shortens the timeout.</summary>
public sealed class FaultyCluster() : FragileCluster(hasGates: false, RedisClusterProcesses.LongTimeout);

/// <summary>A cluster whose servers can be separated from one another.</summary>
public sealed class GatedCluster() : FragileCluster(hasGates: true, RedisClusterProcesses.ShortTimeout);

/// <summary>
/// Tests that use <see cref="FaultyCluster"/>. They run one after the other, beside those of <see cref="RedisCollection"/>, since they
/// mostly wait.
/// </summary>
[CollectionDefinition(Name)]
public sealed class FaultCollection : ICollectionFixture<FaultyCluster>
{
    public const string Name = "faults";
}

/// <summary>Tests that use <see cref="RedisServers"/>. They run one after the other, since each begins with empty servers.</summary>
[CollectionDefinition(Name)]
public sealed class RedisCollection : ICollectionFixture<RedisServers>
{
    public const string Name = "redis";
}

/// <summary>A second collection with its own servers. Both collections take about equally long.</summary>
[CollectionDefinition(Name)]
public sealed class NodeCollection : ICollectionFixture<RedisServers>
{
    public const string Name = "nodes";
}
