using Aglow.Benchmarks.Nodes;

namespace Aglow.Benchmarks.Faults;

/// <summary>A node that comes back at the same address after it ended, with a log of all its lives.</summary>
internal sealed class FaultyNode : IDisposable
{
    private readonly ClusterServers _cluster;
    private readonly string _log;
    private readonly string[] _flags;
    private NodeProcess _node;

    private FaultyNode(ClusterServers cluster, string log, string[] flags, NodeProcess node) =>
        (_cluster, _log, _flags, _node) = (cluster, log, flags, node);

    public string Url => $"http://127.0.0.1:{_node.Port}";

    public static async Task<FaultyNode> StartAsync(ClusterServers cluster, string log, string[] flags)
    {
        File.Delete(log);
        return new FaultyNode(cluster, log, flags, await NodeProcess.StartAsync(cluster, Programs.FreePort(), log, flags));
    }

    /// <summary>Kills or stops the process, and starts it again after some seconds.</summary>
    public async Task EndAsync(bool isKilled, double seconds)
    {
        var port = _node.Port;
        if (isKilled)
            _node.Kill();
        else
            await _node.StopAsync();
        await Task.Delay(TimeSpan.FromSeconds(seconds));
        _node = await NodeProcess.StartAsync(_cluster, port, _log, _flags);
    }

    /// <summary>Pauses the process.</summary>
    public async Task PauseAsync(double seconds)
    {
        _node.Pause(true);
        await Task.Delay(TimeSpan.FromSeconds(seconds));
        _node.Pause(false);
    }

    public void Dispose() => _node.Dispose();
}
