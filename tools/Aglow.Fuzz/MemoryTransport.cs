using System.Collections.Concurrent;
using System.IO.Pipelines;
using System.Net;
using System.Threading.Channels;
using Microsoft.AspNetCore.Connections;

namespace Aglow.Fuzz;

/// <summary>
/// A network in memory. The web server listens on it, and inputs are sent over it. Everything above the kernel's sockets is the code that
/// ships.
/// </summary>
/// <remarks>Any thread. The server's side of a connection belongs to the web server, the other side to one task.</remarks>
internal sealed class MemoryTransport : IConnectionListenerFactory, IConnectionListener
{
    private readonly Channel<ConnectionContext> _arrivals = Channel.CreateUnbounded<ConnectionContext>();
    private readonly ConcurrentDictionary<MemoryConnection, byte> _open = new();
    private long _next;

    public EndPoint EndPoint { get; private set; } = new IPEndPoint(IPAddress.Loopback, 0);

    /// <summary>Connections that the server has not released.</summary>
    public int Open => _open.Count;

    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        EndPoint = endpoint;
        return new(this);
    }

    /// <summary>Opens a connection to the server.</summary>
    public MemoryConnection Connect()
    {
        var connection = new MemoryConnection(Interlocked.Increment(ref _next), this);
        _open[connection] = 0;
        _arrivals.Writer.TryWrite(connection);
        return connection;
    }

    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default) =>
        await _arrivals.Reader.WaitToReadAsync(cancellationToken) && _arrivals.Reader.TryRead(out var connection) ? connection : null;

    public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        _arrivals.Writer.TryComplete();
        return default;
    }

    public ValueTask DisposeAsync() => default;

    internal void Ended(MemoryConnection connection) => _open.TryRemove(connection, out _);
}

/// <summary>A connection: two pipes.</summary>
internal sealed class MemoryConnection : DefaultConnectionContext
{
    // the limits of the kernel's buffers; continuations run on the pool, as in a real transport
    private static readonly PipeOptions Bounds = new(
        pauseWriterThreshold: 256 * 1024, resumeWriterThreshold: 128 * 1024, useSynchronizationContext: false);

    private readonly MemoryTransport _transport;
    private readonly Pipe _toServer = new(Bounds);
    private readonly Pipe _fromServer = new(Bounds);
    private readonly CancellationTokenSource _closed = new();

    public MemoryConnection(long number, MemoryTransport transport)
        : base($"{number}")
    {
        _transport = transport;
        Transport = new Ends(_toServer.Reader, _fromServer.Writer);
        ConnectionClosed = _closed.Token;
        LocalEndPoint = transport.EndPoint;
        RemoteEndPoint = new IPEndPoint(new IPAddress(0x0A000000 | (number & 0xFFFF)), 40_000);
    }

    /// <summary>What the client sends.</summary>
    public PipeWriter Output => _toServer.Writer;

    /// <summary>What the client receives.</summary>
    public PipeReader Input => _fromServer.Reader;

    /// <summary>Disconnects the client.</summary>
    public void Close() => _closed.Cancel();

    public override void Abort(ConnectionAbortedException abortReason)
    {
        _toServer.Writer.CancelPendingFlush();
        _toServer.Reader.CancelPendingRead();
        _fromServer.Writer.Complete();
        _closed.Cancel();
    }

    public override ValueTask DisposeAsync()
    {
        // the server has released the connection, so both of its ends are complete
        _toServer.Reader.Complete();
        _fromServer.Writer.Complete();
        _transport.Ended(this);
        return base.DisposeAsync();
    }

    private sealed record Ends(PipeReader Input, PipeWriter Output) : IDuplexPipe;
}
