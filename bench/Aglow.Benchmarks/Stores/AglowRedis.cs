using Aglow.Benchmarks.Baselines;
using Aglow.Model;
using Aglow.Redis;
using Aglow.Redis.Connections;

namespace Aglow.Benchmarks.Stores;

/// <summary>
/// Aglow's store in Redis by itself: each call is one command, so every heartbeat is written at once. (A node collects renewals for a
/// second, and reads with its own clock: <c>./aglow bench redis</c>.)
/// </summary>
internal sealed class AglowRedis(RedisCluster redis, RedisServer server, TimeSpan lease) : PresenceDesign
{
    private readonly RedisPlaneStore _store = new(redis);
    private long _empty = -1;

    public override string Name => "Aglow, Redis";

    public override double CpuSeconds() => Cpu.Of(server.Process);

    public override async Task FillAsync(uint users)
    {
        _empty = await UsedAsync();
        await HeartbeatAllAsync(users, 100_000);
    }

    public override async ValueTask HeartbeatAsync(uint user) => await _store.ExchangeAsync(Plane.Pulse, user, Pulse.FromUnix(Now));

    public override async ValueTask HeartbeatAsync(ReadOnlyMemory<uint> users)
    {
        var words = new uint[users.Length];
        words.AsSpan().Fill(Pulse.FromUnix(Now));
        await _store.ExchangeAsync(Plane.Pulse, users, words, new uint[users.Length]);
    }

    public override async ValueTask LeaveAsync(uint user) => await _store.ExchangeAsync(
        Plane.Pulse, user, Pulse.FromUnix(Now) | Pulse.LeftBit);

    public override async ValueTask ReadAsync(ReadOnlyMemory<uint> users, Memory<Seen> seen)
    {
        var words = new uint[users.Length];
        await _store.ReadAsync(Plane.Pulse, users, words);
        var oldest = Pulse.FromUnix(Now - (long)lease.TotalSeconds);
        for (var i = 0; i < words.Length; i++)
            seen.Span[i] = new Seen(!Pulse.Left(words[i]) && Pulse.Second(words[i]) >= oldest, Pulse.ToUnix(Pulse.Second(words[i])) ?? 0);
    }

    public override async Task<long> CountAsync()
    {
        var words = 0L;
        var scratch = new uint[PageLayout.Slots];
        foreach (var page in await _store.PagesAsync(Plane.Pulse))
        {
            foreach (var word in (await _store.ReadPageAsync(Plane.Pulse, page, scratch)).Span)
                words += word == Pulse.Never ? 0 : 1;
        }

        return words;
    }

    // Redis gives too much memory to pages that grow word by word; nodes reduce it when they sweep the pages.
    public override async Task<long> BytesAsync()
    {
        for (var sweep = 0; sweep < 2; sweep++)
            await CountAsync();
        return await UsedAsync() - Math.Max(0, _empty);
    }

    public override ValueTask DisposeAsync() => default;

    private Task<long> UsedAsync() => server.InfoAsync("memory", "used_memory");
}
