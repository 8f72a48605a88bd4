namespace Aglow.Model;

/// <summary>The status that a caller receives.</summary>
public enum PresenceStatus : byte
{
    /// <summary>Not online under the requested definition.</summary>
    Offline = 0,

    /// <summary>Online.</summary>
    Online = 1,

    /// <summary>Online, but chose away or is inactive.</summary>
    Away = 2,

    /// <summary>Online, but does not want to be disturbed.</summary>
    Busy = 3,
}

/// <summary>The approximate last seen of a user who does not show the exact second.</summary>
public enum LastSeenAbout : byte
{
    /// <summary>Not given: the last seen is exact or hidden, or the user was never seen.</summary>
    Unknown = 0,

    /// <summary>Within three days.</summary>
    Recently = 1,

    /// <summary>Within seven days.</summary>
    ThisWeek = 2,

    /// <summary>Within thirty days.</summary>
    ThisMonth = 3,

    /// <summary>More than thirty days ago.</summary>
    LongAgo = 4,
}

/// <summary>
/// What a caller receives about a user: status, last seen, newest activity, and the text of the shown claim. 24 bytes.
/// </summary>
/// <param name="Status">The status under the requested definition.</param>
/// <param name="LastSeen">The second of the last heartbeat since <see cref="Pulse.EpochUnixSeconds"/>, never in the future; 0: never seen
/// or not shown.</param>
/// <param name="About">The approximate last seen if the second is not shown (0).</param>
/// <param name="Devices">Kinds of devices with a live lease.</param>
/// <param name="ActiveAt">The second of the newest reported activity in any session; 0: unknown or not shown.</param>
/// <param name="Details">Text, emoji and end of the shown claim; null if none is set, or if the user is offline.</param>
public readonly record struct Presence(
    PresenceStatus Status,
    uint LastSeen,
    LastSeenAbout About = LastSeenAbout.Unknown,
    DeviceKinds Devices = DeviceKinds.None,
    uint ActiveAt = 0,
    StatusDetails? Details = null)
{
    /// <summary>True for online, away and busy.</summary>
    public bool IsOnline => Status != PresenceStatus.Offline;

    /// <summary>
    /// Computes a presence from words, claims and a definition. Pure.
    /// </summary>
    /// <param name="words">The words.</param>
    /// <param name="claim">The combined claims of the user.</param>
    /// <param name="definition">What "online" means to the caller.</param>
    /// <param name="at">The moment.</param>
    /// <param name="awaySeconds">A user whose reported activity is older than this is away.</param>
    public static Presence Of(UserWords words, EffectiveClaim claim, Definition definition, Moment at, uint awaySeconds)
    {
        if (claim.Status == ClaimStatus.Hidden)
            return Hidden(words, claim, definition, at, awaySeconds);
        var activeAt = Math.Min(Pulse.Second(words.Activity), at.Now);
        var lastSeen = Math.Min(Pulse.Second(words.Pulse), at.Now);
        if (!definition.IsMet(words.Deciding, words.Activity, at))
            return new Presence(PresenceStatus.Offline, lastSeen, Devices: words.Devices, ActiveAt: activeAt);
        var status = claim.Status switch
        {
            ClaimStatus.Away => PresenceStatus.Away,
            ClaimStatus.Busy => PresenceStatus.Busy,
            ClaimStatus.Online => PresenceStatus.Online,
            _ when IsIdle(words.Activity, at, awaySeconds) && words.Activity >= claim.ShownSince => PresenceStatus.Away,
            _ => PresenceStatus.Online,
        };
        return new Presence(status, lastSeen, Devices: words.Devices, ActiveAt: activeAt, Details: claim.Claim?.Details);
    }

    /// <summary>Computes a presence without device kinds, under a definition that needs none.</summary>
    public static Presence Of(uint pulse, uint activity, EffectiveClaim claim, Definition definition, Moment at, uint awaySeconds) =>
        Of(new UserWords(pulse, pulse, activity, DeviceKinds.None), claim, definition, at, awaySeconds);

    /// <summary>
    /// Whether the person was active in this session, but not for this long. An activity word with <see cref="Pulse.LeftBit"/> belongs to
    /// an earlier session, so it does not make a user away who came online since.
    /// </summary>
    internal static bool IsIdle(uint activity, Moment at, uint awaySeconds) => (int)activity > 0 && activity < at.Oldest(awaySeconds);

    // A hidden user must look like one whose devices all left at the shown second, under every definition. So the same rule gets the words
    // of such a user. Activity of a hidden user is not written, so the shown activity does not change either. A disabled user is offline
    // under every definition.
    private static Presence Hidden(UserWords words, EffectiveClaim claim, Definition definition, Moment at, uint awaySeconds)
    {
        var shown = Math.Min(claim.ShownLastSeen, at.Now);
        var leave = shown == 0 ? Pulse.Never : shown | Pulse.LeftBit;
        var left = Of(new UserWords(leave, leave, words.Activity, DeviceKinds.None), EffectiveClaim.None, definition, at, awaySeconds);
        return left with { Status = claim.IsDisabled ? PresenceStatus.Offline : left.Status, ActiveAt = Math.Min(left.ActiveAt, shown) };
    }
}

/// <summary>The words of one user that decide the presence.</summary>
/// <param name="Pulse">The word of the pulse plane.</param>
/// <param name="Deciding">The word of the definition's plane.</param>
/// <param name="Activity">The word of the activity plane.</param>
/// <param name="Devices">Kinds of devices with a live lease.</param>
public readonly record struct UserWords(uint Pulse, uint Deciding, uint Activity, DeviceKinds Devices);
