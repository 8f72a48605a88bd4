using System.Text;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.Users;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>Reads, resolves and writes lists of users, for all calls that use the directory.</summary>
internal static class DirectoryUsers
{
    /// <summary>Refuses a call that needs the user directory, if this deployment has none.</summary>
    public static void Require(PresenceService presence)
    {
        if (!presence.HasDirectory)
        {
            throw new NotInThisDeploymentException(
                "This deployment has no user directory: user IDs are integers from 0 to 2147483647, and nothing is saved about them.");
        }
    }

    /// <summary>
    /// The user in the path, with <paramref name="fromEnd"/> segments behind it. Refuses a caller who may not speak for them.
    /// </summary>
    public static async ValueTask<UserId> RequestedUserAsync(HttpContext context, Callers callers, PresenceService presence, int fromEnd)
    {
        var requested = RequestParameters.User(context, fromEnd);
        await callers.RequireAsync(context, requested, Scopes.Users);
        Require(presence);
        return requested;
    }

    /// <summary>The index of a user; a user without one gets it, and the caller pays. No other code of a call registers users.</summary>
    public static async ValueTask<uint> RegisterAsync(HttpContext context, PresenceService presence, Gate gate, UserId user)
    {
        var index = await presence.FindAsync(user);
        if (index != UserId.Nobody)
            return index;
        gate.ChargeRegistrations(context, 1);
        return await presence.RegisterAsync(user);
    }

    /// <summary>The same for the users of a list.</summary>
    public static async ValueTask RegisterAsync(HttpContext context, PresenceService presence, Gate gate, UserBatch users)
    {
        if (users.UnknownCount > 0 && Callers.Current(context) is not null)
        {
            // looks in the directory first: users who are unknown only to this node are not new
            await presence.FindAsync(users);
            gate.ChargeRegistrations(context, users.UnknownCount);
        }

        await presence.RegisterAsync(users);
    }

    /// <summary>Adds the users whom a query names.</summary>
    public static void AddNamed(UserBatch users, IReadOnlyList<string> ids, string query, KeyCache known)
    {
        foreach (var id in ids)
        {
            if (!UserId.TryParse(id, out var user))
                throw Problems.Malformed($"\"{Problems.Shorten(id)}\" in {query} is not a user: {Problems.AUser}.");
            if (user.Key is null)
                users.Add(user.Number);
            else
                users.TryAdd(Encoding.UTF8.GetBytes(id), known);
        }
    }

    /// <summary>
    /// Finds the users of a list. With <paramref name="register"/>, IDs without an index get one, because a user may be blocked before they
    /// first connect.
    /// </summary>
    public static async ValueTask ResolveAsync(HttpContext context, PresenceService presence, Gate gate, UserBatch users, bool register)
    {
        await presence.FindRequestedAsync(users);
        if (!register || users.UnknownCount == 0)
            return;
        gate.ChargeRegistrations(context, users.UnknownCount);
        await presence.RegisterRequestedAsync(users);
    }

    /// <summary>The users of a list who have an index. The others are in no list, so nothing needs to be removed for them.</summary>
    public static uint[] Known(UserBatch users) => [.. users.Numbers.Span.ToArray().Where(static user => user != UserId.Nobody)];

    /// <summary>Reads the list of users in the body; refuses an empty body.</summary>
    public static async ValueTask ReadListAsync(HttpContext context, PresenceService presence, UserBatch users)
    {
        await RequestBodies.ReadAsync(
            context, "{\"user_ids\": [X, …]}", json => UsersBody.Read(json, UsersForm.List, presence.RequestedKeys, users));
        Gate.Of(context)?.Charge(context, Cost.Users(users.Count));
    }

    /// <summary>Answers with a list of users.</summary>
    public static async Task SendListAsync(HttpContext context, PresenceService presence, uint[] numbers)
    {
        Gate.Of(context)?.Charge(context, Cost.Users(numbers.Length));
        await Answers.JsonAsync(context, new UserIdsDocument(await NameAsync(presence, numbers)), Documents.Sent.UserIdsDocument);
    }

    /// <summary>The IDs of users, for an answer; without users whose ID is unknown.</summary>
    public static async ValueTask<UserJson[]> NameAsync(PresenceService presence, uint[] numbers)
    {
        var names = new string?[numbers.Length];
        await presence.FindIdsAsync(numbers, names);
        return [.. numbers.Select((number, i) => UserId.OfIndex(number, names[i])).OfType<UserId>().Select(UserJson.Of)];
    }
}
