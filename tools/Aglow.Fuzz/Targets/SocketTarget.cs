using System.Text.Json;

namespace Aglow.Fuzz.Targets;

/// <summary>
/// Whole WebSocket connections: a handshake, then messages, frames out of order, and bytes that are not a frame.
/// </summary>
internal sealed class SocketTarget(FuzzedServer server) : ConnectionTarget(server)
{
    public override string Name => "sockets";

    public override string Feeds => "SocketMiddleware, RawUpgrade, PresenceSocket, SocketFrame, SocketMessages, WatchHub";

    public override void Make(Dice dice, InputWriter input)
    {
        input.Add(dice.CutLength());
        if (dice.OneIn(8))
            HandshakeGrammar.Handshake(dice, input);
        else
            HandshakeGrammar.Flawless(input, dice.OneIn(6) ? Uri.EscapeDataString(dice.User()) : $"{dice.Below(2000)}");
        for (var i = dice.Below(7); i > 0; i--)
            FrameGrammar.Frame(dice, input, JsonGrammar.Document);
    }

    protected override int Judge(ReadOnlySpan<byte> bytes, bool isWhole)
    {
        var behaviour = 5;
        while (HttpAnswer.TryRead(ref bytes, isWhole, out var answer))
        {
            behaviour = (behaviour * 31) + answer.Status;
            if (answer.Status == 101)
                return behaviour + JudgeFrames(bytes, isWhole);
        }

        return behaviour;
    }

    /// <summary>
    /// Checks what the server sent: whole, unmasked frames with JSON, and perhaps a close with an allowed code, with nothing after it.
    /// </summary>
    public static int JudgeFrames(ReadOnlySpan<byte> bytes, bool isWhole)
    {
        var behaviour = 3;
        while (bytes.Length >= 2)
        {
            var opcode = bytes[0] & 0xF;
            if ((bytes[0] & 0xF0) != 0x80 || (bytes[1] & 0x80) != 0)
                throw new FindingException($"the server sends no frame: {bytes[0]:x2} {bytes[1]:x2}");
            var (at, length) = bytes[1] switch
            {
                126 when bytes.Length >= 4 => (4, System.Buffers.Binary.BinaryPrimitives.ReadUInt16BigEndian(bytes[2..])),
                127 when bytes.Length >= 10 => (10, (int)System.Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(bytes[2..])),
                < 126 => (2, bytes[1]),
                _ => (bytes.Length, 1),
            };
            if (at + length > bytes.Length)
                return isWhole ? throw new FindingException("the server's last frame breaks off") : behaviour;
            behaviour = (behaviour * 31) + Judge(opcode, bytes.Slice(at, length));
            bytes = bytes[(at + length)..];
            if (opcode == 8 && !bytes.IsEmpty)
                throw new FindingException("the server sends something after its close");
        }

        return behaviour;
    }

    private static int Judge(int opcode, ReadOnlySpan<byte> payload)
    {
        switch (opcode)
        {
            case 1:
                using (var message = JsonDocument.Parse(payload.ToArray()))
                    return Shape(message.RootElement);
            case 8:
                var code = payload.Length >= 2 ? (payload[0] << 8) | payload[1] : 0;
                // the server returns the client's own code, so all codes that clients may send are allowed
                return Aglow.AspNetCore.Sockets.SocketClose.MayBeSent(code)
                    ? code
                    : throw new FindingException($"the server closes with {code}");
            case 9 or 10:
                return opcode;
            default:
                throw new FindingException($"the server sends a frame of opcode {opcode}");
        }
    }

    private static int Shape(JsonElement message) => message.GetProperty("type").GetString() switch
    {
        "error" => 100 + message.GetProperty("detail").GetString()!.Length,
        "presence" => 50 + Math.Min(message.GetProperty("users").GetArrayLength(), 4),
        var type => type!.Length,
    };
}
