namespace Aglow.Swarm;

/// <summary>The kinds of acts.</summary>
internal enum ActKind : byte
{
    /// <summary>Seen before this run began; only the second of last seen is known.</summary>
    Before,

    /// <summary>A heartbeat over HTTP.</summary>
    Heartbeat,

    /// <summary>A socket was opened.</summary>
    Connect,

    /// <summary>A ping was answered.</summary>
    Pong,

    /// <summary>A message was sent, which shows that the person did something.</summary>
    Message,

    /// <summary>Activity was reported: a person without it becomes away.</summary>
    Active,

    /// <summary>A leave for all devices.</summary>
    Leave,

    /// <summary>
    /// A leave on a socket, while this person had no other open socket. The server may wait for another device before it acts on the leave.
    /// </summary>
    LeaveLast,

    /// <summary>
    /// A leave of one device while another was alive. The person stays online if the other sends its next heartbeat in time.
    /// </summary>
    LeaveOne,

    /// <summary>Deleted: the user is offline on all devices, and their earlier data is erased.</summary>
    Delete,

    /// <summary>The device lost its connection silently. This is no evidence; the history shows it.</summary>
    Drop,

    /// <summary>The device vanished permanently and silently. This is no evidence; the history shows it.</summary>
    Crash,
}

/// <summary>One act of a device, and when the server can have received it. Times are seconds since the swarm began.</summary>
/// <param name="Kind">What the device did.</param>
/// <param name="Device">The number of the person's device.</param>
/// <param name="From">When it was sent: the server cannot have received it earlier.</param>
/// <param name="To">
/// When it was acknowledged, or counts as lost: the server cannot receive it later. Infinite while this is unknown.
/// </param>
/// <param name="IsSure">Whether the server is known to have received it. If not, it is <em>maybe</em> received.</param>
internal readonly record struct Act(ActKind Kind, int Device, double From, double To, bool IsSure)
{
    /// <summary>Whether it shows that the person is online.</summary>
    public bool IsEvidence => Kind <= ActKind.Active;

    /// <summary>
    /// Whether it may show that the person is online. A leave may show it too, because another device may be connected that keeps the
    /// person online.
    /// </summary>
    public bool MayBeEvidence => IsEvidence || Kind is ActKind.LeaveOne or ActKind.LeaveLast || (EndsAll && !IsSure);

    /// <summary>Whether it takes the person offline on all devices.</summary>
    public bool EndsAll => Kind is ActKind.Leave or ActKind.LeaveLast or ActKind.Delete;

    public override string ToString()
    {
        var received = Kind is ActKind.Drop or ActKind.Crash ? ""
            : IsSure ? $", heard by {To:0.000}"
            : double.IsInfinity(To) ? ", not known to be heard" : $", maybe heard by {To:0.000}";
        return $"{From,9:0.000} s  device {Device}: {Kind.ToString().ToLowerInvariant()}{received}";
    }
}
