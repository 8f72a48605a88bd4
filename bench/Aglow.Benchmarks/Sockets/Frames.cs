using System.Buffers.Binary;
using System.Buffers.Text;
using System.Text;

namespace Aglow.Benchmarks.Sockets;

/// <summary>The client's side of WebSocket framing (RFC 6455), with only what a load generator needs.</summary>
internal static class Frames
{
    public const int Text = 1;
    public const int Close = 8;
    public const int Ping = 9;
    public const int Pong = 10;

    /// <summary>An upgrade request; any 16 bytes are a key.</summary>
    public static byte[] Upgrade(string path) => Encoding.ASCII.GetBytes(
        $"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n\r\n");

    /// <summary>A final frame, masked with zeros, which the server must still unmask.</summary>
    public static byte[] Write(int opcode, ReadOnlySpan<byte> payload)
    {
        var header = payload.Length < 126 ? 2 : payload.Length <= ushort.MaxValue ? 4 : 10;
        var frame = new byte[header + 4 + payload.Length];
        frame[0] = (byte)(0x80 | opcode);
        frame[1] = (byte)(0x80 | (header == 2 ? payload.Length : header == 4 ? 126 : 127));
        if (header == 4)
            BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(2), (ushort)payload.Length);
        else if (header == 10)
            BinaryPrimitives.WriteUInt64BigEndian(frame.AsSpan(2), (ulong)payload.Length);
        payload.CopyTo(frame.AsSpan(header + 4));
        return frame;
    }

    public static byte[] WriteText(string text) => Write(Text, Encoding.UTF8.GetBytes(text));

    /// <summary>Reads a frame of a server. Returns its length with the header, or 0 if more bytes are needed.</summary>
    public static int Read(ReadOnlySpan<byte> bytes, out int opcode, out ReadOnlySpan<byte> payload)
    {
        opcode = 0;
        payload = default;
        if (bytes.Length < 2)
            return 0;
        opcode = bytes[0] & 15;
        long length = bytes[1] & 127;
        var header = 2;
        if (length == 126)
        {
            if (bytes.Length < 4)
                return 0;
            length = BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
            header = 4;
        }
        else if (length == 127)
        {
            if (bytes.Length < 10)
                return 0;
            length = BinaryPrimitives.ReadInt64BigEndian(bytes[2..]);
            header = 10;
        }

        if (bytes.Length < header + length)
            return 0;
        payload = bytes.Slice(header, (int)length);
        return header + (int)length;
    }

    /// <summary>Finds the next record of a message, <c>"user_id":42,"is_online":true,…</c>. The text then begins behind its user.</summary>
    public static bool NextRecord(ref ReadOnlySpan<byte> text, out int user, out bool isOnline)
    {
        (user, isOnline) = (0, false);
        while (text.IndexOf("\"user_id\":"u8) is >= 0 and var at)
        {
            text = text[(at + 10)..];
            _ = Utf8Parser.TryParse(text, out user, out var digits);
            text = text[digits..];
            var flag = ",\"is_online\":"u8;
            if (!text.StartsWith(flag))
                continue;
            isOnline = text[flag.Length] == 't';
            return true;
        }

        return false;
    }
}
