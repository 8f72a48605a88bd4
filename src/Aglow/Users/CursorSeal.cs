using System.Buffers.Binary;
using System.Buffers.Text;
using System.Security.Cryptography;

namespace Aglow.Users;

/// <summary>Encrypts the index in a cursor, so that callers can neither see nor guess indexes.</summary>
/// <remarks>
/// A cursor is one AES block: the place, and eight zero bytes that reveal a foreign cursor. All nodes that share a directory share the
/// secret. Any thread.
/// </remarks>
/// <param name="secret">16 bytes.</param>
public sealed class CursorSeal(ReadOnlyMemory<byte> secret)
{
    private const int BlockBytes = 16;

    /// <summary>The cursor for a place.</summary>
    public string Seal(long place)
    {
        Span<byte> block = stackalloc byte[BlockBytes];
        block.Clear();
        BinaryPrimitives.WriteInt64LittleEndian(block, place);
        Span<byte> cursor = stackalloc byte[BlockBytes];
        using var aes = Aes.Create();
        aes.SetKey(secret.Span);
        aes.EncryptEcb(block, cursor, PaddingMode.None);
        return Base64Url.EncodeToString(cursor);
    }

    /// <summary>The place of a cursor; null if this server did not give the cursor.</summary>
    public long? Open(string cursor)
    {
        Span<byte> block = stackalloc byte[BlockBytes + 2];
        if (cursor.Length > 22
            || !Base64Url.IsValid(cursor)
            || !Base64Url.TryDecodeFromChars(cursor, block, out var length)
            || length != BlockBytes)
            return null;
        Span<byte> place = stackalloc byte[BlockBytes];
        using var aes = Aes.Create();
        aes.SetKey(secret.Span);
        aes.DecryptEcb(block[..BlockBytes], place, PaddingMode.None);
        return BinaryPrimitives.ReadInt64LittleEndian(place[8..]) == 0 ? BinaryPrimitives.ReadInt64LittleEndian(place) : null;
    }
}
