namespace Aglow.Redis;

/// <summary>What a server says of itself and of its cluster, asked on a connection that is closed again.</summary>
internal readonly record struct MapAnswer(ClusterMap Map, Version Version, bool IsCluster)
{
    /// <summary>Asks a server.</summary>
    /// <exception cref="IOException">It cannot be reached, or does not answer in time.</exception>
    /// <exception cref="RedisRefusalException">It refuses.</exception>
    /// <exception cref="RespException">Its answer cannot be read.</exception>
    public static async Task<MapAnswer> AskAsync(RedisEndpoint server, RedisOptions options, TimeProvider time, CancellationToken stop)
    {
        using var socket = await RedisSocket.ConnectAsync(server, options, time, stop);
        if (!socket.IsCluster)
            return new(ClusterMap.Alone(server), socket.Version, false);
        using var limit = new CancellationTokenSource(options.Timeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, stop);
        try
        {
            return new(await ReadMapAsync(socket, server, options, either.Token), socket.Version, true);
        }
        catch (OperationCanceledException late) when (!stop.IsCancellationRequested)
        {
            throw new IOException($"no answer within {options.Timeout.TotalSeconds:0.#} s", late);
        }
    }

    private static async Task<ClusterMap> ReadMapAsync(RedisSocket socket, RedisEndpoint server, RedisOptions options, CancellationToken limit)
    {
        try
        {
            return ClusterMap.FromShards(await socket.CallAsync(limit, "CLUSTER", "SHARDS"), server, options.Tls);
        }
        catch (RedisRefusalException)
        {
            return ClusterMap.FromSlots(await socket.CallAsync(limit, "CLUSTER", "SLOTS"), server);
        }
    }
}
