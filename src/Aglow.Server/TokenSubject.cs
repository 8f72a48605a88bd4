using System.Text.Json;

namespace Aglow.Server;

/// <summary>Reads <c>sub</c> of a token's payload: a user ID in exactly one form, so that no token can name two users.</summary>
internal static class TokenSubject
{
    /// <summary>The user; null if <c>sub</c> is missing, given twice, or neither a string nor an integer that is a user ID.</summary>
    public static UserId? Read(ReadOnlySpan<byte> payload)
    {
        UserId? subject = null;
        var reader = new Utf8JsonReader(payload);
        try
        {
            reader.Read();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                if (!reader.ValueTextEquals("sub"u8))
                {
                    reader.Skip();
                    continue;
                }

                reader.Read();
                var isUser = reader.TokenType switch
                {
                    JsonTokenType.String => UserId.TryParse(reader.GetString(), out var text) && Take(text, ref subject),
                    JsonTokenType.Number => UserId.IsInteger(reader.ValueSpan) && Take(UserId.Of(reader.GetInt64()), ref subject),
                    _ => false,
                };
                if (!isUser)
                    return null;
            }

            return subject;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    private static bool Take(UserId user, ref UserId? subject)
    {
        if (subject is not null)
            return false;
        subject = user;
        return true;
    }
}
