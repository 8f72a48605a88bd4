using System.Globalization;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Hosting;
using Aglow.Users;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// What users show of themselves, and to which users: <c>/users/{user}/visibility</c>, <c>/approved</c>, <c>/waiting</c>, <c>/blocked</c>.
/// A change is durable before it is answered.
/// </summary>
internal sealed class VisibilityEndpoints(PresenceHost host, Callers callers, Gate gate)
{
    private const string Example =
        "{\"online\": \"everyone\", \"followers-approved\" or \"nobody\", \"last_seen\": \"exact\", \"coarse\" or \"hidden\"}";

    private static readonly string[] OnlineWords = ["everyone", "followers-approved", "nobody"];
    private static readonly string[] LastSeenWords = ["exact", "coarse", "hidden"];

    public void Map(IEndpointRouteBuilder routes) => routes.MapCalls(
        gate,
        [
            Call.ReadOfUser(
                Routes.Visibility, "visibility", "What a user shows of themself", ReadAsync, typeof(VisibilityDocument)),
            Call.ChangeOfUser(
                HttpMethods.Put, Routes.Visibility, "set visibility", "Sets what a user shows of themself; what is left out stays",
                SetAsync, typeof(VisibilityBody), typeof(VisibilityDocument)),
            Call.ReadOfUser(
                Routes.Waiting, "waiting",
                "Who follows a user who shows themself to \"followers-approved\", and was neither approved nor blocked", WaitingAsync,
                typeof(WaitingDocument)) with
            {
                Query =
                [
                    new(Routes.LimitQuery, "1 to 10,000; 100 where it is not given.", IsNumber: true),
                    new(Routes.CursorQuery, "The \"next\" of the page before."),
                ],
            },
            .. List(Routes.Approved, Relation.Approved, "approved", "Who sees what a user shows to \"followers-approved\""),
            .. List(Routes.Blocked, Relation.Blocked, "blocked", "Who sees nothing of a user"),
        ]);

    private Call[] List(string path, Relation relation, string name, string summary)
    {
        return
        [
            Call.ReadOfUser(path, name, summary, context => ListAsync(context, relation), typeof(UserIdsDocument)),
            Change(HttpMethods.Post, $"add to {name}", "Adds to those", add: true),
            Change(HttpMethods.Delete, $"take from {name}", "Takes away from those", add: false),
        ];

        Call Change(string method, string called, string does, bool add) => Call.ChangeOfUser(
            method, path, called, $"{does}: {summary}", context => ChangeAsync(context, relation, add),
            typeof(UserIdsDocument), typeof(UserIdsDocument));
    }

    private async Task ReadAsync(HttpContext context)
    {
        var (requested, number) = await RequireAsync(context);
        await SendAsync(context, requested, host.Presence.Visibilities.Of(number));
    }

    private async Task SetAsync(HttpContext context)
    {
        var (requested, number) = await RequireAsync(context);
        var words = await RequestBodies.ReadAsync(
            context, Example, static json => MemberReader.ReadText(json, Example, JsonNames.Online, JsonNames.LastSeen));
        if (words is [null, null])
            throw Problems.Malformed($"Neither online nor last_seen is given. Send {Example}.");
        var shows = await host.Presence.SetVisibilityAsync(
            number,
            (OnlineVisibility?)Find(words[0], OnlineWords, JsonNames.Online),
            (LastSeenVisibility?)Find(words[1], LastSeenWords, JsonNames.LastSeen));
        await SendAsync(context, requested, shows);
    }

    private async Task ListAsync(HttpContext context, Relation relation)
    {
        var (_, number) = await RequireAsync(context);
        await DirectoryUsers.SendListAsync(context, host.Presence, host.Presence.Related(number, relation));
    }

    private async Task WaitingAsync(HttpContext context)
    {
        var (_, number) = await RequireAsync(context);
        var limit = RequestParameters.Limit(context, Limits.ListedUsers, Limits.WaitingUsersDefault);
        var list = $"/waiting\n{number}";
        var from = RequestParameters.Cursor(context) is { } cursor
            ? uint.Parse(host.Presence.Cursors.Open(cursor, list) ?? throw RequestParameters.ForeignCursor(), CultureInfo.InvariantCulture)
            : 0;
        var (waiting, next) = await host.Presence.WaitingAsync(number, from, limit);
        await Answers.JsonAsync(
            context,
            new WaitingDocument(
                await DirectoryUsers.NameAsync(host.Presence, waiting),
                next is { } at ? host.Presence.Cursors.Seal($"{at}", list) : null),
            Documents.Sent.WaitingDocument);
    }

    private async Task ChangeAsync(HttpContext context, Relation relation, bool add)
    {
        var (_, number) = await RequireAsync(context);
        using var users = new UserBatch();
        await DirectoryUsers.ReadListAsync(context, host.Presence, users);
        await DirectoryUsers.ResolveAsync(context, host.Presence, gate, users, register: add);
        var related = await host.Presence.RelateAsync(number, relation, DirectoryUsers.Known(users), add)
            ?? throw Problems.ListFull(host.Options.RelationLimit);
        await DirectoryUsers.SendListAsync(context, host.Presence, related);
    }

    private async ValueTask<(UserId Requested, uint Number)> RequireAsync(HttpContext context)
    {
        var requested = RequestParameters.User(context, fromEnd: 1);
        await callers.RequireAsync(context, requested, Scopes.Users);
        if (!host.Presence.HasDirectory)
            throw new NotInThisDeploymentException(
                "This deployment has no user directory, so it stores no visibility: everyone sees everyone.");
        return (requested, await DirectoryUsers.RegisterAsync(context, host.Presence, gate, requested));
    }

    private static Task SendAsync(HttpContext context, UserId requested, Visibility shows) => Answers.JsonAsync(
        context,
        new VisibilityDocument(UserJson.Of(requested), OnlineWords[(int)shows.Online], LastSeenWords[(int)shows.LastSeen]),
        Documents.Sent.VisibilityDocument);

    private static int? Find(string? word, string[] words, string member)
    {
        if (word is null)
            return null;
        var found = Array.IndexOf(words, word);
        return found >= 0 ? found : throw Problems.Malformed($"{member} is \"{Problems.Shorten(word)}\". Send {Example}.");
    }
}
