using System.Buffers.Text;
using System.Text;

namespace Aglow.Redis;

/// <summary>Commands as Redis reads them, one after the other in the buffer that is handed to the socket. One loop.</summary>
internal sealed class RespWriter
{
    private byte[] _bytes = new byte[96 * 1024];

    /// <summary>What was written since <see cref="Clear"/>.</summary>
    public ReadOnlyMemory<byte> Written => _bytes.AsMemory(0, Length);

    /// <summary>How much that is.</summary>
    public int Length { get; private set; }

    public void Clear()
    {
        Length = 0;
        // after one long message the room is given back
        if (_bytes.Length > 1024 * 1024)
            _bytes = new byte[96 * 1024];
    }

    /// <summary>The head of a command with this many parts.</summary>
    public void Command(int parts)
    {
        Reserve(16);
        Number((byte)'*', (uint)parts);
    }

    /// <summary>A part.</summary>
    public void Part(ReadOnlySpan<byte> text)
    {
        Reserve(text.Length + 16);
        Number((byte)'$', (uint)text.Length);
        text.CopyTo(_bytes.AsSpan(Length));
        Length += text.Length;
        End();
    }

    /// <summary>A part of characters.</summary>
    public void Part(string text) => Part(Encoding.UTF8.GetBytes(text));

    /// <summary>Parts as they are sent, encoded before.</summary>
    public void Raw(ReadOnlySpan<byte> encoded)
    {
        Reserve(encoded.Length);
        encoded.CopyTo(_bytes.AsSpan(Length));
        Length += encoded.Length;
    }

    /// <summary>A part that is a number.</summary>
    public void Part(uint number)
    {
        Span<byte> digits = stackalloc byte[10];
        Utf8Formatter.TryFormat(number, digits, out var count);
        Part(digits[..count]);
    }

    /// <summary>A part "#number": the place of a word, counted in words.</summary>
    public void Place(uint number)
    {
        Span<byte> text = stackalloc byte[11];
        text[0] = (byte)'#';
        Utf8Formatter.TryFormat(number, text[1..], out var count);
        Part(text[..(count + 1)]);
    }

    private void Number(byte kind, uint number)
    {
        _bytes[Length++] = kind;
        Utf8Formatter.TryFormat(number, _bytes.AsSpan(Length), out var count);
        Length += count;
        End();
    }

    private void End()
    {
        _bytes[Length++] = (byte)'\r';
        _bytes[Length++] = (byte)'\n';
    }

    private void Reserve(int bytes)
    {
        if (_bytes.Length - Length < bytes)
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, Length + bytes));
    }
}
