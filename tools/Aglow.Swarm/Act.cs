namespace Aglow.Swarm;

/// <summary>What a device did.</summary>
internal enum ActKind : byte
{
    /// <summary>Seen before this run began; only the second is known.</summary>
    Before,

    /// <summary>A heartbeat over HTTP.</summary>
    Heartbeat,

    /// <summary>A socket was opened.</summary>
    Connect,

    /// <summary>A ping was answered.</summary>
    Pong,

    /// <summary>A message was sent: the person did something.</summary>
    Message,

    /// <summary>Reported that the person did something: what "away" is counted from.</summary>
    Active,

    /// <summary>Said goodbye on all devices.</summary>
    Leave,

    /// <summary>
    /// Said goodbye on a socket, while no other of this person could be open. The server may wait for another device before it believes it.
    /// </summary>
    LeaveLast,

    /// <summary>Said goodbye on one socket while another was open: nothing is to change, at most for a moment.</summary>
    LeaveOne,

    /// <summary>Deleted: offline on all devices, and nothing from before is known any more.</summary>
    Delete,

    /// <summary>Out of reach, without a word. No evidence; for the history.</summary>
    Drop,

    /// <summary>Vanished for good, without a word. No evidence; for the history.</summary>
    Crash,
}

/// <summary>
/// One thing that a device did, and when the server can have heard it. Times are seconds since the swarm began.
/// </summary>
/// <param name="Kind">What.</param>
/// <param name="Device">Which of the person's devices.</param>
/// <param name="From">Sent: the server cannot have heard it before.</param>
/// <param name="To">Acknowledged, or given up: it cannot be heard after. Infinite while nobody knows.</param>
/// <param name="IsSure">Whether the server is known to have heard it; what is not sure is <em>maybe</em>.</param>
internal readonly record struct Act(ActKind Kind, int Device, double From, double To, bool IsSure)
{
    /// <summary>Whether it shows that the person is there.</summary>
    public bool IsEvidence => Kind <= ActKind.Active;

    /// <summary>
    /// Whether it may show that the person is there: a goodbye does, too, where another device may be connected that the server goes by.
    /// </summary>
    public bool MayBeEvidence => IsEvidence || Kind == ActKind.LeaveOne || (EndsAll && !IsSure);

    /// <summary>Whether it takes the person offline on all devices.</summary>
    public bool EndsAll => Kind is ActKind.Leave or ActKind.LeaveLast or ActKind.Delete;

    public override string ToString()
    {
        var heard = Kind is ActKind.Drop or ActKind.Crash ? ""
            : IsSure ? $", heard by {To:0.000}"
            : double.IsInfinity(To) ? ", not known to be heard" : $", maybe heard by {To:0.000}";
        return $"{From,9:0.000} s  device {Device}: {Kind.ToString().ToLowerInvariant()}{heard}";
    }
}
