using Aglow.Users;

namespace Aglow.Model;

/// <summary>Who may see that a user is online.</summary>
public enum OnlineVisibility : byte
{
    /// <summary>Everybody.</summary>
    Everyone = 0,

    /// <summary>Users whom this user approved.</summary>
    FollowersApproved = 1,

    /// <summary>Nobody.</summary>
    Nobody = 2,
}

/// <summary>How exactly others see the last seen.</summary>
public enum LastSeenVisibility : byte
{
    /// <summary>To the second.</summary>
    Exact = 0,

    /// <summary>As "recently", "this week", "this month" or "long ago".</summary>
    Coarse = 1,

    /// <summary>Not at all.</summary>
    Hidden = 2,
}

/// <summary>The relation of one user to another.</summary>
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
    /// <summary>Everything.</summary>
    All = 0,

    /// <summary>The status, and a rough last seen.</summary>
    Coarse = 1,

    /// <summary>The status.</summary>
    StatusOnly = 2,

    /// <summary>Nothing: the user looks offline and never seen.</summary>
    Nothing = 3,
}

/// <summary>
/// What a user shows, and to whom. Few users change it: the <see cref="IUserDirectory"/> stores it, and every node holds all in memory.
/// </summary>
/// <remarks>Immutable. The lists are ascending.</remarks>
public sealed class Visibility
{
    /// <summary>Nothing set: everyone sees everything.</summary>
    public static Visibility Default { get; } = new();

    /// <summary>Who sees that the user is online.</summary>
    public OnlineVisibility Online { get; init; }

    /// <summary>How exactly others see the user's last seen.</summary>
    public LastSeenVisibility LastSeen { get; init; }

    /// <summary>Users whom the user approved.</summary>
    public uint[] Approved { get; init; } = [];

    /// <summary>Users whom the user blocked.</summary>
    public uint[] Blocked { get; init; } = [];

    /// <summary>Whether nothing is set.</summary>
    public bool IsDefault =>
        Online == OnlineVisibility.Everyone && LastSeen == LastSeenVisibility.Exact && Approved.Length == 0 && Blocked.Length == 0;

    /// <summary>Whether both show the same to the same users.</summary>
    public bool IsSameAs(Visibility other) =>
        Online == other.Online && LastSeen == other.LastSeen && Approved.AsSpan()
            .SequenceEqual(other.Approved) && Blocked.AsSpan()
            .SequenceEqual(other.Blocked);

    /// <summary>The users in this relation.</summary>
    public uint[] Of(Relation relation) => relation == Relation.Approved ? Approved : Blocked;

    /// <summary>The same with other settings.</summary>
    public Visibility With(OnlineVisibility online, LastSeenVisibility lastSeen) =>
        new() { Online = online, LastSeen = lastSeen, Approved = Approved, Blocked = Blocked };

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
    /// The rule: what a viewer sees of a user. The user's settings decide; if <paramref name="isReciprocal"/>, the viewer sees no more than
    /// they show the user. A viewer who may not see the user online sees no last seen either, because a changing time would reveal it.
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
