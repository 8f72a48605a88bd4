namespace Aglow.Model;

/// <summary>
/// The time by which a status is judged: the present second, and the second by which leases are judged.
/// </summary>
/// <param name="Now">The present second, since <see cref="Pulse.EpochUnixSeconds"/>.</param>
/// <param name="HeldAt">
/// The second by which leases are judged: <paramref name="Now"/>, or, while the stall guard is in force, the last second at which
/// heartbeats could be written (<c>StallGuard</c>).
/// </param>
public readonly record struct Moment(uint Now, uint HeldAt)
{
    /// <summary>A moment with no stall guard in force.</summary>
    public static Moment At(uint now) => new(now, now);

    /// <summary>
    /// The oldest second within <paramref name="seconds"/> of this moment. At least 1, so that 0 (never) is never within.
    /// </summary>
    public uint Oldest(uint seconds) => HeldAt > seconds ? HeldAt - seconds : 1;
}
