namespace Aglow;

/// <summary>
/// Names of the <see cref="NameTail"/> that begin with a query, in the order of (folded text, number): found by looking at all of
/// it, the smallest <paramref name="batch"/> at a time.
/// </summary>
internal sealed class TailBeginnings(NameTail.View[] views, uint indexedTo, ReadOnlySpan<byte> query, int batch, SearchCursor from)
{
    private readonly byte[] _pattern = [FoldedText.Separator, .. query];
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
            var first = view.After(indexedTo);
            if (first < view.Count)
                Collect(view, view.Start(first), smallest);
        }

        _found.Clear();
        _more = smallest.Count == batch;
        while (smallest.TryDequeue(out var next, out _))
            _found.Add(next);
        _found.Reverse();
    }

    private void Collect(NameTail.View view, int position, PriorityQueue<SearchCursor, SearchCursor> smallest)
    {
        var text = view.AllText;
        while (true)
        {
            var hit = text[position..].IndexOf(_pattern);
            if (hit < 0)
                return;
            position += hit + 1;
            var user = view.UserAt(position);
            var field = text[position..view.Ends[user]];
            var end = field.IndexOf(FoldedText.Separator);
            if (end >= 0)
                field = field[..end];
            var number = view.Numbers[user];
            if (Compare(field, number, _after) <= 0
                || (smallest.Count == batch && Compare(field, number, smallest.Peek()) >= 0))
            {
                continue;
            }

            // a display name counts only where the name itself does not begin so
            if (position > view.Start(user) + 1 && view.Fields(user).StartsWith(_pattern))
                continue;
            var found = new SearchCursor(false, field.ToArray(), number);
            if (smallest.Count == batch)
                smallest.EnqueueDequeue(found, found);
            else
                smallest.Enqueue(found, found);
        }
    }
}
