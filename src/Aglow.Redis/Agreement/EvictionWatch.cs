using Aglow.Redis.Connections;
using Aglow.Storage;
using StackExchange.Redis;

namespace Aglow.Redis.Agreement;

/// <summary>
/// Finds servers that delete words when their memory is full. A user whose word is deleted would be offline and never seen.
/// </summary>
/// <remarks>
/// <c>INFO memory</c> shows the policy even where <c>CONFIG</c> is not allowed. Only <c>allkeys-…</c> deletes words: <c>volatile-…</c>
/// deletes only keys that expire, and words do not expire. Replicas are checked too, since each may become a primary. A server that does
/// not show its policy is trusted.
/// </remarks>
internal sealed class EvictionWatch(RedisCluster cluster, RedisLog log)
{
    private const string Policy = "maxmemory_policy:";
    private const string OfAllKeys = "allkeys-";

    private string _said = "";
    private volatile int _evicting;

    /// <summary>Servers that may delete words.</summary>
    public int Evicting => _evicting;

    /// <summary>Refuses a store that may delete words, unless that is allowed.</summary>
    /// <exception cref="StoreUnavailableException">The store may delete words; the message is one line.</exception>
    public async Task EnterAsync(bool isAllowed)
    {
        var evicting = await ReadAsync();
        if (evicting.Count > 0 && !isAllowed)
            throw new StoreUnavailableException(
                $"Redis at {evicting[0].Server} has maxmemory-policy {evicting[0].Policy}, so it deletes online users when its memory is "
                + "full: set noeviction there, or start this node with --allow-eviction.");
        Note(evicting);
    }

    /// <summary>Checks the servers again. Called every few seconds.</summary>
    public async Task LookAsync() => Note(await ReadAsync());

    private void Note(IReadOnlyList<(string Server, string Policy)> evicting)
    {
        _evicting = evicting.Count;
        var now = string.Join(", ", evicting.Select(static one => $"{one.Server} ({one.Policy})"));
        if (now == _said)
            return;
        _said = now;
        if (evicting.Count > 0)
            log.Evicts(now);
        else
            log.EvictsNoMore();
    }

    private async Task<IReadOnlyList<(string Server, string Policy)>> ReadAsync()
    {
        var found = await Task.WhenAll(cluster.Commands.GetServers().Where(static s => s.IsConnected).Select(ReadAsync));
        return [
            .. found
                .Where(static one => one.Policy.StartsWith(OfAllKeys, StringComparison.Ordinal))
                .OrderBy(static one => one.Server, StringComparer.Ordinal),
        ];
    }

    private static async Task<(string Server, string Policy)> ReadAsync(IServer server)
    {
        try
        {
            var lines = (await server.InfoRawAsync("memory"))?.Split('\n', StringSplitOptions.TrimEntries) ?? [];
            var line = Array.Find(lines, static line => line.StartsWith(Policy, StringComparison.Ordinal));
            return (ServerNames.Of(server.EndPoint), line?[Policy.Length..] ?? "");
        }
        catch (Exception failure) when (RedisFaults.IsOfRedis(failure))
        {
            return (ServerNames.Of(server.EndPoint), "");
        }
    }
}
