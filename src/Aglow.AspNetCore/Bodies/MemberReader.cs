using System.Text.Json;

namespace Aglow.AspNetCore.Bodies;

/// <summary>Reads small JSON objects. It refuses unknown members and members that are given twice.</summary>
internal static class MemberReader
{
    /// <summary>Reads the members of an object, from its first name to its end.</summary>
    public delegate T Members<out T>(ref Utf8JsonReader reader);

    /// <summary>Reads one object; refuses input that is not JSON.</summary>
    public static T ReadObject<T>(ReadOnlySpan<byte> json, string example, Members<T> members) =>
        ReadValue(json, (ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.StartObject
            ? members(ref reader)
            : throw Problems.Malformed($"The body is not an object. Send {example}."));

    /// <summary>Reads one value, of which the reader is at the first token; refuses input that is not JSON.</summary>
    public static T ReadValue<T>(ReadOnlySpan<byte> json, Members<T> value)
    {
        var reader = new Utf8JsonReader(json);
        try
        {
            reader.Read();
            var read = value(ref reader);
            // throws if anything follows
            reader.Read();
            return read;
        }
        catch (JsonException wrong)
        {
            throw Problems.NotJson(wrong.LineNumber is { } line ? $" from line {line + 1}, byte {wrong.BytePositionInLine + 1} on" : "");
        }
        catch (InvalidOperationException)
        {
            // the name of a member contains half a surrogate pair
            throw Problems.NotJson("");
        }
    }

    /// <summary>
    /// Moves to the value of the next member, and returns the member's name; null at the end of the object. Refuses any member that is not
    /// one of <paramref name="members"/>, or is given twice. <paramref name="given"/> has a bit for each member that was read.
    /// </summary>
    public static string? Next(ref Utf8JsonReader reader, string[] members, string example, ref int given)
    {
        if (!reader.Read() || reader.TokenType != JsonTokenType.PropertyName)
            return null;
        return Find(ref reader, members, ref given) ?? throw Problems.UnknownMember(ref reader, example);
    }

    /// <summary>The same for the name at the reader's position; null, and the reader stays, if it is not one of these members.</summary>
    public static string? Find(ref Utf8JsonReader reader, string[] members, ref int given)
    {
        for (var at = 0; at < members.Length; at++)
        {
            if (!reader.ValueTextEquals(members[at]))
                continue;
            if ((given & (1 << at)) != 0)
                throw Problems.GivenTwice(members[at]);
            given |= 1 << at;
            reader.Read();
            return members[at];
        }

        return null;
    }

    /// <summary>Reads the values of these members, in their order; null for a member that is missing or null.</summary>
    public static string?[] ReadText(ReadOnlySpan<byte> json, string example, params string[] members) =>
        ReadObject(json, example, (ref Utf8JsonReader reader) =>
        {
            var values = new string?[members.Length];
            var given = 0;
            while (Next(ref reader, members, example, ref given) is { } member)
                values[Array.IndexOf(members, member)] = TextOrNull(ref reader, member, example);
            return values;
        });

    /// <summary>Reads the value of the only member, which must be true or false.</summary>
    public static bool ReadFlag(ReadOnlySpan<byte> json, string example, string member) =>
        ReadObject(json, example, (ref Utf8JsonReader reader) =>
        {
            var given = 0;
            if (Next(ref reader, [member], example, ref given) is null)
                throw Problems.Malformed($"{member} is missing. Send {example}.");
            if (reader.TokenType is not (JsonTokenType.True or JsonTokenType.False))
                throw Problems.Malformed($"{member} is not true or false. Send {example}.");
            var flag = reader.TokenType == JsonTokenType.True;
            // refuses a second member
            Next(ref reader, [member], example, ref given);
            return flag;
        });

    /// <summary>The text at the reader's position, or null; refuses any other value.</summary>
    public static string? TextOrNull(ref Utf8JsonReader reader, string member, string example) =>
        reader.TokenType == JsonTokenType.Null ? null : Text(ref reader, member, example);

    /// <summary>The text at the reader's position; refuses any other value.</summary>
    public static string Text(ref Utf8JsonReader reader, string member, string example) => reader.TokenType == JsonTokenType.String
        ? Text(ref reader, member)
        : throw Problems.Malformed($"{member} is not a string. Send {example}.");

    /// <summary>The text at the reader's position; throws a problem if it contains half a surrogate pair.</summary>
    public static string Text(ref Utf8JsonReader reader, string member)
    {
        try
        {
            return reader.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw Problems.Malformed($"{member} is not valid text: send whole characters in UTF-8.");
        }
    }
}
