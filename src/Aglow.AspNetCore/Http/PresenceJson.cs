using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Aglow.AspNetCore.Endpoints;
using Aglow.Users;

namespace Aglow.AspNetCore.Http;

/// <summary>Writes records and lists of records by hand, for speed. Rarer answers are documents of <see cref="Documents"/>.</summary>
internal static class PresenceJson
{
    /// <summary>Escapes only what JSON requires: programs read the answers, and the content type says that they are JSON.</summary>
    public static readonly JavaScriptEncoder Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    /// <summary>The answer of <c>POST /status/update</c> and <c>POST /offline</c>.</summary>
    public static ReadOnlySpan<byte> Success => "{\"status\":\"success\"}"u8;

    /// <summary>Writes one record, with the user ID as the caller wrote it.</summary>
    public static void WriteRecord(AnswerBuffer into, uint user, ReadOnlySpan<byte> text, Presence presence)
    {
        Span<byte> id = stackalloc byte[(UserId.MaxKeyBytes * 2) + 2];
        var idLength = text.IsEmpty ? PresenceRecord.WriteNumber(id, user) : PresenceRecord.WriteKey(id, text);
        var space = into.GetSpan(PresenceRecord.MaxBytesBesideId(presence) + idLength);
        into.Advance(PresenceRecord.Write(space, id[..idLength], presence));
    }

    /// <summary>Writes the record of one user of a batch, with the user ID as the caller wrote it.</summary>
    public static void WriteRecord(AnswerBuffer into, UserBatch users, int at, Presence presence)
    {
        if (!users.IsLargeNumber(at))
        {
            WriteRecord(into, users.Numbers.Span[at], users.Text(at), presence);
            return;
        }

        var id = users.Text(at);
        into.Advance(PresenceRecord.Write(into.GetSpan(PresenceRecord.MaxBytesBesideId(presence) + id.Length), id, presence));
    }

    /// <summary>Writes an array of records, in the order of the users.</summary>
    public static void WriteRecords(AnswerBuffer into, UserBatch users, ReadOnlySpan<Presence> statuses)
    {
        var numbers = users.Numbers.Span;
        into.Add((byte)'[');
        for (var i = 0; i < numbers.Length; i++)
        {
            if (i > 0)
                into.Add((byte)',');
            WriteRecord(into, users, i, statuses[i]);
        }

        into.Add((byte)']');
    }
}

/// <summary>A user ID in JSON: an integer below 2^31, or text, which is written as a string or as a larger integer.</summary>
[JsonConverter(typeof(UserJsonConverter))]
internal readonly record struct UserJson(uint Number, string? Key, bool IsInteger = false)
{
    public static UserJson Of(UserId user) => new(user.Number, user.Key);

    public static UserJson Of(uint number, string? name) => new(number, name);

    /// <summary>A user of a batch, as the caller wrote the ID.</summary>
    public static UserJson Of(UserBatch users, int at) => users.Text(at) is { IsEmpty: false } text
        ? new(0, Encoding.UTF8.GetString(text), users.IsLargeNumber(at))
        : new(users.Numbers.Span[at], null);
}

/// <summary>Writes a <see cref="UserJson"/>. Users are read by <c>UsersBody</c>.</summary>
internal sealed class UserJsonConverter : JsonConverter<UserJson>
{
    public override UserJson Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.Number ? UserJson.Of(UserId.Of(reader.GetInt64())) : new(0, reader.GetString());

    public override void Write(Utf8JsonWriter writer, UserJson value, JsonSerializerOptions options)
    {
        if (value.Key is null)
            writer.WriteNumberValue(value.Number);
        else if (value.IsInteger)
            writer.WriteRawValue(value.Key);
        else
            writer.WriteStringValue(value.Key);
    }
}
