namespace Aglow.Changes.Shared;

/// <summary>When the owner of the feed reads users again because their lease may have ended.</summary>
/// <remarks>
/// <code>
///   long leases    a page shows whose lease ends before its next read ─► | second, user |                                 once
///   short leases   a hint or a page shows who is online               ─► | second, user | ─► renewed? ─► | second, user | … while online
/// </code>
/// A lease is short if it may begin and end between two reads of its page. Users with short leases are followed: each has one entry while
/// online. An entry takes 8 bytes and a bit, and costs a read of one word in each lease. There are at most <see cref="HintHistory.Most"/>
/// entries of each kind. If there is no room for a user, the page's next read finds that the lease has ended.
/// Rejected: reading pages more often. A page costs the same for one user as for 65,280.
/// The recorder's lock guards it.
/// </remarks>
/// <param name="follows">Whether leases are short.</param>
internal sealed class LeaseEnds(bool follows) : IDisposable
{
    private readonly PriorityQueue<uint, uint> _once = new();
    private readonly PriorityQueue<uint, uint> _followed = new();
    private readonly UserBits? _isFollowed = follows ? new UserBits() : null;

    /// <summary>Whether everybody who is online is followed.</summary>
    public bool Follows => _isFollowed is not null;

    /// <summary>The users of a page who are followed: a bit for each; empty: none.</summary>
    public ReadOnlySpan<ulong> FollowedOf(int page) => _isFollowed is null ? default : _isFollowed.Groups(page);

    /// <summary>Reads a user again at this second.</summary>
    public void CheckAt(uint user, uint second)
    {
        if (_once.Count < HintHistory.Most)
            _once.Enqueue(user, second);
    }

    /// <summary>Follows a user whose lease ends at this second, unless they are followed.</summary>
    public void Follow(uint user, uint second)
    {
        if (_followed.Count < HintHistory.Most && _isFollowed!.Set(user, present: true))
            _followed.Enqueue(user, second);
    }

    /// <summary>Takes a user whose second has come. A user who was followed is followed no longer.</summary>
    public bool TryTake(uint now, out uint user)
    {
        if (_once.TryPeek(out user, out var second) && second <= now)
        {
            _once.Dequeue();
            return true;
        }

        if (!_followed.TryPeek(out user, out second) || second > now)
            return false;
        _followed.Dequeue();
        _isFollowed!.Set(user, present: false);
        return true;
    }

    public void Dispose() => _isFollowed?.Dispose();
}
