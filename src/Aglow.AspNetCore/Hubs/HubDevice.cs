using Aglow.AspNetCore.Sockets;
using Aglow.Watching;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.SignalR;

namespace Aglow.AspNetCore.Hubs;

/// <summary>
/// A connection to a SignalR hub as a device of its user. It counts and ends like a socket, but watches no users.
/// </summary>
/// <remarks>
/// It is a connection of the <see cref="WatchHub"/>, so that one timer serves these connections and all sockets. Each tick checks that the
/// application's sign-in behind the connection is still valid. The watch hub sends it nothing: SignalR pings its connections itself, and
/// closes them when the server stops. Threading: the watch hub's loop; <see cref="OnReceived"/> and <see cref="CloseAsync"/> from any
/// thread.
/// </remarks>
internal sealed class HubDevice(Arrival arrival, HubCallerContext context, SocketHost host)
    : WatchConnection(arrival.User), IDeviceConnection
{
    // A client with long polling sends no pings. Its polls count instead: SignalR drops the connection 15 s after the last one.
    private readonly bool _isKeptAlive = context.Features.Get<IConnectionInherentKeepAliveFeature>()?.HasInherentKeepAlive == true;
    private uint _lastEvidence;
    private volatile bool _isEnded;

    public Device Device => arrival.Client.Device;

    public bool IsLeaving { get; private set; }

    protected override TimeSpan TickInterval => SoonerOf(host.TickInterval, Left);

    private TimeSpan? Left => arrival.Client.Session?.Left();

    /// <summary>Writes a heartbeat because something arrived from the client; see <see cref="SocketHost.EvidenceAsync"/>.</summary>
    public void OnReceived(bool byPerson)
    {
        if (!_isEnded)
            _ = host.EvidenceAsync(User, Device, byPerson, ref _lastEvidence).AsTask();
    }

    public void Ignore() => _isEnded = true;

    /// <summary>Ends the device after the connection has ended.</summary>
    /// <param name="leaves">Whether the device leaves, because the client closed the connection and did not lose it.</param>
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
            EndWithSession();
        else if (_isKeptAlive)
            OnReceived(byPerson: false);
        return !_isEnded;
    }

    // Losing the connection is the only end after which clients of SignalR reconnect by themselves, with the cookie or token that they have
    // then. It is enough if the sign-in has only expired.
    private void EndWithSession()
    {
        if (arrival.Client.Session is not { IsRejected: false } || context.Features.Get<IConnectionLifetimeFeature>() is not { } connection)
        {
            End(SocketClose.TokenEnded);
            return;
        }

        _isEnded = true;
        connection.Abort();
    }

    protected override void End(int code)
    {
        // Lower codes mean that the server stops. SignalR then closes the connection itself, and the client may reconnect.
        if (code < SocketClose.TokenEnded)
            return;
        _isEnded = true;
        context.Abort();
    }

    protected override void Released()
    {
    }
}
