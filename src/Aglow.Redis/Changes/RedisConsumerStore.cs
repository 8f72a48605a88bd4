using Aglow.Changes;
using Aglow.Redis.Connections;
using StackExchange.Redis;

namespace Aglow.Redis.Changes;

/// <summary>Consumers' documents in Redis: one hash for each kind of key. The kind is the part of the key before the colon.</summary>
/// <remarks>Documents are as durable as Redis is. Threading: any thread.</remarks>
internal sealed class RedisConsumerStore(RedisCluster cluster) : IConsumerStore
{
    // compare and set: a document is replaced only if it is still the one that the writer read
    private const string Script = """
        if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
        if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
        return 1
        """;

    public async ValueTask<IReadOnlyDictionary<string, string>> ReadAsync(string prefix)
    {
        var (rows, _) = await cluster.SendAsync(
            RedisKeys.ChangesSlot,
            (RedisKey)RedisKeys.Consumers(KindOf(prefix)),
            static (redis, key, flags) => redis.HashGetAllAsync(key, flags),
            RedisCommandKind.LongRead);
        return rows.Where(row => ((string)row.Name!).StartsWith(prefix, StringComparison.Ordinal))
            .OrderBy(static row => (string)row.Name!, StringComparer.Ordinal)
            .ToDictionary(static row => (string)row.Name!, static row => (string)row.Value!, StringComparer.Ordinal);
    }

    public async ValueTask WriteAsync(string key, string? json)
    {
        var row = (Hash: (RedisKey)RedisKeys.Consumers(KindOf(key)), key, json);
        await cluster.SendAsync(
            RedisKeys.ChangesSlot,
            row,
            static (redis, row, flags) => row.json is null
                ? redis.HashDeleteAsync(row.Hash, row.key, flags)
                : redis.HashSetAsync(row.Hash, row.key, row.json, flags: flags),
            json is null ? RedisCommandKind.Script : RedisCommandKind.Write);
    }

    public async ValueTask<bool> ReplaceAsync(string key, string? before, string? json) => (long)await cluster.RunScriptAsync(
        RedisKeys.ChangesSlot, Script, [RedisKeys.Consumers(KindOf(key))], key, before ?? "", json ?? "") == 1;

    public ValueTask DisposeAsync() => default;

    private static string KindOf(string key) => key[..key.IndexOf(':', StringComparison.Ordinal)];
}
