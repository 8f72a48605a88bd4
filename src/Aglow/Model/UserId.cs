using System.Buffers.Text;
using System.Text;
using Aglow.Users;

namespace Aglow.Model;

/// <summary>
/// Who is meant: a number, or a key (text) that the directory gives a number to.
/// </summary>
/// <remarks>
/// One rule keeps the two apart: text that is the canonical form of a number up to 4294967295 ("42", not "042" or "+42")
/// is that number; anything else is a key of 1 to 128 bytes of UTF-8 without control characters. Numbers below
/// <see cref="FirstDirectoryNumber"/> are the application's own and need no registration; numbers from it up are handed
/// out by the <see cref="IUserDirectory"/>. The hot path knows numbers only.
/// </remarks>
public readonly record struct UserId
{
    /// <summary>The first number that the directory hands out: 2^31. All below are the application's own.</summary>
    public const uint FirstDirectoryNumber = 1u << 31;

    /// <summary>The longest key, in bytes of UTF-8.</summary>
    public const int MaxKeyBytes = 128;

    /// <summary>A number that is never handed out; stands for a key nobody registered. Reads as never seen; heartbeats are refused.</summary>
    public const uint Nobody = uint.MaxValue;

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

    /// <summary>Reads a number or a key from text; false where the text can be neither (empty, too long, control characters).</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out UserId user)
    {
        Span<byte> utf8 = stackalloc byte[MaxKeyBytes];
        if (Encoding.UTF8.TryGetBytes(text, utf8, out var length))
        {
            utf8 = utf8[..length];
            if (TryParseNumber(utf8, out var number))
            {
                user = Of(number);
                return true;
            }

            if (IsKey(utf8))
            {
                user = new UserId(0, text.ToString());
                return true;
            }
        }

        user = default;
        return false;
    }

    /// <summary>Whether these bytes are the canonical form of a number, and which.</summary>
    public static bool TryParseNumber(ReadOnlySpan<byte> utf8, out uint number)
    {
        number = 0;
        return utf8.Length is > 0 and <= 10
            && utf8[0] is >= (byte)'0' and <= (byte)'9'
            && (utf8[0] != (byte)'0' || utf8.Length == 1)
            && Utf8Parser.TryParse(utf8, out number, out var used)
            && used == utf8.Length;
    }

    /// <summary>Whether these bytes may be a key: 1 to 128 bytes of valid UTF-8, no control characters, not a number's canonical form.</summary>
    public static bool IsKey(ReadOnlySpan<byte> utf8)
    {
        if (utf8.Length is 0 or > MaxKeyBytes || TryParseNumber(utf8, out _))
            return false;
        while (!utf8.IsEmpty)
        {
            if (Rune.DecodeFromUtf8(utf8, out var rune, out var used) != System.Buffers.OperationStatus.Done || Rune.IsControl(rune))
                return false;
            utf8 = utf8[used..];
        }

        return true;
    }

    /// <summary>The number in digits, or the key.</summary>
    public override string ToString() => Key ?? Number.ToString();
}
