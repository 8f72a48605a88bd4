namespace Aglow.Swarm;

/// <summary>The promises of a deployment in seconds, and the tolerances of checks from outside.</summary>
/// <param name="Lease">How long a heartbeat lasts.</param>
/// <param name="Bound">The time within which a change is shown.</param>
/// <param name="Heartbeat">The interval of heartbeats.</param>
internal sealed record Promises(double Lease = 30, double Bound = 10, double Heartbeat = 10)
{
    /// <summary>A user is away if the activity reported in this session is older; 0: not known.</summary>
    public double Away { get; init; }

    /// <summary>The server's clock at moment 0 of the run, in seconds since 1970.</summary>
    public double UnixAtZero { get; init; }

    /// <summary>
    /// How late a record may be read: the server holds a change for some 40 ms, connections wait for their turns, and buffers take time.
    /// </summary>
    public double Slack { get; init; } = 1.5;

    /// <summary>The tolerance when the clocks of two machines are compared, each cut to whole seconds.</summary>
    public double ClockSlack { get; init; } = 2;

    /// <summary>For how long after a claim's acknowledgement another node may not know the claim, if a notification is lost.</summary>
    public double ClaimSettles => Bound;

    /// <summary>How long after the end of a claim watchers receive the change.</summary>
    public double ClaimReceived { get; init; } = 2;

    /// <summary>How late a change may be recorded in the feed. A new owner of the feed records what happened in the last minute.</summary>
    public double RecordedWithin { get; init; } = 2;

    /// <summary>
    /// The promises of a deployment whose nodes and stores are killed and paused. A node that dies may lose the renewals of its last
    /// second, so the newest evidence may be a heartbeat older. While a store fails over, a node opens sockets of users whom it cannot
    /// write yet. A failover may undo the heartbeat that brought a user online, and the next one repairs that. A node that was paused
    /// receives messages late. It counts users whose leases it holds back as online, so their heartbeats wait for a batch.
    /// </summary>
    public Promises Disturbed() => this with
    {
        IsDisturbed = true,
        ClaimReceived = Bound,
        RecordedWithin = 60,
        RenewalShows = RenewalShows + Heartbeat,
        MayLose = Heartbeat + 1,
        Trailing = 8,
        ReceivedAfter = 7,
        ArrivalShows = RenewalShows + Heartbeat,
        HintsComeWithin = Bound,
    };

    /// <summary>
    /// For how long after a leave a heartbeat may count as older. Words have whole seconds: if a leave and a heartbeat of the same second
    /// come to two nodes, the leave counts.
    /// </summary>
    public double Unordered { get; init; }

    /// <summary>Whether nodes and stores are killed.</summary>
    public bool IsDisturbed { get; private init; }

    /// <summary>How much later the server may receive what a lost connection had sent.</summary>
    public double Trailing { get; private init; } = 2;

    /// <summary>A pong or a message has certainly reached the server if the connection is still open this much later.</summary>
    public double ReceivedAfter { get; private init; } = 1;

    /// <summary>For how long after its acknowledgement a heartbeat that brought a user online may have no visible effect.</summary>
    public double ArrivalShows { get; private init; }

    /// <summary>How much later a node may find a leave, if a notification is lost.</summary>
    public double HintsComeWithin { get; private init; }

    /// <summary>How much older the newest stored evidence may be than the newest acknowledged act.</summary>
    public double MayLose { get; private init; }

    /// <summary>
    /// How long after its acknowledgement a leave is surely read as offline: a node that holds another socket of the person reports that at
    /// once.
    /// </summary>
    public double LeaveSettles { get; init; } = 3;

    /// <summary>
    /// How long after a leave of one device watchers get offline, if the server does not know the other devices. A heartbeat, 2 s, the
    /// fraction of a second that a word cuts off, and a second for reading and sending.
    /// </summary>
    public double DeviceLeaveSettles => Heartbeat + 4 + HintsComeWithin;

    /// <summary>
    /// How long after the leave of one device another is surely shown, by a heartbeat from before the leave. A heartbeat and 2 s, less the
    /// fraction of a second that a word cuts off.
    /// </summary>
    public double DeviceLeaveKeeps => Heartbeat + 1;

    /// <summary>
    /// A heartbeat of a user who is online may wait for a batch, for a second if nodes share a store. Until then, last seen shows the
    /// previous one.
    /// </summary>
    public double RenewalShows { get; init; } = 3;
}
