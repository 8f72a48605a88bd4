using Aglow.Watching;

namespace Aglow.Redis;

/// <summary>Which server has which slots: read from <c>CLUSTER SHARDS</c>, or <c>CLUSTER SLOTS</c> of servers that do not know that. Immutable.</summary>
internal sealed class ClusterMap
{
    private readonly RedisEndpoint?[] _owners;

    private ClusterMap(RedisEndpoint?[] owners, IReadOnlyList<RedisEndpoint> servers)
    {
        _owners = owners;
        Servers = servers;
        Primaries = [.. owners.OfType<RedisEndpoint>().Distinct()];
    }

    /// <summary>All servers that were named, replicas too: any of them can be asked for a newer map.</summary>
    public IReadOnlyList<RedisEndpoint> Servers { get; }

    /// <summary>Those that have slots, in the order of the slots.</summary>
    public IReadOnlyList<RedisEndpoint> Primaries { get; }

    /// <summary>Who has a slot; null: nobody at present.</summary>
    public RedisEndpoint? this[int slot] => _owners[slot];

    /// <summary>A server alone has all of them.</summary>
    public static ClusterMap Alone(RedisEndpoint server)
    {
        var owners = new RedisEndpoint?[RedisKeys.Slots];
        Array.Fill(owners, server);
        return new ClusterMap(owners, [server]);
    }

    /// <summary>Reads the answer to <c>CLUSTER SHARDS</c>. Of a shard with two primaries (one of them failed) the one that is online has the slots.</summary>
    public static ClusterMap FromShards(object? answer, RedisEndpoint asked, bool tls)
    {
        var owners = new RedisEndpoint?[RedisKeys.Slots];
        var servers = new List<RedisEndpoint>();
        foreach (var shard in List(answer))
        {
            var members = RedisSocket.Members(shard);
            RedisEndpoint? primary = null;
            var isOnline = false;
            foreach (var node in List(members.GetValueOrDefault("nodes")))
            {
                var said = RedisSocket.Members(node);
                var port = said.GetValueOrDefault(tls ? "tls-port" : "port") ?? said.GetValueOrDefault("port");
                var host = said.GetValueOrDefault("endpoint") as string ?? said.GetValueOrDefault("ip") as string;
                var server = new RedisEndpoint(IsName(host) ? host! : asked.Host, Port(port));
                servers.Add(server);
                if (said.GetValueOrDefault("role") as string is not "master" || (primary is not null && isOnline))
                    continue;
                primary = server;
                isOnline = said.GetValueOrDefault("health") as string is "online" or null;
            }

            Give(owners, List(members.GetValueOrDefault("slots")), primary);
        }

        return new ClusterMap(owners, servers);
    }

    /// <summary>Reads the answer to <c>CLUSTER SLOTS</c>.</summary>
    public static ClusterMap FromSlots(object? answer, RedisEndpoint asked)
    {
        var owners = new RedisEndpoint?[RedisKeys.Slots];
        var servers = new List<RedisEndpoint>();
        foreach (var range in List(answer))
        {
            if (range is not object?[] { Length: >= 3 } parts)
                throw NoMap();
            RedisEndpoint? primary = null;
            foreach (var node in parts.AsSpan(2))
            {
                if (node is not object?[] { Length: >= 2 } said)
                    throw NoMap();
                var server = new RedisEndpoint(IsName(said[0] as string) ? (string)said[0]! : asked.Host, Port(said[1]));
                servers.Add(server);
                primary ??= server;
            }

            Give(owners, [parts[0], parts[1]], primary);
        }

        return new ClusterMap(owners, servers);
    }

    private static void Give(RedisEndpoint?[] owners, object?[] ranges, RedisEndpoint? to)
    {
        if (ranges.Length % 2 != 0)
            throw NoMap();
        for (var i = 0; i < ranges.Length; i += 2)
        {
            if (ranges[i] is not long first || ranges[i + 1] is not long last || first < 0 || last < first || last >= RedisKeys.Slots)
                throw NoMap();
            owners.AsSpan((int)first, (int)(last - first) + 1).Fill(to);
        }
    }

    private static int Port(object? said) => said is long and >= 1L and <= 65_535L ? (int)(long)said : throw NoMap();

    private static object?[] List(object? value) => value as object?[] ?? throw NoMap();

    private static bool IsName(string? host) => host is { Length: > 0 } && host != "?";

    private static RespException NoMap() => new("the server's list of the cluster's slots cannot be read: is it Redis 7 or Valkey?");
}
