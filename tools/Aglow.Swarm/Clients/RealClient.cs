namespace Aglow.Swarm.Clients;

/// <summary>One of the real clients, as an app uses it.</summary>
internal interface IRealClient : IAsyncDisposable
{
    /// <summary>Connects as a user, and watches others, until it leaves or is disposed.</summary>
    void Connect(Uri node, uint user, uint[] watched, ClientSession session);

    /// <summary>Leaves. False: the server did not confirm it, so the lease must expire.</summary>
    Task<bool> LeaveAsync();
}
