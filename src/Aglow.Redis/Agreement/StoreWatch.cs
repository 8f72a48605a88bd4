using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Redis.Connections;
using Aglow.Storage;
using Aglow.Users;

namespace Aglow.Redis.Agreement;

/// <summary>
/// Checks a shared Redis at start and then every 5 s: its nodes must agree on their settings, and its servers must not delete words.
/// </summary>
internal sealed class StoreWatch(RedisCluster cluster, AglowOptions options, IUserDirectory? directory, TimeProvider time, RedisLog log)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);

    private readonly NodeAgreement _nodes = new(cluster, options, directory, time, log);
    private readonly EvictionWatch _eviction = new(cluster, log);

    /// <summary>Refuses a store that fails a check.</summary>
    /// <exception cref="StoreUnavailableException">The message is one line that says what to do.</exception>
    public async Task EnterAsync(bool allowsEviction, bool adoptsSettings, string where)
    {
        await _eviction.EnterAsync(allowsEviction);
        await _nodes.EnterAsync(adoptsSettings, where);
    }

    /// <summary>Repeats the checks until it is stopped. Never throws.</summary>
    public Task RunAsync(AglowLog failures, CancellationToken stop) =>
        BackgroundLoop.RunAsync("store rules", Interval, time, failures, LookAsync, stop);

    /// <summary>Adds its metrics.</summary>
    public void Observe(AglowMetrics metrics)
    {
        metrics.Gauge(
            "aglow.settings.apart", "1 while other nodes that share the store have other settings.", () => _nodes.IsApart ? 1 : 0);
        metrics.Gauge(
            "aglow.redis.servers.evicting", "Redis servers that delete words when their memory is full.", () => _eviction.Evicting);
    }

    private async ValueTask LookAsync()
    {
        try
        {
            await _eviction.LookAsync();
            await _nodes.LookAsync();
        }
        catch (StoreUnavailableException)
        {
            // the cluster logs outages itself
        }
    }
}
