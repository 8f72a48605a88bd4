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
/// <param name="ActiveAt">The second of the newest reported activity, in whatever session; 0: not known, or not shown.</param>
/// <param name="Said">Text, emoji and end of the claim that is shown; null where none of them is set, or the user is offline.</param>
public readonly record struct Presence(
    PresenceStatus Status, uint LastSeen, LastSeenAbout About = LastSeenAbout.Unknown, uint ActiveAt = 0, Said? Said = null)
{
    /// <summary>Online, away and busy are; offline is not.</summary>
    public bool IsOnline => Status != PresenceStatus.Offline;

    /// <summary>
    /// The rule by which words, the claims and a definition become what is told. Pure: same input, same answer.
    /// </summary>
    /// <param name="pulse">The word of the pulse plane.</param>
    /// <param name="activity">The word of the activity plane.</param>
    /// <param name="claim">What the claims of the user amount to.</param>
    /// <param name="definition">What "online" means to who asks.</param>
    /// <param name="at">The moment.</param>
    /// <param name="awaySeconds">Reported activity older than this shows as away.</param>
    public static Presence Of(uint pulse, uint activity, EffectiveClaim claim, Definition definition, Moment at, uint awaySeconds)
    {
        var activeAt = Math.Min(Pulse.Second(activity), at.Now);
        if (claim.Status == ClaimStatus.Hidden)
            return Hidden(Math.Min(claim.ShownLastSeen, at.Now), activeAt, definition, at, claim.IsDisabled);
        var lastSeen = Math.Min(Pulse.Second(pulse), at.Now);
        if (!definition.IsMet(pulse, activity, at))
            return new Presence(PresenceStatus.Offline, lastSeen, ActiveAt: activeAt);
        var status = claim.Status switch
        {
            ClaimStatus.Away => PresenceStatus.Away,
            ClaimStatus.Busy => PresenceStatus.Busy,
            ClaimStatus.Online => PresenceStatus.Online,
            _ when IsIdle(activity, at, awaySeconds) && activity >= claim.ShownSince => PresenceStatus.Away,
            _ => PresenceStatus.Online,
        };
        return new Presence(status, lastSeen, ActiveAt: activeAt, Said: claim.Claim?.Said);
    }

    /// <summary>
    /// Whether the person did something in this session, and nothing for this long. An activity word with <see cref="Pulse.LeftBit"/> is of an earlier
    /// session: who has come online since is not away for it.
    /// </summary>
    internal static bool IsIdle(uint activity, Moment at, uint awaySeconds) => (int)activity > 0 && activity < at.Oldest(awaySeconds);

    // A hidden user reads as one who said goodbye at the shown second: under a definition that a goodbye does not end
    // (seen within 24 h), such a user would still be met, so a hidden one is too.
    // A disabled user is offline under every definition.
    // Activity of a hidden user is not written, so what is shown of it stands still, too.
    private static Presence Hidden(uint shownLastSeen, uint activeAt, Definition definition, Moment at, bool isDisabled)
    {
        var isOnline = !isDisabled && definition is { EndedByLeave: false, ActivitySeconds: null } && definition.IsMet(shownLastSeen, Pulse.Never, at);
        return new Presence(isOnline ? PresenceStatus.Online : PresenceStatus.Offline, shownLastSeen, ActiveAt: Math.Min(activeAt, shownLastSeen));
    }
}
