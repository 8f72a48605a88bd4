namespace Aglow.Model;

/// <summary>The one word a caller is told.</summary>
public enum PresenceStatus : byte
{
    /// <summary>Not online under the definition asked for.</summary>
    Offline = 0,

    /// <summary>Online.</summary>
    Online = 1,

    /// <summary>Online, but chose away, or has been idle for long.</summary>
    Away = 2,

    /// <summary>Online, and does not want to be disturbed.</summary>
    Busy = 3,
}

/// <summary>About when somebody was last seen, where they do not show it exactly.</summary>
public enum LastSeenAbout : byte
{
    /// <summary>Nothing is said: it is exact, or hidden, or they never were.</summary>
    Unknown = 0,

    /// <summary>Within three days.</summary>
    Recently = 1,

    /// <summary>Within seven days.</summary>
    ThisWeek = 2,

    /// <summary>Within thirty days.</summary>
    ThisMonth = 3,

    /// <summary>Before that.</summary>
    LongAgo = 4,
}

/// <summary>What a caller is told of a user: the status, the last-seen second, the newest activity, and what the claim that is shown says. 24 bytes.</summary>
/// <param name="Status">The status under the definition asked for.</param>
/// <param name="LastSeen">The second of the last heartbeat since <see cref="Pulse.EpochUnixSeconds"/>, never in the future; 0: never seen.</param>
/// <param name="About">Where the second is not shown (0): about when.</param>
/// <param name="Devices">Kinds of devices with a live lease.</param>
/// <param name="ActiveAt">The second of the newest reported activity, in whatever session; 0: not known, or not shown.</param>
/// <param name="Said">Text, emoji and end of the claim that is shown; null where none of them is set, or the user is offline.</param>
public readonly record struct Presence(
    PresenceStatus Status,
    uint LastSeen,
    LastSeenAbout About = LastSeenAbout.Unknown,
    DeviceKinds Devices = DeviceKinds.None,
    uint ActiveAt = 0,
    Said? Said = null)
{
    /// <summary>Online, away and busy are; offline is not.</summary>
    public bool IsOnline => Status != PresenceStatus.Offline;

    /// <summary>
    /// The rule by which words, the claims and a definition become what is told. Pure: same input, same answer.
    /// </summary>
    /// <param name="words">The words.</param>
    /// <param name="claim">What the claims of the user amount to.</param>
    /// <param name="definition">What "online" means to who asks.</param>
    /// <param name="at">The moment.</param>
    /// <param name="awaySeconds">Reported activity older than this shows as away.</param>
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
        return new Presence(status, lastSeen, Devices: words.Devices, ActiveAt: activeAt, Said: claim.Claim?.Said);
    }

    /// <summary>The same of somebody of whom no kind of device is known, under a definition that asks for none.</summary>
    public static Presence Of(uint pulse, uint activity, EffectiveClaim claim, Definition definition, Moment at, uint awaySeconds) =>
        Of(new UserWords(pulse, pulse, activity, DeviceKinds.None), claim, definition, at, awaySeconds);

    /// <summary>
    /// Whether the person did something in this session, and nothing for this long. An activity word with <see cref="Pulse.LeftBit"/> is of an earlier
    /// session: who has come online since is not away for it.
    /// </summary>
    internal static bool IsIdle(uint activity, Moment at, uint awaySeconds) => (int)activity > 0 && activity < at.Oldest(awaySeconds);

    // A hidden user reads as one who said goodbye on all devices at the shown second, whatever the definition: the same rule, with the words of such a
    // user. Activity of a hidden user is not written, so what is shown of it stands still, too. A disabled user is offline under every definition.
    private static Presence Hidden(UserWords words, EffectiveClaim claim, Definition definition, Moment at, uint awaySeconds)
    {
        var shown = Math.Min(claim.ShownLastSeen, at.Now);
        var goodbye = shown == 0 ? Pulse.Never : shown | Pulse.LeftBit;
        var left = Of(new UserWords(goodbye, goodbye, words.Activity, DeviceKinds.None), EffectiveClaim.None, definition, at, awaySeconds);
        return left with { Status = claim.IsDisabled ? PresenceStatus.Offline : left.Status, ActiveAt = Math.Min(left.ActiveAt, shown) };
    }
}

/// <summary>The words of one user that decide what is told of them.</summary>
/// <param name="Pulse">The word of the pulse plane.</param>
/// <param name="Deciding">The word of the definition's plane.</param>
/// <param name="Activity">The word of the activity plane.</param>
/// <param name="Devices">Kinds of devices with a live lease.</param>
public readonly record struct UserWords(uint Pulse, uint Deciding, uint Activity, DeviceKinds Devices);
