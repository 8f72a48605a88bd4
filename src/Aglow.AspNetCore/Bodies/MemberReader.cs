using System.Text.Json;

namespace Aglow.AspNetCore.Bodies;

/// <summary>Reads small JSON objects. It refuses unknown members and members that are given twice.</summary>
internal static class MemberReader
{
    /// <summary>Reads the members of an object, from its first name to its end.</summary>
    public delegate T Members<out T>(ref Utf8JsonReader reader);

    /// <summary>Reads one object; refuses input that is not JSON.</summary>
    public static T ReadObject<T>(ReadOnlySpan<byte> json, string example, Members<T> members)
    {
        var reader = new Utf8JsonReader(json);
        try
        {
            reader.Read();
            if (reader.TokenType != JsonTokenType.StartObject)
                throw Problems.Malformed($"The body is not an object. Send {example}.");
            var read = members(ref reader);
            // throws if anything follows
            reader.Read();
            return read;
        }
        catch (JsonException wrong)
        {
            throw UsersBody.NotJson(wrong);
        }
        catch (InvalidOperationException)
        {
            // the name of a member contains half a surrogate pair
            throw Problems.NotJson("");
        }
    }

    /// <summary>Reads the values of these members, in their order; null for a member that is missing or null.</summary>
    public static string?[] ReadText(ReadOnlySpan<byte> json, string example, params string[] members) =>
        ReadObject(json, example, (ref Utf8JsonReader reader) =>
        {
            var values = new string?[members.Length];
            var given = new bool[members.Length];
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var member = 0;
                while (member < members.Length && !reader.ValueTextEquals(members[member]))
                    member++;
                if (member == members.Length)
                    throw Problems.UnknownMember(ref reader, example);
                if (given[member])
                    throw Problems.GivenTwice(members[member]);
                given[member] = true;
                reader.Read();
                values[member] = reader.TokenType switch
                {
                    JsonTokenType.String => Text(ref reader, members[member]),
                    JsonTokenType.Null => null,
                    _ => throw Problems.Malformed($"{members[member]} is not a string. Send {example}."),
                };
            }

            return values;
        });

    /// <summary>Reads the value of the only member, which must be true or false.</summary>
    public static bool ReadFlag(ReadOnlySpan<byte> json, string example, string member) =>
        ReadObject(json, example, (ref Utf8JsonReader reader) =>
        {
            if (!reader.Read() || reader.TokenType != JsonTokenType.PropertyName)
                throw Problems.Malformed($"{member} is missing. Send {example}.");
            if (!reader.ValueTextEquals(member))
                throw Problems.UnknownMember(ref reader, example);
            reader.Read();
            if (reader.TokenType is not (JsonTokenType.True or JsonTokenType.False))
                throw Problems.Malformed($"{member} is not true or false. Send {example}.");
            var flag = reader.TokenType == JsonTokenType.True;
            if (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                throw reader.ValueTextEquals(member) ? Problems.GivenTwice(member) : Problems.UnknownMember(ref reader, example);
            return flag;
        });

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
