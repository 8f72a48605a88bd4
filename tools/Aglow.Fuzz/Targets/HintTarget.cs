using System.Buffers.Binary;
using Aglow.Redis.Hints;

namespace Aglow.Fuzz.Targets;

/// <summary>
/// Hints from other nodes, or from any other publisher on their channel. A node must ignore an unreadable hint, and must not find more
/// users than the bytes contain.
/// </summary>
internal sealed class HintTarget : RuleTarget
{
    private const ulong Self = 1;

    public override string Name => "hints";

    public override string Feeds => "HintMessage";

    public override int PerTurn => 4 * 1024;

    public override void Make(Dice dice, InputWriter input)
    {
        input.Add((byte)0).Add((byte)(dice.OneIn(10) ? 2 : 1)).Add(dice.OneIn(10) ? "\u0001\0\0\0\0\0\0\0" : "\0\0\0\0\0\0\0\0");
        for (var i = dice.Below(4); i >= 0; i--)
        {
            var count = dice.Below(5);
            input.Add((byte)dice.Below(6)).Add((byte)count).Add(dice.OneIn(12) ? "\u00FF\u00FF\u00FF" : "\0\0\0");
            for (var j = count * 4; j > 0; j--)
                input.Add((byte)dice.Below(256));
        }
    }

    public override int Run(ReadOnlyMemory<byte> input)
    {
        var message = Cut.Body(input).Span;
        var heard = 0;
        var isRead = HintMessage.Read(message, Self, (_, users) => heard += users.Length);
        if (heard > message.Length / sizeof(uint))
            throw new FindingException($"{message.Length} bytes name {heard} users");
        if (isRead && BinaryPrimitives.ReadUInt64LittleEndian(message[1..]) == Self)
            throw new FindingException("a node hears its own hints");
        return (isRead ? 1 : 2) + (4 * Math.Min(heard, 64));
    }
}
