using Aglow.Storage;
using Aglow.Users;

namespace Aglow.Watching;

/// <summary>
/// When the claims of watched users change by themselves: the next second of each topic, in a heap. At that second the topic is read again.
/// </summary>
/// <remarks>
/// A topic says which of its entries counts (<see cref="Topic.ClaimChangesAt"/>); others are passed over when they are due, or dropped when
/// the heap holds twice as many entries as there are topics. Rejected: a timer a user. Owned by the <see cref="WatchHub"/>'s loop.
/// </remarks>
internal sealed class ClaimEnds(Topics topics, TopicChecks checks, Claims claims, Clock clock)
{
    private const int LeastForDrop = 1024;

    private readonly PriorityQueue<int, uint> _next = new();

    /// <summary>A topic was read; <paramref name="since"/> is a second before the read.</summary>
    public void Follow(int id, Topic topic, uint since)
    {
        var next = claims.IsEmpty ? 0 : claims.ChangeAfter(topic.User, since);
        if (next == topic.ClaimChangesAt)
            return;
        topic.ClaimChangesAt = next;
        if (next == 0)
            return;
        _next.Enqueue(id, next);
        if (_next.Count > LeastForDrop + (2 * topics.Capacity))
            Drop();
    }

    /// <summary>A beat of the loop: topics whose second has come are read in this round.</summary>
    public void Beat()
    {
        if (_next.Count == 0)
            return;
        var now = clock.Now;
        while (_next.TryPeek(out var id, out var second) && second <= now)
        {
            _next.Dequeue();
            if (topics[id] is not { } topic || topic.ClaimChangesAt != second)
                continue;
            topic.ClaimChangesAt = 0;
            checks.Ask(id, gentle: false, clock.Time.GetTimestamp());
        }
    }

    private void Drop()
    {
        var all = _next.UnorderedItems.ToArray();
        _next.Clear();
        foreach (var (id, second) in all.Distinct())
        {
            if (topics[id] is { } topic && topic.ClaimChangesAt == second)
                _next.Enqueue(id, second);
        }
    }
}
