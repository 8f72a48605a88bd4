using Aglow.Model;
using Aglow.Storage;
using StackExchange.Redis;

namespace Aglow.Redis.Connections;

/// <summary>The time that all nodes share: the time of the primaries' clocks.</summary>
internal static class RedisTime
{
    /// <summary>
    /// The median of the primaries' clocks in seconds since 2020, and the timestamp of <paramref name="time"/> at which it was read.
    /// </summary>
    public static async Task<(double Seconds, long Stamp)> ReadAsync(
        ConnectionMultiplexer redis, IReadOnlyList<RedisShard> shards, TimeProvider time)
    {
        var reads = shards.Select(shard => ReadAsync(redis, shard, time)).ToArray();
        var ahead = new List<double>();
        StoreUnavailableException? away = null;
        foreach (var read in reads)
        {
            try
            {
                ahead.Add(await read);
            }
            catch (StoreUnavailableException failure)
            {
                away = failure;
            }
        }

        if (ahead.Count == 0)
            throw away!;
        ahead.Sort();
        var stamp = time.GetTimestamp();
        return (ahead[ahead.Count / 2] + (stamp / (double)time.TimestampFrequency), stamp);
    }

    private static async Task<double> ReadAsync(ConnectionMultiplexer redis, RedisShard shard, TimeProvider time)
    {
        try
        {
            var sent = time.GetTimestamp();
            var now = await redis.GetServer(shard.Endpoint).TimeAsync();
            var received = time.GetTimestamp();
            return (now - DateTime.UnixEpoch).TotalSeconds - Pulse.EpochUnixSeconds - ((sent + received) / 2.0 / time.TimestampFrequency);
        }
        catch (Exception failure) when (RedisFaults.IsOfRedis(failure) || failure is ArgumentException)
        {
            throw new StoreUnavailableException($"Redis at {shard.Name} does not tell the time: {failure.Message}", failure);
        }
    }
}
