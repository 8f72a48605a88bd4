using System.Buffers;
using System.Text;

namespace Aglow.Fuzz;

/// <summary>Writes an input from text and bytes.</summary>
internal sealed class InputWriter
{
    private readonly ArrayBufferWriter<byte> _bytes = new(1024);

    public ReadOnlySpan<byte> Written => _bytes.WrittenSpan;

    public void Clear() => _bytes.ResetWrittenCount();

    public InputWriter Add(ReadOnlySpan<byte> bytes)
    {
        _bytes.Write(bytes);
        return this;
    }

    public InputWriter Add(byte one) => Add([one]);

    /// <summary>Adds text: characters above 255 as UTF-8, all others as one byte, so that a constant can contain any bytes.</summary>
    public InputWriter Add(string text)
    {
        if (!text.AsSpan().ContainsAnyExceptInRange('\0', '\u00FF'))
        {
            _bytes.Advance(Encoding.Latin1.GetBytes(text, _bytes.GetSpan(text.Length)));
            return this;
        }

        foreach (var rune in text.EnumerateRunes())
        {
            if (rune.Value <= byte.MaxValue)
                Add((byte)rune.Value);
            else
                _bytes.Advance(rune.EncodeToUtf8(_bytes.GetSpan(4)));
        }

        return this;
    }
}

/// <summary>Cuts an input as its first byte says.</summary>
internal static class Cut
{
    private const int MostPieces = 24;
    private const byte Gone = 255;

    /// <summary>The bytes to feed: all but the first.</summary>
    public static ReadOnlyMemory<byte> Body(ReadOnlyMemory<byte> input) => input.IsEmpty ? input : input[1..];

    /// <summary>Whether the client disconnects as soon as everything is sent: the first byte is 255.</summary>
    public static bool IsGone(ReadOnlyMemory<byte> input) => !input.IsEmpty && input.Span[0] == Gone;

    /// <summary>
    /// The pieces. For 0 there is one piece; any other number is the length of each piece. The piece after two dozen contains all the rest.
    /// </summary>
    public static IEnumerable<ReadOnlyMemory<byte>> Pieces(ReadOnlyMemory<byte> input)
    {
        var body = Body(input);
        var length = input.IsEmpty ? 0 : (int)input.Span[0];
        for (var i = 0; i < MostPieces && length > 0 && body.Length > length; i++)
        {
            yield return body[..length];
            body = body[length..];
        }

        yield return body;
    }

    /// <summary>The pieces as a reader of pipes gets them.</summary>
    public static ReadOnlySequence<byte> Sequence(ReadOnlyMemory<byte> input)
    {
        Piece? first = null, last = null;
        foreach (var bytes in Pieces(input))
        {
            last = new Piece(bytes, last);
            first ??= last;
        }

        return new ReadOnlySequence<byte>(first!, 0, last!, last!.Memory.Length);
    }

    private sealed class Piece : ReadOnlySequenceSegment<byte>
    {
        public Piece(ReadOnlyMemory<byte> bytes, Piece? before)
        {
            Memory = bytes;
            if (before is null)
                return;
            RunningIndex = before.RunningIndex + before.Memory.Length;
            before.Next = this;
        }
    }
}
