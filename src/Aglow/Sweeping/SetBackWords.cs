using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Aglow.Sweeping;

/// <summary>
/// After the clock was set back: moves words of the repeated seconds back by as much, so that <c>last_seen</c> is correct by the corrected
/// clock.
/// </summary>
/// <remarks>The sweep's loop owns it.</remarks>
internal sealed class SetBackWords(IPlaneStore store, Clock clock)
{
    private readonly List<uint> _users = [];
    private readonly List<uint> _words = [];
    private uint[] _scratch = [];
    private uint _movedBy;
    // a remote store may hold words of a node that stopped while its clock was ahead
    private long _until = store.IsRemote ? 1 : 0;

    /// <summary>
    /// Notes that the clock was set back during this pass. In memory, all words are moved at once, so that no offline user looks online. A
    /// remote store takes a pass. The current pass and one whole pass after it find words that are written meanwhile. Nodes that wait for
    /// each other (<see cref="Clock.IsSettling"/>) need two more.
    /// </summary>
    public async ValueTask NoteAsync(uint back, long pass)
    {
        (_movedBy, _until) = (back, pass + (store.IsRemote ? 4 : 2));
        if (store.IsRemote)
            return;
        for (var plane = Plane.Pulse; plane <= Plane.Other; plane++)
        {
            foreach (var page in await store.PagesAsync(plane))
                await MoveAsync(plane, page);
        }
    }

    /// <summary>Whether words may be in the future in this pass.</summary>
    public bool MayBeOn(long pass) => pass < _until && !clock.IsSettling;

    public async ValueTask MoveAsync(int page)
    {
        for (var plane = Plane.Pulse; plane <= Plane.Other; plane++)
            await MoveAsync(plane, page);
    }

    private async ValueTask MoveAsync(Plane plane, int page)
    {
        if (!store.IsInUse(plane))
            return;
        if (_scratch.Length == 0)
            _scratch = GC.AllocateUninitializedArray<uint>(PageLayout.Slots);
        var now = clock.Now;
        Collect((await store.ReadPageAsync(plane, page, _scratch)).Span, page, now);
        if (_users.Count == 0)
            return;
        uint[] users = [.. _users];
        await store.ReplaceAsync(plane, users, _words.ToArray(), now + Clock.Apart);
        store.Keep(plane, users);
    }

    private void Collect(ReadOnlySpan<uint> words, int page, uint now)
    {
        _users.Clear();
        _words.Clear();
        ref var first = ref MemoryMarshal.GetReference(words);
        for (var group = 0; group < words.Length / 64; group++)
        {
            for (var bits = Threshold.LaterThan(now + Clock.Apart, ref Unsafe.Add(ref first, group * 64)); bits != 0; bits &= bits - 1)
            {
                var slot = (group * 64) + BitOperations.TrailingZeroCount(bits);
                _users.Add(PageLayout.User(page, slot));
                _words.Add(Pulse.TakenBack(words[slot], _movedBy, now));
            }
        }
    }
}
