using Aglow.Storage;

namespace Aglow.Redis.Connections;

/// <summary>Counts failed commands, and changes of what can be reached. Creates the exceptions that callers get.</summary>
/// <remarks>Threading: any thread, no lock.</remarks>
internal sealed class RedisOutages(RedisLog log)
{
    private long _failures;
    private long _changes;

    /// <summary>Commands that failed.</summary>
    public long Failures => Volatile.Read(ref _failures);

    /// <summary>A number that changes when a slot goes away, comes back or moves to another server.</summary>
    public long Changes => Volatile.Read(ref _changes);

    /// <summary>Why a server takes no writes.</summary>
    public static string RefusalOf(RedisShard shard) => $"Redis at {shard.Name} takes no writes: {shard.Refusal}";

    /// <summary>Counts a change, such as a slot that has moved.</summary>
    public void Changed() => Interlocked.Increment(ref _changes);

    /// <summary>Notes whether a shard has gone away or is back.</summary>
    public void Note(RedisShard shard)
    {
        if (shard.HasChanged())
            Changed();
    }

    /// <summary>Notes that a shard has answered.</summary>
    public void Worked(RedisShard shard, long sentAt, bool isWrite)
    {
        if (shard.Worked(sentAt, isWrite) is { Ticks: > 0 } away)
            log.Back(shard.Name, away.TotalSeconds);
    }

    /// <summary>The failure of a command to a shard that is away. The change is counted before any caller receives the failure.</summary>
    public StoreUnavailableException Away(RedisShard shard)
    {
        Note(shard);
        return Failed($"Redis at {shard.Name} is away{(shard.Reason is { Length: > 0 } reason ? $": {reason}" : "")}.");
    }

    /// <summary>The failure of a command.</summary>
    public StoreUnavailableException Failed(string why)
    {
        Interlocked.Increment(ref _failures);
        return new StoreUnavailableException(why);
    }
}
