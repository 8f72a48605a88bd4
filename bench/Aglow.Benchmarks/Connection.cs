using System.Buffers.Text;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Aglow.Benchmarks;

/// <summary>
/// One keep-alive connection of a load generator: it patches and sends a request buffer, and reads whole answers.
/// </summary>
/// <remarks>Uses plain blocking sockets, because HttpClient costs more than the measured server. One thread.</remarks>
internal sealed class Connection : IDisposable
{
    private readonly Socket _socket =
        new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, ReceiveTimeout = 60_000 };
    private byte[] _received = new byte[256 * 1024];
    // what was received and not yet taken
    private int _start, _end;

    public Connection(int port) => _socket.Connect(IPAddress.Loopback, port);

    /// <summary>The next request.</summary>
    public byte[] Request { get; private set; } = new byte[64 * 1024];

    /// <summary>The user of the connection, if that matters.</summary>
    public uint User { get; init; }

    /// <summary>Additional header lines, each with its line end.</summary>
    public string Headers { get; init; } = "";

    /// <summary>The offset of an HTTP request's body in <see cref="Request"/>.</summary>
    public int BodyAt { get; private set; }

    /// <summary>Opens this many connections.</summary>
    public static Connection[] Open(int port, int count) => [.. Enumerable.Range(0, count).Select(_ => new Connection(port))];

    /// <summary>
    /// Writes the head of an HTTP request into <see cref="Request"/>, with room for a body of this length. Returns the length of both.
    /// </summary>
    public int Head(string method, string path, string? contentType, int bodyBytes)
    {
        var head = Encoding.ASCII.GetBytes(
            $"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
                + $"{Headers}{(contentType is null ? "" : $"Content-Type: {contentType}\r\nContent-Length: {bodyBytes}\r\n")}\r\n");
        if (Request.Length < head.Length + bodyBytes)
            Request = new byte[head.Length + bodyBytes];
        head.CopyTo(Request, 0);
        BodyAt = head.Length;
        return head.Length + bodyBytes;
    }

    /// <summary>Sends the first bytes of <see cref="Request"/>.</summary>
    public void Send(int bytes) => Send(Request.AsSpan(0, bytes));

    /// <summary>Sends these bytes.</summary>
    public void Send(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
            bytes = bytes[_socket.Send(bytes)..];
    }

    /// <summary>Reads one HTTP answer, which must have this status; returns its body, which is valid until the next call.</summary>
    public ReadOnlySpan<byte> ReceiveHttp(int status = 200)
    {
        int end;
        while ((end = Received.IndexOf("\r\n\r\n"u8)) < 0)
            Receive();
        var head = Received[..end];
        if (!Utf8Parser.TryParse(head["HTTP/1.1 ".Length..], out int answered, out _) || answered != status)
            throw new BenchmarkException($"the server answered {Encoding.UTF8.GetString(Received[..Math.Min(Received.Length, 400)])}");
        var at = head.IndexOf("Content-Length: "u8);
        var length = 0;
        if (at >= 0 && !Utf8Parser.TryParse(head[(at + 16)..], out length, out _))
            throw new BenchmarkException("the server answered without a length.");
        return ReceiveBytes(end + 4 + length)[(end + 4)..];
    }

    /// <summary>Reads an answer of this many bytes.</summary>
    public ReadOnlySpan<byte> ReceiveBytes(int count)
    {
        while (Received.Length < count)
            Receive();
        var answer = Received[..count];
        _start += count;
        return answer;
    }

    /// <summary>Reads an answer of this many lines.</summary>
    public ReadOnlySpan<byte> ReceiveLines(int count)
    {
        for (var lines = Received.Count((byte)'\n'); lines < count;)
            lines += Receive().Count((byte)'\n');
        return ReceiveBytes(Received.Length);
    }

    /// <summary>Reads up to a text, and drops it and everything before.</summary>
    public void ReceiveUntil(ReadOnlySpan<byte> text)
    {
        int at;
        while ((at = Received.IndexOf(text)) < 0)
            Receive();
        ReceiveBytes(at + text.Length);
    }

    public void Dispose() => _socket.Dispose();

    private ReadOnlySpan<byte> Received => _received.AsSpan(_start.._end);

    // Receives more, and returns that.
    private ReadOnlySpan<byte> Receive()
    {
        if (_start == _end)
            _start = _end = 0;
        if (_end == _received.Length)
            Array.Resize(ref _received, _received.Length * 2);
        try
        {
            var count = _socket.Receive(_received.AsSpan(_end));
            _end += count;
            return count > 0 ? _received.AsSpan(_end - count, count) : throw new BenchmarkException("the server closed a connection.");
        }
        catch (SocketException failure)
        {
            throw new BenchmarkException($"no answer came: {failure.Message}");
        }
    }
}
