using System.Text;
using System.Text.Json;
using Aglow.Users;

namespace Aglow.AspNetCore.Bodies;

/// <summary>The forms of JSON in which calls name users.</summary>
internal enum UsersForm
{
    /// <summary><c>{"user_id": X}</c> or <c>{"user_ids": [X, …]}</c>, and <c>"active"</c>.</summary>
    OneOrList,

    /// <summary><c>[{"user_id": X}, …]</c> or <c>{"user_ids": [X, …]}</c>.</summary>
    ListOfObjectsOrList,

    /// <summary><c>{"user_ids": [X, …]}</c>.</summary>
    List,
}

/// <summary>The members of a body besides the users.</summary>
/// <param name="Active">Whether the person did something.</param>
/// <param name="Device">The person's device that sends the call; null if it names none.</param>
/// <param name="IsOfCaller">Whether the body names no user, so that it is about the caller.</param>
internal readonly record struct UsersBodyFields(bool Active, Device? Device, bool IsOfCaller);

/// <summary>Reads JSON with users into a <see cref="UserBatch"/>, without objects.</summary>
/// <remarks>
/// All calls refuse unknown members, and members that are given twice. Text is kept as it came, so that answers repeat it.
/// </remarks>
internal static class UsersBody
{
    private const string AllMembers =
        "{\"user_id\": X} or {\"user_ids\": [X, …]}, and \"active\": true or \"device\": {\"id\": \"…\"} as needed";

    private const string DeviceExample = "{\"id\": \"…\", \"kind\": \"mobile\"}, with kind one of desktop, mobile, web, other";

    private static readonly string[] Members = [JsonNames.UserId, JsonNames.UserIds, JsonNames.Active, JsonNames.Device];
    private static readonly string[] ListMembers = [JsonNames.UserIds];

    /// <summary>
    /// The fast path for exactly one <c>user_id</c>, a number or a cached key, with or without <c>active</c>. False for all other bodies,
    /// valid or not.
    /// </summary>
    public static bool TryReadOne(ReadOnlySpan<byte> json, KeyCache known, out uint user, out bool active)
    {
        active = false;
        // {"user_id":42}, which nearly every client sends, needs no JSON reader at all
        if (json.StartsWith("{\"user_id\":"u8) && json[^1] == (byte)'}' && UserId.TryParseNumber(json[11..^1], out user))
            return true;
        user = 0;
        var reader = new Utf8JsonReader(json);
        try
        {
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
                return false;
            var named = false;
            var activeGiven = false;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                if (!named && reader.ValueTextEquals("user_id"u8))
                {
                    named = true;
                    if (!reader.Read() || !IsKnown(ref reader, known, out user))
                        return false;
                }
                else if (!activeGiven && reader.ValueTextEquals("active"u8))
                {
                    activeGiven = true;
                    if (!reader.Read() || reader.TokenType is not (JsonTokenType.True or JsonTokenType.False))
                        return false;
                    active = reader.TokenType == JsonTokenType.True;
                }
                else
                {
                    return false;
                }
            }

            return named && !reader.Read();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return false;
        }
    }

    /// <summary>
    /// Reads the users and the other members; throws a problem if the form is wrong. A device belongs to one user. A body with a device or
    /// activity, and without a user, is about the caller.
    /// </summary>
    public static UsersBodyFields Read(ReadOnlySpan<byte> json, UsersForm form, KeyCache known, UserBatch users) =>
        MemberReader.ReadValue(json, (ref Utf8JsonReader reader) => reader.TokenType switch
        {
            JsonTokenType.StartArray when form == UsersForm.ListOfObjectsOrList => ReadObjects(ref reader, known, users),
            JsonTokenType.StartObject => ReadObject(ref reader, form, known, users),
            _ => throw Expected(form),
        });

    /// <summary>Reads a user at the reader's position.</summary>
    public static void ReadUser(ref Utf8JsonReader reader, KeyCache known, UserBatch users)
    {
        if (reader.TokenType == JsonTokenType.Number && UserId.TryParseNumber(reader.ValueSpan, out var number))
            users.Add(number);
        else if (reader.TokenType == JsonTokenType.Number && UserId.IsInteger(reader.ValueSpan))
            users.Add(reader.GetInt64(), known);
        else if (reader.TokenType != JsonTokenType.String || !TryAddText(ref reader, known, users))
            throw Problems.Malformed($"{Shown(ref reader)} is not a user: {Problems.AUser}.");
    }

    private static bool IsKnown(ref Utf8JsonReader reader, KeyCache known, out uint user)
    {
        user = 0;
        if (reader.TokenType == JsonTokenType.Number)
            return UserId.TryParseNumber(reader.ValueSpan, out user)
                || (UserId.IsInteger(reader.ValueSpan) && known.TryGet(reader.ValueSpan, out user));
        return reader.TokenType == JsonTokenType.String
            && !reader.ValueIsEscaped
            && (
                UserId.TryParseNumber(reader.ValueSpan, out user)
                    || (reader.ValueSpan.Length is > 0 and <= UserId.MaxKeyBytes && known.TryGet(reader.ValueSpan, out user)));
    }

    private static bool TryAddText(ref Utf8JsonReader reader, KeyCache known, UserBatch users)
    {
        if (!reader.ValueIsEscaped)
            return users.TryAdd(reader.ValueSpan, known);
        // an escape has at most six times the bytes of its character
        if (reader.ValueSpan.Length > UserId.MaxKeyBytes * 6)
            return false;
        Span<byte> text = stackalloc byte[UserId.MaxKeyBytes * 6];
        try
        {
            return users.TryAdd(text[..reader.CopyString(text)], known);
        }
        catch (InvalidOperationException)
        {
            // half a surrogate pair, which no valid text contains
            return false;
        }
    }

    private static UsersBodyFields ReadObjects(ref Utf8JsonReader reader, KeyCache known, UserBatch users)
    {
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.StartObject)
                throw Expected(UsersForm.ListOfObjectsOrList);
            var named = false;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                if (!reader.ValueTextEquals("user_id"u8))
                    throw Problems.UnknownMember(ref reader, Example(UsersForm.ListOfObjectsOrList));
                if (named)
                    throw Problems.GivenTwice(JsonNames.UserId);
                named = true;
                reader.Read();
                Admit(users);
                ReadUser(ref reader, known, users);
            }

            if (!named)
                throw Expected(UsersForm.ListOfObjectsOrList);
        }

        return default;
    }

    private static UsersBodyFields ReadObject(ref Utf8JsonReader reader, UsersForm form, KeyCache known, UserBatch users)
    {
        bool one = false, list = false, active = false;
        Device? device = null;
        var given = 0;
        var (members, example) = form == UsersForm.OneOrList ? (Members, AllMembers) : (ListMembers, Example(form));
        while (MemberReader.Next(ref reader, members, example, ref given) is { } member)
        {
            switch (member)
            {
                case JsonNames.UserId:
                    one = true;
                    ReadUser(ref reader, known, users);
                    break;
                case JsonNames.UserIds:
                    list = true;
                    ReadList(ref reader, form, known, users);
                    break;
                case JsonNames.Active when reader.TokenType is JsonTokenType.True or JsonTokenType.False:
                    active = reader.TokenType == JsonTokenType.True;
                    break;
                case JsonNames.Active:
                    throw Problems.Malformed("active is not a boolean: send true or false.");
                default:
                    device = ReadDevice(ref reader);
                    break;
            }
        }

        if (one && list)
            throw Problems.Malformed("Both user_id and user_ids are given: send one of them.");
        if (!one && !list && form != UsersForm.OneOrList)
            throw Expected(form);
        if (list && device is not null)
            throw Problems.Malformed("device belongs to one user: send user_id instead of user_ids.");
        return new UsersBodyFields(active, device, IsOfCaller: !one && !list);
    }

    private static Device ReadDevice(ref Utf8JsonReader reader)
    {
        string? id = null, kind = null;
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Problems.Malformed($"device is not an object. Send {DeviceExample}.");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isId = reader.ValueTextEquals("id"u8);
            if (!isId && !reader.ValueTextEquals("kind"u8))
                throw Problems.UnknownMember(ref reader, DeviceExample);
            if ((isId ? id : kind) is not null)
                throw Problems.GivenTwice(isId ? "device.id" : "device.kind");
            reader.Read();
            var text = reader.TokenType == JsonTokenType.String
                ? reader.GetString()
                : throw Problems.Malformed($"device.{(isId ? "id" : "kind")} is not a string. Send {DeviceExample}.");
            (id, kind) = isId ? (text, kind) : (id, text);
        }

        return DeviceNames.DeviceOf(id, kind, "device.id", "device.kind")
            ?? throw Problems.Malformed($"device is empty. Send {DeviceExample}.");
    }

    private static void ReadList(ref Utf8JsonReader reader, UsersForm form, KeyCache known, UserBatch users)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
            throw Expected(form);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            Admit(users);
            ReadUser(ref reader, known, users);
        }
    }

    private static void Admit(UserBatch users)
    {
        if (users.Count == Limits.ListedUsers)
            throw Problems.TooManyUsers(Limits.ListedUsers, $"lists of at most {Limits.ListedUsers}");
    }

    /// <summary>The problem of a body that names nobody.</summary>
    public static ProblemException Expected(UsersForm form) =>
        Problems.Malformed($"The body names no user as this call takes it. Send {Example(form)}: {Problems.AUser}.");

    private static string Example(UsersForm form) => form switch
    {
        UsersForm.OneOrList => "{\"user_id\": X} or {\"user_ids\": [X, …]}",
        UsersForm.ListOfObjectsOrList => "[{\"user_id\": X}, …] or {\"user_ids\": [X, …]}",
        _ => "{\"user_ids\": [X, …]}",
    };

    private static string Shown(ref Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.StartObject => "An object",
        JsonTokenType.StartArray => "An array",
        JsonTokenType.String when reader.ValueSpan.IsEmpty => "The empty string",
        JsonTokenType.String => $"The string {Problems.Shorten(Encoding.UTF8.GetString(reader.ValueSpan))}",
        _ => Problems.Shorten(Encoding.UTF8.GetString(reader.ValueSpan)),
    };
}
