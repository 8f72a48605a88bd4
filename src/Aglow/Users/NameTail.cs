namespace Aglow.Users;

/// <summary>
/// The names that <see cref="NameIndex"/> does not hold yet, in memory: those of the last users registered.
/// </summary>
/// <remarks>
/// <code>
/// segment (65,536 users, in the order of their numbers; dropped when the index has all of it)
///           text     \n folded name [\n folded display name] \n folded name ...      one arena, searched with one IndexOf
///           ends     where each user's text ends
///           numbers  each user's number            hashes   each name's hash
///           sorted   where each field begins, in the order of the fields; made in the background when the segment is full
/// slots     hash (32) | number (32), open addressing, of all segments together
/// </code>
/// About 45 bytes and the text for a user. The writer of the directory appends, takes back what was rolled back, and publishes
/// after a commit; anyone reads. Everything is under one lock, held for nanoseconds (milliseconds where the slots grow), but for
/// searching and sorting the text: that is done on a <see cref="View"/>, whose arrays only ever grow behind its end.
/// </remarks>
internal sealed class NameTail
{
    private const int SegmentUsers = 1 << 16;
    private const int SmallestTable = 1 << 10;

    private readonly Lock _lock = new();
    private readonly List<Segment> _segments = [];
    private ulong[] _slots = new ulong[SmallestTable];
    private int _used;
    private uint _indexedTo;

    /// <summary>How many users wait for the index.</summary>
    public int Count { get; private set; }

    /// <summary>Adds a user who is not committed yet. <paramref name="fields"/>: <see cref="FoldedText.FoldFields"/>.</summary>
    public void Append(uint number, uint hash, ReadOnlySpan<byte> fields)
    {
        lock (_lock)
        {
            if (_segments.Count == 0 || _segments[^1].Count == SegmentUsers)
                _segments.Add(new Segment());
            _segments[^1].Append(number, hash, fields);
            Count++;
            if (_used + 1 > _slots.Length / 2)
                Rebuild(_slots.Length * 2);
            Place(number, hash);
        }
    }

    /// <summary>Takes back those from this number up. Their slots stay until the table is made anew: the user's row decides anyway.</summary>
    public void Truncate(uint from)
    {
        lock (_lock)
        {
            while (_segments.Count > 0)
            {
                Count -= _segments[^1].Truncate(from);
                if (_segments[^1].Count > 0)
                    return;
                _segments.RemoveAt(_segments.Count - 1);
            }
        }
    }

    /// <summary>Makes all that were appended visible to <see cref="Views"/>.</summary>
    public void Publish()
    {
        lock (_lock)
        {
            for (var i = _segments.Count - 1; i >= 0 && _segments[i].Published < _segments[i].Count; i--)
            {
                _segments[i].Published = _segments[i].Count;
                if (_segments[i].Count == SegmentUsers)
                    ThreadPool.UnsafeQueueUserWorkItem(static segment => segment.Sort(), _segments[i], preferLocal: false);
            }
        }
    }

    /// <summary>Adds to <paramref name="numbers"/> whose name may have this hash, committed or not.</summary>
    public void Find(uint hash, List<uint> numbers)
    {
        lock (_lock)
        {
            for (var slot = (int)hash & (_slots.Length - 1); _slots[slot] != 0; slot = (slot + 1) & (_slots.Length - 1))
            {
                if ((uint)(_slots[slot] >> 32) == hash)
                    numbers.Add((uint)_slots[slot]);
            }
        }
    }

    /// <summary>The committed users that wait for the index, ascending.</summary>
    public View[] Views()
    {
        lock (_lock)
        {
            return [.. _segments.Where(s => s.Published > 0).Select(s => s.ToView())];
        }
    }

    /// <summary>Forgets users up to this number: the index has them.</summary>
    public void Drop(uint indexedTo)
    {
        lock (_lock)
        {
            _indexedTo = indexedTo;
            _segments.RemoveAll(s => s.Last <= indexedTo);
            Count = _segments.Sum(s => s.Count - s.CountTo(_indexedTo));
            var size = SmallestTable;
            while (size < Count * 3)
                size *= 2;
            Rebuild(size);
        }
    }

    private void Rebuild(int size)
    {
        _slots = new ulong[size];
        _used = 0;
        foreach (var segment in _segments)
        {
            for (var user = segment.CountTo(_indexedTo); user < segment.Count; user++)
                Place(segment.Numbers[user], segment.Hashes[user]);
        }
    }

    private void Place(uint number, uint hash)
    {
        var slot = (int)hash & (_slots.Length - 1);
        while (_slots[slot] != 0)
            slot = (slot + 1) & (_slots.Length - 1);
        _slots[slot] = ((ulong)hash << 32) | number;
        _used++;
    }

    /// <summary>
    /// The published part of a segment, as it was; stays valid. <c>Sorted</c>: where each field begins (32 bits) and whose it is (32 bits), in
    /// the order of (field, number); null until that is known.
    /// </summary>
    internal readonly record struct View(byte[] Text, int[] Ends, uint[] Numbers, uint[] Hashes, int Count, ulong[]? Sorted)
    {
        public ReadOnlySpan<byte> AllText => Text.AsSpan(0, Ends[Count - 1]);

        public int Start(int user) => user == 0 ? 0 : Ends[user - 1];

        /// <summary>The user's fields, beginning with a separator.</summary>
        public ReadOnlySpan<byte> Fields(int user) => Text.AsSpan(Start(user)..Ends[user]);

        /// <summary>The user's field that begins at this position.</summary>
        public ReadOnlySpan<byte> Field(int position, int user)
        {
            var field = Text.AsSpan(position..Ends[user]);
            var end = field.IndexOf(FoldedText.Separator);
            return end < 0 ? field : field[..end];
        }

        /// <summary>The first user above this number, or <see cref="Count"/>.</summary>
        public int After(uint number)
        {
            var at = Array.BinarySearch(Numbers, 0, Count, number);
            return at < 0 ? ~at : at + 1;
        }

        /// <summary>Whose text this position is in.</summary>
        public int UserAt(int position)
        {
            var at = Array.BinarySearch(Ends, 0, Count, position);
            return at < 0 ? ~at : at + 1;
        }
    }

    private sealed class Segment
    {
        private byte[] _text = new byte[1024];
        private int[] _ends = new int[16];
        private volatile ulong[]? _sorted;

        public uint[] Numbers { get; private set; } = new uint[16];

        public uint[] Hashes { get; private set; } = new uint[16];

        public int Count { get; private set; }

        public int Published { get; set; }

        public uint Last => Numbers[Count - 1];

        public View ToView() => new(_text, _ends, Numbers, Hashes, Published, _sorted);

        public int CountTo(uint number)
        {
            var at = Array.BinarySearch(Numbers, 0, Count, number);
            return at < 0 ? ~at : at + 1;
        }

        public void Append(uint number, uint hash, ReadOnlySpan<byte> fields)
        {
            if (Count == _ends.Length)
            {
                Array.Resize(ref _ends, Count * 2);
                Numbers = Longer(Numbers);
                Hashes = Longer(Hashes);
            }

            var start = Count == 0 ? 0 : _ends[Count - 1];
            if (start + fields.Length > _text.Length)
                Array.Resize(ref _text, Math.Max(_text.Length * 2, start + fields.Length));
            fields.CopyTo(_text.AsSpan(start));
            _ends[Count] = start + fields.Length;
            Numbers[Count] = number;
            Hashes[Count] = hash;
            Count++;
        }

        public int Truncate(uint from)
        {
            var before = Count;
            while (Count > 0 && Numbers[Count - 1] >= from)
                Count--;
            return before - Count;
        }

        /// <summary>When it is full and published: nothing of it changes any more.</summary>
        public void Sort()
        {
            var view = ToView();
            var fields = NameField.Of(view, 0);
            fields.Sort(NameField.Compare);
            _sorted = [.. fields.Select(field => ((ulong)field.Start << 32) | (uint)field.User)];
        }

        private static uint[] Longer(uint[] array)
        {
            Array.Resize(ref array, array.Length * 2);
            return array;
        }
    }
}
