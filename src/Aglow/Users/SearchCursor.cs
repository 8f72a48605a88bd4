using System.Buffers.Binary;
using System.Buffers.Text;

namespace Aglow.Users;

/// <summary>A place in the results of a search: among the names that begin with the query, or inside the others.</summary>
/// <param name="Inside">Whether it is among the others, which go by number only.</param>
/// <param name="Folded">The folded text passed last.</param>
/// <param name="Number">The number passed last.</param>
internal sealed record SearchCursor(bool Inside, byte[] Folded, uint Number)
{
    private const int SealBytes = 8;
    private const int HeadBytes = 5;

    /// <summary>Before the first name that begins with the query.</summary>
    public static SearchCursor Start(ReadOnlySpan<byte> query) => new(false, query.ToArray(), 0);

    /// <summary>Among the others, after this number.</summary>
    public static SearchCursor After(uint number) => new(true, [], number);

    /// <summary>URL-safe, and sealed with the query it belongs to.</summary>
    public string ToText(ReadOnlySpan<byte> query, SipHash seal)
    {
        var bytes = new byte[SealBytes + HeadBytes + Folded.Length];
        bytes[SealBytes] = Inside ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(SealBytes + 1), Number);
        Folded.CopyTo(bytes, SealBytes + HeadBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, Seal(bytes.AsSpan(SealBytes), query, seal));
        return Base64Url.EncodeToString(bytes);
    }

    /// <summary>Reads what <see cref="ToText"/> wrote for the same query; throws <see cref="FormatException"/> for anything else.</summary>
    public static SearchCursor Parse(string text, ReadOnlySpan<byte> query, SipHash seal)
    {
        if (Base64Url.IsValid(text))
        {
            var bytes = Base64Url.DecodeFromChars(text);
            if (bytes.Length >= SealBytes + HeadBytes
                && BinaryPrimitives.ReadUInt64LittleEndian(bytes) == Seal(bytes.AsSpan(SealBytes), query, seal))
            {
                return new SearchCursor(
                    bytes[SealBytes] == 1,
                    bytes[(SealBytes + HeadBytes)..],
                    BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(SealBytes + 1)));
            }
        }

        throw new FormatException("The cursor is not one of this search; send the next of its last page, or none to begin again.");
    }

    private static ulong Seal(ReadOnlySpan<byte> place, ReadOnlySpan<byte> query, SipHash seal) =>
        seal.Hash([.. BitConverter.GetBytes(seal.Hash(query)), .. place]);
}
