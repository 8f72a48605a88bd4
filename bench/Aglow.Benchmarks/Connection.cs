using System.Net;
using System.Net.Sockets;

namespace Aglow.Benchmarks;

/// <summary>
/// One keep-alive connection of a load generator: it patches and sends a request buffer, and reads whole answers.
/// </summary>
/// <remarks>Uses plain blocking sockets, because HttpClient costs more than the measured server. One thread.</remarks>
internal sealed class Connection : IDisposable
{
    private readonly Socket _socket =
        new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, ReceiveTimeout = 60_000 };
    private byte[] _answer = new byte[256 * 1024];

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
        var head = System.Text.Encoding.ASCII.GetBytes(
            $"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
                + $"{Headers}{(contentType is null ? "" : $"Content-Type: {contentType}\r\nContent-Length: {bodyBytes}\r\n")}\r\n");
        if (Request.Length < head.Length + bodyBytes)
            Request = new byte[head.Length + bodyBytes];
        head.CopyTo(Request, 0);
        BodyAt = head.Length;
        return head.Length + bodyBytes;
    }

    /// <summary>Sends the first bytes of <see cref="Request"/>.</summary>
    public void Send(int bytes)
    {
        for (var sent = 0; sent < bytes;)
            sent += _socket.Send(Request.AsSpan(sent, bytes - sent));
    }

    /// <summary>Reads one HTTP answer, which must have this status; returns its body.</summary>
    public ReadOnlySpan<byte> ReceiveHttp(int status = 200)
    {
        var received = 0;
        int end;
        while ((end = _answer.AsSpan(0, received).IndexOf("\r\n\r\n"u8)) < 0)
            received += Receive(received);
        var head = _answer.AsSpan(0, end);
        if (!System.Buffers.Text.Utf8Parser.TryParse(head["HTTP/1.1 ".Length..], out int answered, out _) || answered != status)
            throw new BenchmarkException(
                $"the server answered {System.Text.Encoding.UTF8.GetString(_answer.AsSpan(0, Math.Min(received, 400)))}");
        var at = head.IndexOf("Content-Length: "u8);
        var length = 0;
        if (at >= 0 && !System.Buffers.Text.Utf8Parser.TryParse(head[(at + 16)..], out length, out _))
            throw new BenchmarkException("the server answered without a length.");
        var body = end + 4;
        while (received < body + length)
            received += Receive(received);
        return _answer.AsSpan(body, length);
    }

    /// <summary>Reads an answer of this many bytes.</summary>
    public ReadOnlySpan<byte> ReceiveBytes(int count)
    {
        for (var received = 0; received < count;)
            received += Receive(received);
        return _answer.AsSpan(0, count);
    }

    /// <summary>Reads an answer of this many lines.</summary>
    public ReadOnlySpan<byte> ReceiveLines(int count)
    {
        var received = 0;
        for (var lines = 0; lines < count;)
        {
            var more = Receive(received);
            lines += _answer.AsSpan(received, more).Count((byte)'\n');
            received += more;
        }

        return _answer.AsSpan(0, received);
    }

    public void Dispose() => _socket.Dispose();

    private int Receive(int from)
    {
        if (from == _answer.Length)
            Array.Resize(ref _answer, _answer.Length * 2);
        try
        {
            var count = _socket.Receive(_answer.AsSpan(from));
            return count > 0 ? count : throw new BenchmarkException("the server closed a connection.");
        }
        catch (SocketException failure)
        {
            throw new BenchmarkException($"no answer came: {failure.Message}");
        }
    }
}
