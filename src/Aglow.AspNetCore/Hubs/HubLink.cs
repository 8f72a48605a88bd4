using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using Aglow.AspNetCore.Sockets;
using Aglow.Storage;
using Microsoft.AspNetCore.SignalR;

namespace Aglow.AspNetCore.Hubs;

/// <summary>
/// A pipe between the transport of a hub's client and SignalR. All that the client sends shows that it is alive, so it counts as a
/// heartbeat.
/// </summary>
/// <remarks>
/// <code>
///   WebSocket, event stream, long polling ─► transport's pipe ─► HubLink ─► SignalR: pings, calls
///                                                                  └─► heartbeat, at most once a second
/// </code>
/// SignalR notifies an application of calls, but not of pings, and most connections only ping (every 15 s). A client that resumes the same
/// connection (stateful reconnect) goes on with this reader.
/// Rejected alternative: a heartbeat of every open connection on a timer. A client that lost its network would stay online for as long as
/// SignalR waits for it. Its last seen would be wrong by that time. Rejected alternative: a wrapper of each hub protocol, which does
/// not know the connection.
/// Threading: SignalR reads from one loop; <see cref="EndAsync"/> may be called from another thread.
/// </remarks>
internal sealed class HubLink(HubCallerContext context, UserId who, Client client, SocketHost host) : PipeReader, IDuplexPipe
{
    private IDuplexPipe _transport = null!;
    private HubDevice? _device;
    private int _isArriving;
    private volatile bool _isOver;

    public PipeReader Input => this;

    public PipeWriter Output => _transport.Output;

    /// <summary>Brings the user online, and returns the pipe that SignalR reads from now on.</summary>
    /// <exception cref="ProblemException">The user may not connect.</exception>
    /// <exception cref="NotInThisDeploymentException">This deployment does not accept the user's ID.</exception>
    public async ValueTask<IDuplexPipe> BeginAsync(IDuplexPipe transport)
    {
        await ArriveAsync();
        _transport = transport;
        return this;
    }

    /// <summary>Notes that the client called a method of the hub, which counts as an action of the person.</summary>
    public void OnHubCall() => _device?.OnReceived(byPerson: true);

    /// <summary>Ends the device after the connection has ended. Only the first call has an effect.</summary>
    public ValueTask EndAsync(bool leaves)
    {
        _isOver = true;
        return Interlocked.Exchange(ref _device, null) is { } device ? device.CloseAsync(leaves) : default;
    }

    public override bool TryRead(out ReadResult result)
    {
        if (!_transport.Input.TryRead(out result))
            return false;
        OnRead(result);
        return true;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        var result = await _transport.Input.ReadAsync(cancellationToken);
        OnRead(result);
        return result;
    }

    public override void AdvanceTo(SequencePosition consumed) => _transport.Input.AdvanceTo(consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined) => _transport.Input.AdvanceTo(consumed, examined);

    public override void CancelPendingRead() => _transport.Input.CancelPendingRead();

    public override void Complete(Exception? exception = null)
    {
        _transport.Input.Complete(exception);
        // if another filter fails while the client connects, SignalR does not notify this one of the end
        _ = EndAsync(leaves: false).AsTask();
    }

    private void OnRead(ReadResult result)
    {
        if (result.Buffer.IsEmpty || result.IsCanceled)
            return;
        if (Volatile.Read(ref _device) is { } device)
            device.OnReceived(byPerson: false);
        else if (!_isOver && Interlocked.Exchange(ref _isArriving, 1) == 0)
            _ = ArriveLateAsync();
    }

    // Admits the user later if the store was not available when the client connected. That must not fail the application's own connection.
    private async Task ArriveLateAsync()
    {
        try
        {
            await ArriveAsync();
        }
        catch (Exception refused) when (refused is ProblemException or NotInThisDeploymentException)
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
            // the next message of the client tries again
        }
    }
}
