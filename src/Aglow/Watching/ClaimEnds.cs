using Aglow.Users;

namespace Aglow.Watching;

/// <summary>
/// Schedules reads for claims of watched users that change by themselves: the next such second of each topic, in a heap.
/// </summary>
/// <remarks>
/// <see cref="Topic.ClaimChangesAt"/> tells which entry of a topic is valid. Other entries are skipped when they are due. They are dropped
/// when the heap has twice as many entries as there are topics. Rejected: a timer for each user. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class ClaimEnds(Topics topics, Claims claims, Clock clock)
{
    private const int LeastForDrop = 1024;

    private readonly PriorityQueue<int, uint> _next = new();

    /// <summary>Updates the entry of a topic after a read; <paramref name="since"/>: the store time just before the read.</summary>
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

    /// <summary>Queues topics for the next round if their second has come.</summary>
    public void Beat(TopicChecks checks)
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
