using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace Aglow.AspNetCore.Sockets;

/// <summary>The opcodes of RFC 6455, section 5.2.</summary>
internal enum SocketOpcode : byte
{
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

/// <summary>Why a connection is closed: RFC 6455, section 7.4.1.</summary>
internal static class SocketClose
{
    public const int Normal = 1000;
    public const int GoingAway = 1001;
    public const int ProtocolError = 1002;
    public const int UnsupportedData = 1003;
    public const int InvalidData = 1007;
    public const int PolicyViolation = 1008;
    public const int TooBig = 1009;
    public const int TryAgainLater = 1013;

    /// <summary>The token has expired or was revoked: connect again with another one.</summary>
    public const int TokenEnded = 4401;

    /// <summary>This user may not connect: not with this token, or no longer (disabled, deleted).</summary>
    public const int NotAllowed = 4403;

    /// <summary>The user already has as many connections as allowed.</summary>
    public const int TooMany = 4429;

    // the payload of a control frame is at most 125 bytes (RFC 6455, section 5.5)
    private const int MaxPayload = 125;

    /// <summary>The close code of a refusal with this HTTP status: 4000 + the status.</summary>
    public static int OfStatus(int status) => 4000 + status;

    /// <summary>The reason that is sent with a code, so that a reader needs no table; empty if the code is clear by itself.</summary>
    public static string ReasonOf(int code) => code switch
    {
        PolicyViolation => "Too slow: finish messages within a minute, and read the answers.",
        TryAgainLater => "Too busy: there is no memory for more messages. Connect again later.",
        TokenEnded => "Token ended: the token has expired or was revoked. Connect with another one.",
        NotAllowed => "Not allowed: this user may not connect any more.",
        TooMany => "Too many connections: close some, and try again.",
        _ => "",
    };

    /// <summary>The payload of a close frame: the code, and as many whole characters of the reason as fit.</summary>
    public static byte[] Payload(int code, string reason)
    {
        var payload = new byte[MaxPayload];
        BinaryPrimitives.WriteUInt16BigEndian(payload, (ushort)code);
        Encoding.UTF8.GetEncoder().Convert(reason, payload.AsSpan(2), flush: true, out _, out var length, out _);
        return payload[..(2 + length)];
    }

    /// <summary>Whether a peer may send this code.</summary>
    public static bool MayBeSent(int code) => code is (>= 1000 and <= 1003) or (>= 1007 and <= 1014) or (>= 3000 and <= 4999);
}

/// <summary>
/// One frame from a client, read strictly by RFC 6455.
/// </summary>
/// <remarks>
/// <code>
///   | fin rsv opcode | mask length | (length 16 | 64) | masking key | payload |
/// </code>
/// Rejected alternative: the framework's WebSocket, which costs more memory for each open connection (aglow bench sockets). This reads only
/// what a client may send to this server: masked frames, no extensions, at most 64 KiB. Rules without I/O.
/// </remarks>
internal readonly record struct SocketFrame(SocketOpcode Opcode, bool IsFinal, ReadOnlySequence<byte> Payload, uint Mask)
{
    /// <summary>The longest payload of a frame, and of a message in several frames.</summary>
    public const int MaxPayload = 64 * 1024;

    private const int MaxHeader = 14;

    /// <summary>
    /// Reads a frame from the start of <paramref name="buffer"/> and moves the buffer behind it. Returns 0 if a frame was read, or if more
    /// bytes are needed (then <paramref name="frame"/> is null); otherwise returns the close code.
    /// </summary>
    public static int Read(ref ReadOnlySequence<byte> buffer, out SocketFrame? frame)
    {
        frame = null;
        if (buffer.Length < 2)
            return 0;
        Span<byte> header = stackalloc byte[MaxHeader];
        var available = (int)Math.Min(buffer.Length, MaxHeader);
        buffer.Slice(0, available).CopyTo(header);
        header = header[..available];

        var opcode = (SocketOpcode)(header[0] & 0x0F);
        var isFinal = (header[0] & 0x80) != 0;
        var isControl = ((byte)opcode & 0x8) != 0;
        var shortLength = header[1] & 0x7F;
        // rejects reserved bits, unknown opcodes, unmasked frames, and control frames that are long or fragmented
        if ((header[0] & 0x70) != 0
            || opcode is not (SocketOpcode.Continuation or SocketOpcode.Text or SocketOpcode.Binary
                or SocketOpcode.Close or SocketOpcode.Ping or SocketOpcode.Pong)
            || (header[1] & 0x80) == 0
            || (isControl && (!isFinal || shortLength > 125)))
        {
            return SocketClose.ProtocolError;
        }

        var at = 2;
        long length = shortLength;
        if (shortLength == 126)
        {
            if (available < 4)
                return 0;
            length = BinaryPrimitives.ReadUInt16BigEndian(header[2..]);
            at = 4;
            if (length < 126)
                return SocketClose.ProtocolError;
        }
        else if (shortLength == 127)
        {
            if (available < 10)
                return 0;
            length = BinaryPrimitives.ReadInt64BigEndian(header[2..]);
            at = 10;
            if (length is < 0 or <= ushort.MaxValue)
                return SocketClose.ProtocolError;
        }

        if (length > MaxPayload)
            return SocketClose.TooBig;
        if (buffer.Length < at + 4 + length)
            return 0;
        var mask = MemoryMarshal.Read<uint>(header[at..]);
        frame = new SocketFrame(opcode, isFinal, buffer.Slice(at + 4, length), mask);
        buffer = buffer.Slice(at + 4 + length);
        return 0;
    }

    /// <summary>Copies the payload, unmasked, into <paramref name="into"/>.</summary>
    public void CopyTo(Span<byte> into)
    {
        Payload.CopyTo(into);
        into = into[..(int)Payload.Length];
        var whole = into[..(into.Length & ~3)];
        foreach (ref var word in MemoryMarshal.Cast<byte, uint>(whole))
            word ^= Mask;
        for (var i = whole.Length; i < into.Length; i++)
            into[i] ^= (byte)(Mask >> (8 * (i & 3)));
    }

    /// <summary>Writes a final, unmasked frame to a client.</summary>
    public static void Write(IBufferWriter<byte> output, SocketOpcode opcode, ReadOnlySpan<byte> payload)
    {
        var header = payload.Length < 126 ? 2 : payload.Length <= ushort.MaxValue ? 4 : 10;
        // a small frame goes into one buffer, a large one into blocks of the transport's size
        var span = output.GetSpan(Math.Min(header + payload.Length, 4096));
        span[0] = (byte)(0x80 | (byte)opcode);
        if (header == 2)
        {
            span[1] = (byte)payload.Length;
        }
        else if (header == 4)
        {
            span[1] = 126;
            BinaryPrimitives.WriteUInt16BigEndian(span[2..], (ushort)payload.Length);
        }
        else
        {
            span[1] = 127;
            BinaryPrimitives.WriteUInt64BigEndian(span[2..], (ulong)payload.Length);
        }

        var first = Math.Min(payload.Length, span.Length - header);
        payload[..first].CopyTo(span[header..]);
        output.Advance(header + first);
        if (first < payload.Length)
            output.Write(payload[first..]);
    }
}
