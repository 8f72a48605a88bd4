using System.Text;

namespace Aglow.Fuzz;

/// <summary>Varies inputs that caused new behaviour: flips, cuts, doubles, mixes two, or inserts a word.</summary>
internal static class Mutation
{
    /// <summary>Longer than any limit of a request's head, and short enough for many inputs a second.</summary>
    public const int MostBytes = 96 * 1024;

    private static readonly byte[] Telling =
        [0, 1, 9, 10, 13, 32, 34, 37, 43, 44, 47, 58, 91, 92, 93, 123, 125, 126, 127, 128, 129, 136, 192, 237, 244, 254, 255];

    /// <summary>Writes a variation of <paramref name="of"/>, perhaps mixed with <paramref name="other"/>, another input.</summary>
    public static void Vary(ReadOnlySpan<byte> of, ReadOnlySpan<byte> other, Dice dice, InputWriter into)
    {
        var bytes = new List<byte>(of.Length + 64);
        bytes.AddRange(of);
        for (var i = dice.Between(1, 4); i > 0; i--)
            Step(bytes, other, dice);
        if (bytes.Count > MostBytes)
            bytes.RemoveRange(MostBytes, bytes.Count - MostBytes);
        into.Add(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(bytes));
    }

    private static void Step(List<byte> bytes, ReadOnlySpan<byte> other, Dice dice)
    {
        var at = dice.Below(bytes.Count + 1);
        var length = Math.Min(dice.Between(1, dice.OneIn(4) ? 64 : 6), bytes.Count - at);
        switch (dice.Below(9))
        {
            case 0 when at < bytes.Count:
                bytes[at] ^= (byte)(1 << dice.Below(8));
                break;
            case 1 when at < bytes.Count:
                bytes[at] = dice.Pick<byte>(Telling);
                break;
            case 2:
                bytes.Insert(at, dice.Pick<byte>(Telling));
                break;
            case 3:
                bytes.RemoveRange(at, length);
                break;
            case 4 when length > 0:
                var again = bytes.GetRange(at, length);
                for (var i = dice.OneIn(16) ? dice.Between(1, 2000) : 1; i > 0 && bytes.Count < MostBytes; i--)
                    bytes.InsertRange(at, again);
                break;
            case 5 when other.Length > 0:
                var from = dice.Below(other.Length);
                bytes.InsertRange(at, other.Slice(from, Math.Min(dice.Between(1, 200), other.Length - from)).ToArray());
                break;
            case 6:
                bytes.RemoveRange(at, length);
                bytes.InsertRange(at, Encoding.UTF8.GetBytes(dice.Number()));
                break;
            case 7:
                bytes.InsertRange(at, new InputWriter().Add(dice.Name()).Written.ToArray());
                break;
            case 8 when at < bytes.Count:
                bytes.RemoveRange(at, bytes.Count - at);
                break;
        }
    }
}
