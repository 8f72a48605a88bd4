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
        await Answers.JsonAsync(context, new ReachDocument(await ReadAsync(context)), Documents.Sent.ReachDocument);
    }

    private async ValueTask<ReachOfUser[]> ReadAsync(HttpContext context)
    {
        var view = await callers.ViewAsync(context);
        using var users = new UserBatch(1024);
        await DirectoryUsers.ReadListAsync(context, host.Presence, users);
        await host.Presence.FindRequestedAsync(users);
        var statuses = new Presence[users.Count];
        await view.ReadAsync(users.Numbers, host.Presence.Definitions.Default, statuses);
        var (claims, now) = (host.Presence.Claims, host.Presence.Clock.Now);
        return [.. statuses.Select((presence, i) => new ReachOfUser(
            UserJson.Of(users, i),
            presence.IsOnline,
            Words.Of(presence.Devices) ?? [],
            presence.IsOnline && presence.ActiveAt != 0 && presence.ActiveAt + (uint)host.Options.AwaySeconds >= now,
            claims.MayBeDisturbed(users.Numbers.Span[i], now),
            Pulse.ToUnix(presence.LastSeen)))];
    }
}
