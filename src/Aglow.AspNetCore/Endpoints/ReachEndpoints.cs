using System.Text.Json;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Hosting;
using Aglow.Users;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// <c>POST /reach</c>: what a push-notification service needs to know of each user before it sends. Is a device connected that would show
/// the message? Is the person active now? May they be disturbed?
/// </summary>
/// <remarks>
/// A hidden user counts as not connected, as in a batch of statuses. The service then sends a push, as to a user who is offline. Whether a
/// user may be disturbed depends only on their claims, not on what they show to others.
/// </remarks>
internal sealed class ReachEndpoints(PresenceHost host, Callers callers, Gate gate)
{
    public void Map(IEndpointRouteBuilder routes) => routes.MapCalls(
        gate,
        new Call(
            HttpMethods.Post, Routes.Reach, "reach", "How to reach up to 10,000 users: for push-notification services", ReachAsync)
        {
            Access = CallAccess.Backends(Scopes.Read),
            Query = [QueryParameter.Viewer],
            Bodies = [new(Routes.Json, typeof(UserIdsDocument))],
            Answers = [new(Routes.Json, typeof(ReachDocument))],
        });

    private async Task ReachAsync(HttpContext context)
    {
        await callers.RequireBackendAsync(context, Scopes.Read);
        using var answer = new AnswerBuffer();
        await AnswerAsync(context, answer);
        await Answers.JsonAsync(context, answer.Written);
    }

    // Releases the buffers of the request on return, so that only the answer stays in memory while the client reads it.
    private async ValueTask AnswerAsync(HttpContext context, AnswerBuffer answer)
    {
        var view = await callers.ViewAsync(context);
        using var users = new UserBatch(1024);
        await DirectoryUsers.ReadListAsync(context, host.Presence, users);
        await host.Presence.FindAskedAsync(users);
        var statuses = new Presence[users.Count];
        await view.ReadAsync(users.Numbers, host.Presence.Definitions.Default, statuses);
        answer.Reserve((users.Count * 112) + 64);
        await using var json = new Utf8JsonWriter(answer, new JsonWriterOptions { Encoder = PresenceJson.Encoder });
        Write(json, users, statuses);
    }

    private void Write(Utf8JsonWriter json, UserBatch users, ReadOnlySpan<Presence> statuses)
    {
        var (claims, now) = (host.Presence.Claims, host.Presence.Clock.Now);
        json.WriteStartObject();
        json.WriteStartArray(JsonNames.Users);
        for (var i = 0; i < statuses.Length; i++)
        {
            var (user, presence) = (users.Numbers.Span[i], statuses[i]);
            json.WriteStartObject();
            json.WritePropertyName(JsonNames.UserId);
            if (users.Text(i).IsEmpty)
                json.WriteNumberValue(user);
            else if (users.IsLargeNumber(i))
                json.WriteRawValue(users.Text(i));
            else
                json.WriteStringValue(users.Text(i));
            json.WriteBoolean(JsonNames.Connected, presence.IsOnline);
            json.WriteStartArray(JsonNames.Devices);
            foreach (var kind in Words.Of(presence.Devices) ?? [])
                json.WriteStringValue(kind);
            json.WriteEndArray();
            json.WriteBoolean(
                JsonNames.Active, presence.IsOnline && presence.ActiveAt != 0 && presence.ActiveAt + (uint)host.Options.AwaySeconds >= now);
            json.WriteBoolean(JsonNames.MayBeDisturbed, claims.MayBeDisturbed(user, now));
            if (Pulse.ToUnix(presence.LastSeen) is { } lastSeen)
                json.WriteNumber(JsonNames.LastSeen, lastSeen);
            else
                json.WriteNull(JsonNames.LastSeen);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }
}
