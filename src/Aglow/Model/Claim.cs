namespace Aglow.Model;

/// <summary>What a claim says of its user.</summary>
public enum ClaimStatus : byte
{
    /// <summary>Heartbeats and activity decide.</summary>
    Auto = 0,

    /// <summary>As auto, but never away for idleness.</summary>
    Online = 1,

    /// <summary>Away while connected.</summary>
    Away = 2,

    /// <summary>Busy while connected.</summary>
    Busy = 3,

    /// <summary>Appear offline, whatever the devices go on sending.</summary>
    Hidden = 4,
}

/// <summary>
/// What one source says of a user: a rare, explicit fact. The source <see cref="UserSource"/> is what the person chose; a calendar or a
/// call is a source of its own.
/// </summary>
/// <remarks>
/// The user directory has it on disk, and every node holds all of them in memory. A user has at most one claim a source, and at most
/// <see cref="MaxSources"/> besides the <see cref="Hours"/>. <see cref="EffectiveClaim.Of"/> is the rule by which several become one.
/// </remarks>
/// <param name="Source">Whose claim it is, 1 to <see cref="MaxSourceBytes"/> bytes.</param>
/// <param name="Status">What it says.</param>
/// <param name="Said">Text, emoji and end; null where none of them is set.</param>
/// <param name="Priority">The highest is shown.</param>
/// <param name="SetAt">Among equal priorities the newest is shown: milliseconds since 1970-01-01 UTC, later than all claims of the user
/// before it.</param>
/// <param name="ShownLastSeen">
/// For <see cref="ClaimStatus.Hidden"/>: the last-seen second to show, so that a hidden user reads exactly as one who went
/// offline then: the pulse's where the user was offline already, the moment of hiding where online. 0: never seen.
/// </param>
public sealed record Claim(string Source, ClaimStatus Status, Said? Said = null, int Priority = 0, long SetAt = 0, uint ShownLastSeen = 0)
{
    /// <summary>The source of what the person chose.</summary>
    public const string UserSource = "user";

    /// <summary>The server's own source: <see cref="Hours"/>.</summary>
    public const string QuietHoursSource = "quiet_hours";

    /// <summary>Claims a user may have at a time. The quiet hours are not counted.</summary>
    public const int MaxSources = 8;

    /// <summary>The longest name of a source.</summary>
    public const int MaxSourceBytes = 64;

    /// <summary>The schedule by which the claim comes and goes; null where it stands until its end.</summary>
    public QuietHours? Hours { get; init; }

    /// <summary>The second at which it ends; 0: never.</summary>
    public uint Until => Said?.Until ?? 0;

    /// <summary>The text as a directory saves it: the schedule has no text of its own.</summary>
    public string? SavedText => Hours?.ToString() ?? Said?.Text;

    /// <summary>A claim as a directory saved it; null where it is a schedule in a time zone that this machine does not know.</summary>
    public static Claim? Load(
        string source, ClaimStatus status, string? text, string? emoji, uint until, int priority, long setAt, uint shownLastSeen)
    {
        if (source == QuietHoursSource)
            return text is not null && QuietHours.TryParse(text) is { } hours ? Quiet(hours) : null;
        return new Claim(source, status, Said.Of(text, emoji, until), priority, setAt, shownLastSeen);
    }

    /// <summary>The claim of a schedule.</summary>
    public static Claim Quiet(QuietHours hours) => new(QuietHoursSource, ClaimStatus.Busy) { Hours = hours };

    /// <summary>The claim as it stands at a second; null where it is not there: it has ended, or the schedule says so.</summary>
    public Claim? At(uint now)
    {
        if (Hours is not null)
            return Hours.At(now).Claim;
        return Until == 0 || now < Until ? this : null;
    }

    /// <summary>The next second after this one at which <see cref="At"/> changes by itself; 0: never.</summary>
    public uint ChangesAfter(uint now)
    {
        if (Hours is not null)
            return Hours.At(now).To;
        return Until > now ? Until : 0;
    }

    /// <summary>The word of the API: auto, online, away, busy, offline (for hidden).</summary>
    public static string NameOf(ClaimStatus status) => status switch
    {
        ClaimStatus.Online => "online",
        ClaimStatus.Away => "away",
        ClaimStatus.Busy => "busy",
        ClaimStatus.Hidden => "offline",
        _ => "auto",
    };

    /// <summary>Reads the word of the API; false where it is none of the five.</summary>
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
