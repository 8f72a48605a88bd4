using System.Buffers.Binary;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;

namespace Aglow.Swarm;

/// <summary>The kind of frame that arrived.</summary>
internal enum FrameKind : byte
{
    Text,
    Ping,
    Pong,
    Close,
}

/// <summary>
/// A WebSocket that answers pings only when told, because the truth of a run depends on which pings are answered, and when.
/// </summary>
/// <remarks>
/// Rejected: the framework's ClientWebSocket. It answers pings by itself, and needs several times the memory at ten thousand sockets.
/// Frames from servers are whole and unmasked; a long frame grows the buffer. Threading: one reader; writers wait for each other.
/// </remarks>
internal sealed class SocketConnection(Socket socket, Stream stream) : IDisposable
{
    // a mask of zero is allowed between machines that trust each other
    private const uint Mask = 0;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly SemaphoreSlim _writing = new(1, 1);
    private byte[] _buffer = new byte[2048];
    private int _from;
    private int _to;

    /// <summary>Connects and upgrades as this user, with further parameters.</summary>
    public static async Task<SocketConnection> OpenAsync(Uri address, uint user, CancellationToken stop, string query = "")
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(Patience);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(address.Host, address.Port, limit.Token);
            Stream stream = new NetworkStream(socket, ownsSocket: false);
            if (address.Scheme == Uri.UriSchemeHttps)
            {
                var tls = new SslStream(stream);
                await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = address.Host }, limit.Token);
                stream = tls;
            }

            var connection = new SocketConnection(socket, stream);
            await connection.UpgradeAsync(address, $"user_id={user}{query}", limit.Token);
            return connection;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Reads the next frame; its payload is valid until the next call.</summary>
    public async ValueTask<(FrameKind Kind, ReadOnlyMemory<byte> Payload)> ReadAsync(CancellationToken stop)
    {
        await FillAsync(2, stop);
        var opcode = _buffer[_from] & 0x0F;
        var length = _buffer[_from + 1] & 0x7F;
        var head = length switch { 126 => 4, 127 => 10, _ => 2 };
        await FillAsync(head, stop);
        if (length == 126)
            length = BinaryPrimitives.ReadUInt16BigEndian(_buffer.AsSpan(_from + 2));
        else if (length == 127)
            length = checked((int)BinaryPrimitives.ReadUInt64BigEndian(_buffer.AsSpan(_from + 2)));
        await FillAsync(head + length, stop);
        var payload = _buffer.AsMemory(_from + head, length);
        _from += head + length;
        return (opcode switch { 0x8 => FrameKind.Close, 0x9 => FrameKind.Ping, 0xA => FrameKind.Pong, _ => FrameKind.Text }, payload);
    }

    /// <summary>Sends a message.</summary>
    public Task SendAsync(string json, CancellationToken stop) => WriteAsync(0x1, Encoding.UTF8.GetBytes(json), stop);

    /// <summary>Answers a ping.</summary>
    public Task PongAsync(ReadOnlyMemory<byte> payload, CancellationToken stop) => WriteAsync(0xA, payload, stop);

    /// <summary>Closes normally: sends a FIN after all data.</summary>
    public void Close()
    {
        try
        {
            socket.Shutdown(SocketShutdown.Both);
        }
        catch (SocketException)
        {
            // already closed
        }

        Dispose();
    }

    /// <summary>Closes at once.</summary>
    public void Dispose()
    {
        socket.Dispose();
        stream.Dispose();
    }

    private async Task UpgradeAsync(Uri address, string query, CancellationToken stop)
    {
        var path = address.AbsolutePath.TrimEnd('/');
        var request = $"GET {path}/ws?{query} HTTP/1.1\r\nHost: {address.Authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + $"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {Convert.ToBase64String(Guid.NewGuid().ToByteArray())}\r\n\r\n";
        await stream.WriteAsync(Encoding.ASCII.GetBytes(request), stop);
        int end;
        while ((end = _buffer.AsSpan(_from, _to - _from).IndexOf("\r\n\r\n"u8)) < 0)
            await FillAsync(_to - _from + 1, stop);
        var head = Encoding.ASCII.GetString(_buffer, _from, end);
        _from += end + 4;
        if (!head.StartsWith("HTTP/1.1 101 ", StringComparison.Ordinal))
            throw new IOException($"/ws answered {head.Split('\r')[0]}");
    }

    private async Task WriteAsync(byte opcode, ReadOnlyMemory<byte> payload, CancellationToken stop)
    {
        var frame = new byte[payload.Length + 14];
        frame[0] = (byte)(0x80 | opcode);
        var at = 2;
        if (payload.Length < 126)
        {
            frame[1] = (byte)(0x80 | payload.Length);
        }
        else
        {
            frame[1] = 0x80 | 126;
            BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(2), checked((ushort)payload.Length));
            at = 4;
        }

        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(at), Mask);
        payload.CopyTo(frame.AsMemory(at + 4));
        await _writing.WaitAsync(stop);
        try
        {
            await stream.WriteAsync(frame.AsMemory(0, at + 4 + payload.Length), stop);
        }
        finally
        {
            _writing.Release();
        }
    }

    private async ValueTask FillAsync(int bytes, CancellationToken stop)
    {
        if (_buffer.Length - _from < bytes)
        {
            var into = bytes > _buffer.Length ? new byte[Math.Max(bytes, _buffer.Length * 2)] : _buffer;
            Buffer.BlockCopy(_buffer, _from, into, 0, _to - _from);
            (_buffer, _to, _from) = (into, _to - _from, 0);
        }

        while (_to - _from < bytes)
        {
            var read = await stream.ReadAsync(_buffer.AsMemory(_to), stop);
            if (read == 0)
                throw new IOException("the server ended the connection");
            _to += read;
        }
    }
}
