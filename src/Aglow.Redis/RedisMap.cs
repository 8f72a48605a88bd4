using System.Net;
using StackExchange.Redis;

namespace Aglow.Redis;

/// <summary>Which shard has which slots, as the servers say.</summary>
/// <remarks>
/// The library routes by its own map. This one says only whom a failure concerns. It is read when the library's changes, every 250 ms while a shard is away, and every 10 s.
/// Slots whose shard was away and that another server has now were away as long: <c>recovered</c> is told so before a command for them is sent to the new server.
/// Threading: any thread reads; one request for the map is under way at a time.
/// </remarks>
/// <param name="redis">The connections.</param>
/// <param name="isCluster">Whether it is a cluster.</param>
/// <param name="time">Where time comes from.</param>
/// <param name="log">Where events go.</param>
/// <param name="recovered">Called with slots that could not be written since a timestamp, and can be now. Returns at once.</param>
internal sealed class RedisMap(ConnectionMultiplexer redis, bool isCluster, TimeProvider time, RedisLog log, Action<Func<int, bool>, long> recovered)
{
    private static readonly TimeSpan AskInterval = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan RefreshInterval = TimeSpan.FromSeconds(10);

    private readonly RedisShard[] _owners = new RedisShard[RedisKeys.Slots];
    // when each slot went to another server; 0: never
    private readonly long[] _movedAt = new long[RedisKeys.Slots];
    private readonly Lock _gate = new();
    private IReadOnlyList<RedisShard> _shards = [];
    private Task _asking = Task.CompletedTask;
    private volatile bool _isWanted;
    private bool _isSaidUnknown;
    private bool _isClosed;
    private long _askedAt;

    /// <summary>Called when slots have changed hands.</summary>
    public Action? Changed { get; set; }

    /// <summary>Servers that have slots now.</summary>
    public IReadOnlyList<RedisShard> Shards => Volatile.Read(ref _shards);

    /// <summary>Who has a slot.</summary>
    public RedisShard this[int slot] => Volatile.Read(ref _owners[slot]);

    /// <summary>Whether a slot went to another server within a time.</summary>
    public bool HasMovedWithin(int slot, TimeSpan within) =>
        Volatile.Read(ref _movedAt[slot]) is not 0 and var at && time.GetElapsedTime(at) < within;

    /// <summary>Asks soon: something says that the map has changed.</summary>
    public void Want() => _isWanted = true;

    /// <summary>Called every 50 ms; asks where it is time.</summary>
    public void Tick(bool isSomeAway)
    {
        var sinceAsked = time.GetElapsedTime(Volatile.Read(ref _askedAt));
        if (sinceAsked >= RefreshInterval || ((_isWanted || isSomeAway) && sinceAsked >= AskInterval))
            _ = RefreshAsync();
    }

    /// <summary>Asks now. Callers who want a map while one is asked for wait for that one.</summary>
    public Task RefreshAsync()
    {
        lock (_gate)
        {
            if (_asking.IsCompleted && !_isClosed)
                _asking = AskAsync();
            return _asking;
        }
    }

    /// <summary>Asks no more, and waits for the request that is under way.</summary>
    public Task CloseAsync()
    {
        lock (_gate)
        {
            _isClosed = true;
            return _asking;
        }
    }

    private async Task AskAsync()
    {
        _isWanted = false;
        Volatile.Write(ref _askedAt, time.GetTimestamp());
        var servers = redis.GetServers().Where(static server => server.IsConnected).ToArray();
        Random.Shared.Shuffle(servers);
        if (!isCluster)
        {
            if (servers.FirstOrDefault(static server => !server.IsReplica) is { } primary)
                Apply(_ => primary.EndPoint);
            return;
        }

        var reason = "no connection";
        foreach (var server in servers)
        {
            try
            {
                if (await server.ClusterSlotsAsync() is not { Assignments.Count: > 0 } map)
                    continue;
                var owners = new EndPoint?[RedisKeys.Slots];
                foreach (var range in map.Assignments)
                    owners.AsSpan(range.Slots.From, range.Slots.To - range.Slots.From + 1).Fill(EndpointOf(range.Primary, server));
                Apply(slot => owners[slot]);
                _isSaidUnknown = false;
                return;
            }
            catch (Exception failure) when (RedisFaults.IsOfRedis(failure))
            {
                reason = $"{RedisAddress.Name(server.EndPoint)}: {failure.Message}";
            }
        }

        if (!_isSaidUnknown && !_isClosed)
            log.MapUnknown(reason);
        _isSaidUnknown = true;
    }

    // A node that does not know its own address is the one that was asked.
    private static EndPoint EndpointOf(ClusterSlotNode node, IServer asked) => node.EndPoint ?? asked.EndPoint switch
    {
        IPEndPoint ip => new IPEndPoint(ip.Address, node.Port),
        DnsEndPoint dns => new DnsEndPoint(dns.Host, node.Port),
        var other => other,
    };

    private void Apply(Func<int, EndPoint?> map)
    {
        var shards = Shards.ToDictionary(static shard => shard.Endpoint);
        var moved = new Dictionary<(RedisShard Before, RedisShard After), HashSet<int>>();
        for (var slot = 0; slot < RedisKeys.Slots; slot++)
        {
            // a slot that nobody has stays where it was: its server will say so
            var endpoint = map(slot) ?? _owners[slot]?.Endpoint ?? map(Enumerable.Range(0, RedisKeys.Slots).First(other => map(other) is not null))!;
            if (!shards.TryGetValue(endpoint, out var after))
                shards[endpoint] = after = new RedisShard(endpoint, time, Recovered);
            var before = _owners[slot];
            if (before is null)
                _owners[slot] = after;
            else if (before != after)
                (moved.TryGetValue((before, after), out var slots) ? slots : moved[(before, after)] = []).Add(slot);
        }

        foreach (var ((before, after), slots) in moved)
        {
            if (before.OutageSince is not 0 and var since)
            {
                recovered(slots.Contains, since);
                after.Inherits(since);
                log.FailedOver(before.Name, after.Name, time.GetElapsedTime(since).TotalSeconds);
            }

            var now = time.GetTimestamp();
            foreach (var slot in slots)
            {
                Volatile.Write(ref _movedAt[slot], now);
                Volatile.Write(ref _owners[slot], after);
            }
        }

        Volatile.Write(ref _shards, [.. _owners.Distinct()]);
        if (moved.Count == 0)
            return;
        Changed?.Invoke();
        log.MapChanged(string.Join(", ", _shards.Select(static shard => shard.Name)));
    }

    private void Recovered(RedisShard shard, long since) => recovered(slot => this[slot] == shard, since);
}
