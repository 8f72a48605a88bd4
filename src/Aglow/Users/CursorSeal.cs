using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace Aglow.Users;

/// <summary>Encrypts the places that cursors hold, so that callers can neither see nor guess indexes.</summary>
/// <remarks>
/// <code>
///   | nonce 12 bytes | tag 16 bytes | place |     AES-GCM, as URL-safe base 64
/// </code>
/// A cursor belongs to one list. All nodes that share a directory share the secret. Any thread.
/// </remarks>
/// <param name="secret">16 bytes.</param>
public sealed class CursorSeal(ReadOnlyMemory<byte> secret)
{
    private const int NonceBytes = 12;
    private const int TagBytes = 16;
    private const int HeadBytes = NonceBytes + TagBytes;

    /// <summary>The cursor for a place in a list.</summary>
    public string Seal(string place, string list)
    {
        var plain = Encoding.UTF8.GetBytes(place);
        var cursor = new byte[HeadBytes + plain.Length];
        var nonce = cursor.AsSpan(0, NonceBytes);
        RandomNumberGenerator.Fill(nonce);
        using var cipher = new AesGcm(secret.Span, TagBytes);
        cipher.Encrypt(nonce, plain, cursor.AsSpan(HeadBytes), cursor.AsSpan(NonceBytes, TagBytes), Encoding.UTF8.GetBytes(list));
        return Base64Url.EncodeToString(cursor);
    }

    /// <summary>The place of a cursor; null if this server did not give the cursor for this list.</summary>
    public string? Open(string cursor, string list)
    {
        if (!Base64Url.IsValid(cursor) || Base64Url.DecodeFromChars(cursor) is not { Length: > HeadBytes } bytes)
            return null;
        var tag = bytes.AsSpan(NonceBytes, TagBytes);
        var plain = new byte[bytes.Length - HeadBytes];
        using var cipher = new AesGcm(secret.Span, TagBytes);
        try
        {
            cipher.Decrypt(bytes.AsSpan(0, NonceBytes), bytes.AsSpan(HeadBytes), tag, plain, Encoding.UTF8.GetBytes(list));
        }
        catch (AuthenticationTagMismatchException)
        {
            return null;
        }

        return Encoding.UTF8.GetString(plain);
    }
}
