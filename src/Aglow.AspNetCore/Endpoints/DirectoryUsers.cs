using Aglow.AspNetCore.Http;
using Aglow.Model;
using Microsoft.AspNetCore.Http;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>What calls about users of the directory share: who must exist, and lists of users in bodies and answers.</summary>
internal static class DirectoryUsers
{
    /// <summary>The number of somebody who exists: the application's own do, the directory's where it has them.</summary>
    public static async ValueTask<uint> RequireAsync(PresenceService presence, UserId asked)
    {
        var number = await presence.FindAsync(asked);
        if (number >= UserId.FirstDirectoryNumber && (number == UserId.Nobody || await presence.FindUserAsync(number) is null))
            throw Problems.NoSuchUser(asked);
        return number;
    }

    /// <summary>Reads the list of users that the body must have.</summary>
    public static async ValueTask ReadListAsync(HttpContext context, PresenceService presence, UserBatch users)
    {
        if (RequestBodies.Kind(context, packed: false) == BodyKind.Empty)
            throw Problems.Malformed("The body is empty. Send {\"user_ids\": [X, …]}.");
        using var body = await RequestBodies.ReadJsonAsync(context);
        UsersBody.Read(body.Written.Span, UsersForm.List, presence.KnownKeys, users);
    }

    /// <summary>Answers with a list of users.</summary>
    public static async Task SendListAsync(HttpContext context, PresenceService presence, uint[] numbers) =>
        await Answers.JsonAsync(context, new UserIdsDocument(await NameAsync(presence, numbers)), Documents.Sent.UserIdsDocument);

    /// <summary>Users as they are answered: by name where the directory has one.</summary>
    public static async ValueTask<UserJson[]> NameAsync(PresenceService presence, uint[] numbers)
    {
        var names = new string?[numbers.Length];
        await presence.FindNamesAsync(numbers, names);
        return [.. numbers.Select((number, i) => UserJson.Of(number, names[i]))];
    }
}
