using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Aglow.Client;

/// <summary>
/// A user: an integer from 0 to 9223372036854775807, or text (a name, a UUID) of 1 to 255 bytes of UTF-8 without control characters.
/// </summary>
/// <remarks>
/// Text that is the canonical form of an integer ("42", not "042") is that integer, as on the server. Integers and text convert implicitly:
/// <c>client.WatchAsync([42, "bob"])</c>. In JSON a user is a number or a string.
/// </remarks>
[JsonConverter(typeof(UserIdConverter))]
[SuppressMessage("Usage", "CA2225", Justification = "Of and Parse are the named forms of the conversions")]
public readonly record struct UserId
{
    /// <summary>The longest text, in bytes of UTF-8.</summary>
    public const int MaxKeyBytes = 255;

    private const int MaxDigits = 19;

    private UserId(long number, string? key)
    {
        Number = number;
        Key = key;
    }

    /// <summary>The integer; 0 for text.</summary>
    public long Number { get; }

    /// <summary>The text; null for an integer.</summary>
    public string? Key { get; }

    /// <summary>Creates a user from an integer.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public static UserId Of(long number)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(number);
        return new(number, null);
    }

    /// <summary>Reads an integer or text.</summary>
    /// <exception cref="ArgumentException">It is empty or too long, or has control characters or half a surrogate pair.</exception>
    public static UserId Parse(string text) => TryParse(text, out var user)
        ? user
        : throw new ArgumentException(
            $"A user ID is an integer from 0 to {long.MaxValue}, or text of 1 to {MaxKeyBytes} bytes without control characters.",
            nameof(text));

    /// <summary>Reads an integer or text; false if it is neither.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out UserId user)
    {
        user = default;
        if (string.IsNullOrEmpty(text))
            return false;
        if (IsNumber(text, out var number))
        {
            user = Of(number);
            return true;
        }

        if (!IsKey(text))
            return false;
        user = new UserId(0, text);
        return true;
    }

    /// <summary>Converts an integer to a user.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public static implicit operator UserId(long number) => Of(number);

    /// <summary>Converts text, or the digits of an integer, to a user.</summary>
    /// <exception cref="ArgumentException">See <see cref="Parse"/>.</exception>
    public static implicit operator UserId(string text) => Parse(text);

    /// <summary>The integer in digits, or the text.</summary>
    public override string ToString() => Key ?? Number.ToString(CultureInfo.InvariantCulture);

    private static bool IsNumber(string text, out long number)
    {
        number = 0;
        return text.Length <= MaxDigits
            && (text[0] != '0' || text.Length == 1)
            && !text.AsSpan().ContainsAnyExceptInRange('0', '9')
            && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);
    }

    private static bool IsKey(ReadOnlySpan<char> text)
    {
        if (text.Length > MaxKeyBytes)
            return false;
        var bytes = 0;
        while (!text.IsEmpty)
        {
            if (Rune.DecodeFromUtf16(text, out var rune, out var used) != System.Buffers.OperationStatus.Done || Rune.IsControl(rune))
                return false;
            bytes += rune.Utf8SequenceLength;
            text = text[used..];
        }

        return bytes <= MaxKeyBytes;
    }
}

/// <summary>A user as JSON: a number or a string.</summary>
internal sealed class UserIdConverter : JsonConverter<UserId>
{
    public override UserId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out var number) && number >= 0)
            return UserId.Of(number);
        return reader.TokenType == JsonTokenType.String && UserId.TryParse(reader.GetString(), out var user)
            ? user
            : throw new JsonException("This is not a user: it should be an integer or a string.");
    }

    public override void Write(Utf8JsonWriter writer, UserId value, JsonSerializerOptions options)
    {
        if (value.Key is { } key)
            writer.WriteStringValue(key);
        else
            writer.WriteNumberValue(value.Number);
    }
}
