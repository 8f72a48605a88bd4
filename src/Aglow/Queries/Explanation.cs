namespace Aglow.Queries;

/// <summary>
/// Why a user has their status: all inputs of the rule. Times are seconds since 1970-01-01 UTC; ages and leases are seconds.
/// </summary>
public sealed record Explanation
{
    /// <summary>What a caller receives.</summary>
    public required Presence Presence { get; init; }

    /// <summary>The requested definition.</summary>
    public required Definition Definition { get; init; }

    /// <summary>The second of the last heartbeat, even if it is not shown; null if never.</summary>
    public required long? LastHeartbeatAt { get; init; }

    /// <summary>Seconds since the last heartbeat; null if never.</summary>
    public required long? LastHeartbeatAgeSeconds { get; init; }

    /// <summary>Whether the last message of the user was a leave.</summary>
    public required bool HasLeft { get; init; }

    /// <summary>The second of the last reported activity; null if none.</summary>
    public required long? LastActivityAt { get; init; }

    /// <summary>The combined claims of the user.</summary>
    public required EffectiveClaim Claim { get; init; }

    /// <summary>Whether this node believes the user online under the definition; null if it has no belief for it.</summary>
    public required bool? BelievedOnline { get; init; }

    /// <summary>Whether expired leases are held, because heartbeats could not be written for a while.</summary>
    public required bool StallGuardInForce { get; init; }

    /// <summary>The second by which leases are judged: now, or the one that the stall guard holds.</summary>
    public required long CountedAgainst { get; init; }

    /// <summary>The server's present second.</summary>
    public required long Now { get; init; }

    /// <summary>The node that answers.</summary>
    public required string Node { get; init; }

    /// <summary>Where the words are: embedded, or in a cluster.</summary>
    public required string Store { get; init; }

    /// <summary>The explanation as a sentence for people.</summary>
    public required string Reason { get; init; }

    internal static Explanation Of(
        uint pulse,
        uint deciding,
        uint activity,
        EffectiveClaim claim,
        Definition definition,
        Moment at,
        bool? believed,
        AglowOptions options,
        bool isCluster)
    {
        // a word in the future counts as a heartbeat of now
        pulse = Math.Min(Pulse.Second(pulse), at.Now) | (pulse & ~Pulse.SecondMask);
        activity = Math.Min(Pulse.Second(activity), at.Now) | (activity & Pulse.LeftBit);
        deciding = Math.Min(Pulse.Second(deciding), at.Now) | (deciding & ~Pulse.SecondMask);
        var presence = Presence.Of(
            new UserWords(pulse, deciding, activity, DeviceKinds.None), claim, definition, at, (uint)options.AwaySeconds);
        return new Explanation
        {
            Presence = presence,
            Definition = definition,
            LastHeartbeatAt = Pulse.ToUnix(Pulse.Second(pulse)),
            LastHeartbeatAgeSeconds = Pulse.Second(pulse) == 0 ? null : (long)at.Now - Pulse.Second(pulse),
            HasLeft = Pulse.Left(pulse),
            LastActivityAt = Pulse.ToUnix(Pulse.Second(activity)),
            Claim = claim,
            BelievedOnline = believed,
            StallGuardInForce = at.HeldAt != at.Now,
            CountedAgainst = Pulse.EpochUnixSeconds + (long)at.HeldAt,
            Now = Pulse.EpochUnixSeconds + (long)at.Now,
            Node = options.NodeName,
            Store = isCluster ? "cluster" : "embedded",
            Reason = InWords(deciding, activity, claim, definition, at, presence),
        };
    }

    private static string InWords(uint pulse, uint activity, EffectiveClaim claim, Definition definition, Moment at, Presence shown)
    {
        var age = (long)at.Now - Pulse.Second(pulse);
        return (claim.Status, Pulse.Second(pulse)) switch
        {
            (ClaimStatus.Hidden, _) => claim.IsDisabled ? "Disabled: offline to everyone." : $"Appears offline by choice{Source(claim)}.",
            (_, 0) => definition.Kind is null
                ? "Never seen: no heartbeat has arrived."
                : $"No heartbeat of a device of the kind \"{definition.Name}\" has arrived.",
            _ when !shown.IsOnline && definition.EndedByLeave && Pulse.Left(pulse) => $"Left {age} s ago.",
            _ when definition.EndedByLeave && Pulse.DeviceLeft(pulse) && Pulse.Second(pulse) < at.Oldest(definition.DeviceLeftSeconds) =>
                $"One device left {age} s ago, and no other sent a heartbeat within {definition.DeviceLeftSeconds} s.",
            _ when shown.IsOnline && definition.EndedByLeave && Pulse.DeviceLeft(pulse) =>
                $"One device left {age} s ago; another may send a heartbeat until {definition.DeviceLeftSeconds} s after that.",
            _ when !shown.IsOnline && Pulse.Second(pulse) < at.Oldest(definition.PulseSeconds) =>
                $"The last heartbeat was {age} s ago, longer than the {definition.PulseSeconds} s of \"{definition.Name}\".",
            _ when !shown.IsOnline => $"No activity was reported within the {definition.ActivitySeconds} s of \"{definition.Name}\".",
            (ClaimStatus.Away or ClaimStatus.Busy, _) =>
                $"A heartbeat {age} s ago, and chose {Model.Claim.NameOf(claim.Status)}{Source(claim)}.",
            _ when shown.Status == PresenceStatus.Away =>
                $"A heartbeat {age} s ago, but no activity for {(long)at.Now - Pulse.Second(activity)} s.",
            _ when age > definition.PulseSeconds =>
                $"The last heartbeat was {age} s ago. Expired leases are held, because heartbeats could not be written for a while.",
            _ => $"A heartbeat {age} s ago, within the {definition.PulseSeconds} s of \"{definition.Name}\".",
        };
    }

    private static string Source(EffectiveClaim claim) =>
        claim.Claim is { Source: not Model.Claim.UserSource and var source } ? $" (source {source})" : "";
}
