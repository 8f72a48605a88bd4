using Aglow.AspNetCore.Sockets;
using Aglow.Model;
using Aglow.Watching;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.SignalR;

namespace Aglow.AspNetCore.Hubs;

/// <summary>
/// A connection to a SignalR hub as a device of its user: it counts and ends as a socket does, and watches nobody.
/// </summary>
/// <remarks>
/// It is a connection of the <see cref="WatchHub"/>, so one timer serves all of them and all sockets. At each tick the application's
/// sign-in behind the connection must still be valid. The hub sends it nothing: SignalR pings its connections itself, and closes them
/// when the server stops. Threading: the hub's loop; <see cref="Hear"/> and <see cref="CloseAsync"/> from any thread.
/// </remarks>
internal sealed class HubDevice(Arrival arrival, HubCallerContext context, SocketHost host)
    : WatchConnection(arrival.User), IDeviceConnection
{
    // A client that polls sends no pings. Its polls are the evidence: SignalR drops the connection 15 s after the last one.
    private readonly bool _isKeptAlive = context.Features.Get<IConnectionInherentKeepAliveFeature>()?.HasInherentKeepAlive == true;
    private uint _lastEvidence;
    private volatile bool _isEnded;

    /// <inheritdoc/>
    public Device Device => arrival.Client.Device;

    /// <inheritdoc/>
    public bool IsLeaving { get; private set; }

    protected override TimeSpan TickInterval => SoonerOf(host.TickInterval, Left);

    private TimeSpan? Left => arrival.Client.Left?.Invoke();

    /// <summary>Something came from the client.</summary>
    public void Hear(bool byPerson) => _ = host.EvidenceAsync(User, Device, byPerson, ref _lastEvidence).AsTask();

    /// <summary>The connection is over.</summary>
    /// <param name="leaves">Whether the client closed it, and was not cut off: then its device leaves.</param>
    public async ValueTask CloseAsync(bool leaves)
    {
        IsLeaving = true;
        try
        {
            if (leaves && !_isEnded)
                await host.LeaveAsync(User, Device, mayReturn: true);
            else
                host.Sockets.Exit(User);
        }
        finally
        {
            host.Sockets.Remove(this);
            host.Hub.Close(this);
        }
    }

    protected override bool Send(ReadOnlySpan<byte> json) => !_isEnded;

    protected override bool Answer(ReadOnlySpan<byte> pingPayload) => !_isEnded;

    protected override bool Tick()
    {
        if (Left == TimeSpan.Zero)
            End(SocketClose.TokenEnded);
        else if (_isKeptAlive)
            Hear(byPerson: false);
        return !_isEnded;
    }

    protected override void End(int code)
    {
        // The server stops: SignalR closes the connection, and lets the client reconnect.
        if (code < SocketClose.TokenEnded || _isEnded)
            return;
        _isEnded = true;
        context.Abort();
    }

    protected override void Released()
    {
    }
}
