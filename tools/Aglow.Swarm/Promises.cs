namespace Aglow.Swarm;

/// <summary>What a deployment promises, in seconds, and how exactly it can be held to it from outside.</summary>
/// <param name="Lease">How long a heartbeat lasts.</param>
/// <param name="Bound">A change is shown within this.</param>
/// <param name="Heartbeat">How often the server asks for a heartbeat.</param>
internal sealed record Promises(double Lease = 30, double Bound = 10, double Heartbeat = 10)
{
    /// <summary>Reported activity of this session that is older shows as away; 0: nobody said.</summary>
    public double Away { get; init; }

    /// <summary>The server's clock: a step forward ends leases of before it after two heartbeats.</summary>
    public ServerClock Clock { get; init; } = 0;

    /// <summary>
    /// What a reading of ours may be late by: a frame waits up to 0.5 s for others at the server, and a moment in the sockets between.
    /// </summary>
    public double Slack { get; init; } = 1.5;

    /// <summary>Clocks of two machines, each cut to whole seconds, compared.</summary>
    public double ClockSlack { get; init; } = 2;

    /// <summary>
    /// A goodbye that was acknowledged is read as offline after this: a node that holds another socket of the person says so at once.
    /// </summary>
    public double LeaveSettles { get; init; } = 3;

    /// <summary>
    /// A goodbye of one device is told as offline after this where the server does not know of the others: a heartbeat, 2 s, the second
    /// that a word cuts off, and a second for who reads and tells it.
    /// </summary>
    public double DeviceLeaveSettles => Heartbeat + 4;

    /// <summary>
    /// A heartbeat of somebody who is online may wait for a batch, a second where nodes share a store: until then the one before is their
    /// last seen.
    /// </summary>
    public double RenewalShows { get; init; } = 3;
}
