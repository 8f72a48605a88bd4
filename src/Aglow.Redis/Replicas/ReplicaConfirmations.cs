using System.Collections.Concurrent;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Storage;
using StackExchange.Redis;

namespace Aglow.Redis.Replicas;

/// <summary>Waits until a replica has what a primary was told, so that a failover does not undo what was acknowledged.</summary>
/// <remarks>
/// <code>
///   LeaveAsync ─► the word, on the connection of all words ─► answered ─► ConfirmAsync ─► a round of its shard ─► acknowledged
///   round:  SETBIT {p:PAGE}:probe, WAIT 1 1000        on a connection of its own, one round a shard at a time; all who came meanwhile
///                                                     share the next one
/// </code>
/// Replication is one stream: a replica that has the round's own small write has everything before it, whichever connection wrote that.
/// <c>WAIT</c> holds up all that is sent behind it, so it has a connection of its own.
/// A shard without a replica in step acknowledges alone (<see cref="ShardReplicas"/>). A replica that is in step and does not confirm
/// within a second fails the call: the word stands, and the caller sends it again.
/// Rejected: <c>WAIT</c> for each leave (a thousand a second at most), and <c>min-replicas-to-write</c>, which refuses heartbeats, too.
/// Threading: any thread; a lock for as long as it takes to join a round.
/// </remarks>
internal sealed class ReplicaConfirmations : IAsyncDisposable
{
    // A write takes two timeouts at most. If its slot went to another server since it began, that one may not have it.
    private static readonly TimeSpan WriteTakes = (2 * RedisCluster.Timeout) + TimeSpan.FromSeconds(1);

    private readonly ConnectionMultiplexer _connection;
    private readonly RedisCluster _cluster;
    private readonly TimeProvider _time;
    private readonly RedisLog _log;
    private readonly ReplicaWait _waitFor;
    private readonly ConcurrentDictionary<RedisShard, ShardReplicas> _shards = new();
    private long _confirmed;
    private long _alone;
    private long _unconfirmed;

    private ReplicaConfirmations(
        ConnectionMultiplexer connection, RedisCluster cluster, ReplicaWait waitFor, TimeProvider time, RedisLog log)
    {
        _connection = connection;
        _cluster = cluster;
        _waitFor = waitFor;
        _time = time;
        _log = log;
    }

    /// <summary>Connects; null where nothing waits for replicas.</summary>
    /// <exception cref="StoreUnavailableException">No server can be used; the message is one line.</exception>
    public static async Task<ReplicaConfirmations?> OpenAsync(
        ConfigurationOptions options, RedisCluster cluster, ReplicaWait waitFor, TimeProvider time, RedisLog log) =>
        waitFor == ReplicaWait.Off
            ? null
            : new ReplicaConfirmations(await RedisConnections.ConnectAsync(options, time), cluster, waitFor, time, log);

    /// <summary>Completes when replicas have what their primaries were told of these users before.</summary>
    /// <exception cref="StoreUnavailableException">A replica that is in step did not confirm it.</exception>
    public ValueTask ConfirmAsync(ReadOnlySpan<uint> users, bool isLeave)
    {
        if (users.IsEmpty || (!isLeave && _waitFor != ReplicaWait.All))
            return default;
        var first = ShardOf(users[0], out var page);
        List<(ShardReplicas Shard, int Page)>? others = null;
        foreach (var user in users[1..])
        {
            var shard = ShardOf(user, out var other);
            if (shard != first && others?.Exists(one => one.Shard == shard) != true)
                (others ??= []).Add((shard, other));
        }

        return others is null
            ? CountAsync(first.JoinAsync(page), users.Length)
            : CountAsync([first.JoinAsync(page), .. others.Select(static other => other.Shard.JoinAsync(other.Page))], users.Length);
    }

    /// <summary>Adds its metrics.</summary>
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

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _connection.DisposeAsync();

    private ShardReplicas ShardOf(uint user, out int page)
    {
        page = PageLayout.Page(user);
        var slot = RedisKeys.SlotOf(page);
        if (_cluster.Map.HasMovedWithin(slot, WriteTakes))
        {
            Interlocked.Increment(ref _unconfirmed);
            throw new StoreUnavailableException("Another Redis server has these users since a moment ago, and may not have this.");
        }

        return _shards.GetOrAdd(_cluster.Map[slot], shard => new ShardReplicas(_connection, _cluster, shard, _time, _log));
    }

    private async ValueTask CountAsync(Task<Confirmation> round, int users) => Count(await round, users);

    private async ValueTask CountAsync(Task<Confirmation>[] rounds, int users)
    {
        // the worst of them counts for all
        Count((await Task.WhenAll(rounds)).Max(), users);
    }

    private void Count(Confirmation outcome, int users)
    {
        switch (outcome)
        {
            case Confirmation.Confirmed:
                Interlocked.Add(ref _confirmed, users);
                return;
            case Confirmation.Alone:
                Interlocked.Add(ref _alone, users);
                return;
            default:
                Interlocked.Add(ref _unconfirmed, users);
                throw new StoreUnavailableException("Redis has this, and no replica confirms it: it may be lost if a server fails now.");
        }
    }
}

/// <summary>What became of a round.</summary>
internal enum Confirmation
{
    /// <summary>A replica has it.</summary>
    Confirmed,

    /// <summary>No replica is in step: the primary has it, alone.</summary>
    Alone,

    /// <summary>A replica is in step and did not confirm it, or the primary did not answer.</summary>
    None,
}
