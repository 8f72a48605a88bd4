using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// Where a socket's frames go: straight to the kernel, or through a pipe where something stands in between (TLS, HTTP/2, a request's upgrade).
/// </summary>
/// <remarks>Threading: <see cref="Send"/> by the hub's loop only, or before the hub knows the socket.</remarks>
internal abstract class SocketOutput
{
    /// <summary>Whom to tell when there is room again.</summary>
    public PresenceSocket? Owner { get; set; }

    /// <summary>The kernel's own socket if nothing stands between (<paramref name="isFirst"/>) and nothing was sent yet, else the transport's pipe.</summary>
    public static SocketOutput Of(ConnectionContext connection, bool isFirst) =>
        isFirst && connection.Features.Get<IConnectionSocketFeature>() is { } kernel
            ? new KernelOutput(kernel.Socket)
            : new PipeOutput(connection.Transport.Output);

    /// <summary>
    /// Sends whole frames; all are taken. False: there is no room for more until <see cref="Owner"/> is told, or the connection is lost, which its read
    /// loop hears of.
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

/// <summary>Straight to the kernel: one call a frame instead of two threads and a pipe, which cost three times as much.</summary>
/// <remarks>
/// What the kernel has no room for is kept and sent as room comes; meanwhile the hub sends nothing but what cannot wait (stale, close), which
/// is kept behind it. The transport's own pipe is never written to, so nothing can come between.
/// </remarks>
internal sealed class KernelOutput : SocketOutput
{
    private readonly Socket _socket;
    // what waits for room: of the lock's holder, which nobody needs while there is room
    private byte[]? _rest;

    public KernelOutput(Socket socket)
    {
        _socket = socket;
        // a send that finds no room says so instead of waiting; asynchronous operations are not affected
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
            // the read loop ends for the same reason; the rest stays, so that nothing is sent in its place
        }
    }
}
