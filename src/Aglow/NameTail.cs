using System.Runtime.CompilerServices;

namespace Aglow;

/// <summary>
/// The names that <see cref="NameIndex"/> does not hold yet, in memory: those of the last users registered.
/// </summary>
/// <remarks>
/// Users are appended in the order of their numbers to segments of 65,536; a segment is dropped when the index has all of it.
/// <code>
/// segment   text     \n folded name [\n folded display name] \n folded name ...      one arena, searched with one IndexOf
///           ends     where each user's text ends
///           numbers  each user's number            hashes   each name's hash
///           slots    hash -> place + 1, open addressing
/// </code>
/// About 30 bytes and the text for a user. The writer of the directory appends, takes back what was rolled back, and publishes
/// after a commit; anyone reads. Everything is under one lock, held for nanoseconds, but for searching the text: that is done on a
/// <see cref="View"/>, whose arrays only ever grow behind its end.
/// </remarks>
internal sealed class NameTail
{
    private const int SegmentUsers = 1 << 16;

    private readonly Lock _lock = new();
    private readonly List<Segment> _segments = [];
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
        }
    }

    /// <summary>Takes back those from this number up.</summary>
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
            foreach (var segment in _segments)
                segment.Published = segment.Count;
        }
    }

    /// <summary>Adds to <paramref name="numbers"/> whose name may have this hash: in the order of their numbers, committed or not.</summary>
    public void Find(uint hash, List<uint> numbers)
    {
        lock (_lock)
        {
            foreach (var segment in _segments)
                segment.Find(hash, numbers);
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
        }
    }

    /// <summary>The published part of a segment, as it was; stays valid.</summary>
    internal readonly record struct View(byte[] Text, int[] Ends, uint[] Numbers, uint[] Hashes, int Count)
    {
        public ReadOnlySpan<byte> AllText => Text.AsSpan(0, Ends[Count - 1]);

        public int Start(int user) => user == 0 ? 0 : Ends[user - 1];

        /// <summary>The user's fields, beginning with a separator.</summary>
        public ReadOnlySpan<byte> Fields(int user) => Text.AsSpan(Start(user)..Ends[user]);

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
        private uint[] _numbers = new uint[16];
        private uint[] _hashes = new uint[16];
        private int[] _slots = new int[32];

        public int Count { get; private set; }

        public int Published { get; set; }

        public uint Last => _numbers[Count - 1];

        public View ToView() => new(_text, _ends, _numbers, _hashes, Published);

        public int CountTo(uint number)
        {
            var at = Array.BinarySearch(_numbers, 0, Count, number);
            return at < 0 ? ~at : at + 1;
        }

        public void Append(uint number, uint hash, ReadOnlySpan<byte> fields)
        {
            if (Count == _ends.Length)
                Grow();
            var start = Count == 0 ? 0 : _ends[Count - 1];
            if (start + fields.Length > _text.Length)
                Array.Resize(ref _text, Math.Max(_text.Length * 2, start + fields.Length));
            fields.CopyTo(_text.AsSpan(start));
            _ends[Count] = start + fields.Length;
            _numbers[Count] = number;
            _hashes[Count] = hash;
            Place(Count);
            Count++;
        }

        public int Truncate(uint from)
        {
            var before = Count;
            while (Count > 0 && _numbers[Count - 1] >= from)
                Count--;
            if (Count < before)
                PlaceAll();
            return before - Count;
        }

        public void Find(uint hash, List<uint> numbers)
        {
            for (var slot = hash & (_slots.Length - 1); _slots[slot] != 0; slot = (slot + 1) & (_slots.Length - 1))
            {
                var place = _slots[slot] - 1;
                if (_hashes[place] == hash)
                    numbers.Add(_numbers[place]);
            }
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        private void Grow()
        {
            var size = Count * 2;
            Array.Resize(ref _ends, size);
            Array.Resize(ref _numbers, size);
            Array.Resize(ref _hashes, size);
            _slots = new int[size * 2];
            PlaceAll();
        }

        private void PlaceAll()
        {
            Array.Clear(_slots);
            for (var place = 0; place < Count; place++)
                Place(place);
        }

        private void Place(int place)
        {
            var slot = _hashes[place] & (_slots.Length - 1);
            while (_slots[slot] != 0)
                slot = (slot + 1) & (_slots.Length - 1);
            _slots[slot] = place + 1;
        }
    }
}
