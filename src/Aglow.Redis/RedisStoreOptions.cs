namespace Aglow.Redis;

/// <summary>How a node uses the Redis that it shares with other nodes.</summary>
public sealed record RedisStoreOptions
{
    /// <summary>Whether this node's settings are given to all nodes, where they have others. Otherwise it does not start.</summary>
    public bool AdoptsSettings { get; init; }

    /// <summary>Whether the servers may delete words when their memory is full. Otherwise a node does not start on them.</summary>
    public bool AllowsEviction { get; init; }

    /// <summary>
    /// What waits for a replica before it is acknowledged. Leaves by default: they are rare, and nothing repeats them. An arrival that is
    /// lost is made good by the next heartbeat.
    /// </summary>
    public ReplicaWait ReplicaWait { get; init; } = ReplicaWait.Leaves;
}

/// <summary>What waits for a replica before it is acknowledged.</summary>
public enum ReplicaWait
{
    /// <summary>Nothing: a failover may undo what was acknowledged just before.</summary>
    Off,

    /// <summary>Leaves and deletions.</summary>
    Leaves,

    /// <summary>Heartbeats that bring users online, too.</summary>
    All,
}
