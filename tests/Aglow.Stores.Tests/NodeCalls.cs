using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Aglow.Server.Tests;

namespace Aglow.Stores.Tests;

/// <summary>Calls to a node that many tests use.</summary>
internal static class NodeCalls
{
    /// <summary>
    /// A heartbeat as clients send it: with the length of its body. The framework's <c>PostAsJsonAsync</c> sends none, and the server
    /// reads such a body on another path.
    /// </summary>
    public static async Task<HttpResponseMessage> HeartbeatAsync(AglowProcess node, object user, CancellationToken stop = default)
    {
        using var body = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(new { user_id = user }));
        body.Headers.ContentType = new("application/json");
        return await node.Http.PostAsync("/heartbeat", body, stop);
    }

    /// <summary>Sends a heartbeat again while the node answers that its store is away, as it may on a busy machine.</summary>
    public static Task AcceptedAsync(AglowProcess node, object user) => Eventually.HoldsAsync(async () =>
    {
        using var answer = await HeartbeatAsync(node, user);
        if (answer.StatusCode == HttpStatusCode.ServiceUnavailable)
            return false;
        answer.StatusCode.ShouldBe(HttpStatusCode.OK);
        return true;
    });

    /// <summary>The status of a user. Asks again while the node answers that its store is away, as it may on a busy machine.</summary>
    public static Task<string?> StatusAsync(AglowProcess node, uint user) => StatusAsync(node, $"{user}");

    /// <inheritdoc cref="StatusAsync(AglowProcess, uint)"/>
    public static async Task<string?> StatusAsync(AglowProcess node, string user)
    {
        string? status = null;
        await Eventually.HoldsAsync(async () =>
        {
            var record = await node.Http.GetFromJsonAsync<JsonElement>($"/status/{Uri.EscapeDataString(user)}");
            status = record.GetProperty("status").GetString();
            return true;
        });
        return status;
    }

    /// <summary>The value of a metric without labels that is a whole number.</summary>
    public static async Task<long> MetricAsync(AglowProcess node, string name) =>
        long.Parse(
            (await node.Http.GetStringAsync("/metrics"))
                .Split('\n')
                .First(line => line.StartsWith($"{name} ", StringComparison.Ordinal))
                .Split(' ')[1]);
}
