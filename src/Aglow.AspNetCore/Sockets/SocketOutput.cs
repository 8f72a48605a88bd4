using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// Sends a socket's frames: directly to the kernel, or through a pipe if there is a layer in between (TLS, HTTP/2, a request's upgrade).
/// </summary>
/// <remarks>Threading: only the hub's loop calls <see cref="Send"/>, and the handshake before the hub opens the socket.</remarks>
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

/// <summary>Sends through a pipe.</summary>
internal sealed class PipeOutput(PipeWriter pipe) : SocketOutput
{
    public override bool Send(ReadOnlySpan<byte> frames)
    {
        pipe.Write(frames);
        return pipe.Push(this, static output => output.Owner?.Resume());
    }
}

/// <summary>Sends directly to the kernel, with one call for each frame. Two threads and a pipe cost three times as much CPU.</summary>
/// <remarks>
/// It buffers bytes for which the kernel has no room and sends them later. Meanwhile the hub sends only urgent frames (stale, close), which
/// are appended to the buffer. Nothing is ever written to the transport's own pipe, so frames cannot get mixed up.
/// </remarks>
internal sealed class KernelOutput : SocketOutput
{
    private readonly Socket _socket;
    // bytes that wait for room, guarded by the lock; while there is room, no thread takes the lock
    private byte[]? _rest;

    public KernelOutput(Socket socket)
    {
        _socket = socket;
        // a send without room then returns at once instead of waiting; this does not affect asynchronous operations
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
            // the read loop ends for the same reason; the buffer stays, so that nothing else is sent
        }
    }
}
