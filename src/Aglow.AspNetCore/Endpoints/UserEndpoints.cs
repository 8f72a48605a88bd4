using System.Globalization;
using System.Text;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Http;
using Aglow.AspNetCore.Sockets;
using Aglow.Model;
using Aglow.Users;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>The directory over HTTP: users, their manual status, whom they follow. Answers that change something are durable.</summary>
internal sealed class UserEndpoints(PresenceHost host, Callers callers, RateLimits rates, ProblemAnswers problems)
{
    private const string NewUserExample = "{\"user_name\": \"alice\", \"display_name\": \"Alice\"}";
    private const string ManualStatusExample = "{\"status\": \"auto\"}, \"online\", \"away\", \"busy\" or \"offline\"";

    public void Map(IEndpointRouteBuilder routes, Gate gate) => routes.MapCalls(
        gate,
        new Call(HttpMethods.Post, Routes.Users, "create user", "Registers a user", problems.Guard(CreateAsync))
        {
            Access = CallAccess.People(Scopes.Users),
            Bodies = [new(Routes.Json, typeof(NewUserBody))],
            Answers = [new(Routes.Json, typeof(UserDocument), StatusCodes.Status201Created)],
            Problems = [400, 401, 403, 409, 408, 413, 415, 429, 501, 503],
        },
        new Call(HttpMethods.Get, Routes.Users, "search users", "Finds users by name", problems.Guard(SearchAsync))
        {
            Access = CallAccess.People(Scopes.Read),
            Query =
            [
                new(Routes.SearchQuery, "Part of a name: anywhere in it from 3 letters on, its beginning below. Case does not matter."),
                new(Routes.LimitQuery, "1 to 100; 20 where it is not given.", IsNumber: true),
                new(Routes.CursorQuery, "The \"next\" of the page before."),
                QueryParameter.Viewer,
            ],
            Answers = [new(Routes.Json, typeof(UsersDocument))],
            Problems = [400, 401, 403, 429, 501, 503],
        },
        new Call(HttpMethods.Get, Routes.User, "user", "A registered user", problems.Guard(FindAsync))
        {
            Access = CallAccess.People(Scopes.Read),
            Answers = [new(Routes.Json, typeof(UserDocument))],
            Problems = [400, 401, 403, 404, 429, 501, 503],
        },
        new Call(HttpMethods.Delete, Routes.User, "delete user", "Removes a user, for good", problems.Guard(DeleteAsync))
        {
            Access = CallAccess.People(Scopes.Users),
            Answers = [new(Status: StatusCodes.Status204NoContent)],
            Problems = [400, 401, 403, 404, 429, 501, 503],
        },
        new Call(HttpMethods.Put, Routes.ManualStatus, "set manual status", "Sets what a user is seen as", problems.Guard(SetManualStatusAsync))
        {
            Access = CallAccess.People(Scopes.Users),
            Bodies = [new(Routes.Json, typeof(ManualStatusBody))],
            Answers = [new(Routes.Json, typeof(ManualStatusDocument))],
            Problems = [400, 401, 403, 404, 408, 413, 415, 429, 501, 503],
        },
        new Call(HttpMethods.Get, Routes.Subscriptions, "subscriptions", "Whom a user follows", problems.Guard(SubscriptionsAsync))
        {
            Access = CallAccess.People(Scopes.Users),
            Answers = [new(Routes.Json, typeof(UserIdsDocument))],
            Problems = [400, 401, 403, 404, 429, 501, 503],
        },
        new Call(HttpMethods.Post, Routes.Subscriptions, "subscribe", "Adds to whom a user follows", problems.Guard(context => FollowAsync(context, follow: true)))
        {
            Access = CallAccess.People(Scopes.Users),
            Bodies = [new(Routes.Json, typeof(UserIdsDocument))],
            Answers = [new(Routes.Json, typeof(UserIdsDocument))],
            Problems = [400, 401, 403, 404, 408, 413, 415, 429, 501, 503],
        },
        new Call(HttpMethods.Delete, Routes.Subscriptions, "unsubscribe", "Takes away from whom a user follows", problems.Guard(context => FollowAsync(context, follow: false)))
        {
            Access = CallAccess.People(Scopes.Users),
            Bodies = [new(Routes.Json, typeof(UserIdsDocument))],
            Answers = [new(Routes.Json, typeof(UserIdsDocument))],
            Problems = [400, 401, 403, 404, 408, 413, 415, 429, 501, 503],
        });

    private async Task CreateAsync(HttpContext context)
    {
        var (name, displayName) = await ReadNewUserAsync(context);
        if (UserId.TryParse(name, out var named))
            await callers.RequireAsync(context, named, Scopes.Users);
        rates.RequireRegistrations(Callers.Current(context), 1);
        var user = await host.Presence.CreateUserAsync(name, displayName)
            ?? throw new ProblemException(StatusCodes.Status409Conflict, "Name taken", $"A user \"{Problems.Shorten(name)}\" is registered already. Choose another user_name.");
        var request = context.Request;
        context.Response.Headers.Location = $"{request.PathBase.ToUriComponent()}{request.Path.ToUriComponent().TrimEnd('/')}/{user.Number}";
        var presence = await host.Presence.StatusAsync(user.Number);
        await Answers.JsonAsync(context, UserDocument.Of(user, presence), Documents.Sent.UserDocument, StatusCodes.Status201Created);
    }

    private async Task SearchAsync(HttpContext context)
    {
        var query = Asked.Text(context, Routes.SearchQuery) ?? "";
        if (new StringInfo(query).LengthInTextElements > Limits.SearchCharacters)
            throw Problems.Malformed($"q is longer than {Limits.SearchCharacters} characters: send part of a name.");
        var limit = Asked.Limit(context, Limits.SearchedUsers, Limits.SearchedUsersDefault);
        DirectoryPage page;
        try
        {
            page = await host.Presence.SearchUsersAsync(query, limit, Asked.Cursor(context));
        }
        catch (FormatException)
        {
            throw Asked.ForeignCursor();
        }

        var numbers = page.Users.Select(static u => u.Number).ToArray();
        var statuses = new Presence[numbers.Length];
        await (await callers.ViewAsync(context)).ReadAsync(numbers, host.Presence.Definitions.Default, statuses);
        var users = page.Users.Select((user, i) => UserDocument.Of(user, statuses[i])).ToArray();
        await Answers.JsonAsync(context, new UsersDocument(users, page.Next), Documents.Sent.UsersDocument);
    }

    private async Task FindAsync(HttpContext context)
    {
        var asked = Asked.User(context);
        var number = await host.Presence.FindAsync(asked);
        var user = await host.Presence.FindUserAsync(number) ?? throw Problems.NoSuchUser(asked);
        var presence = await (await callers.ViewAsync(context)).StatusAsync(number);
        var manual = await callers.MaySeeAllOfAsync(context, asked) ? host.Presence.Manual.Of(number).Name : null;
        await Answers.JsonAsync(context, UserDocument.Of(user, presence, manual), Documents.Sent.UserDocument);
    }

    private async Task DeleteAsync(HttpContext context)
    {
        var asked = Asked.User(context);
        await callers.RequireAsync(context, asked, Scopes.Users);
        var number = await host.Presence.FindAsync(asked);
        if (number == UserId.Nobody || !await host.Presence.DeleteUserAsync(number))
            throw Problems.NoSuchUser(asked);
        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    private async Task SetManualStatusAsync(HttpContext context)
    {
        var asked = Asked.User(context, fromEnd: 1);
        await callers.RequireAsync(context, asked, Scopes.Users);
        var kind = await ReadManualStatusAsync(context);
        var number = await DirectoryUsers.RequireAsync(host.Presence, asked);
        var presence = await host.Presence.SetManualStatusAsync(number, kind);
        var document = new ManualStatusDocument(
            UserJson.Of(asked), presence.IsOnline, Words.Of(presence.Status), Pulse.ToUnix(presence.LastSeen), new ManualStatus(kind).Name, Pulse.ToUnix(presence.ActiveAt));
        await Answers.JsonAsync(context, document, Documents.Sent.ManualStatusDocument);
    }

    private async Task SubscriptionsAsync(HttpContext context)
    {
        var asked = Asked.User(context, fromEnd: 1);
        await callers.RequireAsync(context, asked, Scopes.Users);
        var follower = await DirectoryUsers.RequireAsync(host.Presence, asked);
        await DirectoryUsers.SendListAsync(context, host.Presence, await host.Presence.SubscriptionsAsync(follower));
    }

    private async Task FollowAsync(HttpContext context, bool follow)
    {
        var asked = Asked.User(context, fromEnd: 1);
        await callers.RequireAsync(context, asked, Scopes.Users);
        using var users = new UserBatch();
        await DirectoryUsers.ReadListAsync(context, host.Presence, users);
        var follower = await DirectoryUsers.RequireAsync(host.Presence, asked);
        await host.Presence.FindAsync(users);
        await RequireAllAsync(users, handedOut: follow);
        var followed = await host.Presence.FollowAsync(follower, users.Numbers.ToArray(), follow)
            ?? throw Problems.TooManyUsers(host.Options.SubscriptionLimit, "DELETE for some of those whom this user follows already; nothing was changed");
        await DirectoryUsers.SendListAsync(context, host.Presence, followed);
    }

    private async ValueTask RequireAllAsync(UserBatch users, bool handedOut)
    {
        var names = new string?[users.Count];
        if (handedOut)
            await host.Presence.FindNamesAsync(users.Numbers, names);
        for (var i = 0; i < users.Count; i++)
        {
            var number = users.Numbers.Span[i];
            var unknownKey = number == UserId.Nobody && !users.Text(i).IsEmpty;
            if (unknownKey || (handedOut && number >= UserId.FirstDirectoryNumber && names[i] is null))
                throw Problems.NoSuchUser(users, i);
        }
    }

    private static async ValueTask<(string Name, string? DisplayName)> ReadNewUserAsync(HttpContext context)
    {
        if (RequestBodies.Kind(context, packed: false) == BodyKind.Empty)
            throw Problems.Malformed($"The body is empty. Send {NewUserExample}.");
        using var body = await RequestBodies.ReadJsonAsync(context);
        if (MemberReader.ReadText(body.Written.Span, NewUserExample, JsonNames.UserName, JsonNames.DisplayName) is not [{ } name, var displayName])
            throw Problems.Malformed($"user_name is missing. Send {NewUserExample}.");
        if (UserId.TryParseNumber(Encoding.UTF8.GetBytes(name), out _))
            throw Problems.Malformed($"user_name \"{name}\" is a number, and numbers up to 4294967295 are users already. Send a name that is not digits only.");
        if (!UserId.IsKey(Encoding.UTF8.GetBytes(name)))
            throw Problems.Malformed($"user_name is not a name: send 1 to {UserId.MaxKeyBytes} bytes of UTF-8 without control characters.");
        if (displayName is not null && !IsDisplayName(displayName))
            throw Problems.Malformed($"display_name is not one: send 1 to {Limits.DisplayNameBytes} bytes of UTF-8 without control characters, or leave it out.");
        return (name, displayName);
    }

    private static async ValueTask<ManualStatusKind> ReadManualStatusAsync(HttpContext context)
    {
        if (RequestBodies.Kind(context, packed: false) == BodyKind.Empty)
            throw Problems.Malformed($"The body is empty. Send {ManualStatusExample}.");
        using var body = await RequestBodies.ReadJsonAsync(context);
        var word = MemberReader.ReadText(body.Written.Span, ManualStatusExample, JsonNames.Status)[0];
        return word is not null && ManualStatus.TryParse(Encoding.UTF8.GetBytes(word), out var kind)
            ? kind
            : throw Problems.Malformed(
                word is null ? $"status is missing. Send {ManualStatusExample}." : $"status is \"{Problems.Shorten(word)}\". Send {ManualStatusExample}.");
    }

    private static bool IsDisplayName(string text) =>
        text.Length > 0 && Encoding.UTF8.GetByteCount(text) <= Limits.DisplayNameBytes && !text.Any(char.IsControl);
}
