using Aglow.Heartbeats;

namespace Aglow.Changes.Shared;

/// <summary>
/// The hints of the last minute that this node received. A new owner of the feed reads here what happened while no node owned it.
/// </summary>
/// <remarks>
/// A ring that grows while its oldest hint is younger than <see cref="KeepSeconds"/>, up to <see cref="Most"/> hints (12 MB). After that, a
/// new hint replaces the oldest one, and the next sweep finds the change of the replaced hint. Threading: any thread, under a lock that
/// arrivals and leaves take once for each batch.
/// </remarks>
internal sealed class HintHistory
{
    public const int Most = 1 << 20;

    /// <summary>How long hints are kept: ten times as long as a takeover takes.</summary>
    public const uint KeepSeconds = 60;

    private const int First = 1 << 10;

    private readonly Lock _gate = new();
    private Hint[] _ring = new Hint[First];
    private long _from;
    private long _next;

    public void Add(TransitionKind kind, ReadOnlySpan<uint> users, uint second)
    {
        lock (_gate)
        {
            foreach (var user in users)
            {
                if (_next - _from == _ring.Length)
                    MakeRoom(second);
                _ring[_next & (_ring.Length - 1)] = new Hint(user, second, kind);
                _next++;
            }
        }
    }

    /// <summary>Copies hints from a place on, and moves the place past them. A place that is no longer kept moves to the oldest.</summary>
    public int Read(ref long place, Span<Hint> hints)
    {
        lock (_gate)
        {
            place = Math.Max(place, _from);
            var count = (int)Math.Min(hints.Length, _next - place);
            for (var i = 0; i < count; i++)
                hints[i] = _ring[(place + i) & (_ring.Length - 1)];
            place += count;
            return count;
        }
    }

    /// <summary>The place of the first hint of this second or a later one.</summary>
    public long PlaceOf(uint second)
    {
        lock (_gate)
        {
            var place = _next;
            while (place > _from && _ring[(place - 1) & (_ring.Length - 1)].Second >= second)
                place--;
            return place;
        }
    }

    private void MakeRoom(uint second)
    {
        if (_ring.Length < Most && second - _ring[_from & (_ring.Length - 1)].Second < KeepSeconds)
        {
            var larger = new Hint[_ring.Length * 2];
            for (var place = _from; place < _next; place++)
                larger[place & (larger.Length - 1)] = _ring[place & (_ring.Length - 1)];
            _ring = larger;
            return;
        }

        _from++;
    }

    /// <summary>What was received about a user, and when.</summary>
    internal readonly record struct Hint(uint User, uint Second, TransitionKind Kind);
}
