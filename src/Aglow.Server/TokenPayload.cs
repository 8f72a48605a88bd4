using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Aglow.Server;

/// <summary>Reads members of a token's payload more strictly than the library does.</summary>
internal static class TokenPayload
{
    private static readonly string[] Dates = ["exp", "iat", "nbf"];

    /// <summary>
    /// The name of a date that is given and is not a number, as RFC 7519 asks for; null if there is none. The library also reads strings.
    /// </summary>
    public static string? FindWrongDate(JsonWebToken token) => Read(token, static members => members
        .Where(static member => Dates.Contains(member.Name) && member.Value.ValueKind != JsonValueKind.Number)
        .Select(static member => member.Name)
        .FirstOrDefault());

    /// <summary>
    /// The user: <c>sub</c>, in exactly one form, so that no token can name two users. Null if it is missing, given twice, or neither a
    /// string nor an integer that is a user ID.
    /// </summary>
    public static UserId? FindUser(JsonWebToken token) => Read(token, static members =>
        members.Where(static member => member.NameEquals("sub"u8)).ToArray() is [var only] ? UserOf(only.Value) : null);

    private static UserId? UserOf(JsonElement subject) => subject.ValueKind switch
    {
        JsonValueKind.String when UserId.TryParse(subject.GetString(), out var user) => user,
        JsonValueKind.Number when UserId.IsInteger(JsonMarshal.GetRawUtf8Value(subject)) => UserId.Of(subject.GetInt64()),
        _ => null,
    };

    private static T? Read<T>(JsonWebToken token, Func<IEnumerable<JsonProperty>, T?> read)
    {
        try
        {
            using var payload = JsonDocument.Parse(Base64UrlEncoder.DecodeBytes(token.EncodedPayload));
            return read(payload.RootElement.EnumerateObject());
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // not an object, or text with half a surrogate pair
            return default;
        }
    }
}
