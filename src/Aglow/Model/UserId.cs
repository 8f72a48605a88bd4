using System.Buffers;
using System.Buffers.Text;
using System.Text;
using System.Text.Unicode;

namespace Aglow.Model;

/// <summary>
/// A user ID: what the application calls a person. Opaque, compared byte for byte.
/// </summary>
/// <remarks>
/// An integer from 0 to 9223372036854775807, or a text of 1 to 255 bytes of UTF-8 without control characters. Half of a surrogate pair is
/// no UTF-8, so a text that has one is no ID. The canonical text of an integer is that integer ("42" is 42, "042" is another user). Inside,
/// a user is an index of 32 bits. IDs below <see cref="FirstDirectoryNumber"/> are their own index; all others get one from the directory
/// (<see cref="Users.IUserDirectory"/>). Indexes never leave the server and are never accepted.
/// </remarks>
public readonly record struct UserId : IParsable<UserId>
{
    /// <summary>The first index that the directory gives: 2^31. IDs below are their own index.</summary>
    public const uint FirstDirectoryNumber = 1u << 31;

    /// <summary>The longest ID, in bytes of UTF-8.</summary>
    public const int MaxKeyBytes = 255;

    /// <summary>An index that is never given: stands for an ID without one. Reads as never seen; heartbeats are refused.</summary>
    public const uint Nobody = uint.MaxValue;

    /// <summary>The first index of demo users. All higher ones are theirs too.</summary>
    internal const uint FirstDemoNumber = 0xFFFF_0000;

    // the digits of 9223372036854775807
    private const int MaxIntegerBytes = 19;

    private UserId(uint number, string? key)
    {
        Number = number;
        Key = key;
    }

    /// <summary>The ID, if it is an integer below 2^31; 0 for all others.</summary>
    public uint Number { get; }

    /// <summary>The ID as text, or null if it is an integer below 2^31.</summary>
    public string? Key { get; }

    /// <summary>An integer from 0 up.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public static UserId Of(long id)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(id);
        return id < FirstDirectoryNumber ? new((uint)id, null) : new(0, id.ToString());
    }

    /// <summary>An ID from its text, or the canonical text of an integer.</summary>
    /// <exception cref="FormatException">The text is not an ID: empty, too long, or not UTF-8 without control characters.</exception>
    public static UserId Parse(string s) => TryParse(s, out var user)
        ? user
        : throw new FormatException($"A user ID has 1 to {MaxKeyBytes} bytes of UTF-8 and no control characters.");

    /// <inheritdoc/>
    public static UserId Parse(string s, IFormatProvider? provider) => Parse(s);

    /// <inheritdoc/>
    public static bool TryParse(string? s, IFormatProvider? provider, out UserId result) => TryParse(s, out result);

    /// <summary>Reads an ID from text; false if the text is not an ID (empty, too long, not UTF-8 without control characters).</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out UserId user)
    {
        Span<byte> utf8 = stackalloc byte[MaxKeyBytes];
        if (Utf8.FromUtf16(text, utf8, out _, out var length, replaceInvalidSequences: false) == OperationStatus.Done)
        {
            utf8 = utf8[..length];
            if (TryParseNumber(utf8, out var number))
            {
                user = new UserId(number, null);
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

    /// <summary>Whether these bytes are the canonical form of an integer below 2^31, and which. Such an ID is its own index.</summary>
    public static bool TryParseNumber(ReadOnlySpan<byte> utf8, out uint number) =>
        Utf8Parser.TryParse(utf8, out number, out var used) && used == utf8.Length && number < FirstDirectoryNumber && IsInteger(utf8, 10);

    /// <summary>Whether these bytes are the canonical form of an integer from 0 to 9223372036854775807.</summary>
    public static bool IsInteger(ReadOnlySpan<byte> utf8) =>
        IsInteger(utf8, MaxIntegerBytes) && Utf8Parser.TryParse(utf8, out long _, out var used) && used == utf8.Length;

    /// <summary>Whether these bytes may be an ID that is not its own index: 1 to 255 bytes of valid UTF-8, no control characters.</summary>
    public static bool IsKey(ReadOnlySpan<byte> utf8)
    {
        if (utf8.Length is 0 or > MaxKeyBytes || TryParseNumber(utf8, out _))
            return false;
        while (!utf8.IsEmpty)
        {
            if (Rune.DecodeFromUtf8(utf8, out var rune, out var used) != OperationStatus.Done || Rune.IsControl(rune))
                return false;
            utf8 = utf8[used..];
        }

        return true;
    }

    /// <summary>
    /// The ID of an index, where <paramref name="id"/> is what <see cref="Users.IUserDirectory.FindIdsAsync"/> says. Null for an index
    /// whose ID is unknown, because the directory was lost or is older: it is never shown, since its number may be somebody's ID.
    /// </summary>
    public static UserId? OfIndex(uint index, string? id) =>
        index < FirstDirectoryNumber ? new UserId(index, null) : id is not null && TryParse(id, out var user) ? user : null;

    /// <summary>The ID as text.</summary>
    public override string ToString() => Key ?? Number.ToString();

    private static bool IsInteger(ReadOnlySpan<byte> utf8, int maxBytes) =>
        utf8.Length > 0 && utf8.Length <= maxBytes && utf8[0] is >= (byte)'0' and <= (byte)'9' && (
            utf8[0] != (byte)'0' || utf8.Length == 1);
}
