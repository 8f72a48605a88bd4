using System.Buffers;
using Aglow.AspNetCore.Sockets;

namespace Aglow.Fuzz.Targets;

/// <summary>
/// Frames of a WebSocket, read in pieces and as a whole. Both must find the same frames, and then the same violation.
/// </summary>
internal sealed class FrameTarget : RuleTarget
{
    public override string Name => "frames";

    public override string Feeds => "SocketFrame";

    public override int PerTurn => 8 * 1024;

    public override void Make(Dice dice, InputWriter input)
    {
        input.Add(dice.CutLength());
        for (var i = dice.Between(1, 4); i > 0; i--)
            FrameGrammar.Frame(dice, input, static (dice, payload) => payload.Add(dice.Name()));
    }

    public override int Run(ReadOnlyMemory<byte> input)
    {
        var whole = new ReadOnlySequence<byte>(Cut.Body(input));
        var pieces = Cut.Sequence(input);
        var behaviour = 17;
        while (true)
        {
            var before = whole.Length;
            var wrong = SocketFrame.Read(ref whole, out var frame);
            var wrongInPieces = SocketFrame.Read(ref pieces, out var frameInPieces);
            if (wrong != wrongInPieces || whole.Length != pieces.Length || frame is null != frameInPieces is null)
                throw new FindingException(
                    $"a frame in pieces is read as {wrongInPieces}, {pieces.Length} left; whole as {wrong}, {whole.Length} left");
            behaviour = (behaviour * 31) + wrong;
            if (wrong != 0 || frame is not { } read)
                return behaviour;
            Check(read, frameInPieces!.Value, before - whole.Length);
            behaviour = (behaviour * 31) + (int)read.Opcode + (read.IsFinal ? 16 : 0) + (read.Payload.Length > 125 ? 32 : 0);
        }
    }

    private static void Check(SocketFrame frame, SocketFrame inPieces, long taken)
    {
        if (frame.Payload.Length > SocketFrame.MaxPayload || frame.Payload.Length + 6 > taken)
            throw new FindingException($"a frame of {taken} bytes has a payload of {frame.Payload.Length}");
        var plain = new byte[frame.Payload.Length];
        var other = new byte[frame.Payload.Length];
        frame.CopyTo(plain);
        inPieces.CopyTo(other);
        var masked = frame.Payload.ToArray();
        var mask = BitConverter.GetBytes(frame.Mask);
        for (var i = 0; i < masked.Length; i++)
            masked[i] ^= mask[i & 3];
        if (!plain.AsSpan().SequenceEqual(masked) || !other.AsSpan().SequenceEqual(masked))
            throw new FindingException("a payload is not what was masked");
    }
}

/// <summary>Makes valid and invalid frames of clients.</summary>
internal static class FrameGrammar
{
    /// <summary>Adds a frame with the payload of <paramref name="make"/>, or with one that fits its kind.</summary>
    public static void Frame(Dice dice, InputWriter input, Action<Dice, InputWriter> make)
    {
        var opcode = (byte)(dice.OneIn(12) ? dice.Below(16) : dice.Pick(1, 1, 1, 1, 0, 2, 8, 9, 10));
        var payload = new InputWriter();
        if (opcode == 8)
            Close(dice, payload);
        else if (opcode is 9 or 10)
            payload.Add(new string('p', dice.Pick(0, 1, 124, 125, 126)));
        else
            make(dice, payload);
        if (dice.OneIn(500))
            payload.Add(new string(' ', dice.Pick(65_536, 65_535, 65_537) - Math.Min(payload.Written.Length, 65_000)));
        Add(dice, input, opcode, payload.Written);
    }

    private static void Close(Dice dice, InputWriter payload)
    {
        if (dice.OneIn(5))
            return;
        var code = dice.Pick(
            1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1015, 1016, 2999, 3000, 4999, 5000, 0, 999, 65_535);
        payload.Add((byte)(code >> 8));
        if (!dice.OneIn(12))
            payload.Add((byte)code).Add(dice.OneIn(3) ? dice.Name() : "bye");
    }

    private static void Add(Dice dice, InputWriter input, byte opcode, ReadOnlySpan<byte> payload)
    {
        var final = dice.OneIn(6) ? 0 : 0x80;
        var reserved = dice.OneIn(20) ? dice.Below(8) << 4 : 0;
        var mask = dice.OneIn(30) ? 0 : 0x80;
        input.Add((byte)(final | reserved | opcode));
        if (dice.OneIn(30))
        {
            // a wrong length, or one with more bytes than necessary
            input.Add((byte)(mask | 127)).Add(dice.Pick(
                "\u0080\0\0\0\0\0\0\0", "\u00FF\u00FF\u00FF\u00FF\u00FF\u00FF\u00FF\u00FF",
                "\u007F\u00FF\u00FF\u00FF\u00FF\u00FF\u00FF\u00FF", "\0\0\0\0\0\u0001\0\0", "\0\0\0\0\0\u0001\0\u0001",
                "\0\0\0\0\0\0\0\u0005"));
        }
        else if (payload.Length < 126 && !dice.OneIn(60))
        {
            input.Add((byte)(mask | payload.Length));
        }
        else if (payload.Length <= ushort.MaxValue)
        {
            input.Add((byte)(mask | 126)).Add((byte)(payload.Length >> 8)).Add((byte)payload.Length);
        }
        else
        {
            input.Add((byte)(mask | 127))
                .Add("\0\0\0\0\0")
                .Add((byte)(payload.Length >> 16))
                .Add((byte)(payload.Length >> 8))
                .Add((byte)payload.Length);
        }

        Span<byte> key = stackalloc byte[4];
        if (mask == 0)
        {
            input.Add(payload);
            return;
        }

        dice.Fill(key);
        if (dice.OneIn(4))
            key.Clear();
        var masked = payload.ToArray();
        for (var i = 0; i < masked.Length; i++)
            masked[i] ^= key[i & 3];
        input.Add(key).Add(masked);
    }
}
