namespace Aglow.Benchmarks.Baselines;

/// <summary>The status of one user, as a reader gets it.</summary>
/// <param name="IsOnline">Whether the user is online by this design.</param>
/// <param name="LastSeen">Seconds since 1970; 0 if the design does not know it, or no longer.</param>
internal readonly record struct Seen(bool IsOnline, long LastSeen);

/// <summary>
/// A way to store online users. This folder has the common designs; <c>Stores/</c> has Aglow's own stores.
/// </summary>
/// <remarks>
/// <code>
///   BooleanRow     is_online                          SQL       set at login, cleared at logout
///   HeartbeatRow   last_heartbeat                     SQL       an upsert per heartbeat; online = younger than the lease
///   ExpiringRow    last_heartbeat, and an index       SQL       the same, and a job that deletes old rows
///   RedisKey       SET hb:ID now EX lease             Redis     online = the key exists
///   DynamoItem     user_id, last_heartbeat, ttl       DynamoDB  online = the item exists and its ttl has not passed
/// </code>
/// The product uses none of them; its figures are compared with theirs. Each is written as its manual advises, and tuned: with batches if
/// the store has them, prepared statements and kept connections. No heartbeat waits for the disk, because Aglow does not wait either. The
/// numbers 0 to N - 1 are users.
/// </remarks>
internal abstract class PresenceDesign : IAsyncDisposable
{
    /// <summary>The lease, unless a benchmark sets another one.</summary>
    public static readonly TimeSpan DefaultLease = TimeSpan.FromSeconds(30);

    /// <summary>The name in tables: the design and the store.</summary>
    public abstract string Name { get; }

    /// <summary>The number of parallel callers. 1 for a design in this process, because more would only wait for each other.</summary>
    public virtual int Callers => 8;

    /// <summary>The most users that fit into the store.</summary>
    public virtual uint MostUsers => uint.MaxValue;

    /// <summary>CPU seconds so far of the process with the state: the server, or this process.</summary>
    public abstract double CpuSeconds();

    /// <summary>Writes one heartbeat of every user below this number, in the fastest way, into an empty store.</summary>
    public abstract Task FillAsync(uint users);

    /// <summary>Writes one user's heartbeat.</summary>
    public abstract ValueTask HeartbeatAsync(uint user);

    /// <summary>Writes heartbeats of many users in one call; each user occurs once.</summary>
    public abstract ValueTask HeartbeatAsync(ReadOnlyMemory<uint> users);

    /// <summary>The user leaves.</summary>
    public abstract ValueTask LeaveAsync(uint user);

    /// <summary>Reads the statuses of users, in their order.</summary>
    public abstract ValueTask ReadAsync(ReadOnlyMemory<uint> users, Memory<Seen> seen);

    /// <summary>The number of stored rows, keys, items or words.</summary>
    public abstract Task<long> CountAsync();

    /// <summary>Bytes of memory or disk (<see cref="BytesAre"/>), with indexes and the dead rows of updates.</summary>
    public abstract Task<long> BytesAsync();

    /// <summary>Whether the bytes are memory or disk.</summary>
    public virtual string BytesAre => "memory";

    /// <summary>Frees the design's own resources. The code that started a server closes it.</summary>
    public abstract ValueTask DisposeAsync();

    /// <summary>The current time in seconds since 1970.</summary>
    protected static long Now => DateTimeOffset.UtcNow.ToUnixTimeSeconds();

    /// <summary>Writes one heartbeat of every user below this number, in batches of this size.</summary>
    protected async Task HeartbeatAllAsync(uint users, int together)
    {
        var some = new uint[together];
        for (uint first = 0; first < users; first += (uint)some.Length)
        {
            var count = (int)Math.Min(some.Length, users - first);
            for (var i = 0; i < count; i++)
                some[i] = first + (uint)i;
            await HeartbeatAsync(some.AsMemory(0, count));
        }
    }
}
