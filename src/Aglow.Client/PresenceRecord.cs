namespace Aglow.Client;

/// <summary>The status that a user shows.</summary>
public enum PresenceStatus
{
    /// <summary>Set by this client, never by the server: nothing is known while the connection or the server's store is lost.</summary>
    Unknown,

    /// <summary>Not online.</summary>
    Offline,

    /// <summary>Online.</summary>
    Online,

    /// <summary>Online, but the user chose away, or was idle for long.</summary>
    Away,

    /// <summary>Online, and does not want to be disturbed.</summary>
    Busy,
}

/// <summary>The statuses that a user may choose.</summary>
public enum ManualStatus
{
    /// <summary>Computed from heartbeats and activity.</summary>
    Auto,

    /// <summary>As <see cref="Auto"/>, but never away because of idleness.</summary>
    Online,

    /// <summary>Away, while online.</summary>
    Away,

    /// <summary>Busy, while online.</summary>
    Busy,

    /// <summary>Appears offline.</summary>
    Offline,
}

/// <summary>Details of a status. A detail that is left out is cleared, not taken from the previous status.</summary>
public sealed record StatusDetails
{
    /// <summary>At most 280 bytes of UTF-8.</summary>
    public string? Text { get; init; }

    /// <summary>At most 64 bytes of UTF-8.</summary>
    public string? Emoji { get; init; }

    /// <summary>The second at which the status ends by itself; null: it lasts until it is changed.</summary>
    public DateTimeOffset? Until { get; init; }

    /// <summary>
    /// How long the status lasts, in whole seconds from when the server saves it. Use it instead of <see cref="Until"/>.
    /// </summary>
    public TimeSpan? For { get; init; }

    /// <summary>The source of the claim; null: "user", the person's own choice.</summary>
    public string? Source { get; init; }

    /// <summary>The source with the highest priority is shown; null: 0.</summary>
    public int? Priority { get; init; }
}

/// <summary>The current presence of one user.</summary>
/// <param name="User">The user, with the ID that the caller used.</param>
/// <param name="Status">The status under the definition that the caller asked for.</param>
/// <param name="LastSeen">The second of the last heartbeat. Null if the user was never seen, or does not show it. If the status is unknown,
/// the last value that was received.</param>
public readonly record struct PresenceRecord(UserId User, PresenceStatus Status, DateTimeOffset? LastSeen)
{
    /// <summary>
    /// Roughly when the user was last seen, if they do not show the exact time: "recently", "this week", "this month" or "long ago". Null
    /// otherwise.
    /// </summary>
    public string? LastSeenAbout { get; init; }

    /// <summary>The text of the user's status; null if there is none.</summary>
    public string? Text { get; init; }

    /// <summary>The emoji of the user's status; null if there is none.</summary>
    public string? Emoji { get; init; }

    /// <summary>When the status ends by itself; null if it does not.</summary>
    public DateTimeOffset? Until { get; init; }

    /// <summary>The kinds of devices on which the user is online, if the devices report their kind.</summary>
    public DeviceKinds Devices { get; init; }

    /// <summary>The user's newest activity; null if it is not known or the user does not show it.</summary>
    public DateTimeOffset? ActiveAt { get; init; }

    /// <summary>
    /// True for online, away and busy. False for offline and for <see cref="PresenceStatus.Unknown"/>; <see cref="Status"/> tells them
    /// apart.
    /// </summary>
    public bool IsOnline => Status >= PresenceStatus.Online;
}

/// <summary>The server's answer to a heartbeat.</summary>
/// <param name="NextIn">When to send the next one.</param>
/// <param name="OfflineAfter">The lease of this heartbeat.</param>
public readonly record struct HeartbeatAnswer(TimeSpan NextIn, TimeSpan OfflineAfter);

/// <summary>The state of a client's connection.</summary>
public enum ConnectionState
{
    /// <summary>There is no connection: the client has not connected yet, or it left.</summary>
    Closed,

    /// <summary>The client connects or reconnects. All watched users are unknown.</summary>
    Connecting,

    /// <summary>Connected: this user is online, and the client receives changes.</summary>
    Open,

    /// <summary>Connected, but the server cannot read its store at the moment. All watched users are unknown.</summary>
    Stale,

    /// <summary>
    /// The server refused this user; <see cref="AglowClient.Refusal"/> says why. The client does not try again until
    /// <see cref="AglowClient.RefreshAsync"/>.
    /// </summary>
    Refused,
}
