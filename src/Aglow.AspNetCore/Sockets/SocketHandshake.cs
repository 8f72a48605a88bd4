using System.Buffers;
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// The opening handshake of RFC 6455, section 4.2: its conditions and its answer. HTTP and the connection middleware use it.
/// </summary>
internal static class SocketHandshake
{
    private static ReadOnlySpan<byte> Guid => "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"u8;

    /// <summary>Whether a key is valid: 16 bytes in base64.</summary>
    public static bool IsKey(ReadOnlySpan<byte> key)
    {
        Span<byte> bytes = stackalloc byte[18];
        return key.Length == 24 && Base64.DecodeFromUtf8(key, bytes, out _, out var length) == OperationStatus.Done && length == 16;
    }

    /// <summary>Whether a header, such as <c>Connection</c>, lists a token.</summary>
    public static bool Lists(string? header, string token) =>
        header is not null && header.Split(',').Any(part => string.Equals(part.Trim(), token, StringComparison.OrdinalIgnoreCase));

    /// <summary>The value of <c>Sec-WebSocket-Accept</c> for a key.</summary>
    public static string Accept(ReadOnlySpan<byte> key)
    {
        Span<byte> text = stackalloc byte[24 + 36];
        key.CopyTo(text);
        Guid.CopyTo(text[24..]);
        Span<byte> hash = stackalloc byte[SHA1.HashSizeInBytes];
#pragma warning disable CA5350 // the protocol requires SHA-1; it protects nothing here
        SHA1.HashData(text, hash);
#pragma warning restore CA5350
        return Convert.ToBase64String(hash);
    }

    public static byte[] Answer(ReadOnlySpan<byte> key, string? protocol)
    {
        var chosen = protocol is null ? "" : $"Sec-WebSocket-Protocol: {protocol}\r\n";
        return Encoding.ASCII.GetBytes(
            $"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                + $"{Accept(key)}\r\n{chosen}\r\n");
    }
}
