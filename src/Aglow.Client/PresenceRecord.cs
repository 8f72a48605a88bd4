namespace Aglow.Client;

/// <summary>What a user is shown as.</summary>
public enum PresenceStatus
{
    /// <summary>Said by this client, never by the server: the connection or the server's store is away, so nobody knows.</summary>
    Unknown,

    /// <summary>Not online.</summary>
    Offline,

    /// <summary>Online.</summary>
    Online,

    /// <summary>Online, but chose away, or has been idle for long.</summary>
    Away,

    /// <summary>Online, and does not want to be disturbed.</summary>
    Busy,
}

/// <summary>What a user may choose to be shown as.</summary>
public enum ManualStatus
{
    /// <summary>As heartbeats and activity say.</summary>
    Auto,

    /// <summary>As <see cref="Auto"/>, but never away for idleness.</summary>
    Online,

    /// <summary>Away, while online.</summary>
    Away,

    /// <summary>Busy, while online.</summary>
    Busy,

    /// <summary>Appears offline.</summary>
    Offline,
}

/// <summary>What a status says besides its word. What is left out is not kept from the status before.</summary>
public sealed record StatusDetails
{
    /// <summary>At most 280 bytes of UTF-8.</summary>
    public string? Text { get; init; }

    /// <summary>At most 64 bytes of UTF-8.</summary>
    public string? Emoji { get; init; }

    /// <summary>When the status ends by itself, to the second; null: when it is changed.</summary>
    public DateTimeOffset? Until { get; init; }

    /// <summary>How long the status lasts from the moment at which the server takes it, in whole seconds; in place of <see cref="Until"/>.</summary>
    public TimeSpan? For { get; init; }

    /// <summary>Whose claim it is; null: "user", what the person chose.</summary>
    public string? Source { get; init; }

    /// <summary>Of several sources the highest is shown; null: 0.</summary>
    public int? Priority { get; init; }
}

/// <summary>One user, as they are.</summary>
/// <param name="User">Who, as they were asked for.</param>
/// <param name="Status">The status under the definition that was asked for.</param>
/// <param name="LastSeen">The second of the last heartbeat; null for who was never seen, or does not show it. Where the status is unknown, the last that was heard.</param>
public readonly record struct PresenceRecord(UserId User, PresenceStatus Status, DateTimeOffset? LastSeen)
{
    /// <summary>About when they were last seen, where they do not show it exactly: "recently", "this week", "this month", "long ago". Null otherwise.</summary>
    public string? LastSeenAbout { get; init; }

    /// <summary>What the user says about their status; null where they say nothing.</summary>
    public string? Text { get; init; }

    /// <summary>The emoji of their status; null where there is none.</summary>
    public string? Emoji { get; init; }

    /// <summary>When the status ends by itself; null where it does not.</summary>
    public DateTimeOffset? Until { get; init; }

    /// <summary>The kinds of devices on which they are online, where their devices say so.</summary>
    public DeviceKinds Devices { get; init; }

    /// <summary>Their newest activity, where it is known and may be shown; else null.</summary>
    public DateTimeOffset? ActiveAt { get; init; }

    /// <summary>True for online, away and busy. False for offline, and for <see cref="PresenceStatus.Unknown"/>: look at <see cref="Status"/> to tell them apart.</summary>
    public bool IsOnline => Status >= PresenceStatus.Online;
}

/// <summary>What the server answers to a heartbeat.</summary>
/// <param name="NextIn">When to send the next one.</param>
/// <param name="OfflineAfter">How long this one lasts.</param>
public readonly record struct HeartbeatAnswer(TimeSpan NextIn, TimeSpan OfflineAfter);

/// <summary>What a client's connection is doing.</summary>
public enum ConnectionState
{
    /// <summary>There is none: not begun, or left.</summary>
    Closed,

    /// <summary>It is being made, or made again. Whoever is watched is unknown.</summary>
    Connecting,

    /// <summary>Connected: this user is online, and changes come in.</summary>
    Open,

    /// <summary>Connected, but the server cannot read its store at the moment. Whoever is watched is unknown.</summary>
    Stale,

    /// <summary>The server said no to this user. Nothing is tried again until <see cref="AglowClient.RefreshAsync"/>; <see cref="AglowClient.Refusal"/> says why.</summary>
    Refused,
}
