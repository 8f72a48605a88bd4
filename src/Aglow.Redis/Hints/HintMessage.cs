using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Aglow.Heartbeats;

namespace Aglow.Redis.Hints;

/// <summary>The format of hints between nodes.</summary>
/// <remarks>
/// <code>
///   | version 1 | node 8 | kind 1 | count 4 | user 4 | user 4 | … | kind 1 | count 4 | user 4 | …     least significant byte first
/// </code>
/// A reader ignores a message that it cannot parse (another version, or a truncated one), because hints may be lost. Pure functions on
/// bytes.
/// </remarks>
internal static class HintMessage
{
    /// <summary>The most users in one message. It takes 32 KiB, and its reader does not delay other messages for long.</summary>
    public const int MostUsers = 8192;

    private const byte Version = 1;
    private const int HeadBytes = 9;
    private const int RunBytes = 5;

    /// <summary>The most bytes that this many users take.</summary>
    public static int MaxBytes(int users) => HeadBytes + (users * (RunBytes + sizeof(uint)));

    /// <summary>Packs hints in order. Returns the number of bytes written.</summary>
    public static int Write(Span<byte> to, ulong node, ReadOnlySpan<(TransitionKind Kind, uint User)> hints)
    {
        to[0] = Version;
        BinaryPrimitives.WriteUInt64LittleEndian(to[1..], node);
        var at = HeadBytes;
        for (var i = 0; i < hints.Length;)
        {
            var run = at;
            var first = i;
            at += RunBytes;
            for (; i < hints.Length && hints[i].Kind == hints[first].Kind; i++, at += sizeof(uint))
                BinaryPrimitives.WriteUInt32LittleEndian(to[at..], hints[i].User);
            to[run] = (byte)hints[first].Kind;
            BinaryPrimitives.WriteInt32LittleEndian(to[(run + 1)..], i - first);
        }

        return at;
    }

    /// <summary>Unpacks another node's hints. Returns false for a message that cannot be parsed, or that this node sent itself.</summary>
    public static bool Read(ReadOnlySpan<byte> message, ulong self, TransitionHandler handle)
    {
        if (message.Length < HeadBytes || message[0] != Version || BinaryPrimitives.ReadUInt64LittleEndian(message[1..]) == self)
            return false;
        Span<uint> users = stackalloc uint[256];
        for (message = message[HeadBytes..]; !message.IsEmpty;)
        {
            if (message.Length < RunBytes || message[0] > (byte)TransitionKind.DeviceCame)
                return false;
            var kind = (TransitionKind)message[0];
            var count = BinaryPrimitives.ReadInt32LittleEndian(message[1..]);
            message = message[RunBytes..];
            if (count < 0 || count > message.Length / sizeof(uint))
                return false;
            while (count > 0)
            {
                var some = Math.Min(count, users.Length);
                message[..(some * sizeof(uint))].CopyTo(MemoryMarshal.AsBytes(users));
                if (!BitConverter.IsLittleEndian)
                    BinaryPrimitives.ReverseEndianness(users[..some], users);
                handle(kind, users[..some]);
                message = message[(some * sizeof(uint))..];
                count -= some;
            }
        }

        return true;
    }
}
