using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace Aglow.Swarm;

/// <summary>One address of the deployment, and the calls that people make there.</summary>
internal sealed class Node : IDisposable
{
    private readonly HttpClient _http;

    public Node(Uri address)
    {
        Address = address;
        _http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 64, UseCookies = false, PooledConnectionIdleTimeout = TimeSpan.FromSeconds(60) })
        {
            BaseAddress = new Uri(address.AbsoluteUri.TrimEnd('/') + "/"),
            Timeout = TimeSpan.FromSeconds(10),
        };
    }

    /// <summary>Where.</summary>
    public Uri Address { get; }

    /// <summary>A heartbeat; what the server says of its times.</summary>
    public async Task<(int NextHeartbeat, int OfflineAfter)> HeartbeatAsync(uint user, CancellationToken stop)
    {
        using var answer = await PostAsync("heartbeat", $"{{\"user_id\":{user}}}", stop);
        var root = answer.RootElement;
        return (root.GetProperty("next_heartbeat_seconds").GetInt32(), root.GetProperty("offline_after_seconds").GetInt32());
    }

    /// <summary>A goodbye on all devices.</summary>
    public async Task LeaveAsync(uint user, CancellationToken stop) => (await PostAsync("offline", $"{{\"user_id\":{user}}}", stop)).Dispose();

    /// <summary>The statuses of these users, in the same order.</summary>
    public async Task<Told[]> ReadAsync(IReadOnlyList<uint> users, CancellationToken stop)
    {
        using var answer = await PostAsync("status/batch", $"{{\"user_ids\":[{string.Join(',', users)}]}}", stop);
        var told = new Told[users.Count];
        var i = 0;
        foreach (var record in answer.RootElement.EnumerateArray())
        {
            if (record.GetProperty("user_id").GetUInt32() != users[i])
                throw new HttpRequestException($"the answer has user {record.GetProperty("user_id")} where {users[i]} was asked for");
            told[i++] = PresenceMessage.Record(record);
        }

        return i == users.Count ? told : throw new HttpRequestException($"{users.Count} users were asked for, {i} answered");
    }

    /// <summary>The server's present second, and the one it counts leases against; null where it does not tell.</summary>
    public async Task<(long Now, long CountedAgainst)?> ClockAsync(uint user, CancellationToken stop)
    {
        using var answer = await _http.GetAsync(new Uri($"status/{user}/explain", UriKind.Relative), stop);
        if (!answer.IsSuccessStatusCode)
            return null;
        using var json = JsonDocument.Parse(await answer.Content.ReadAsStreamAsync(stop));
        return json.RootElement.TryGetProperty("now", out var now) && json.RootElement.TryGetProperty("counted_against", out var against)
            ? (now.GetInt64(), against.GetInt64())
            : null;
    }

    /// <summary>Packed numbers: heartbeats, or a question for statuses; the bytes of the answer.</summary>
    public async Task<byte[]> PostPackedAsync(string path, ReadOnlyMemory<byte> numbers, CancellationToken stop)
    {
        using var body = new ReadOnlyMemoryContent(numbers);
        body.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        using var answer = await _http.PostAsync(new Uri(path, UriKind.Relative), body, stop);
        await RequireAsync(answer, stop);
        return await answer.Content.ReadAsByteArrayAsync(stop);
    }

    public void Dispose() => _http.Dispose();

    private async Task<JsonDocument> PostAsync(string path, string json, CancellationToken stop)
    {
        using var body = new StringContent(json, Encoding.UTF8, "application/json");
        using var answer = await _http.PostAsync(new Uri(path, UriKind.Relative), body, stop);
        await RequireAsync(answer, stop);
        return await JsonDocument.ParseAsync(await answer.Content.ReadAsStreamAsync(stop), cancellationToken: stop);
    }

    private static async Task RequireAsync(HttpResponseMessage answer, CancellationToken stop)
    {
        if (!answer.IsSuccessStatusCode)
            throw new HttpRequestException($"{(int)answer.StatusCode}: {await answer.Content.ReadAsStringAsync(stop)}");
    }
}

/// <summary>What servers say, read.</summary>
internal static class PresenceMessage
{
    /// <summary>A presence record.</summary>
    public static Told Record(JsonElement record)
    {
        var lastSeen = record.GetProperty("last_seen");
        return new Told(record.GetProperty("is_online").GetBoolean(), record.GetProperty("status").GetString() ?? "", lastSeen.ValueKind == JsonValueKind.Null ? null : lastSeen.GetInt64());
    }
}
