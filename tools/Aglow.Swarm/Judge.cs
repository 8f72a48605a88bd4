using System.Text.Json.Serialization;
using Aglow.Swarm.Claims;
using Aglow.Swarm.Devices;

namespace Aglow.Swarm;

/// <summary>The ways to break a promise.</summary>
internal enum ViolationKind
{
    /// <summary>Shown offline although the last sure evidence is within the lease.</summary>
    FalseOffline,

    /// <summary>Shown online over lease + 10 s after the last possible evidence.</summary>
    GhostOnline,

    /// <summary>Shown online, but over 10 s after the evidence.</summary>
    LateOnline,

    /// <summary>A watcher never received a change.</summary>
    Missed,

    /// <summary>A value that was never true.</summary>
    NeverTrue,

    /// <summary>A change of an account was acknowledged but not done.</summary>
    NotDone,

    /// <summary>A backend that applied all changes ends with the wrong state.</summary>
    WrongByChanges,

    /// <summary>A backend never heard of a change that lasted.</summary>
    MissedByChanges,
}

/// <summary>A presence record from the server: online or not, the status, and last seen in seconds since 1970.</summary>
[method: JsonConstructor]
internal readonly record struct ServerRecord(bool IsOnline, string Status, long? LastSeen)
{
    /// <summary>The user; 0 in a packed status.</summary>
    public uint UserId { get; init; }

    public string? Text { get; init; }

    public string? Emoji { get; init; }

    public long? Until { get; init; }

    /// <summary>The kinds of devices; null: not said.</summary>
    public string[]? Devices { get; init; }

    public long? ActiveAt { get; init; }
}

/// <summary>What is known of a person besides their acts.</summary>
/// <param name="Claims">Their claims; null: the run sets none.</param>
/// <param name="Kinds">What is true of each kind of device; empty: the run names none.</param>
internal sealed record Personal(ClaimBook? Claims, IReadOnlyList<Truth> Kinds)
{
    public static Personal Nothing { get; } = new(null, []);
}

/// <summary>When a record came. The server decided it between the two moments.</summary>
/// <param name="From">The earliest moment at which the server can have decided it.</param>
/// <param name="To">When the swarm received it.</param>
/// <param name="Held">For how many seconds the server held expired leases back at that time, after its own stall.</param>
internal readonly record struct RecordWindow(double From, double To, double Held)
{
    /// <summary>Whether last seen and activity are as of then. A change of these alone is not sent.</summary>
    public bool IsFresh { get; init; } = true;
}

/// <summary>The result of a check.</summary>
/// <param name="Kind">The broken promise; null if none is broken.</param>
/// <param name="Why">The reason, in a clause.</param>
/// <param name="WasDecisive">Whether only one answer was right. While devices come or go, both answers are right.</param>
internal readonly record struct Verdict(ViolationKind? Kind, string Why, bool WasDecisive)
{
    public static Verdict Fine(bool wasDecisive) => new(null, "", wasDecisive);

    public static Verdict Broken(ViolationKind kind, string why) => new(kind, why, true);
}

/// <summary>The rules: they compare the server's records with the truth. Pure: no clock, no network; the caller passes the time.</summary>
internal static class Judge
{
    // what a person did while they were hidden may show later than usual
    private const double HidLately = 60;

    /// <summary>Judges a record that was read, or that a watcher received.</summary>
    public static Verdict OfRecord(Truth truth, Promises promises, ServerRecord record, RecordWindow when, Personal? more = null)
    {
        var (claims, kinds) = more ?? Personal.Nothing;
        var (mayHide, mustHide) = claims?.HiddenIn(when.From, when.To) ?? (false, false);
        if (record.IsOnline != (record.Status is "online" or "away" or "busy") || (record.IsOnline && record.LastSeen is null))
            return Verdict.Broken(
                ViolationKind.NeverTrue,
                $"is_online {record.IsOnline}, status {record.Status}, last_seen {record.LastSeen} do not go together");
        if (record.IsOnline && mustHide)
            return Verdict.Broken(ViolationKind.GhostOnline, "told online, but hidden");
        if (!record.IsOnline && !mayHide && truth.SurelyOnlineSince(when.From, when.To) is { } since)
            return Verdict.Broken(ViolationKind.FalseOffline, $"told offline, but surely online since {since:0.000} s");
        if (record.IsOnline && !truth.IsPossiblyOnline(when.From, when.To, when.Held))
        {
            var until = truth.PossiblyOnlineUntil(when.Held);
            return double.IsNegativeInfinity(until)
                ? Verdict.Broken(ViolationKind.NeverTrue, "told online, but no device was ever there")
                : Verdict.Broken(ViolationKind.GhostOnline, $"told online, but possible only until {until:0.000} s");
        }

        if (record.LastSeen is { } unix && WhyNeverSeenAt(truth, promises, unix, when, claims) is { } why)
            return Verdict.Broken(ViolationKind.NeverTrue, why);
        if (claims is not null && ClaimJudge.WhyNot(claims, record, when) is { } whyNotClaimed)
            return Verdict.Broken(ViolationKind.NeverTrue, whyNotClaimed);
        if (DeviceJudge.OfKinds(kinds, record, when, mayHide) is { } ofKinds)
            return ofKinds;
        if (record.ActiveAt is { } active && when.IsFresh && !mayHide
            && truth.WhyNeverActiveAt(active - promises.UnixAtZero, when.From, when.To) is { } whyNotActive)
            return Verdict.Broken(ViolationKind.NeverTrue, whyNotActive);
        var isAuto = claims?.ShownIn(when.From, when.To).All(static claim => claim is null or { IsAuto: true }) != false;
        if (isAuto && record.Status is "away" or "online"
            && truth.WhyNot(record.Status == "away", when.From, when.To, when.Held) is { } whyNot)
            return Verdict.Broken(ViolationKind.NeverTrue, whyNot);
        // only one answer was right: the other one would have been a violation
        return Verdict.Fine(
            record.IsOnline ? !mayHide && truth.SurelyOnlineSince(when.From, when.To) is not null
                : mustHide || !truth.IsPossiblyOnline(when.From, when.To, when.Held));
    }

    // Last seen is never in the future. A user who hides looks like one who left, so then it is the second at which they hid.
    private static string? WhyNeverSeenAt(Truth truth, Promises promises, long unix, RecordWindow when, ClaimBook? claims)
    {
        var moment = unix - promises.UnixAtZero;
        if (moment > when.To + promises.ClockSlack)
            return $"last seen {moment - when.To:0} s in the future";
        if (!when.IsFresh)
            return null;
        if (claims is not null && (claims.HiddenIn(when.From - HidLately, when.To).May || claims.HidAt(moment)))
            return null;
        return truth.WhyNeverSeenAt(moment, when.From, when.To);
    }

    /// <summary>
    /// The deadline by which a watcher should have received a change from <paramref name="lastOnline"/>, if that has passed at
    /// <paramref name="now"/>. Null if it has not passed, or if the watcher's record may be right.
    /// </summary>
    public static double? OverdueSince(
        Standing truth, Promises promises, bool lastOnline, double receivedAt, double watchedSince, double now)
    {
        // the truth is as of now, and the record came later: the next check decides
        if (receivedAt >= now)
            return null;
        double changedBy;
        if (!lastOnline && truth.SurelySince is { } since)
            changedBy = since + promises.Bound;
        else if (lastOnline && !truth.IsPossible)
            changedBy = truth.PossiblyUntil; // this includes the bound
        else
            return null;
        var deadline = Math.Max(changedBy, watchedSince + promises.Bound) + promises.Slack;
        return deadline < now ? deadline : null;
    }

    /// <summary>
    /// The verdict on an overdue change that came at <paramref name="receivedAt"/>, or has not come by <paramref name="now"/>; null
    /// while it may still come.
    /// </summary>
    public static Verdict? OfOverdue(Promises promises, bool towardsOnline, double deadline, double? receivedAt, double now, bool isEnd)
    {
        var what = towardsOnline ? "online" : "offline";
        if (receivedAt is { } at)
            return Verdict.Broken(
                towardsOnline ? ViolationKind.LateOnline : ViolationKind.GhostOnline,
                $"told {what} at {at:0.000} s, due by {deadline:0.000} s");
        if (isEnd || now > deadline + promises.Bound)
            return Verdict.Broken(ViolationKind.Missed, $"never told {what}, due by {deadline:0.000} s");
        return null;
    }
}
