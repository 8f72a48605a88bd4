using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using Aglow.AspNetCore.Http;
using Aglow.AspNetCore.Sockets;
using Aglow.Model;
using Aglow.Storage;
using Microsoft.AspNetCore.SignalR;

namespace Aglow.AspNetCore.Hubs;

/// <summary>
/// Stands between the transport of a hub's client and SignalR. All that the client sends is evidence that it is alive.
/// </summary>
/// <remarks>
/// <code>
///   WebSocket, event stream, long polling ─► transport's pipe ─► HubLink ─► SignalR: pings, calls
///                                                                  └─► heartbeat, at most once a second
/// </code>
/// SignalR tells an application of calls and not of pings, and most connections only ping (every 15 s). Rejected alternatives: a heartbeat
/// of every open connection on a timer would show a client that lost its network online for as long as SignalR waits for it, and its
/// last seen would be wrong by that; a wrapper of each hub protocol does not know the connection. A client that comes back to the same
/// connection (stateful reconnect) goes on with this reader. Threading: SignalR reads from one loop; the end may come from another.
/// </remarks>
internal sealed class HubLink(HubCallerContext context, UserId who, Client client, SocketHost host) : PipeReader, IDuplexPipe
{
    private IDuplexPipe _transport = null!;
    private HubDevice? _device;
    private int _isArriving;
    private volatile bool _isOver;

    /// <inheritdoc/>
    public PipeReader Input => this;

    /// <inheritdoc/>
    public PipeWriter Output => _transport.Output;

    /// <summary>Brings the user online, and returns the pipe that SignalR reads from now on.</summary>
    /// <exception cref="ProblemException">They may not connect.</exception>
    /// <exception cref="NotSupportedException">They have an ID that this deployment does not take.</exception>
    public async ValueTask<IDuplexPipe> BeginAsync(IDuplexPipe transport)
    {
        await ArriveAsync();
        _transport = transport;
        return this;
    }

    /// <summary>The client called a method of the hub.</summary>
    public void HearCall() => _device?.Hear(byPerson: true);

    /// <summary>The connection is over; only the first call counts.</summary>
    public ValueTask EndAsync(bool leaves)
    {
        _isOver = true;
        return Interlocked.Exchange(ref _device, null) is { } device ? device.CloseAsync(leaves) : default;
    }

    /// <inheritdoc/>
    public override bool TryRead(out ReadResult result)
    {
        if (!_transport.Input.TryRead(out result))
            return false;
        Hear(result);
        return true;
    }

    /// <inheritdoc/>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        var result = await _transport.Input.ReadAsync(cancellationToken);
        Hear(result);
        return result;
    }

    /// <inheritdoc/>
    public override void AdvanceTo(SequencePosition consumed) => _transport.Input.AdvanceTo(consumed);

    /// <inheritdoc/>
    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined) => _transport.Input.AdvanceTo(consumed, examined);

    /// <inheritdoc/>
    public override void CancelPendingRead() => _transport.Input.CancelPendingRead();

    /// <inheritdoc/>
    public override void Complete(Exception? exception = null)
    {
        _transport.Input.Complete(exception);
        // a hub that failed as the client connected tells no filter of its end
        _ = EndAsync(leaves: false).AsTask();
    }

    private void Hear(ReadResult result)
    {
        if (result.Buffer.IsEmpty || result.IsCanceled)
            return;
        if (Volatile.Read(ref _device) is { } device)
            device.Hear(byPerson: false);
        else if (!_isOver && Interlocked.Exchange(ref _isArriving, 1) == 0)
            _ = ArriveLateAsync();
    }

    // The store was away when the client connected, which is no reason to refuse the application's own connection.
    private async Task ArriveLateAsync()
    {
        try
        {
            await ArriveAsync();
        }
        catch (Exception refused) when (refused is ProblemException or NotSupportedException)
        {
            context.Abort();
        }
        finally
        {
            Volatile.Write(ref _isArriving, 0);
        }
    }

    private async ValueTask ArriveAsync()
    {
        try
        {
            var device = new HubDevice(await host.ArriveAsync(who, client), context, host);
            host.Hub.Open(device, []);
            Volatile.Write(ref _device, device);
            host.Begin(device, caller: null);
            if (_isOver)
                await EndAsync(leaves: false);
        }
        catch (StoreUnavailableException)
        {
            // tried again with what the client sends next
        }
    }
}
