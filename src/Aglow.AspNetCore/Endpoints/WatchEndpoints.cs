using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Sockets;
using Aglow.Users;
using Aglow.Watching;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>Changes as they happen: <c>GET /ws</c> and <c>GET /watch</c>.</summary>
internal sealed class WatchEndpoints(PresenceHost host, Callers callers, Gate gate, ProblemAnswers problems)
{
    public void Map(IEndpointRouteBuilder routes) => routes.MapCalls(
        gate,
        new Call(HttpMethods.Get, Routes.Watch, "watch", "Changes of these users, as server-sent events", WatchAsync)
        {
            Access = CallAccess.People(Scopes.Read),
            Cost = Cost.Stream,
            TargetBytes = Limits.ListTargetBytes,
            TakesTokenInUrl = true,
            Query =
            [
                new(Routes.WatchedQuery, "The users to watch, comma-separated, each percent-encoded; 10,000 at most.", Required: true),
                QueryParameter.Definition,
                QueryParameter.Viewer,
                new(Routes.TokenQuery, "The token, where no header can be set."),
            ],
            Answers = [new(Routes.EventStream)],
            Problems = [413],
        },
        new Call(HttpMethods.Get, Routes.Socket, "socket",
            "A WebSocket: presence by being connected, and changes of those watched", SocketAsync)
        {
            Access = SocketEndpoint.Access,
            Cost = Cost.Socket,
            TakesTokenInUrl = true,
            AnswersFailures = true,
            Refuse = RefuseSocketAsync,
            Query =
            [
                new(Routes.UserQuery, "Who connects; where callers are authenticated it may be left out."),
                new(Routes.TokenQuery, "The token, where no header can be set."),
                new(Routes.DeviceIdQuery, "The device that connects: an id of its own, 1 to 64 bytes."),
                new(Routes.DeviceKindQuery, "What the device is: desktop, mobile, web or other."),
            ],
            Answers = [new(Status: StatusCodes.Status101SwitchingProtocols)],
            Problems = [404, 426, 507],
        });

    // Kestrel keeps the target and the query of a request as text until the stream ends
    private static long TargetBytesOf(HttpContext context) => 2L * sizeof(char) * (context.Request.QueryString.Value?.Length ?? 0);

    private async Task SocketAsync(HttpContext context)
    {
        try
        {
            await SocketEndpoint.HandleAsync(context, host.Sockets, callers);
        }
        catch (Exception failure) when (SocketRefusal.Of(failure) is not null && !context.Response.HasStarted)
        {
            await RefuseSocketAsync(context, failure);
        }
    }

    // A page receives the reason on the socket, any other client in the HTTP answer.
    private Task RefuseSocketAsync(HttpContext context, Exception failure)
    {
        if (SocketRefusal.Of(failure) is not { } problem || !SocketEndpoint.IsOfPage(context, host.Sockets, out var upgrade))
            return problems.AnswerAsync(context, failure);
        problems.Note(context, problem);
        return SocketRefusal.CloseAsync(context, upgrade, problem, host.Presence.Clock.Time);
    }

    private async Task WatchAsync(HttpContext context)
    {
        var definition = RequestParameters.Definition(context, host.Presence.Definitions);
        var viewer = await callers.ViewerAsync(context);
        var ids = RequestParameters.Ids(context, Routes.WatchedQuery, WatchHub.MaxWatches);
        gate.Charge(context, Cost.Users(ids.Count));
        var caller = Callers.Current(context);
        var users = new UserBatch(ids.Count);
        long bytes;
        try
        {
            DirectoryUsers.AddNamed(users, ids, Routes.WatchedQuery, host.Presence.RequestedKeys);
            await host.Presence.FindRequestedAsync(users);
            bytes = WatchHub.BytesOf(users) + TargetBytesOf(context);
            gate.Holdings.EnterStream(caller, bytes);
        }
        catch
        {
            users.Dispose();
            throw;
        }

        try
        {
            await EventStream.RunAsync(context, users, definition, host.Sockets, viewer, caller, callers.SessionOf(context));
        }
        finally
        {
            gate.Holdings.ExitStream(caller, bytes);
        }
    }
}
