namespace Aglow.Model;

/// <summary>
/// The word: all that Aglow stores of one user on one plane, in 32 bits.
/// </summary>
/// <remarks>
/// <code>
///   31     30            29                                0
/// +------+-------------+---------------------------------+
/// | left | device left | second since 2020-01-01 UTC     |     0 = never seen
/// +------+-------------+---------------------------------+
/// </code>
/// A boolean stays true when a device crashes. A timestamp expires by itself when it is read, so there is no expiry job. 30 bits of seconds
/// last until 2054. A word never goes back in time (<see cref="Supersedes"/>).
/// <c>device left</c>: one device left while another may be alive. It shortens the lease (<see cref="Definition.DeviceLeftSeconds"/>). The
/// next heartbeat of any device writes a plain word, which restores the full lease. A plain word is never greater than a word with a bit,
/// so one compare finds a renewal.
/// </remarks>
public static class Pulse
{
    /// <summary>Second 0 of a word, in seconds since 1970-01-01 UTC: 2020-01-01.</summary>
    public const uint EpochUnixSeconds = 1_577_836_800;

    /// <summary>Never seen.</summary>
    public const uint Never = 0;

    /// <summary>Set if the user left.</summary>
    public const uint LeftBit = 1u << 31;

    /// <summary>Set if one device left and another may be alive.</summary>
    public const uint DeviceLeftBit = 1u << 30;

    /// <summary>The second, without the bits.</summary>
    public const uint SecondMask = DeviceLeftBit - 1;

    /// <summary>
    /// A store returns it instead of an old word if it did not write because it has no room for another page. Never stored.
    /// </summary>
    public const uint Refused = uint.MaxValue;

    /// <summary>The second of a word, that is of the last heartbeat, since <see cref="EpochUnixSeconds"/>.</summary>
    public static uint Second(uint word) => word & SecondMask;

    /// <summary>Whether the user left.</summary>
    public static bool Left(uint word) => (word & LeftBit) != 0;

    /// <summary>Whether one device left and no device has sent a heartbeat since.</summary>
    public static bool DeviceLeft(uint word) => (word & (LeftBit | DeviceLeftBit)) == DeviceLeftBit;

    /// <summary>Whether it is a heartbeat of <paramref name="oldest"/> or later, and not a leave, in one compare.</summary>
    public static bool IsHeartbeatSince(uint word, uint oldest) => word - oldest < DeviceLeftBit - oldest;

    /// <summary>
    /// Whether <paramref name="word"/> replaces <paramref name="old"/>: it is of the same second or a later one. In the
    /// same second the later arrival wins, so a heartbeat after a leave counts.
    /// </summary>
    public static bool Supersedes(uint word, uint old) => Second(word) >= Second(old);

    /// <summary>
    /// Moves a word of a repeated second back by as much as the clock was set back, to <paramref name="now"/> at the latest. A leave stays
    /// a leave.
    /// </summary>
    public static uint TakenBack(uint word, uint seconds, uint now) =>
        Math.Min(now, Second(word) > seconds ? Second(word) - seconds : 1) | (word & ~SecondMask);

    /// <summary>Seconds since 1970 for a word's second; null if never seen.</summary>
    public static long? ToUnix(uint second) => second == 0 ? null : (long)EpochUnixSeconds + second;

    /// <summary>A word's second for seconds since 1970, clamped to the range of a word.</summary>
    public static uint FromUnix(long unixSeconds) => (uint)Math.Clamp(unixSeconds - EpochUnixSeconds, 1, SecondMask - 1);
}
