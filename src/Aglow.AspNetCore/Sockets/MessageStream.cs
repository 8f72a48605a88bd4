using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Net.WebSockets;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// Presents a socket as a stream of frames if its host gives messages instead of bytes, as the test host of ASP.NET Core does.
/// </summary>
/// <remarks>
/// <code>
///   client's message ─► WebSocket.ReceiveAsync ─► frame (masked with zeros) ─► read
///   written ─► frame ─► text: WebSocket.SendAsync      ping: its pong is read next      close: WebSocket.CloseOutputAsync
/// </code>
/// Such a socket cannot send pings, so the stream answers the server's pings itself. That is correct, because both ends are in one process,
/// where no connection gets lost: a client is connected until it closes its end. Threading: one reader and one writer, as for any stream.
/// </remarks>
internal sealed class MessageStream : Stream
{
    private const int MaxHeader = 14;
    private const byte Final = 0x80;
    private const byte Masked = 0x80;

    private readonly WebSocket _socket;
    private readonly Pipe _received = new();
    private readonly Stream _reader;
    private readonly SemaphoreSlim _turn = new(1);
    private readonly CancellationTokenSource _stop = new();
    private readonly ArrayBufferWriter<byte> _written = new();
    private readonly Task _receiving;

    public MessageStream(WebSocket socket)
    {
        _socket = socket;
        _reader = _received.Reader.AsStream();
        _receiving = ReceiveAsync();
    }

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        _reader.ReadAsync(buffer, cancellationToken);

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        _written.Write(buffer.Span);
        var frames = _written.WrittenMemory;
        while (TryRead(frames.Span, out var opcode, out var header, out var payload))
        {
            await SendAsync(opcode, frames.Slice(header, payload), cancellationToken);
            frames = frames[(header + payload)..];
        }

        var rest = frames.ToArray();
        _written.ResetWrittenCount();
        _written.Write(rest);
    }

    public override async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        // ends a write into the pipe that waits for room
        await _reader.DisposeAsync();
        await _receiving;
        _socket.Dispose();
        _turn.Dispose();
        _stop.Dispose();
        await base.DisposeAsync();
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    // Reads a whole frame of the server: its opcode, and the lengths of its header and payload.
    private static bool TryRead(ReadOnlySpan<byte> frames, out SocketOpcode opcode, out int header, out int payload)
    {
        (opcode, header, payload) = (default, 2, 0);
        if (frames.Length < 2)
            return false;
        opcode = (SocketOpcode)(frames[0] & 0x0F);
        header = (frames[1] & 0x7F) switch { 126 => 4, 127 => 10, _ => 2 };
        if (frames.Length < header)
            return false;
        payload = header switch
        {
            4 => BinaryPrimitives.ReadUInt16BigEndian(frames[2..]),
            10 => checked((int)BinaryPrimitives.ReadUInt64BigEndian(frames[2..])),
            _ => frames[1],
        };
        return frames.Length - header >= payload;
    }

    private async ValueTask SendAsync(SocketOpcode opcode, ReadOnlyMemory<byte> payload, CancellationToken cancel)
    {
        switch (opcode)
        {
            case SocketOpcode.Ping:
                await ReceivedAsync(SocketOpcode.Pong, payload, isFinal: true);
                break;
            case SocketOpcode.Close when payload.Length >= 2:
                var reason = System.Text.Encoding.UTF8.GetString(payload.Span[2..]);
                await _socket.CloseOutputAsync((WebSocketCloseStatus)BinaryPrimitives.ReadUInt16BigEndian(payload.Span), reason, cancel);
                break;
            case SocketOpcode.Text:
                await _socket.SendAsync(payload, WebSocketMessageType.Text, endOfMessage: true, cancel);
                break;
        }
    }

    private async Task ReceiveAsync()
    {
        var buffer = new byte[4096];
        try
        {
            for (var isFirst = true; ;)
            {
                var received = await _socket.ReceiveAsync(buffer.AsMemory(), _stop.Token);
                if (received.MessageType == WebSocketMessageType.Close)
                {
                    var code = (int)(_socket.CloseStatus ?? WebSocketCloseStatus.NormalClosure);
                    await ReceivedAsync(SocketOpcode.Close, SocketClose.Payload(code, _socket.CloseStatusDescription ?? ""), isFinal: true);
                    break;
                }

                var opcode = !isFirst ? SocketOpcode.Continuation
                    : received.MessageType == WebSocketMessageType.Text ? SocketOpcode.Text : SocketOpcode.Binary;
                await ReceivedAsync(opcode, buffer.AsMemory(0, received.Count), received.EndOfMessage);
                isFirst = received.EndOfMessage;
            }
        }
        catch (Exception e) when (e is IOException or WebSocketException or OperationCanceledException or ObjectDisposedException)
        {
            // the client disconnected, or the server disposed the stream
        }
        finally
        {
            await _received.Writer.CompleteAsync();
        }
    }

    private async ValueTask ReceivedAsync(SocketOpcode opcode, ReadOnlyMemory<byte> payload, bool isFinal)
    {
        await _turn.WaitAsync();
        try
        {
            var writer = _received.Writer;
            writer.Advance(WriteHeader(writer.GetSpan(MaxHeader), opcode, payload.Length, isFinal));
            writer.Write(payload.Span);
            await writer.FlushAsync();
        }
        catch (InvalidOperationException)
        {
            // the pipe is completed: nothing reads it any more
        }
        finally
        {
            _turn.Release();
        }
    }

    private static int WriteHeader(Span<byte> header, SocketOpcode opcode, int payload, bool isFinal)
    {
        header[..MaxHeader].Clear();
        header[0] = (byte)((isFinal ? Final : 0) | (int)opcode);
        if (payload < 126)
        {
            header[1] = (byte)(Masked | payload);
            return 6;
        }

        header[1] = Masked | 126;
        BinaryPrimitives.WriteUInt16BigEndian(header[2..], (ushort)payload);
        return 8;
    }
}
