using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Aglow.Client;

/// <summary>
/// Who is meant: an integer from 0 to 4294967295, or a key (a name, a UUID, a snowflake as text) of 1 to 128 bytes of UTF-8 without control characters.
/// </summary>
/// <remarks>
/// The server's rule: text that is the canonical form of a number ("42", not "042") is that number, anything else is a key. Numbers and text
/// become users by themselves: <c>client.WatchAsync([42, "bob"])</c>. In JSON it is a number or a string.
/// </remarks>
[JsonConverter(typeof(UserIdConverter))]
[SuppressMessage("Usage", "CA2225", Justification = "Of and Parse are the named forms of the conversions")]
public readonly record struct UserId
{
    /// <summary>The longest key, in bytes of UTF-8.</summary>
    public const int MaxKeyBytes = 128;

    private UserId(uint number, string? key)
    {
        Number = number;
        Key = key;
    }

    /// <summary>The number, where this is one; 0 for a key.</summary>
    public uint Number { get; }

    /// <summary>The key, or null where this is a number.</summary>
    public string? Key { get; }

    /// <summary>A user by number.</summary>
    public static UserId Of(uint number) => new(number, null);

    /// <summary>Reads a number or a key from text.</summary>
    /// <exception cref="ArgumentException">The text can be neither: it is empty, too long, or has control characters or half a surrogate pair.</exception>
    public static UserId Parse(string text) => TryParse(text, out var user)
        ? user
        : throw new ArgumentException($"A user is an integer from 0 to {uint.MaxValue}, or text of 1 to {MaxKeyBytes} bytes without control characters.", nameof(text));

    /// <summary>Reads a number or a key from text; false where it can be neither.</summary>
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

    /// <summary>A user by number.</summary>
    public static implicit operator UserId(uint number) => Of(number);

    /// <summary>A user by number.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is below 0.</exception>
    public static implicit operator UserId(int number)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(number);
        return Of((uint)number);
    }

    /// <summary>A user by key, or by the digits of a number.</summary>
    /// <exception cref="ArgumentException">See <see cref="Parse"/>.</exception>
    public static implicit operator UserId(string text) => Parse(text);

    /// <summary>The number in digits, or the key.</summary>
    public override string ToString() => Key ?? Number.ToString(CultureInfo.InvariantCulture);

    private static bool IsNumber(string text, out uint number)
    {
        number = 0;
        return text.Length <= 10
            && (text[0] != '0' || text.Length == 1)
            && !text.AsSpan().ContainsAnyExceptInRange('0', '9')
            && uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);
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
        if (reader.TokenType == JsonTokenType.Number && reader.TryGetUInt32(out var number))
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
