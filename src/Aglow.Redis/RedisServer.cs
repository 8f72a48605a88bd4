namespace Aglow.Redis;

/// <summary>One server as the cluster knows it: its two connections, and since when it is away.</summary>
internal sealed class RedisServer : IAsyncDisposable
{
    /// <summary>The timestamp of its first failure since it last worked; 0: it works.</summary>
    public long AwaySince;

    /// <summary>Whether it was away when that was last looked at.</summary>
    public bool IsKnownAway;

    private readonly Lock _gate = new();
    private readonly Func<RedisConnection> _connect;
    private RedisConnection? _pages;

    public RedisServer(RedisEndpoint endpoint, RedisOptions options, TimeProvider time, IRedisRouter router)
    {
        Endpoint = endpoint;
        _connect = () => new RedisConnection(this, options, time, router);
        Commands = _connect();
    }

    /// <summary>Where it listens.</summary>
    public RedisEndpoint Endpoint { get; }

    /// <summary>The connection for all that is short.</summary>
    public RedisConnection Commands { get; }

    /// <summary>Why it is away.</summary>
    public string Reason { get; set; } = "";

    /// <summary>Whether it was logged that it is away.</summary>
    public bool IsSaidAway { get; set; }

    /// <summary>When it was last probed.</summary>
    public long ProbedAt { get; set; }

    /// <summary>The connection for a command. The one for pages is made when first needed: their 255 KiB would hold up the answers behind them.</summary>
    public RedisConnection ConnectionFor(RedisRequest request)
    {
        if (!request.IsLong)
            return Commands;
        if (Volatile.Read(ref _pages) is { } pages)
            return pages;
        lock (_gate)
            return _pages ??= _connect();
    }

    /// <summary>Notices what takes too long.</summary>
    public void Tick()
    {
        Commands.Tick();
        _pages?.Tick();
    }

    /// <summary>Hands back all that waits.</summary>
    public void Drain()
    {
        Commands.Drain();
        _pages?.Drain();
    }

    public async ValueTask DisposeAsync()
    {
        await Commands.DisposeAsync();
        if (_pages is not null)
            await _pages.DisposeAsync();
    }
}
