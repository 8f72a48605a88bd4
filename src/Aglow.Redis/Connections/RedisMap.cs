using System.Net;
using StackExchange.Redis;

namespace Aglow.Redis.Connections;

/// <summary>The shard of each slot, as the servers report it.</summary>
/// <remarks>
/// The library routes commands by its own map. This map only assigns failures to shards. It is read when the library's map changes, every
/// 250 ms while a shard is away, and every 10 s.
///
/// A slot may move from a shard that was away to another server. Its outage then ends with the move. <c>recovered</c> is called with the
/// slot, and the timestamp since which it was not writable, before any command for it goes to the new server. It must return at once.
/// Threading: any thread reads; one request for the map is under way at a time.
/// </remarks>
internal sealed class RedisMap(
    ConnectionMultiplexer redis, bool isCluster, TimeProvider time, RedisLog log, Action<Func<int, bool>, long> recovered)
{
    private static readonly TimeSpan QueryInterval = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan RefreshInterval = TimeSpan.FromSeconds(10);

    private readonly RedisShard[] _owners = new RedisShard[RedisKeys.Slots];
    // when each slot went to another server; 0: never
    private readonly long[] _movedAt = new long[RedisKeys.Slots];
    private readonly Lock _gate = new();
    private IReadOnlyList<RedisShard> _shards = [];
    private Task _querying = Task.CompletedTask;
    private volatile bool _isWanted;
    private bool _isUnknownLogged;
    private bool _isClosed;
    private long _queriedAt;

    public Action? Changed { get; set; }

    /// <summary>Servers that have slots now.</summary>
    public IReadOnlyList<RedisShard> Shards => Volatile.Read(ref _shards);

    public RedisShard this[int slot] => Volatile.Read(ref _owners[slot]);

    /// <summary>Whether a slot moved to another server within this time.</summary>
    public bool HasMovedWithin(int slot, TimeSpan within) =>
        Volatile.Read(ref _movedAt[slot]) is not 0 and var at && time.GetElapsedTime(at) < within;

    /// <summary>Requests the map soon, because something indicates that it has changed.</summary>
    public void Want() => _isWanted = true;

    /// <summary>Called every 50 ms; requests the map when it is due.</summary>
    public void Tick(bool isSomeAway)
    {
        var sinceQuery = time.GetElapsedTime(Volatile.Read(ref _queriedAt));
        if (sinceQuery >= RefreshInterval || ((_isWanted || isSomeAway) && sinceQuery >= QueryInterval))
            _ = RefreshAsync();
    }

    /// <summary>Requests the map now. A caller that finds a request under way waits for that one.</summary>
    public Task RefreshAsync()
    {
        lock (_gate)
        {
            if (_querying.IsCompleted && !_isClosed)
                _querying = QueryAsync();
            return _querying;
        }
    }

    /// <summary>Stops requests, and waits for the one that is under way.</summary>
    public Task CloseAsync()
    {
        lock (_gate)
        {
            _isClosed = true;
            return _querying;
        }
    }

    private async Task QueryAsync()
    {
        _isWanted = false;
        Volatile.Write(ref _queriedAt, time.GetTimestamp());
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
                _isUnknownLogged = false;
                return;
            }
            catch (Exception failure) when (RedisFaults.IsOfRedis(failure))
            {
                reason = $"{ServerNames.Of(server.EndPoint)}: {failure.Message}";
            }
        }

        if (!_isUnknownLogged && !_isClosed)
            log.MapUnknown(reason);
        _isUnknownLogged = true;
    }

    // The entry without an address is the server that answered: it does not know its own.
    private static EndPoint EndpointOf(ClusterSlotNode node, IServer queried) => node.EndPoint ?? queried.EndPoint switch
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
            // a slot without an owner keeps its last server, which reports the error
            var endpoint = map(slot) ?? _owners[slot]?.Endpoint
                ?? map(Enumerable.Range(0, RedisKeys.Slots).First(other => map(other) is not null))!;
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
