using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Aglow.AspNetCore.Hosting;

/// <summary>
/// Listens for the web server, and gives it connections whose first request's head is whole (<see cref="HeldSockets"/>), or which speak something else, as TLS: all else costs it nothing.
/// </summary>
/// <remarks>For addresses; what else can be listened on, such as a socket in the file system, is the web server's own transport's.</remarks>
internal sealed class HeadListenerFactory(IOptions<SocketTransportOptions> options, ILoggerFactory logs, TimeProvider time, ConnectionLimit limit)
    : IConnectionListenerFactory, IConnectionListenerFactorySelector
{
    public bool CanBind(EndPoint endpoint) => endpoint is IPEndPoint;

    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        Socket? listen = null;
        try
        {
            listen = options.Value.CreateBoundListenSocket(endpoint);
            listen.Listen(options.Value.Backlog);
            return new(new HeadListener(listen, options.Value, logs, time, limit));
        }
        catch (SocketException failure)
        {
            listen?.Dispose();
            // what the web server explains to whoever started it
            throw failure.SocketErrorCode == SocketError.AddressAlreadyInUse ? new AddressInUseException(failure.Message, failure) : failure;
        }
    }
}

/// <summary>One address that is listened on.</summary>
internal sealed class HeadListener : IConnectionListener
{
    // until there may be a descriptor, or memory, again
    private static readonly TimeSpan WaitAfterShortage = TimeSpan.FromMilliseconds(100);

    private readonly Socket _listen;
    private readonly bool _noDelay;
    private readonly TimeProvider _time;
    private readonly SocketConnectionContextFactory _connections;
    private readonly HeldSockets _held;
    private readonly Channel<Socket> _whole = Channel.CreateUnbounded<Socket>();
    private readonly Task _accepting;

    public HeadListener(Socket listen, SocketTransportOptions options, ILoggerFactory logs, TimeProvider time, ConnectionLimit limit)
    {
        _listen = listen;
        _noDelay = options.NoDelay;
        _time = time;
        EndPoint = listen.LocalEndPoint!;
        _connections = new SocketConnectionContextFactory(
            new SocketConnectionFactoryOptions
            {
                IOQueueCount = options.IOQueueCount,
                MaxReadBufferSize = options.MaxReadBufferSize,
                MaxWriteBufferSize = options.MaxWriteBufferSize,
                UnsafePreferInlineScheduling = options.UnsafePreferInlineScheduling,
                WaitForDataBeforeAllocatingBuffer = options.WaitForDataBeforeAllocatingBuffer,
            },
            logs.CreateLogger("Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets"));
        _held = new HeldSockets(time, limit, socket =>
        {
            if (!_whole.Writer.TryWrite(socket))
                socket.Dispose();
        });
        _accepting = Task.Run(AcceptAllAsync);
    }

    public EndPoint EndPoint { get; }

    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
    {
        while (await _whole.Reader.WaitToReadAsync(cancellationToken))
        {
            if (_whole.Reader.TryRead(out var socket) && ConnectionOf(socket) is { } connection)
                return connection;
        }

        return null;
    }

    public async ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        _listen.Dispose();
        await _accepting;
        _held.Dispose();
        _whole.Writer.TryComplete();
    }

    public async ValueTask DisposeAsync()
    {
        await UnbindAsync();
        while (_whole.Reader.TryRead(out var socket))
            socket.Dispose();
        _connections.Dispose();
    }

    // null: it is over already. An exception would be the end of all listening
    private ConnectionContext? ConnectionOf(Socket socket)
    {
        try
        {
            return _connections.Create(socket);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            socket.Dispose();
            return null;
        }
    }

    private async Task AcceptAllAsync()
    {
        while (true)
        {
            try
            {
                Take(await _listen.AcceptAsync());
            }
            catch (Exception e) when (e is ObjectDisposedException or SocketException { SocketErrorCode: SocketError.OperationAborted })
            {
                return;
            }
            catch (SocketException failure)
            {
                // else it was reset before it was accepted
                if (failure.SocketErrorCode is SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable)
                    await Task.Delay(WaitAfterShortage, _time);
            }
        }
    }

    private void Take(Socket socket)
    {
        try
        {
            socket.NoDelay = _noDelay;
            _held.Take(socket);
        }
        catch (SocketException)
        {
            // it is over already
            socket.Dispose();
        }
    }
}
