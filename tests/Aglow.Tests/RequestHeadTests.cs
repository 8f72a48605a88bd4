using System.Buffers;
using System.Text;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Hosting;

namespace Aglow.Tests;

/// <summary>Which first bytes of a connection are waited for, in one piece and byte by byte.</summary>
public class RequestHeadTests
{
    public static TheoryData<string, bool> Beginnings() => new()
    {
        { "", true },
        { "G", true },
        { "GET /ws?user_id=1 HTTP/1.1\r\nHost: a\r\n", true },
        { "GET / HTTP/1.1\r\nHost: a\r\n\r", true },
        { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", false },
        { "GET / HTTP/1.1\nHost: a\n\n", false },
        { "GET / HTTP/1.1\nHost: a\n\r\n", false },
        { "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n{", false },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false },
        // a method has capital letters only; the first byte of TLS is 22
        { "get /", false },
        { "\r\n", false },
        { "\u0016\u0003\u0001", false },
        { "GET /" + new string('x', RequestHead.MaxBytes - 5), true },
        { "GET /" + new string('x', RequestHead.MaxBytes - 4), false },
    };

    [Theory]
    [MemberData(nameof(Beginnings))]
    public void A_head_is_waited_for_until_its_empty_line(string text, bool isUnfinished)
    {
        var bytes = Encoding.Latin1.GetBytes(text);
        RequestHead.IsUnfinished(new ReadOnlySequence<byte>(bytes)).ShouldBe(isUnfinished);
        RequestHead.IsUnfinished(InPieces(bytes)).ShouldBe(isUnfinished);
    }

    private static ReadOnlySequence<byte> InPieces(byte[] bytes)
    {
        if (bytes.Length < 2)
            return new ReadOnlySequence<byte>(bytes);
        var first = new Piece(bytes.AsMemory(0, 1), 0);
        var last = first;
        for (var i = 1; i < bytes.Length; i++)
            last = last.Append(bytes.AsMemory(i, 1));
        return new ReadOnlySequence<byte>(first, 0, last, 1);
    }

    private sealed class Piece : ReadOnlySequenceSegment<byte>
    {
        public Piece(ReadOnlyMemory<byte> memory, long index) => (Memory, RunningIndex) = (memory, index);

        public Piece Append(ReadOnlyMemory<byte> memory)
        {
            var next = new Piece(memory, RunningIndex + Memory.Length);
            Next = next;
            return next;
        }
    }
}
