using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Http;
using Aglow.Model;
using Microsoft.AspNetCore.Http;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>What calls about users of the directory share: lists of users in bodies and answers.</summary>
internal static class DirectoryUsers
{
    /// <summary>Finds the users of a list; with <paramref name="register"/>, IDs that have no index get one: somebody may be blocked before they first come.</summary>
    public static async ValueTask ResolveAsync(HttpContext context, PresenceService presence, Gate gate, UserBatch users, bool register)
    {
        await presence.FindAskedAsync(users);
        if (!register || users.UnknownCount == 0)
            return;
        gate.ChargeRegistrations(context, users.UnknownCount);
        await presence.RegisterAskedAsync(users);
    }

    /// <summary>Those of a list who have an index: of the others there is nothing to take away.</summary>
    public static uint[] Known(UserBatch users) => [.. users.Numbers.Span.ToArray().Where(static user => user != UserId.Nobody)];

    /// <summary>Reads the list of users that the body must have.</summary>
    public static async ValueTask ReadListAsync(HttpContext context, PresenceService presence, UserBatch users)
    {
        if (RequestBodies.Kind(context, packed: false) == BodyKind.Empty)
            throw Problems.Malformed("The body is empty. Send {\"user_ids\": [X, …]}.");
        using var body = await RequestBodies.ReadJsonAsync(context);
        UsersBody.Read(body.Written.Span, UsersForm.List, presence.AskedKeys, users);
        Gate.Of(context)?.Charge(context, Cost.Users(users.Count));
    }

    /// <summary>Answers with a list of users.</summary>
    public static async Task SendListAsync(HttpContext context, PresenceService presence, uint[] numbers)
    {
        Gate.Of(context)?.Charge(context, Cost.Users(numbers.Length));
        await Answers.JsonAsync(context, new UserIdsDocument(await NameAsync(presence, numbers)), Documents.Sent.UserIdsDocument);
    }

    /// <summary>Users as they are answered: by their IDs.</summary>
    public static async ValueTask<UserJson[]> NameAsync(PresenceService presence, uint[] numbers)
    {
        var names = new string?[numbers.Length];
        await presence.FindIdsAsync(numbers, names);
        return [.. numbers.Select((number, i) => UserJson.Of(number, names[i]))];
    }
}
