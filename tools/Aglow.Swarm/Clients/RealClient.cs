namespace Aglow.Swarm.Clients;

/// <summary>One of the real clients, as an app uses it.</summary>
internal interface IRealClient : IAsyncDisposable
{
    /// <summary>Connects as a user, and watches others, until it leaves or is disposed.</summary>
    void Connect(Uri node, uint user, uint[] watched, IClientListener listener);

    /// <summary>Leaves. False: the server did not confirm it, so the lease must expire.</summary>
    Task<bool> LeaveAsync();
}

/// <summary>What an app hears of its client. Called from any thread.</summary>
internal interface IClientListener
{
    /// <summary>The connection is open, or is not.</summary>
    void Changed(bool isOpen);

    /// <summary>A watched user; null: the client says that nothing is known of them now.</summary>
    void Hear(uint user, Told? told);
}
