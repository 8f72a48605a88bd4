namespace Aglow.Model;

/// <summary>The status that a claim sets.</summary>
public enum ClaimStatus : byte
{
    /// <summary>Heartbeats and activity decide.</summary>
    Auto = 0,

    /// <summary>Like auto, but inactivity does not show the user as away.</summary>
    Online = 1,

    /// <summary>Away while connected.</summary>
    Away = 2,

    /// <summary>Busy while connected.</summary>
    Busy = 3,

    /// <summary>Shown offline, whatever the devices send.</summary>
    Hidden = 4,
}

/// <summary>
/// A status that one source set for a user. The source <see cref="UserSource"/> is the person's own choice; a calendar or a phone system is
/// another source.
/// </summary>
/// <remarks>
/// Claims are rare. The user directory stores them, and every node holds all of them in memory. A user has at most one claim per source,
/// and at most <see cref="MaxSources"/> besides the <see cref="Hours"/>. <see cref="EffectiveClaim.Of"/> decides which claim is shown.
/// </remarks>
/// <param name="Source">The source that set it, 1 to <see cref="MaxSourceBytes"/> bytes.</param>
/// <param name="Status">The status that it sets.</param>
/// <param name="Details">Text, emoji and end; null if none is set.</param>
/// <param name="Priority">The claim with the highest priority is shown.</param>
/// <param name="SetAt">When it was set, in milliseconds since 1970-01-01 UTC, later than all earlier claims of the user. Of equal
/// priorities the newest is shown.</param>
/// <param name="ShownLastSeen">
/// For <see cref="ClaimStatus.Hidden"/>: the last-seen second to show, so that a hidden user looks like one who went offline then. It is
/// the moment of hiding if the user was online, else the last heartbeat. 0: never seen.
/// </param>
public sealed record Claim(
    string Source, ClaimStatus Status, StatusDetails? Details = null, int Priority = 0, long SetAt = 0, uint ShownLastSeen = 0)
{
    /// <summary>The source of a person's own choice.</summary>
    public const string UserSource = "user";

    /// <summary>The server's own source: <see cref="Hours"/>.</summary>
    public const string QuietHoursSource = "quiet_hours";

    /// <summary>
    /// How many claims a user may have at a time, besides the quiet hours. The person's own choice is never one too many.
    /// </summary>
    public const int MaxSources = 8;

    /// <summary>The longest name of a source.</summary>
    public const int MaxSourceBytes = 64;

    /// <summary>The schedule of a recurring claim; null if the claim stands until its end.</summary>
    public QuietHours? Hours { get; init; }

    /// <summary>The second at which the claim ends; 0: never.</summary>
    public uint Until => Details?.Until ?? 0;

    /// <summary>The text that a directory saves. A schedule has no text; the directory saves its written form instead.</summary>
    public string? SavedText => Hours?.ToString() ?? Details?.Text;

    /// <summary>Loads a claim that a directory saved; null for a schedule in a time zone that this machine does not know.</summary>
    public static Claim? Load(
        string source, ClaimStatus status, string? text, string? emoji, uint until, int priority, long setAt, uint shownLastSeen)
    {
        if (source == QuietHoursSource)
            return text is not null && QuietHours.TryParse(text) is { } hours ? Quiet(hours) : null;
        return new Claim(source, status, StatusDetails.Of(text, emoji, until), priority, setAt, shownLastSeen);
    }

    /// <summary>The claim of a schedule.</summary>
    public static Claim Quiet(QuietHours hours) => new(QuietHoursSource, ClaimStatus.Busy) { Hours = hours };

    /// <summary>The claim at a second; null if it has ended or its schedule is not active.</summary>
    public Claim? At(uint now)
    {
        if (Hours is not null)
            return Hours.At(now).Claim;
        return Until == 0 || now < Until ? this : null;
    }

    /// <summary>The next second after this one at which the result of <see cref="At"/> changes by itself; 0: never.</summary>
    public uint ChangesAfter(uint now)
    {
        if (Hours is not null)
            return Hours.At(now).To;
        return Until > now ? Until : 0;
    }

    /// <summary>The status name in the API: auto, online, away, busy, offline (for hidden).</summary>
    public static string NameOf(ClaimStatus status) => status switch
    {
        ClaimStatus.Online => "online",
        ClaimStatus.Away => "away",
        ClaimStatus.Busy => "busy",
        ClaimStatus.Hidden => "offline",
        _ => "auto",
    };

    /// <summary>Reads a status name of the API; false if it is none of the five.</summary>
    public static bool TryParse(ReadOnlySpan<byte> utf8, out ClaimStatus status)
    {
        (var known, status) = utf8 switch
        {
            _ when utf8.SequenceEqual("auto"u8) => (true, ClaimStatus.Auto),
            _ when utf8.SequenceEqual("online"u8) => (true, ClaimStatus.Online),
            _ when utf8.SequenceEqual("away"u8) => (true, ClaimStatus.Away),
            _ when utf8.SequenceEqual("busy"u8) => (true, ClaimStatus.Busy),
            _ when utf8.SequenceEqual("offline"u8) => (true, ClaimStatus.Hidden),
            _ => (false, ClaimStatus.Auto),
        };
        return known;
    }
}
