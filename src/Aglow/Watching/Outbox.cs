using System.Diagnostics.CodeAnalysis;
using System.Numerics;

namespace Aglow.Watching;

/// <summary>
/// The watches of one connection, and which of them changed since the last message: a set, not a queue.
/// </summary>
/// <remarks>
/// A slow client costs only a bit for each watch. When it reads again, it receives the latest state and nothing older.
/// <code>
///   topics   | 17 | 4 | - | 99 | ...      the topic of each watch (4 bytes), - = free
///   dirty    |  1 | 0 | 0 |  1 | ...      one bit each; the first 64 without an array
/// </code>
/// The <see cref="WatchHub"/>'s loop owns it. A mutable struct inside the connection saves an object.
/// </remarks>
internal struct Outbox
{
    private const int Free = -1;
    private int[]? _topics;
    private ulong _dirty;
    private ulong[]? _moreDirty;
    private int _used;
    private int _holes;

    public readonly int Count => _used - _holes;

    /// <summary>The topics by index, -1 for a free one.</summary>
    public readonly ReadOnlySpan<int> Topics => _topics.AsSpan(0, _used);

    public readonly int IndexOf(int topic) => Topics.IndexOf(topic);

    /// <summary>Adds a watch; returns its index.</summary>
    public int Add(int topic)
    {
        int index;
        if (_holes > 0)
        {
            index = Topics.IndexOf(Free);
            _holes--;
        }
        else
        {
            index = _used++;
            if (_topics is null || index == _topics.Length)
                Array.Resize(ref _topics, Math.Max(4, index + (index / 4) + 1));
            if (index >= 64 && ((index - 64) >> 6) >= (_moreDirty?.Length ?? 0))
                Array.Resize(ref _moreDirty, (_topics.Length >> 6) + 1);
        }

        _topics![index] = topic;
        return index;
    }

    /// <summary>Reserves room for exactly this many more watches.</summary>
    public void Reserve(int more)
    {
        if (_used + more > (_topics?.Length ?? 0) && more > 1)
            Array.Resize(ref _topics, _used + more);
    }

    /// <summary>Removes a watch that is not marked.</summary>
    public void Remove(int index)
    {
        _topics![index] = Free;
        _holes++;
    }

    /// <summary>Marks a watch as changed. False if it was already marked: the newer state replaces the older one.</summary>
    public bool Mark(int index)
    {
        ref var group = ref Group(index);
        var was = group;
        group |= 1UL << (index & 63);
        return group != was;
    }

    /// <summary>Unmarks a watch after its state was sent. False if it was not marked.</summary>
    public bool Clear(int index)
    {
        ref var group = ref Group(index);
        var was = group;
        group &= ~(1UL << (index & 63));
        return group != was;
    }

    [UnscopedRef]
    private ref ulong Group(int index) => ref index < 64 ? ref _dirty : ref _moreDirty![(index - 64) >> 6];

    public readonly bool IsDirty => _dirty != 0 || (_moreDirty is not null && _moreDirty.AsSpan().ContainsAnyExcept(0UL));

    /// <summary>The first changed index from <paramref name="from"/> on; -1 for none.</summary>
    public readonly int NextDirty(int from)
    {
        for (var group = from >> 6; group == 0 || group <= (_moreDirty?.Length ?? 0); group++)
        {
            var bits = group == 0 ? _dirty : _moreDirty![group - 1];
            if (group == from >> 6)
                bits &= ulong.MaxValue << (from & 63);
            if (bits != 0)
                return (group * 64) + BitOperations.TrailingZeroCount(bits);
        }

        return -1;
    }
}
