namespace Aglow.Redis;

/// <summary>How a node uses the Redis that it shares with other nodes.</summary>
public sealed record RedisStoreOptions
{
    /// <summary>Whether this node overwrites settings of other nodes that differ from its own. Otherwise it does not start.</summary>
    public bool AdoptsSettings { get; init; }

    /// <summary>Whether servers may delete words when their memory is full. Otherwise the node does not start with such servers.</summary>
    public bool AllowsEviction { get; init; }

    /// <summary>
    /// What waits for a replica before it is acknowledged. Leaves by default: they are rare, and nothing repeats them. The next heartbeat
    /// replaces an arrival that is lost.
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

    /// <summary>Leaves, deletions, and heartbeats that bring users online.</summary>
    All,
}
