using System.Text.Json;

namespace Aglow.AspNetCore.Http;

/// <summary>Reads small JSON objects of text members. Unknown members are ignored; a known one given twice is refused.</summary>
internal static class MemberReader
{
    /// <summary>The values of these members, in their order; null where one is missing or null.</summary>
    public static string?[] ReadText(ReadOnlySpan<byte> json, string example, params ReadOnlySpan<string> members)
    {
        var values = new string?[members.Length];
        var given = new bool[members.Length];
        var reader = new Utf8JsonReader(json);
        try
        {
            reader.Read();
            if (reader.TokenType != JsonTokenType.StartObject)
                throw Problems.Malformed($"The body is not an object. Send {example}.");
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var member = 0;
                while (member < members.Length && !reader.ValueTextEquals(members[member]))
                    member++;
                if (member == members.Length)
                {
                    reader.Skip();
                    continue;
                }

                if (given[member])
                    throw Problems.Malformed($"{members[member]} is given twice in one object: send it once.");
                given[member] = true;
                reader.Read();
                values[member] = reader.TokenType switch
                {
                    JsonTokenType.String => Text(ref reader, members[member]),
                    JsonTokenType.Null => null,
                    _ => throw Problems.Malformed($"{members[member]} is not a string. Send {example}."),
                };
            }

            reader.Read();
            return values;
        }
        catch (JsonException wrong)
        {
            throw UsersBody.NotJson(wrong);
        }
        catch (InvalidOperationException)
        {
            // a member's name with half a surrogate pair
            throw Problems.NotJson("");
        }
    }

    private static string Text(ref Utf8JsonReader reader, string member)
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
