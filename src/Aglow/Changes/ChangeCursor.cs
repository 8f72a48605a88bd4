using System.Buffers.Binary;
using System.Buffers.Text;

namespace Aglow.Changes;

/// <summary>A place in the embedded feed: the feed's generation, and the number of the last change before the place.</summary>
/// <param name="Generation">Random for each feed. A feed that was turned off for a while, or began in an empty folder, has a new
/// one.</param>
/// <param name="Number">Changes are numbered from 1 without gaps.</param>
internal readonly record struct ChangeCursor(uint Generation, long Number)
{
    private const int Bytes = 12;

    /// <summary>The cursor in the form that consumers store.</summary>
    public override string ToString()
    {
        Span<byte> bytes = stackalloc byte[Bytes];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, Generation);
        BinaryPrimitives.WriteInt64BigEndian(bytes[4..], Number);
        return Base64Url.EncodeToString(bytes);
    }

    /// <summary>Parses a cursor.</summary>
    /// <exception cref="FormatException">The text is not a cursor.</exception>
    public static ChangeCursor Parse(string text)
    {
        Span<byte> bytes = stackalloc byte[Bytes + 3];
        if (text.Length != Bytes / 3 * 4 || !Base64Url.IsValid(text) || !Base64Url.TryDecodeFromChars(text, bytes, out var length)
            || length != Bytes)
            throw new FormatException("The cursor is not one of the feed's.");
        return new ChangeCursor(BinaryPrimitives.ReadUInt32BigEndian(bytes), BinaryPrimitives.ReadInt64BigEndian(bytes[4..]));
    }
}
