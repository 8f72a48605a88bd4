using System.Text.Json;

namespace Aglow.Server;

/// <summary>Checks the dates of a token's payload, which the library also reads from strings. RFC 7519 asks for numbers.</summary>
internal static class TokenDates
{
    private static readonly string[] Names = ["exp", "iat", "nbf"];

    /// <summary>The name of a date that is given and is not a number; null if there is none.</summary>
    public static string? FindNotNumber(ReadOnlySpan<byte> payload)
    {
        var reader = new Utf8JsonReader(payload);
        try
        {
            reader.Read();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                string? date = null;
                foreach (var name in Names)
                {
                    if (reader.ValueTextEquals(name))
                        date = name;
                }

                reader.Read();
                if (date is not null && reader.TokenType != JsonTokenType.Number)
                    return date;
                reader.Skip();
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // other code refuses what is not JSON
        }

        return null;
    }
}
