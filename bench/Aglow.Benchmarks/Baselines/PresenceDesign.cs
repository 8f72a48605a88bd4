using Aglow.AspNetCore.Access;

namespace Aglow.Benchmarks.Baselines;

/// <summary>What a reader is told of one user.</summary>
/// <param name="IsOnline">Whether the design says that the user is online.</param>
/// <param name="LastSeen">Seconds since 1970; 0 where the design does not know (any more).</param>
internal readonly record struct Seen(bool IsOnline, long LastSeen);

/// <summary>
/// A way to store who is online: common designs in this folder, and Aglow's own stores in <c>Stores/</c>.
/// </summary>
/// <remarks>
/// <code>
///   BooleanRow     is_online                          SQL       set at login, cleared at logout
///   HeartbeatRow   last_heartbeat                     SQL       an upsert a heartbeat, online = younger than the lease
///   ExpiringRow    last_heartbeat, and an index       SQL       the same, and a job that deletes old rows
///   RedisKey       SET hb:ID now EX lease             Redis     online = the key is there
///   DynamoItem     user_id, last_heartbeat, ttl       DynamoDB  online = the item is there and its ttl is not over
/// </code>
/// The product uses none of them; its figures are compared with theirs. Each is written as its manual advises, and tuned: batches if the
/// store has them, statements prepared, connections kept, nobody waiting for the disk at a heartbeat (Aglow does not wait either). Numbers
/// 0 to N - 1 are users.
/// </remarks>
internal abstract class PresenceDesign : IAsyncDisposable
{
    /// <summary>The lease unless told otherwise.</summary>
    public static readonly TimeSpan DefaultLease = TimeSpan.FromSeconds(30);

    /// <summary>Its name in tables: the design and the store.</summary>
    public abstract string Name { get; }

    /// <summary>How many callers use it at once. 1 if it runs in this process, because more would only wait for each other.</summary>
    public virtual int Callers => 8;

    /// <summary>The most users that fit here.</summary>
    public virtual uint MostUsers => uint.MaxValue;

    /// <summary>CPU seconds so far of the process that keeps the state: the server, or this process.</summary>
    public abstract double CpuSeconds();

    /// <summary>One heartbeat of every user below this number, in the fastest way, into an empty store.</summary>
    public abstract Task FillAsync(uint users);

    /// <summary>One user's heartbeat.</summary>
    public abstract ValueTask HeartbeatAsync(uint user);

    /// <summary>Heartbeats of many (each named once) in one go.</summary>
    public abstract ValueTask HeartbeatAsync(ReadOnlyMemory<uint> users);

    /// <summary>The user leaves.</summary>
    public abstract ValueTask LeaveAsync(uint user);

    /// <summary>Who is online, in the order asked.</summary>
    public abstract ValueTask ReadAsync(ReadOnlyMemory<uint> users, Memory<Seen> seen);

    /// <summary>How many rows, keys, items or words it stores.</summary>
    public abstract Task<long> CountAsync();

    /// <summary>Bytes of memory or disk (<see cref="BytesAre"/>), with indexes and the remains of updates.</summary>
    public abstract Task<long> BytesAsync();

    /// <summary>Whether the bytes are of memory or of disk.</summary>
    public abstract string BytesAre { get; }

    /// <summary>Frees its own resources; the starter of a server closes it.</summary>
    public abstract ValueTask DisposeAsync();

    /// <summary>Now, in seconds since 1970.</summary>
    protected static long Now => DateTimeOffset.UtcNow.ToUnixTimeSeconds();

    /// <summary>One heartbeat of every user below this number, this many at a time.</summary>
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
