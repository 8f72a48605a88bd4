using System.Text;
using System.Text.Json;
using Aglow.Users;

namespace Aglow.AspNetCore.Bodies;

/// <summary>One profile of a body, with its user ID also as it came. It distinguishes a missing member from a null one.</summary>
internal readonly record struct ProfileBody(UserId? User, UserJson? AsCame, ProfileParts Given, string? UserName, string? DisplayName);

/// <summary>Reads profiles: one object, or <c>{"users": […]}</c>.</summary>
internal static class ProfileReader
{
    public const string One = "{\"user_name\": \"alice\", \"display_name\": \"Alice\"}";
    public const string OneWithId = "{\"user_name\": \"alice\", \"display_name\": \"Alice\", \"user_id\": X}";
    public const string Many = "{\"users\": [{\"user_id\": X, \"user_name\": \"alice\", \"display_name\": \"Alice\"}, …]}";

    private static readonly string[] Members = [JsonNames.UserName, JsonNames.DisplayName];
    private static readonly string[] MembersWithId = [JsonNames.UserId, .. Members];

    /// <summary>Reads one profile; it may name its user if <paramref name="withId"/>.</summary>
    public static ProfileBody ReadOne(ReadOnlySpan<byte> json, bool withId)
    {
        var example = withId ? OneWithId : One;
        return MemberReader.ReadObject(json, example, (ref Utf8JsonReader reader) => ReadMembers(ref reader, withId, example));
    }

    /// <summary>Reads a list of profiles, each with its user.</summary>
    public static List<ProfileBody> ReadMany(ReadOnlySpan<byte> json) => MemberReader.ReadObject(json, Many, ReadUsers);

    private static List<ProfileBody> ReadUsers(ref Utf8JsonReader reader)
    {
        var profiles = new List<ProfileBody>();
        if (!reader.Read() || reader.TokenType != JsonTokenType.PropertyName)
            throw Problems.Malformed($"The body has no list of users. Send {Many}.");
        if (!reader.ValueTextEquals(JsonNames.Users))
            throw Problems.UnknownMember(ref reader, Many);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartArray)
            throw Problems.Malformed($"users is not a list. Send {Many}.");
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (profiles.Count == Limits.ListedUsers)
                throw Problems.TooManyUsers(Limits.ListedUsers, $"lists of at most {Limits.ListedUsers}");
            if (reader.TokenType != JsonTokenType.StartObject)
                throw Problems.Malformed($"A user is not an object. Send {Many}.");
            var profile = ReadMembers(ref reader, withId: true, Many);
            profiles.Add(
                profile.User is null ? throw Problems.Malformed($"user_id is missing in one of the users. Send {Many}.") : profile);
        }

        if (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            throw Problems.UnknownMember(ref reader, Many);
        return profiles;
    }

    private static ProfileBody ReadMembers(ref Utf8JsonReader reader, bool withId, string example)
    {
        UserId? user = null;
        UserJson? asCame = null;
        string? userName = null, displayName = null;
        var parts = ProfileParts.None;
        var given = 0;
        while (MemberReader.Next(ref reader, withId ? MembersWithId : Members, example, ref given) is { } member)
        {
            switch (member)
            {
                case JsonNames.UserId:
                    (user, asCame) = ReadId(ref reader);
                    break;
                case JsonNames.UserName:
                    parts |= ProfileParts.UserName;
                    userName = ReadName(ref reader, member, UserId.MaxKeyBytes);
                    break;
                default:
                    parts |= ProfileParts.DisplayName;
                    displayName = ReadName(ref reader, member, Limits.DisplayNameBytes);
                    break;
            }
        }

        return new ProfileBody(user, asCame, parts, userName, displayName);
    }

    private static (UserId User, UserJson AsCame) ReadId(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Number && UserId.IsInteger(reader.ValueSpan))
        {
            var integer = UserId.Of(reader.GetInt64());
            return (integer, UserJson.Of(integer) with { IsInteger = true });
        }

        var text = reader.TokenType == JsonTokenType.String ? MemberReader.Text(ref reader, JsonNames.UserId) : null;
        return UserId.TryParse(text, out var user)
            ? (user, UserJson.Of(0, text))
            : throw Problems.Malformed($"user_id is not a user: {Problems.AUser}.");
    }

    private static string? ReadName(ref Utf8JsonReader reader, string member, int maxBytes)
    {
        if (reader.TokenType == JsonTokenType.Null)
            return null;
        if (reader.TokenType == JsonTokenType.Number)
        {
            var number = Problems.Shorten(Encoding.UTF8.GetString(reader.ValueSpan));
            throw Problems.Malformed(
                $"{member} is a number, and a name is text: send \"{number}\". If {number} is the user's ID, send it as user_id.");
        }

        var name = reader.TokenType == JsonTokenType.String ? MemberReader.Text(ref reader, member) : "";
        return name.Length > 0 && Encoding.UTF8.GetByteCount(name) <= maxBytes && !name.Any(char.IsControl)
            ? name
            : throw Problems.Malformed(
                $"{member} is not a name: send a string of 1 to {maxBytes} bytes of UTF-8 without control characters.");
    }
}
