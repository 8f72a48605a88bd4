using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// Sends a socket's frames: directly to the kernel, or through a pipe if there is a layer in between (TLS, HTTP/2, a request's upgrade).
/// </summary>
/// <remarks>Threading: only the hub's loop calls <see cref="Send"/>; before the hub opens the socket, the handshake does.</remarks>
internal abstract class SocketOutput
{
    /// <summary>The connection that is notified when there is room again.</summary>
    public PresenceSocket? Owner { get; set; }

    /// <summary>
    /// Returns an output to the kernel's socket if no layer is in between (<paramref name="isFirst"/>), else one to the transport's pipe.
    /// Nothing may have been sent yet.
    /// </summary>
    public static SocketOutput Of(ConnectionContext connection, bool isFirst) =>
        isFirst && connection.Features.Get<IConnectionSocketFeature>() is { } kernel
            ? new KernelOutput(kernel.Socket)
            : new PipeOutput(connection.Transport.Output);

    /// <summary>
    /// Sends whole frames, or buffers what does not fit. False: either there is no room for more until <see cref="Owner"/> is notified, or
    /// the connection is lost, and its read loop ends.
    /// </summary>
    public abstract bool Send(ReadOnlySpan<byte> frames);
}

/// <summary>Buffers frames that come while earlier ones wait for room, and sends them afterwards, in order.</summary>
/// <remarks>
/// Meanwhile the hub sends only urgent frames (stale, close), so the buffer stays small. A socket or a pipe allows one write at a time. A
/// second write would repeat or lose frames.
/// </remarks>
internal abstract class BufferedOutput : SocketOutput
{
    // frames behind those that wait for room; null while there is room. Guarded by the lock, which no thread takes while there is room.
    private byte[]? _behind;

    public override bool Send(ReadOnlySpan<byte> frames)
    {
        if (Volatile.Read(ref _behind) is not null && TryAppend(frames))
            return false;
        var sending = WriteAsync(frames);
        if (sending.IsCompletedSuccessfully)
            return sending.Result;
        Volatile.Write(ref _behind, []);
        _ = FinishAsync(sending);
        return false;
    }

    /// <summary>Writes bytes; completes when there is room for more. False: the connection is lost.</summary>
    protected abstract ValueTask<bool> WriteAsync(ReadOnlySpan<byte> bytes);

    private bool TryAppend(ReadOnlySpan<byte> frames)
    {
        lock (this)
        {
            if (_behind is null)
                return false;
            _behind = [.. _behind, .. frames];
            return true;
        }
    }

    private async Task FinishAsync(ValueTask<bool> sending)
    {
        try
        {
            while (await sending)
            {
                byte[] next;
                lock (this)
                {
                    next = _behind!;
                    _behind = next.Length == 0 ? null : [];
                }

                if (next.Length == 0)
                {
                    Owner?.Resume();
                    return;
                }

                sending = WriteAsync(next);
            }
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or InvalidOperationException)
        {
            // the read loop ends for the same reason; the buffer stays, so that nothing else is sent
        }
    }
}

/// <summary>Sends through a pipe.</summary>
internal sealed class PipeOutput(PipeWriter pipe) : BufferedOutput
{
    protected override ValueTask<bool> WriteAsync(ReadOnlySpan<byte> bytes)
    {
        pipe.Write(bytes);
        var flush = pipe.FlushAsync();
        return flush.IsCompletedSuccessfully ? new(!flush.Result.IsCompleted) : FlushAsync(flush);
    }

    private static async ValueTask<bool> FlushAsync(ValueTask<FlushResult> flush) => !(await flush).IsCompleted;
}

/// <summary>Sends directly to the kernel, with one call for each frame. Two threads and a pipe cost three times as much CPU.</summary>
/// <remarks>Nothing is ever written to the transport's own pipe, so frames cannot get mixed up.</remarks>
internal sealed class KernelOutput : BufferedOutput
{
    private readonly Socket _socket;

    public KernelOutput(Socket socket)
    {
        _socket = socket;
        // a send without room then returns at once instead of waiting; this does not affect asynchronous operations
        _socket.Blocking = false;
    }

    protected override ValueTask<bool> WriteAsync(ReadOnlySpan<byte> bytes)
    {
        try
        {
            var sent = _socket.Send(bytes, SocketFlags.None, out var error);
            if (sent == bytes.Length)
                return new(true);
            return error is SocketError.Success or SocketError.WouldBlock ? SendAsync(bytes[sent..].ToArray()) : new(false);
        }
        catch (ObjectDisposedException)
        {
            // the connection was aborted
            return new(false);
        }
    }

    private async ValueTask<bool> SendAsync(ReadOnlyMemory<byte> rest)
    {
        while (!rest.IsEmpty)
            rest = rest[await _socket.SendAsync(rest)..];
        return true;
    }
}
