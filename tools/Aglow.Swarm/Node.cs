using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Aglow.Swarm.Changes;
using Aglow.Swarm.Claims;
using Aglow.Swarm.Devices;

namespace Aglow.Swarm;

/// <summary>One address of the deployment, and the calls to it.</summary>
internal sealed class Node(Uri address) : IDisposable
{
    private readonly HttpClient _http = new(
        new SocketsHttpHandler
        {
            MaxConnectionsPerServer = 64,
            UseCookies = false,
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(60)
        })
    {
        BaseAddress = new Uri(address.AbsoluteUri.TrimEnd('/') + "/"),
        Timeout = TimeSpan.FromSeconds(10),
    };

    /// <summary>The address.</summary>
    public Uri Address => address;

    /// <summary>Sends a heartbeat; returns the server's intervals.</summary>
    public async Task<(int NextHeartbeat, int OfflineAfter)> HeartbeatAsync(
        uint user, CancellationToken stop, DeviceName? device = null, bool isActive = false)
    {
        var answer = await PostAsync(
            "heartbeat", $"{{\"user_id\":{user}{(isActive ? ",\"active\":true" : "")}{device?.Json}}}", stop);
        return (answer.GetProperty("next_heartbeat_seconds").GetInt32(), answer.GetProperty("offline_after_seconds").GetInt32());
    }

    /// <summary>Sends a leave, for all devices if it names none.</summary>
    public Task LeaveAsync(uint user, CancellationToken stop, DeviceName? device = null) =>
        SendAsync(HttpMethod.Post, "offline", Json($"{{\"user_id\":{user}{device?.Json}}}"), stop);

    /// <summary>Sets a claim.</summary>
    public Task SetClaimAsync(uint user, Claim claim, CancellationToken stop)
    {
        var until = claim.Until is { } end ? $",\"until\":{end}" : "";
        var text = claim.Text is null ? "" : $",\"text\":\"{claim.Text}\"";
        var emoji = claim.Emoji is null ? "" : $",\"emoji\":\"{claim.Emoji}\"";
        var json = $"{{\"status\":\"{claim.Status}\",\"source\":\"{claim.Source}\",\"priority\":{claim.Priority}{text}{emoji}{until}}}";
        return SendAsync(HttpMethod.Put, $"users/{user}/status", Json(json), stop);
    }

    /// <summary>Removes the claim of a source.</summary>
    public Task RemoveClaimAsync(uint user, string source, CancellationToken stop) =>
        SendAsync(HttpMethod.Delete, $"users/{user}/status?source={source}", null, stop);

    /// <summary>Reads the feed of changes after a cursor; waits this many seconds for one.</summary>
    public async Task<(IReadOnlyList<Change> Changes, string Next, bool IsGap)> ChangesAsync(string after, int wait, CancellationToken stop)
    {
        using var answer = await _http.GetAsync(
            new Uri($"changes?limit=10000&wait={wait}&after={Uri.EscapeDataString(after)}", UriKind.Relative), stop);
        var page = await ReadAsync(answer, stop);
        Change[] changes =
        [
            .. page.GetProperty("changes").EnumerateArray()
                .Select(static c => Change.Read(c.GetProperty("id").GetString()!, c)).OfType<Change>(),
        ];
        return (changes, page.GetProperty("next").GetString()!, page.GetProperty("gap").GetBoolean());
    }

    /// <summary>Adds a webhook; returns its ID and its secret.</summary>
    public async Task<(string Id, string Secret)> AddWebhookAsync(Uri url, CancellationToken stop)
    {
        var answer = await PostAsync("webhooks", $"{{\"url\":\"{url}\"}}", stop);
        return (answer.GetProperty("id").GetString()!, answer.GetProperty("secret").GetString()!);
    }

    /// <summary>Removes a webhook.</summary>
    public Task RemoveWebhookAsync(string id, CancellationToken stop) => SendAsync(HttpMethod.Delete, $"webhooks/{id}", null, stop);

    /// <summary>Gives a user another name.</summary>
    public Task RenameAsync(uint user, string name, CancellationToken stop) =>
        SendAsync(HttpMethod.Patch, $"users/{user}", Json($"{{\"user_name\":\"{name}\"}}"), stop);

    /// <summary>Signs a user out everywhere.</summary>
    public Task RevokeAsync(uint user, CancellationToken stop) => SendAsync(HttpMethod.Post, $"users/{user}/revoke", null, stop);

    /// <summary>Deletes a user. A user whom the server does not know is already deleted.</summary>
    public async Task DeleteAsync(uint user, CancellationToken stop)
    {
        using var answer = await _http.DeleteAsync(new Uri($"users/{user}", UriKind.Relative), stop);
        if (answer.StatusCode != HttpStatusCode.NotFound)
            await RequireAsync(answer, stop);
    }

    /// <summary>The name of a user; null if they have none.</summary>
    public async Task<string?> NameAsync(uint user, CancellationToken stop)
    {
        using var answer = await _http.GetAsync(new Uri($"users/{user}", UriKind.Relative), stop);
        return answer.StatusCode == HttpStatusCode.NotFound
            ? null : (await ReadAsync(answer, stop)).GetProperty("user_name").GetString();
    }

    /// <summary>The statuses of these users, in the same order.</summary>
    public async Task<ServerRecord[]> ReadAsync(IReadOnlyList<uint> users, CancellationToken stop)
    {
        var answer = await PostAsync("status/batch", $"{{\"user_ids\":[{string.Join(',', users)}]}}", stop);
        ServerRecord[] records = [.. answer.EnumerateArray().Select(PresenceMessage.Record)];
        return records.Select(static t => t.UserId).SequenceEqual(users)
            ? records : throw new HttpRequestException($"{users.Count} users were asked for, others are answered");
    }

    /// <summary>The server's current second, and the second by which it judges leases; null if it does not report them.</summary>
    public async Task<(long Now, long CountedAgainst)?> ClockAsync(uint user, CancellationToken stop)
    {
        using var answer = await _http.GetAsync(new Uri($"status/{user}/explain", UriKind.Relative), stop);
        if (!answer.IsSuccessStatusCode)
            return null;
        var explanation = await ReadAsync(answer, stop);
        return explanation.TryGetProperty("now", out var now) && explanation.TryGetProperty("counted_against", out var against)
            ? (now.GetInt64(), against.GetInt64())
            : null;
    }

    /// <summary>Sends packed heartbeats of these users; the server must accept all. Blocks the calling thread.</summary>
    public void Heartbeats(ReadOnlyMemory<uint> users, CancellationToken stop)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri("heartbeat", UriKind.Relative)) { Content = Packed(users) };
        using var answer = _http.Send(request, stop);
        using var content = new MemoryStream();
        answer.Content.ReadAsStream(stop).CopyTo(content);
        if (!answer.IsSuccessStatusCode)
            throw new HttpRequestException($"{(int)answer.StatusCode}: {Encoding.UTF8.GetString(content.ToArray())}");
        using var json = JsonDocument.Parse(content.ToArray());
        if (json.RootElement.GetProperty("accepted").GetInt32() is var accepted && accepted != users.Length)
            throw new HttpRequestException($"of {users.Length} packed heartbeats {accepted} were accepted");
    }

    /// <summary>The statuses of these users, packed, in the same order.</summary>
    public async Task<ServerRecord[]> ReadPackedAsync(ReadOnlyMemory<uint> users, CancellationToken stop)
    {
        using var body = Packed(users);
        using var answer = await _http.PostAsync(new Uri("status/batch", UriKind.Relative), body, stop);
        await RequireAsync(answer, stop);
        var words = await answer.Content.ReadAsByteArrayAsync(stop);
        if (words.Length != users.Length * sizeof(uint))
            throw new HttpRequestException($"{users.Length} users were asked for, {words.Length} bytes answered");
        return [.. MemoryMarshal.Cast<byte, uint>(words).ToArray().Select(PresenceMessage.Word)];
    }

    /// <summary>The figures of <c>/metrics</c> without labels; none if there is no such page.</summary>
    public async Task<Dictionary<string, double>> MetricsAsync(CancellationToken stop)
    {
        var figures = new Dictionary<string, double>();
        using var answer = await _http.GetAsync(new Uri("metrics", UriKind.Relative), stop);
        if (!answer.IsSuccessStatusCode)
            return figures;
        foreach (var line in (await answer.Content.ReadAsStringAsync(stop)).Split('\n'))
        {
            if (line.Split(' ') is [var name, var value] && double.TryParse(value, out var figure))
                figures[name] = figure;
        }

        return figures;
    }

    private static ByteArrayContent Packed(ReadOnlyMemory<uint> numbers)
    {
        var body = new ByteArrayContent(MemoryMarshal.AsBytes(numbers.Span).ToArray());
        body.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        return body;
    }

    public void Dispose() => _http.Dispose();

    private async Task SendAsync(HttpMethod method, string path, HttpContent? body, CancellationToken stop)
    {
        using var request = new HttpRequestMessage(method, new Uri(path, UriKind.Relative)) { Content = body };
        using var answer = await _http.SendAsync(request, stop);
        await RequireAsync(answer, stop);
    }

    private async Task<JsonElement> PostAsync(string path, string json, CancellationToken stop)
    {
        using var body = Json(json);
        using var answer = await _http.PostAsync(new Uri(path, UriKind.Relative), body, stop);
        return await ReadAsync(answer, stop);
    }

    private static StringContent Json(string json) => new(json, Encoding.UTF8, "application/json");

    private static async Task<JsonElement> ReadAsync(HttpResponseMessage answer, CancellationToken stop)
    {
        await RequireAsync(answer, stop);
        return await answer.Content.ReadFromJsonAsync<JsonElement>(stop);
    }

    private static async Task RequireAsync(HttpResponseMessage answer, CancellationToken stop)
    {
        if (!answer.IsSuccessStatusCode)
            throw new HttpRequestException($"{(int)answer.StatusCode}: {await answer.Content.ReadAsStringAsync(stop)}");
    }
}
