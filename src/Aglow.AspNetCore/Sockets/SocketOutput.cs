using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// Sends a socket's frames: straight to the kernel, or through a pipe if something stands in between (TLS, HTTP/2, a request's upgrade).
/// </summary>
/// <remarks>Threading: only the hub's loop calls <see cref="Send"/>, or the handshake before the hub knows the socket.</remarks>
internal abstract class SocketOutput
{
    /// <summary>The connection that is told when there is room again.</summary>
    public PresenceSocket? Owner { get; set; }

    /// <summary>
    /// The kernel's own socket if nothing stands between (<paramref name="isFirst"/>) and nothing was sent yet, else the transport's pipe.
    /// </summary>
    public static SocketOutput Of(ConnectionContext connection, bool isFirst) =>
        isFirst && connection.Features.Get<IConnectionSocketFeature>() is { } kernel
            ? new KernelOutput(kernel.Socket)
            : new PipeOutput(connection.Transport.Output);

    /// <summary>
    /// Sends whole frames; it takes all of them. False: there is no room for more until <see cref="Owner"/> is told, or the connection is
    /// lost and its read loop notices.
    /// </summary>
    public abstract bool Send(ReadOnlySpan<byte> frames);
}

/// <summary>Through a pipe.</summary>
internal sealed class PipeOutput(PipeWriter pipe) : SocketOutput
{
    public override bool Send(ReadOnlySpan<byte> frames)
    {
        pipe.Write(frames);
        return pipe.Push(this, static output => output.Owner?.Resume());
    }
}

/// <summary>Straight to the kernel: one call for each frame. Two threads and a pipe cost three times as much.</summary>
/// <remarks>
/// It keeps what the kernel has no room for and sends it later. Meanwhile the hub sends only what cannot wait (stale, close), which is kept
/// behind it. Nothing is ever written to the transport's own pipe, so nothing can come between.
/// </remarks>
internal sealed class KernelOutput : SocketOutput
{
    private readonly Socket _socket;
    // bytes that wait for room, guarded by the lock; nobody takes the lock while there is room
    private byte[]? _rest;

    public KernelOutput(Socket socket)
    {
        _socket = socket;
        // a send without room returns at once instead of waiting; asynchronous operations do not change
        _socket.Blocking = false;
    }

    public override bool Send(ReadOnlySpan<byte> frames)
    {
        if (Volatile.Read(ref _rest) is not null && KeepBehind(frames))
            return false;
        try
        {
            var sent = _socket.Send(frames, SocketFlags.None, out var error);
            if (sent == frames.Length)
                return true;
            if (error is not (SocketError.Success or SocketError.WouldBlock))
                return false;
            Volatile.Write(ref _rest, frames[sent..].ToArray());
            _ = SendRestAsync();
        }
        catch (ObjectDisposedException)
        {
            // the connection was aborted
        }

        return false;
    }

    private bool KeepBehind(ReadOnlySpan<byte> frames)
    {
        lock (this)
        {
            if (_rest is null)
                return false;
            _rest = [.. _rest, .. frames];
            return true;
        }
    }

    private async Task SendRestAsync()
    {
        try
        {
            var rest = _rest!;
            for (var sent = 0; ;)
            {
                sent += await _socket.SendAsync(rest.AsMemory(sent));
                lock (this)
                {
                    if (sent == _rest!.Length)
                    {
                        _rest = null;
                        break;
                    }

                    rest = _rest;
                }
            }

            Owner?.Resume();
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // the read loop ends for the same reason; the rest stays, so that nothing else is sent
        }
    }
}
