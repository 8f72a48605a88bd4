using StackExchange.Redis;

namespace Aglow.Benchmarks.Baselines;

/// <summary>
/// (d) <c>SET hb:ID now EX lease</c> at each heartbeat, MGET to read: a user with a key is online. The usual answer, and a good one. But a
/// key costs a hundred bytes, and <i>last seen</i> is lost with it.
/// </summary>
/// <remarks>StackExchange.Redis: all callers share one connection, which pipelines their commands.</remarks>
internal sealed class RedisKey(IDatabase redis, RedisServer server, TimeSpan lease) : PresenceDesign
{
    private long _empty = -1;

    public override string Name => "SET EX key, Redis";

    public override double CpuSeconds() => Cpu.Of(server.Process);

    public override async Task FillAsync(uint users)
    {
        _empty = await UsedAsync();
        await HeartbeatAllAsync(users, 1000);
    }

    public override async ValueTask HeartbeatAsync(uint user) => await SetAsync(user, $"{Now}");

    public override async ValueTask HeartbeatAsync(ReadOnlyMemory<uint> users)
    {
        var now = $"{Now}";
        var sets = new Task[users.Length];
        for (var i = 0; i < sets.Length; i++)
            sets[i] = SetAsync(users.Span[i], now);
        await Task.WhenAll(sets);
    }

    public override async ValueTask LeaveAsync(uint user) => await redis.KeyDeleteAsync(Key(user));

    public override async ValueTask ReadAsync(ReadOnlyMemory<uint> users, Memory<Seen> seen)
    {
        var keys = new StackExchange.Redis.RedisKey[users.Length];
        for (var i = 0; i < users.Length; i++)
            keys[i] = Key(users.Span[i]);
        var values = await redis.StringGetAsync(keys);
        for (var i = 0; i < values.Length; i++)
            seen.Span[i] = values[i].HasValue ? new Seen(true, (long)values[i]) : default;
    }

    public override async Task<long> CountAsync() => (long)await redis.ExecuteAsync("DBSIZE");

    public override async Task<long> BytesAsync() => await UsedAsync() - Math.Max(0, _empty);

    public override ValueTask DisposeAsync() => default;

    private static string Key(uint user) => $"hb:{user}";

    private Task SetAsync(uint user, string now) => redis.StringSetAsync(Key(user), now, lease);

    private Task<long> UsedAsync() => server.InfoAsync("memory", "used_memory");
}
