using System.Runtime.InteropServices;

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

/// <summary>What a caller is told of a user: the status and the last-seen second. Eight bytes, no references.</summary>
/// <param name="Status">The status under the definition asked for.</param>
/// <param name="LastSeen">The second of the last heartbeat since <see cref="Pulse.EpochUnixSeconds"/>; 0: never seen.</param>
/// <param name="About">Where the second is not shown (0): about when.</param>
[StructLayout(LayoutKind.Auto)]
public readonly record struct Presence(PresenceStatus Status, uint LastSeen, LastSeenAbout About = LastSeenAbout.Unknown)
{
    /// <summary>Online, away and busy are; offline is not.</summary>
    public bool IsOnline => Status != PresenceStatus.Offline;

    /// <summary>
    /// The rule by which words, a manual status and a definition become what is told. Pure: same input, same answer.
    /// </summary>
    /// <param name="pulse">The word of the pulse plane.</param>
    /// <param name="activity">The word of the activity plane.</param>
    /// <param name="manual">What the person chose.</param>
    /// <param name="definition">What "online" means to who asks.</param>
    /// <param name="at">The moment.</param>
    /// <param name="awaySeconds">Reported activity older than this shows as away.</param>
    public static Presence Of(uint pulse, uint activity, ManualStatus manual, Definition definition, Moment at, uint awaySeconds)
    {
        if (manual.Kind == ManualStatusKind.Hidden)
            return Hidden(manual.ShownLastSeen, definition, at);
        var lastSeen = Pulse.Second(pulse);
        if (!definition.IsMet(pulse, activity, at))
            return new Presence(PresenceStatus.Offline, lastSeen);
        var status = manual.Kind switch
        {
            ManualStatusKind.Away => PresenceStatus.Away,
            ManualStatusKind.Busy => PresenceStatus.Busy,
            ManualStatusKind.Online => PresenceStatus.Online,
            _ when activity != Pulse.Never && Pulse.Second(activity) < at.Oldest(awaySeconds) => PresenceStatus.Away,
            _ => PresenceStatus.Online,
        };
        return new Presence(status, lastSeen);
    }

    // A hidden user reads as one who said goodbye at the shown second: under a definition that a goodbye does not end
    // (seen within 24 h), such a user would still be met, so a hidden one is too.
    private static Presence Hidden(uint shownLastSeen, Definition definition, Moment at) =>
        definition is { EndedByLeave: false, ActivitySeconds: null } && definition.IsMet(shownLastSeen, Pulse.Never, at)
            ? new Presence(PresenceStatus.Online, shownLastSeen)
            : new Presence(PresenceStatus.Offline, shownLastSeen);
}
