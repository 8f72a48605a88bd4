namespace Aglow.Model;

/// <summary>
/// The time by which a status is decided: the present second, and the second that lapses are counted against.
/// </summary>
/// <param name="Now">The present second, since <see cref="Pulse.EpochUnixSeconds"/>.</param>
/// <param name="HeldAt">
/// The second against which leases are counted: <paramref name="Now"/>, or while the stall guard is in force the second at which
/// heartbeats could last be written (<c>StallGuard</c>).
/// </param>
public readonly record struct Moment(uint Now, uint HeldAt)
{
    /// <summary>A moment with no stall guard in force.</summary>
    public static Moment At(uint now) => new(now, now);

    /// <summary>The oldest second that is within <paramref name="seconds"/> of this moment. At least 1, so that never is never within.</summary>
    public uint Oldest(uint seconds) => HeldAt > seconds ? HeldAt - seconds : 1;
}
