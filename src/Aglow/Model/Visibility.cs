using Aglow.Users;

namespace Aglow.Model;

/// <summary>Who may see that somebody is online.</summary>
public enum OnlineVisibility : byte
{
    /// <summary>Everybody.</summary>
    Everyone = 0,

    /// <summary>Those whom the user approved.</summary>
    FollowersApproved = 1,

    /// <summary>Nobody.</summary>
    Nobody = 2,
}

/// <summary>How exactly others see when somebody was last seen.</summary>
public enum LastSeenVisibility : byte
{
    /// <summary>To the second.</summary>
    Exact = 0,

    /// <summary>As "recently", "this week", "this month" or "long ago".</summary>
    Coarse = 1,

    /// <summary>Not at all.</summary>
    Hidden = 2,
}

/// <summary>How one user stands to another.</summary>
public enum Relation : byte
{
    /// <summary>Approved: sees what <see cref="OnlineVisibility.FollowersApproved"/> shows.</summary>
    Approved = 1,

    /// <summary>Blocked: sees nothing.</summary>
    Blocked = 2,
}

/// <summary>What one user sees of another.</summary>
public enum Sight : byte
{
    /// <summary>Everything there is.</summary>
    All = 0,

    /// <summary>The status, and roughly when they were last seen.</summary>
    Coarse = 1,

    /// <summary>The status.</summary>
    StatusOnly = 2,

    /// <summary>Offline, never seen: whatever they do.</summary>
    Nothing = 3,
}

/// <summary>
/// What a user shows of themself, and to whom: a rare, explicit fact that lives in the <see cref="IUserDirectory"/>; every node holds all of them in memory.
/// </summary>
/// <remarks>Immutable. The lists are ascending.</remarks>
public sealed class Visibility
{
    /// <summary>Nothing set: everyone sees everything.</summary>
    public static Visibility Default { get; } = new();

    /// <summary>Who sees that they are online.</summary>
    public OnlineVisibility Online { get; init; }

    /// <summary>How exactly others see when they were last seen.</summary>
    public LastSeenVisibility LastSeen { get; init; }

    /// <summary>Whom they approved.</summary>
    public uint[] Approved { get; init; } = [];

    /// <summary>Whom they blocked.</summary>
    public uint[] Blocked { get; init; } = [];

    /// <summary>Whether nothing is set.</summary>
    public bool IsDefault => Online == OnlineVisibility.Everyone && LastSeen == LastSeenVisibility.Exact && Approved.Length == 0 && Blocked.Length == 0;

    /// <summary>Whether both show the same to the same users.</summary>
    public bool IsSameAs(Visibility other) =>
        Online == other.Online && LastSeen == other.LastSeen && Approved.AsSpan().SequenceEqual(other.Approved) && Blocked.AsSpan().SequenceEqual(other.Blocked);

    /// <summary>Those who stand to this user in a relation.</summary>
    public uint[] Of(Relation relation) => relation == Relation.Approved ? Approved : Blocked;

    /// <summary>The same with other settings.</summary>
    public Visibility With(OnlineVisibility online, LastSeenVisibility lastSeen) => new() { Online = online, LastSeen = lastSeen, Approved = Approved, Blocked = Blocked };

    /// <summary>The same with another list; ascending.</summary>
    public Visibility With(Relation relation, uint[] users) => new()
    {
        Online = Online,
        LastSeen = LastSeen,
        Approved = relation == Relation.Approved ? users : Approved,
        Blocked = relation == Relation.Blocked ? users : Blocked,
    };

    /// <summary>Whether <paramref name="viewer"/> may see that this user is online.</summary>
    public bool ShowsOnlineTo(uint viewer) => Array.BinarySearch(Blocked, viewer) < 0 && Online switch
    {
        OnlineVisibility.Everyone => true,
        OnlineVisibility.FollowersApproved => Array.BinarySearch(Approved, viewer) >= 0,
        _ => false,
    };

    /// <summary>
    /// The rule: what a viewer sees of a user, by what the user shows; and, where <paramref name="isReciprocal"/>, no more than the viewer shows them. Who may not see that somebody is
    /// online sees nothing of when they were last seen either: a time that moves would say it.
    /// </summary>
    public static Sight Between(uint viewer, Visibility viewers, uint user, Visibility users, bool isReciprocal)
    {
        if (!users.ShowsOnlineTo(viewer) || (isReciprocal && !viewers.ShowsOnlineTo(user)))
            return Sight.Nothing;
        var lastSeen = isReciprocal && viewers.LastSeen > users.LastSeen ? viewers.LastSeen : users.LastSeen;
        return lastSeen switch
        {
            LastSeenVisibility.Exact => Sight.All,
            LastSeenVisibility.Coarse => Sight.Coarse,
            _ => Sight.StatusOnly,
        };
    }
}
