namespace Aglow.Changes;

/// <summary>Why a change was recorded.</summary>
public enum ChangeReason : byte
{
    /// <summary>A heartbeat made the user come online.</summary>
    Heartbeat = 0,

    /// <summary>The user left.</summary>
    Leave = 1,

    /// <summary>The lease expired.</summary>
    Lapse = 2,

    /// <summary>The user or a backend set another status, or disabled or enabled the user.</summary>
    Status = 3,

    /// <summary>The user was deleted.</summary>
    Deleted = 4,
}

/// <summary>
/// One change of one user, as every consumer of the feed gets it. The newest change of a user gives the user's present state.
/// </summary>
/// <param name="Id">Equal for each delivery of the same change; also the cursor after the change.</param>
/// <param name="User">The user.</param>
/// <param name="IsOnline">Whether the user is online after the change.</param>
/// <param name="Status">The status after the change. A user who hides is offline.</param>
/// <param name="LastSeen">When the user was last seen, in seconds since 1970-01-01 UTC; null: never, or deleted.</param>
/// <param name="Reason">The reason.</param>
/// <param name="At">When the change was recorded, in seconds since 1970-01-01 UTC.</param>
/// <param name="IsTransition">Whether <paramref name="IsOnline"/> differs from the user's previous change.</param>
public sealed record PresenceChange(
    string Id, UserId User, bool IsOnline, PresenceStatus Status, long? LastSeen, ChangeReason Reason, long At, bool IsTransition);

/// <summary>A part of the feed.</summary>
/// <param name="Changes">Changes in order.</param>
/// <param name="Next">The cursor after them.</param>
/// <param name="IsGap">Whether changes between the requested cursor and the first of these are no longer stored.</param>
public sealed record ChangePage(IReadOnlyList<PresenceChange> Changes, string Next, bool IsGap);
