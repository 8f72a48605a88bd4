using System.Globalization;
using System.Text;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Hosting;
using Aglow.Users;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// The directory over HTTP: users, their profiles and accounts, and whom they follow. A change is durable before it is answered.
/// </summary>
internal sealed class UserEndpoints(PresenceHost host, Callers callers, Gate gate)
{
    private const string AccessExample = "{\"disabled\": true}";
    private static readonly int[] ProfileProblems = [409, 501];

    public void Map(IEndpointRouteBuilder routes) =>
        routes.MapCalls(gate, [.. Table(), .. ByQuery(HttpMethods.Put, HttpMethods.Patch, HttpMethods.Delete)]);

    // The same calls with the user in the query, for IDs that cannot be in a path. "batch" is the path of another call, and clients remove
    // "." and ".." from a path.
    private IEnumerable<Call> ByQuery(params string[] methods) =>
        from call in Table()
        where call.Path == Routes.User && methods.Contains(call.Method)
        select call with
        {
            Path = Routes.Users,
            Name = $"{call.Name} by query",
            Query = [QueryParameter.User with { Required = true }],
        };

    private Call[] Table() =>
    [
        Call.ChangeOfUser(
            HttpMethods.Post, Routes.Users, "create user", "Creates a user with a profile", CreateAsync, typeof(NewUserBody)) with
        {
            Answers = [new(Routes.Json, typeof(UserDocument), StatusCodes.Status201Created)],
            Problems = ProfileProblems,
        },
        new Call(
            HttpMethods.Post, Routes.UsersBatch, "import users", "Creates or replaces up to 10,000 profiles, all or none", ImportAsync)
        {
            Cost = Cost.Search,
            Access = CallAccess.Backends(Scopes.Users),
            Bodies = [new(Routes.Json, typeof(ImportBody))],
            Answers = [new(Routes.Json, typeof(ImportedDocument))],
            Problems = ProfileProblems,
        },
        Call.ChangeOfUser(
            HttpMethods.Put, Routes.User, "replace user", "Creates or replaces a user's profile", ReplaceAsync, typeof(NamesBody)) with
        {
            Answers = [new(Routes.Json, typeof(UserDocument)), new(Routes.Json, typeof(UserDocument), StatusCodes.Status201Created)],
            Problems = ProfileProblems,
        },
        Call.ChangeOfUser(
            HttpMethods.Patch, Routes.User, "change user", "Changes the names that are given; null removes one", PatchAsync,
            typeof(NamesBody), typeof(UserDocument), problems: ProfileProblems),
        Call.ChangeOfUser(
            HttpMethods.Post, Routes.Revoke, "revoke", "Signs a user out everywhere: tokens issued until now are refused, sockets close",
            RevokeAsync, problems: [501]),
        Call.ChangeOfUser(
            HttpMethods.Put, Routes.Access, "set access", "Disables a user, or enables them again", SetAccessAsync,
            typeof(AccessBody), typeof(AccessDocument)) with
        {
            Access = CallAccess.Backends(Scopes.Users),
            Problems = [501],
        },
        new Call(HttpMethods.Get, Routes.Users, "search users", "Finds users by name, or one user by ID", SearchAsync)
        {
            Access = CallAccess.People(Scopes.Read),
            Query =
            [
                new(
                    Routes.SearchQuery,
                    "The beginning of a name; from 3 characters on also any other part of it. Case and accents do not matter. "
                        + "Without it, GET /users?user=X answers one user."),
                new(Routes.LimitQuery, "1 to 100; 20 where it is not given.", IsNumber: true),
                new(Routes.CursorQuery, "The \"next\" of the page before."),
                QueryParameter.User,
                QueryParameter.Viewer,
            ],
            Answers = [new(Routes.Json, typeof(UsersDocument)), new(Routes.Json, typeof(UserDocument))],
            Problems = [404, 501],
        },
        new Call(HttpMethods.Get, Routes.User, "user", "A user: names and presence", FindAsync)
        {
            Access = CallAccess.People(Scopes.Read),
            Query = [QueryParameter.Viewer],
            Answers = [new(Routes.Json, typeof(UserDocument))],
            Problems = [404, 501],
        },
        Call.ChangeOfUser(HttpMethods.Delete, Routes.User, "delete user", "Erases a user", DeleteAsync) with { Cost = Cost.Search },
        Call.ReadOfUser(Routes.Subscriptions, "subscriptions", "Whom a user follows", SubscriptionsAsync, typeof(UserIdsDocument)),
        Call.ChangeOfUser(
            HttpMethods.Post, Routes.Subscriptions, "subscribe", "Adds to whom a user follows",
            context => FollowAsync(context, follow: true), typeof(UserIdsDocument), typeof(UserIdsDocument)),
        Call.ChangeOfUser(
            HttpMethods.Delete, Routes.Subscriptions, "unsubscribe", "Takes away from whom a user follows",
            context => FollowAsync(context, follow: false), typeof(UserIdsDocument), typeof(UserIdsDocument)),
    ];

    private async Task CreateAsync(HttpContext context)
    {
        var profile = await ReadProfileAsync(context, withId: true);
        if (profile.UserName is not { } name)
            throw Problems.Malformed($"user_name is missing. Send {ProfileReader.OneWithId}.");
        if ((profile.User ?? (UserId.TryParse(name, out var named) ? named : null)) is not { } who)
            throw Problems.Malformed($"user_name cannot be the user ID, too: send user_id. {Problems.AUser}.");
        await callers.RequireAsync(context, who, Scopes.Users);
        var user = await RegisterAsync(context, who);
        Refuse(await host.Presence.WriteProfilesAsync([new(user, name, profile.DisplayName)], create: true), who, name);
        var request = context.Request;
        context.Response.Headers.Location =
            $"{request.PathBase.ToUriComponent()}{request.Path.ToUriComponent().TrimEnd('/')}{PathOf(who)}";
        await AnswerAsync(context, who, user, StatusCodes.Status201Created, profile.AsCame);
    }

    // Clients remove "." and ".." from a path, and "batch" is another call's.
    private static string PathOf(UserId user)
    {
        var text = Uri.EscapeDataString(user.ToString());
        return text is "." or ".." or "batch" ? $"?{Routes.UserParameter}={text}" : $"/{text}";
    }

    private async Task ReplaceAsync(HttpContext context)
    {
        var requested = await RequestedUserAsync(context);
        var profile = await ReadProfileAsync(context, withId: false);
        if (profile.UserName is not { } name)
            throw Problems.Malformed($"user_name is missing. Send {ProfileReader.One}.");
        var user = await RegisterAsync(context, requested);
        var result = await host.Presence.WriteProfilesAsync([new(user, name, profile.DisplayName)], create: false);
        Refuse(result, requested, name);
        await AnswerAsync(context, requested, user, result.Created > 0 ? StatusCodes.Status201Created : StatusCodes.Status200OK);
    }

    private async Task PatchAsync(HttpContext context)
    {
        var requested = await RequestedUserAsync(context);
        var profile = await ReadProfileAsync(context, withId: false);
        if (profile.Given == ProfileParts.None)
        {
            throw Problems.Malformed(
                $"Neither user_name nor display_name is given. Send {ProfileReader.One}, or null to remove a name.");
        }
        var user = await RegisterAsync(context, requested);
        Refuse(
            await host.Presence.WriteProfilesAsync([new(user, profile.UserName, profile.DisplayName, profile.Given)], create: false),
            requested,
            profile.UserName ?? "");
        await AnswerAsync(context, requested, user, StatusCodes.Status200OK);
    }

    private async Task ImportAsync(HttpContext context)
    {
        await callers.RequireBackendAsync(context, Scopes.Users);
        var profiles = await RequestBodies.ReadAsync(context, ProfileReader.Many, ProfileReader.ReadMany);
        using var users = new UserBatch(Math.Max(profiles.Count, 1));
        var named = new HashSet<UserId>();
        foreach (var profile in profiles)
        {
            var user = profile.User!.Value;
            if (!named.Add(user))
                throw Problems.Malformed($"{Problems.Shown(user)} is in the list twice: send each user once.");
            if (profile.UserName is null)
                throw Problems.Malformed($"{Problems.Shown(user)} has no user_name. Send {ProfileReader.Many}.");
            users.TryAdd(Encoding.UTF8.GetBytes(user.ToString()), host.Presence.KnownKeys);
        }

        DirectoryUsers.Require(host.Presence);
        // writing one profile costs a tenth of a call: its row, its names, and their index in the database
        gate.Charge(context, profiles.Count / 10);
        await DirectoryUsers.RegisterAsync(context, host.Presence, gate, users);
        var writes = profiles
            .Select((profile, i) => new ProfileWrite(users.Numbers.Span[i], profile.UserName, profile.DisplayName))
            .ToArray();
        var result = await host.Presence.WriteProfilesAsync(writes, create: false);
        if (result.Conflict != ProfileConflict.None)
            Refuse(result, profiles[result.ConflictAt].User!.Value, profiles[result.ConflictAt].UserName!);
        await Answers.JsonAsync(context, new ImportedDocument(result.Created, result.Replaced), Documents.Sent.ImportedDocument);
    }

    private async Task RevokeAsync(HttpContext context)
    {
        var requested = await RequestedUserAsync(context, fromEnd: 1);
        await host.Presence.RevokeAsync(await RegisterAsync(context, requested));
        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    private async Task SetAccessAsync(HttpContext context)
    {
        var requested = RequestParameters.User(context, fromEnd: 1);
        await callers.RequireBackendAsync(context, Scopes.Users);
        var disabled = await RequestBodies.ReadAsync(
            context, AccessExample, static json => MemberReader.ReadFlag(json, AccessExample, JsonNames.Disabled));
        await host.Presence.SetDisabledAsync(await RegisterAsync(context, requested), disabled);
        await Answers.JsonAsync(context, new AccessDocument(UserJson.Of(requested), disabled), Documents.Sent.AccessDocument);
    }

    private async Task SearchAsync(HttpContext context)
    {
        if (RequestParameters.Text(context, Routes.UserParameter) is not null)
        {
            foreach (var other in new[] { Routes.SearchQuery, Routes.LimitQuery, Routes.CursorQuery })
            {
                if (RequestParameters.Text(context, other) is not null)
                    throw Problems.Malformed($"user and {other} are both given: send user for one user, or {other} for a search.");
            }

            await FindAsync(context);
            return;
        }

        gate.Charge(context, Cost.Search - Cost.Call);
        var query = RequestParameters.Text(context, Routes.SearchQuery) ?? "";
        if (Encoding.UTF8.GetByteCount(query) > Limits.SearchBytes)
            throw Problems.Malformed($"q is longer than {Limits.SearchBytes} bytes: send part of a name.");
        if (new StringInfo(query).LengthInTextElements > Limits.SearchCharacters)
            throw Problems.Malformed($"q is longer than {Limits.SearchCharacters} characters: send part of a name.");
        var limit = RequestParameters.Limit(context, Limits.SearchedUsers, Limits.SearchedUsersDefault);
        var page = await RequestParameters.PageAsync(context, cursor => host.Presence.SearchUsersAsync(query, limit, cursor));
        var indexes = page.Users.Select(static u => u.User).ToArray();
        var statuses = new Presence[indexes.Length];
        await (await callers.ViewAsync(context)).ReadAsync(indexes, host.Presence.Definitions.Default, statuses);
        var users = page.Users
            .Select((user, i) => UserDocument.Of(UserJson.Of(UserId.Parse(user.Id)), user.Profile, statuses[i]))
            .ToArray();
        await Answers.JsonAsync(context, new UsersDocument(users, page.Next), Documents.Sent.UsersDocument);
    }

    private async Task FindAsync(HttpContext context)
    {
        var requested = RequestParameters.User(context);
        DirectoryUsers.Require(host.Presence);
        var ofOneself = callers.Of(context) == requested;
        var user = ofOneself ? await host.Presence.FindAsync(requested) : await host.Presence.FindRequestedAsync(requested);
        if (!await host.Presence.IsKnownAsync(user, ofOneself))
            throw Problems.NoSuchUser(requested);
        await AnswerAsync(context, requested, user, StatusCodes.Status200OK);
    }

    private async Task AnswerAsync(HttpContext context, UserId requested, uint user, int status, UserJson? asCame = null)
    {
        var profile = await host.Presence.FindProfileAsync(user, ofOneself: callers.Of(context) == requested);
        var presence = await (await callers.ViewAsync(context)).StatusAsync(user);
        var seesAll = await callers.MaySeeAllOfAsync(context, requested);
        var document = UserDocument.Of(asCame ?? UserJson.Of(requested), profile, presence) with
        {
            Manual = seesAll ? Claim.NameOf(host.Presence.Claims.ChosenBy(user, host.Presence.Clock.Now)) : null,
            Disabled = seesAll && host.Presence.Accounts.IsDisabled(user) ? true : null,
        };
        await Answers.JsonAsync(context, document, Documents.Sent.UserDocument, status);
    }

    private async Task DeleteAsync(HttpContext context)
    {
        var requested = await RequestedUserAsync(context);
        if (!await host.Presence.DeleteUserAsync(requested))
            throw Problems.NoSuchUser(requested);
        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    private async Task SubscriptionsAsync(HttpContext context)
    {
        var follower = await host.Presence.FindAsync(await RequestedUserAsync(context, fromEnd: 1));
        await DirectoryUsers.SendListAsync(context, host.Presence, await host.Presence.SubscriptionsAsync(follower));
    }

    private async Task FollowAsync(HttpContext context, bool follow)
    {
        var requested = await RequestedUserAsync(context, fromEnd: 1);
        using var users = new UserBatch();
        await DirectoryUsers.ReadListAsync(context, host.Presence, users);
        var follower = await RegisterAsync(context, requested);
        await DirectoryUsers.ResolveAsync(context, host.Presence, gate, users, register: follow);
        var followed = await host.Presence.FollowAsync(follower, DirectoryUsers.Known(users), follow)
            ?? throw Problems.ListFull(host.Options.SubscriptionLimit);
        await DirectoryUsers.SendListAsync(context, host.Presence, followed);
    }

    private ValueTask<UserId> RequestedUserAsync(HttpContext context, int fromEnd = 0) =>
        DirectoryUsers.RequestedUserAsync(context, callers, host.Presence, fromEnd);

    private async ValueTask<uint> RegisterAsync(HttpContext context, UserId user)
    {
        DirectoryUsers.Require(host.Presence);
        return await DirectoryUsers.RegisterAsync(context, host.Presence, gate, user);
    }

    private static void Refuse(ProfileResult result, UserId user, string name)
    {
        if (result.Conflict == ProfileConflict.UserTaken)
        {
            throw new ProblemException(
                StatusCodes.Status409Conflict,
                "User taken",
                $"{Problems.Shown(user)} has a profile already. PUT or PATCH /users/{{user_id}} changes it.");
        }

        if (result.Conflict == ProfileConflict.NameTaken)
        {
            throw new ProblemException(
                StatusCodes.Status409Conflict,
                "Name taken",
                $"Another user has the user_name \"{Problems.Shorten(name)}\" (case, width and form do not matter). Choose another.");
        }
    }

    private static ValueTask<ProfileBody> ReadProfileAsync(HttpContext context, bool withId) => RequestBodies.ReadAsync(
        context, withId ? ProfileReader.OneWithId : ProfileReader.One, json => ProfileReader.ReadOne(json, withId));
}
