namespace Aglow;

/// <summary>Why a user is shown as they are: everything that went into the answer. Times are seconds since 1970-01-01 UTC; ages and leases are seconds.</summary>
public sealed record Explanation
{
    /// <summary>The user's number; null for a key nobody registered.</summary>
    public required uint? Number { get; init; }

    /// <summary>What a caller is told.</summary>
    public required Presence Presence { get; init; }

    /// <summary>The definition asked for.</summary>
    public required Definition Definition { get; init; }

    /// <summary>The second of the last heartbeat, whatever is shown; null if never.</summary>
    public required long? LastHeartbeatAt { get; init; }

    /// <summary>Seconds since the last heartbeat; null if never.</summary>
    public required long? LastHeartbeatAgeSeconds { get; init; }

    /// <summary>Whether the last thing heard was a goodbye.</summary>
    public required bool SaidGoodbye { get; init; }

    /// <summary>The second of the last reported activity; null if none.</summary>
    public required long? LastActivityAt { get; init; }

    /// <summary>What the person chose: auto, online, away, busy or offline.</summary>
    public required string Manual { get; init; }

    /// <summary>Whether this node believes the user online under the definition; null where it keeps no belief for it.</summary>
    public required bool? BelievedOnline { get; init; }

    /// <summary>Whether lapses are held back now, since heartbeats could not be written for a while.</summary>
    public required bool StallGuardInForce { get; init; }

    /// <summary>The second that leases are counted against: now, or the one that the stall guard holds.</summary>
    public required long CountedAgainst { get; init; }

    /// <summary>The server's present second.</summary>
    public required long Now { get; init; }

    /// <summary>The node that answers.</summary>
    public required string Node { get; init; }

    /// <summary>Where the words are: embedded, or a cluster.</summary>
    public required string Store { get; init; }

    /// <summary>The same in a sentence for a person.</summary>
    public required string Reason { get; init; }
}
