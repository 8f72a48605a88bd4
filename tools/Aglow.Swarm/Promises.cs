namespace Aglow.Swarm;

/// <summary>The promises of a deployment in seconds, and the tolerances of checks from outside.</summary>
/// <param name="Lease">How long a heartbeat lasts.</param>
/// <param name="Bound">The time within which a change is shown.</param>
/// <param name="Heartbeat">The interval of heartbeats.</param>
internal sealed record Promises(double Lease = 30, double Bound = 10, double Heartbeat = 10)
{
    /// <summary>A user is away if the activity reported in this session is older; 0: not known.</summary>
    public double Away { get; init; }

    /// <summary>The server's clock. A step forward ends earlier leases after two heartbeats.</summary>
    public ServerClock Clock { get; init; } = 0;

    /// <summary>
    /// How late a record may be read: a frame waits up to 0.5 s for others at the server, and a moment in the network buffers.
    /// </summary>
    public double Slack { get; init; } = 1.5;

    /// <summary>The tolerance when the clocks of two machines are compared, each cut to whole seconds.</summary>
    public double ClockSlack { get; init; } = 2;

    /// <summary>
    /// How long after its acknowledgement a leave is read as offline: a node that holds another socket of the person reports that at once.
    /// </summary>
    public double LeaveSettles { get; init; } = 3;

    /// <summary>
    /// How long after a leave of one device watchers get offline, if the server does not know the other devices. A heartbeat, 2 s, the
    /// fraction of a second that a word cuts off, and a second for reading and sending.
    /// </summary>
    public double DeviceLeaveSettles => Heartbeat + 4;

    /// <summary>
    /// A heartbeat of a user who is online may wait for a batch, for a second if nodes share a store. Until then the previous one is last
    /// seen.
    /// </summary>
    public double RenewalShows { get; init; } = 3;
}
