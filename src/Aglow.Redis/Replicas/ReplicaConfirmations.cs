using System.Collections.Concurrent;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Redis.Connections;
using Aglow.Storage;
using StackExchange.Redis;

namespace Aglow.Redis.Replicas;

/// <summary>Waits until a replica has what was written to a primary, so that a failover does not undo what was acknowledged.</summary>
/// <remarks>
/// <code>
///   LeaveAsync ─► the word, on the connection of all words ─► answered ─► ConfirmAsync ─► a round of its shard ─► acknowledged
///   round:  SETBIT {p:PAGE}:probe, WAIT 1 1000        on a separate connection, one round for each shard at a time;
///                                                     callers that come meanwhile share the next round
/// </code>
/// Replication is one stream. A replica that has the round's own small write therefore has all earlier writes, from any connection.
/// <c>WAIT</c> blocks commands behind it, so it has its own connection.
///
/// A shard without a replica in step acknowledges alone (<see cref="ShardReplicas"/>). If a replica is in step but does not confirm within
/// a second, the call fails. The word stays written, and the caller sends it again.
///
/// Rejected: <c>WAIT</c> for each leave (at most a thousand per second), and <c>min-replicas-to-write</c>, which also refuses heartbeats.
/// </remarks>
internal sealed class ReplicaConfirmations(
    ConnectionMultiplexer connection, RedisCluster cluster, bool ofArrivals, TimeProvider time, RedisLog log) : IAsyncDisposable
{
    // A write takes at most two timeouts. If its slot moved to another server since it began, that server may not have the write.
    private static readonly TimeSpan WriteTakes = (2 * RedisCluster.Timeout) + TimeSpan.FromSeconds(1);

    private readonly ConcurrentDictionary<RedisShard, ShardReplicas> _shards = new();
    private long _confirmed;
    private long _alone;
    private long _unconfirmed;

    /// <summary>Completes when replicas have all earlier writes of these users.</summary>
    /// <exception cref="StoreUnavailableException">A replica that is in step did not confirm it.</exception>
    public ValueTask ConfirmAsync(ReadOnlySpan<uint> users, bool isLeave)
    {
        if (users.IsEmpty || (!isLeave && !ofArrivals))
            return default;
        var pages = new Dictionary<ShardReplicas, int>();
        foreach (var user in users)
        {
            if (user != UserId.Nobody)
                pages[ShardOf(user, out var page)] = page;
        }

        if (pages.Count == 0)
            return default;
        return CountAsync([.. pages.Select(static one => one.Key.JoinAsync(one.Value))], users.Length);
    }

    public void Observe(AglowMetrics metrics)
    {
        metrics.Count("aglow.redis.facts.confirmed", "Leaves and arrivals that a replica confirmed.", () => Volatile.Read(ref _confirmed));
        metrics.Count(
            "aglow.redis.facts.alone",
            "Leaves and arrivals acknowledged by one server, since no replica was in step.",
            () => Volatile.Read(ref _alone));
        metrics.Count(
            "aglow.redis.facts.unconfirmed",
            "Leaves and arrivals that no replica confirmed in time: 503.",
            () => Volatile.Read(ref _unconfirmed));
    }

    public ValueTask DisposeAsync() => connection.DisposeAsync();

    private ShardReplicas ShardOf(uint user, out int page)
    {
        page = PageLayout.Page(user);
        var slot = RedisKeys.SlotOf(page);
        if (cluster.Map.HasMovedWithin(slot, WriteTakes))
        {
            Interlocked.Increment(ref _unconfirmed);
            throw new StoreUnavailableException("These users just moved to another Redis server, which may not have this write.");
        }

        return _shards.GetOrAdd(cluster.Map[slot], shard => new ShardReplicas(connection, cluster, shard, time, log));
    }

    private async ValueTask CountAsync(Task<Confirmation>[] rounds, int users)
    {
        // the worst result counts for all users
        switch ((await Task.WhenAll(rounds)).Max())
        {
            case Confirmation.Confirmed:
                Interlocked.Add(ref _confirmed, users);
                return;
            case Confirmation.Alone:
                Interlocked.Add(ref _alone, users);
                return;
            default:
                Interlocked.Add(ref _unconfirmed, users);
                throw new StoreUnavailableException(
                    "Redis stored this, but no replica confirmed it: it may be lost if a server fails now.");
        }
    }
}

/// <summary>The result of a round.</summary>
internal enum Confirmation
{
    /// <summary>A replica has it.</summary>
    Confirmed,

    /// <summary>No replica is in step: only the primary has it.</summary>
    Alone,

    /// <summary>A replica is in step and did not confirm it, or the primary did not answer.</summary>
    None,
}
