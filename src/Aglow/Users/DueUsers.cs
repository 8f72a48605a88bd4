namespace Aglow.Users;

/// <summary>Users by the next second at which something about them changes by itself, such as a claim that ends.</summary>
/// <remarks>
/// A heap. A user has one valid entry; entries that were replaced are skipped when they are due. The heap is rebuilt when it holds twice as
/// many entries as users. Rejected: a timer for each user. Not thread-safe.
/// </remarks>
internal sealed class DueUsers
{
    private const int LeastForRebuild = 1024;

    private readonly PriorityQueue<uint, uint> _heap = new();
    private readonly Dictionary<uint, uint> _secondOf = [];

    /// <summary>The second of the first entry, which may have been replaced; null: there is none.</summary>
    public uint? First => _heap.TryPeek(out _, out var second) ? second : null;

    /// <summary>Sets the second of a user; 0: none.</summary>
    public void Set(uint user, uint second)
    {
        if (second == 0)
        {
            _secondOf.Remove(user);
            return;
        }

        if (_secondOf.GetValueOrDefault(user) == second)
            return;
        _secondOf[user] = second;
        _heap.Enqueue(user, second);
        if (_heap.Count <= LeastForRebuild + (2 * _secondOf.Count))
            return;
        _heap.Clear();
        _heap.EnqueueRange(_secondOf.Select(static entry => (entry.Key, entry.Value)));
    }

    /// <summary>Takes a user whose second has come.</summary>
    public bool TryTake(uint now, out uint user)
    {
        while (_heap.TryPeek(out user, out var second) && second <= now)
        {
            _heap.Dequeue();
            if (_secondOf.GetValueOrDefault(user) == second)
                return _secondOf.Remove(user);
        }

        return false;
    }
}
