using System.Buffers.Text;

namespace Aglow.Redis;

/// <summary>What came is not RESP, or not what was asked for. The connection is of no more use; the message is one line.</summary>
internal sealed class RespException(string message) : Exception(message);

/// <summary>
/// Finds where a reply ends: replies of RESP2 and RESP3, in whatever pieces they come.
/// </summary>
/// <remarks>
/// A reply is measured before it is read, so that whoever reads it (<see cref="RespReader"/>) has it whole and needs no state between pieces. A long
/// text is measured by its head alone; lists are counted flat, so nesting costs no stack. Bounded: what is longer than <see cref="MaxBytes"/> (a page
/// is 255 KiB) is refused. A rule on bytes: no I/O, no allocation.
/// </remarks>
internal static class RespFrame
{
    /// <summary>The longest reply that is taken.</summary>
    public const int MaxBytes = 4 * 1024 * 1024;

    private const int MaxNumberBytes = 21;

    /// <summary>The length of the reply that <paramref name="data"/> begins with; 0: it has not come whole.</summary>
    /// <exception cref="RespException">It is no reply.</exception>
    public static int Measure(ReadOnlySpan<byte> data)
    {
        var at = 0;
        for (long owed = 1; owed > 0;)
        {
            if (at >= data.Length)
                return 0;
            var kind = data[at];
            var line = data[(at + 1)..];
            var end = line.IndexOf("\r\n"u8);
            if (end < 0)
                return CheckUnfinished(kind, line, at);
            line = line[..end];
            at += end + 3;
            owed--;
            switch (kind)
            {
                case (byte)'+' or (byte)'-' or (byte)',' or (byte)'(':
                    break;
                case (byte)':':
                    _ = Number(line);
                    break;
                case (byte)'_':
                    Require(line.IsEmpty);
                    break;
                case (byte)'#':
                    Require(line is [(byte)'t' or (byte)'f']);
                    break;
                case (byte)'$' or (byte)'!' or (byte)'=':
                    var length = Number(line);
                    if (length == -1 && kind == '$')
                        break;
                    Require(length is >= 0 and <= MaxBytes);
                    if (data.Length - at < length + 2)
                        return CheckEnd(data[at..], (int)length);
                    Require(data.Slice(at + (int)length, 2).SequenceEqual("\r\n"u8));
                    at += (int)length + 2;
                    break;
                case (byte)'*' or (byte)'~' or (byte)'>':
                    owed += Count(line, mayBeNull: kind == '*');
                    break;
                case (byte)'%':
                    owed += 2 * Count(line, mayBeNull: false);
                    break;
                case (byte)'|':
                    // what is said of a reply comes before it
                    owed += 1 + (2 * Count(line, mayBeNull: false));
                    break;
                default:
                    throw NotResp();
            }

            Require(at <= MaxBytes && owed <= MaxBytes);
        }

        return at;
    }

    /// <summary>A number as RESP writes it.</summary>
    internal static long Number(ReadOnlySpan<byte> line)
    {
        if (line.Length is 0 or > MaxNumberBytes || !Utf8Parser.TryParse(line, out long number, out var read) || read != line.Length)
            throw NotResp();
        return number;
    }

    internal static RespException NotResp() => new("what the server sent is not RESP: is it Redis 6 or newer, and is TLS set as it is there?");

    private static long Count(ReadOnlySpan<byte> line, bool mayBeNull)
    {
        var count = Number(line);
        Require(count is >= 0 and <= MaxBytes || (count == -1 && mayBeNull));
        return Math.Max(0, count);
    }

    // A line without its end: it may still become one.
    private static int CheckUnfinished(byte kind, ReadOnlySpan<byte> line, int at)
    {
        var isText = kind is (byte)'+' or (byte)'-' or (byte)',' or (byte)'(';
        Require(isText || kind is (byte)':' or (byte)'_' or (byte)'#' or (byte)'$' or (byte)'!' or (byte)'=' or (byte)'*' or (byte)'~' or (byte)'>' or (byte)'%' or (byte)'|');
        Require(isText ? at + line.Length <= MaxBytes : line.Length <= MaxNumberBytes + 1);
        return 0;
    }

    // A text without its end: what stands where its end should be must be the end.
    private static int CheckEnd(ReadOnlySpan<byte> rest, int length)
    {
        Require(rest.Length <= length || rest[length] == '\r');
        return 0;
    }

    private static void Require(bool fine)
    {
        if (!fine)
            throw NotResp();
    }
}
