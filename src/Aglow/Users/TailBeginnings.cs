namespace Aglow.Users;

/// <summary>
/// Names of the <see cref="NameTail"/> that begin with a query, in the order of (folded text, number), the smallest
/// <paramref name="batch"/> at a time: from the sorted segments, and by looking at all of those that are not sorted yet.
/// </summary>
internal sealed class TailBeginnings(NameTail.View[] views, uint indexedTo, ReadOnlySpan<byte> query, int batch, SearchCursor from)
{
    private readonly byte[] _query = query.ToArray();
    private readonly List<SearchCursor> _found = [];
    private SearchCursor _after = from;
    private int _at = -1;
    private bool _more = true;

    public SearchCursor Current => _found[_at];

    public bool MoveNext()
    {
        if (++_at < _found.Count)
            return true;
        if (!_more)
            return false;
        if (_found.Count > 0)
            _after = _found[^1];
        Collect();
        _at = 0;
        return _found.Count > 0;
    }

    private static int Compare(ReadOnlySpan<byte> text, uint number, SearchCursor other)
    {
        var order = text.SequenceCompareTo(other.Folded);
        return order != 0 ? order : number.CompareTo(other.Number);
    }

    private void Collect()
    {
        // the largest on top, so that what is not among the smallest is dropped by one comparison
        var smallest = new PriorityQueue<SearchCursor, SearchCursor>(
            Comparer<SearchCursor>.Create(static (a, b) => -Compare(a.Folded, a.Number, b)));
        foreach (var view in views)
        {
            if (view.Sorted is { } sorted)
                CollectSorted(view, sorted, smallest);
            else
                CollectAll(view, smallest);
        }

        _found.Clear();
        _more = smallest.Count == batch;
        while (smallest.TryDequeue(out var next, out _))
            _found.Add(next);
        _found.Reverse();
    }

    /// <summary>From where the last page ended, until the fields no longer begin with the query, or are no longer among the smallest.</summary>
    private void CollectSorted(NameTail.View view, ulong[] sorted, PriorityQueue<SearchCursor, SearchCursor> smallest)
    {
        var low = 0;
        var high = sorted.Length;
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (IsAfter(view, sorted[middle]))
                high = middle;
            else
                low = middle + 1;
        }

        for (; low < sorted.Length; low++)
        {
            var (start, user) = ((int)(sorted[low] >> 32), (int)(uint)sorted[low]);
            var field = view.Field(start, user);
            if (!field.StartsWith(_query) || !Offer(view, user, start, field, smallest))
                return;
        }
    }

    private void CollectAll(NameTail.View view, PriorityQueue<SearchCursor, SearchCursor> smallest)
    {
        for (var user = view.After(indexedTo); user < view.Count; user++)
        {
            for (var start = view.Start(user) + 1; start < view.Ends[user];)
            {
                var field = view.Field(start, user);
                if (field.StartsWith(_query) && Compare(field, view.Numbers[user], _after) > 0)
                    Offer(view, user, start, field, smallest);
                start += field.Length + 1;
            }
        }
    }

    private bool IsAfter(NameTail.View view, ulong place)
    {
        var user = (int)(uint)place;
        return Compare(view.Field((int)(place >> 32), user), view.Numbers[user], _after) > 0;
    }

    /// <summary>False where there are enough that are smaller.</summary>
    private bool Offer(NameTail.View view, int user, int start, ReadOnlySpan<byte> field, PriorityQueue<SearchCursor, SearchCursor> smallest)
    {
        var number = view.Numbers[user];
        if (smallest.Count == batch && Compare(field, number, smallest.Peek()) >= 0)
            return false;

        // who is in the index by now comes from there; and a display name counts only where the name itself does not begin so
        if (number <= indexedTo || (start > view.Start(user) + 1 && view.Fields(user)[1..].StartsWith(_query)))
            return true;
        var found = new SearchCursor(false, field.ToArray(), number);
        if (smallest.Count == batch)
            smallest.EnqueueDequeue(found, found);
        else
            smallest.Enqueue(found, found);
        return true;
    }
}
