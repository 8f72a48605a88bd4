using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Hosting;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>The users who are online, and how many they are: <c>GET /online</c>, <c>/online/count</c>.</summary>
internal sealed class OnlineEndpoints(PresenceHost host, Callers callers, Gate gate)
{
    public void Map(IEndpointRouteBuilder routes) => routes.MapCalls(
        gate,
        new Call(HttpMethods.Get, Routes.Online, "online", "Users who are online", ListAsync)
        {
            Cost = Cost.Search,
            Access = CallAccess.Backends(Scopes.Read),
            Query =
            [
                new(Routes.LimitQuery, "1 to 10,000; 100 where it is not given. A page may hold fewer.", IsNumber: true),
                new(Routes.CursorQuery, "The \"next\" of the page before."),
                QueryParameter.Definition,
                QueryParameter.Viewer,
            ],
            Answers = [new(Routes.Json, typeof(OnlineDocument))],
        },
        new Call(HttpMethods.Get, Routes.OnlineCount, "online count",
            "How many users are online, of those who show it to everyone", CountAsync)
        {
            Cost = Cost.Search,
            Access = CallAccess.People(Scopes.Read),
            Query = [QueryParameter.Definition],
            Answers = [new(Routes.Json, typeof(OnlineCountDocument))],
        });

    private async Task ListAsync(HttpContext context)
    {
        var definition = RequestParameters.Definition(context, host.Presence.Definitions);
        var limit = RequestParameters.Limit(context, Limits.ListedUsers, Limits.OnlineUsersDefault);
        var view = await callers.ViewAsync(context);
        var page = await RequestParameters.PageAsync(context, cursor => view.ListOnlineAsync(definition, limit, cursor));
        var users = await DirectoryUsers.NameAsync(host.Presence, [.. page.Users]);
        await Answers.JsonAsync(context, new OnlineDocument(users, page.Next), Documents.Sent.OnlineDocument);
    }

    private async Task CountAsync(HttpContext context)
    {
        var (online, asOf) = await host.Presence.CountAsync(RequestParameters.Definition(context, host.Presence.Definitions));
        await Answers.JsonAsync(context, new OnlineCountDocument(online, asOf), Documents.Sent.OnlineCountDocument);
    }
}
