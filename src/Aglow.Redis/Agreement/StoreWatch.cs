using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Redis.Connections;
using Aglow.Storage;
using Aglow.Users;
using StackExchange.Redis;

namespace Aglow.Redis.Agreement;

/// <summary>
/// Checks a shared Redis at start and then every 5 s: its nodes must agree on their settings, and its servers must not delete words when
/// their memory is full. A user whose word is deleted would be offline and never seen.
/// </summary>
/// <remarks>
/// <c>INFO memory</c> shows the policy even where <c>CONFIG</c> is not allowed. Only <c>allkeys-…</c> deletes words: <c>volatile-…</c>
/// deletes only keys that expire, and words do not expire. Replicas are checked too, since each may become a primary. A server that does
/// not show its policy is trusted.
/// </remarks>
internal sealed class StoreWatch(RedisCluster cluster, AglowOptions options, IUserDirectory? directory, TimeProvider time, RedisLog log)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);

    private readonly NodeAgreement _nodes = new(cluster, options, directory, time, log);
    private string _loggedEvicting = "";
    private volatile int _evicting;

    /// <summary>Refuses a store that fails a check.</summary>
    /// <exception cref="StoreUnavailableException">The message is one line that says what to do.</exception>
    public async Task EnterAsync(bool allowsEviction, bool adoptsSettings, string where)
    {
        var evicting = await ReadEvictingAsync();
        if (evicting.Length > 0 && !allowsEviction)
            throw new StoreUnavailableException(
                $"Redis at {evicting[0].Server} has maxmemory-policy {evicting[0].Policy}, so it deletes online users when its memory is "
                + "full: set noeviction there, or start this node with --allow-eviction.");
        Note(evicting);
        await _nodes.EnterAsync(adoptsSettings, where);
    }

    /// <summary>Repeats the checks until it is stopped. Never throws.</summary>
    public Task RunAsync(AglowLog failures, CancellationToken stop) =>
        BackgroundLoop.RunAsync("store rules", Interval, time, failures, CheckAsync, stop);

    public void Observe(AglowMetrics metrics)
    {
        metrics.Gauge(
            "aglow.settings.apart", "1 while other nodes that share the store have other settings.", () => _nodes.IsApart ? 1 : 0);
        metrics.Gauge("aglow.redis.servers.evicting", "Redis servers that delete words when their memory is full.", () => _evicting);
    }

    private async ValueTask CheckAsync()
    {
        try
        {
            Note(await ReadEvictingAsync());
            await _nodes.CheckAsync();
        }
        catch (StoreUnavailableException)
        {
            // the cluster logs outages itself
        }
    }

    private void Note((string Server, string Policy)[] evicting)
    {
        _evicting = evicting.Length;
        var now = string.Join(", ", evicting.Select(static one => $"{one.Server} ({one.Policy})"));
        if (now == _loggedEvicting)
            return;
        _loggedEvicting = now;
        if (evicting.Length > 0)
            log.Evicts(now);
        else
            log.EvictsNoMore();
    }

    private async Task<(string Server, string Policy)[]> ReadEvictingAsync()
    {
        var found = await Task.WhenAll(cluster.Commands.GetServers().Where(static s => s.IsConnected).Select(ReadPolicyAsync));
        return [
            .. found
                .Where(static one => one.Policy.StartsWith("allkeys-", StringComparison.Ordinal))
                .OrderBy(static one => one.Server, StringComparer.Ordinal),
        ];
    }

    private static async Task<(string Server, string Policy)> ReadPolicyAsync(IServer server)
    {
        var policy = "";
        try
        {
            policy = (await server.InfoAsync("memory")).SelectMany(static section => section)
                .FirstOrDefault(static entry => entry.Key == "maxmemory_policy").Value ?? "";
        }
        catch (Exception failure) when (RedisFaults.IsOfRedis(failure))
        {
            // it does not show its policy
        }

        return (ServerNames.Of(server.EndPoint), policy);
    }
}
