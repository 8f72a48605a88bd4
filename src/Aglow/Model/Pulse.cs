namespace Aglow.Model;

/// <summary>
/// The word: all that Aglow knows of one user on one plane, in 32 bits.
/// </summary>
/// <remarks>
/// <code>
///   31     30            29                                0
/// +------+-------------+---------------------------------+
/// | left | device left | second since 2020-01-01 UTC     |     0 = never seen;  left with second 0 = gone (deleted)
/// +------+-------------+---------------------------------+
/// </code>
/// A boolean cannot survive a crashed device; a timestamp can, and it lapses by itself when it is read, so there is no
/// expiry job. 30 bits of seconds last until 2054. A word never goes back in time (<see cref="Supersedes"/>).
/// <c>device left</c> is the leave of one device while another may be alive: it shortens the lease
/// (<see cref="Definition.DeviceLeftSeconds"/>), and the next heartbeat of any device, which writes a plain word, makes it whole again. A
/// plain word is above no word with a bit, so that one compare tells a renewal.
/// </remarks>
public static class Pulse
{
    /// <summary>Second 0 of a word, in seconds since 1970-01-01 UTC: 2020-01-01.</summary>
    public const uint EpochUnixSeconds = 1_577_836_800;

    /// <summary>Never seen.</summary>
    public const uint Never = 0;

    /// <summary>Set where the user said goodbye.</summary>
    public const uint LeftBit = 1u << 31;

    /// <summary>Set where one device said goodbye and another may be alive.</summary>
    public const uint DeviceLeftBit = 1u << 30;

    /// <summary>The second, without the bits.</summary>
    public const uint SecondMask = DeviceLeftBit - 1;

    /// <summary>A deleted user whose number is never given again: left, at second 0. Nothing supersedes it.</summary>
    public const uint Gone = LeftBit;

    /// <summary>Returned in place of an old word by a store that did not write: no room for another page. Never stored.</summary>
    public const uint Refused = uint.MaxValue;

    /// <summary>The second of a word: that of the last heartbeat, since <see cref="EpochUnixSeconds"/>.</summary>
    public static uint Second(uint word) => word & SecondMask;

    /// <summary>Whether the user said goodbye.</summary>
    public static bool Left(uint word) => (word & LeftBit) != 0;

    /// <summary>Whether one device said goodbye, and no other has been heard since.</summary>
    public static bool DeviceLeft(uint word) => (word & (LeftBit | DeviceLeftBit)) == DeviceLeftBit;

    /// <summary>Whether it is a heartbeat of <paramref name="oldest"/> or later, and no goodbye, in one compare.</summary>
    public static bool IsHeartbeatSince(uint word, uint oldest) => word - oldest < DeviceLeftBit - oldest;

    /// <summary>
    /// Whether <paramref name="word"/> replaces <paramref name="old"/>: it is of the same second or a later one. In the
    /// same second the later arrival wins, so a heartbeat after a goodbye counts. A deleted user stays deleted.
    /// </summary>
    public static bool Supersedes(uint word, uint old) => Second(word) >= Second(old) && old != Gone;

    /// <summary>
    /// A word of a second that was taken back, as it is after the clock went back by this much: no later than <paramref name="now"/>, and a
    /// goodbye as before.
    /// </summary>
    public static uint TakenBack(uint word, uint seconds, uint now) =>
        Math.Min(now, Second(word) > seconds ? Second(word) - seconds : 1) | (word & ~SecondMask);

    /// <summary>Seconds since 1970 for a word's second; null for never.</summary>
    public static long? ToUnix(uint second) => second == 0 ? null : (long)EpochUnixSeconds + second;

    /// <summary>The second of a time in seconds since 1970, held within what a word can say.</summary>
    public static uint FromUnix(long unixSeconds) => (uint)Math.Clamp(unixSeconds - EpochUnixSeconds, 1, SecondMask - 1);
}
