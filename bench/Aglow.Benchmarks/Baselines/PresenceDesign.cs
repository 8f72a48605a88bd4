using Aglow.AspNetCore.Access;

namespace Aglow.Benchmarks.Baselines;

/// <summary>What a reader is told of one user.</summary>
/// <param name="IsOnline">Whether the design says that the user is online.</param>
/// <param name="LastSeen">Seconds since 1970; 0 where the design does not know (any more).</param>
internal readonly record struct Seen(bool IsOnline, long LastSeen);

/// <summary>
/// A way of keeping who is online: the designs that people start from, in this folder, and Aglow's own stores, beside them in <c>Stores/</c>.
/// </summary>
/// <remarks>
/// <code>
///   BooleanRow     is_online                          SQL       set at login, cleared at logout
///   HeartbeatRow   last_heartbeat                     SQL       an upsert a heartbeat, online = younger than the lease
///   ExpiringRow    last_heartbeat, and an index       SQL       the same, and a job that deletes old rows
///   RedisKey       SET hb:ID now EX lease             Redis     online = the key is there
///   DynamoItem     user_id, last_heartbeat, ttl       DynamoDB  online = the item is there and its ttl is not over
/// </code>
/// None of them is used by the product; they are what its figures are held against. Each is written as its manual advises, and tuned: batches where the
/// store has them, statements prepared, connections kept, nobody waiting for the disk at a heartbeat (Aglow does not wait either). Numbers 0 to N - 1 are users.
/// </remarks>
internal abstract class PresenceDesign : IAsyncDisposable
{
    /// <summary>The lease unless told otherwise.</summary>
    public static readonly TimeSpan DefaultLease = TimeSpan.FromSeconds(30);

    /// <summary>What it is called in tables: the design, and where it is kept.</summary>
    public abstract string Name { get; }

    /// <summary>How many callers it is driven by at once. 1 where it runs in this process: more would only wait for each other.</summary>
    public virtual int Callers => 8;

    /// <summary>How many users it can be given here.</summary>
    public virtual uint MostUsers => uint.MaxValue;

    /// <summary>CPU seconds so far of the process that keeps the state: the server, or this process.</summary>
    public abstract double CpuSeconds();

    /// <summary>Everybody below this number heartbeats once, in the fastest way the store has. Into an empty store.</summary>
    public abstract Task FillAsync(uint users);

    /// <summary>One user's heartbeat.</summary>
    public abstract ValueTask HeartbeatAsync(uint user);

    /// <summary>Heartbeats of many (each named once) in one go.</summary>
    public abstract ValueTask HeartbeatAsync(ReadOnlyMemory<uint> users);

    /// <summary>The user says goodbye.</summary>
    public abstract ValueTask LeaveAsync(uint user);

    /// <summary>Who is online, in the order asked.</summary>
    public abstract ValueTask ReadAsync(ReadOnlyMemory<uint> users, Memory<Seen> seen);

    /// <summary>Rows, keys, items or words that are kept.</summary>
    public abstract Task<long> CountAsync();

    /// <summary>Bytes that they take, of memory or of disk (<see cref="BytesAre"/>); with indexes and what updates left behind.</summary>
    public abstract Task<long> BytesAsync();

    /// <summary>What the bytes are of.</summary>
    public abstract string BytesAre { get; }

    /// <summary>Ends what is its own; servers are closed by who started them.</summary>
    public abstract ValueTask DisposeAsync();

    /// <summary>Now, in seconds since 1970.</summary>
    protected static long Now => DateTimeOffset.UtcNow.ToUnixTimeSeconds();

    /// <summary>Everybody below this number heartbeats once, so many in one go.</summary>
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
