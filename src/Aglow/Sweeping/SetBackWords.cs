using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Aglow.Sweeping;

/// <summary>
/// After the clock was set back: moves words of the repeated seconds back by as much, so that <c>last_seen</c> is correct by the corrected
/// clock.
/// </summary>
/// <remarks>
/// The clock may step again while words are moved. So each word is moved by the steps that came after it was written:
/// <code>
///   12:00 ─► 10:00, 10:05 ─► 9:05     a word of 11:30 is from before the first step     moved by 3 hours
///                                     a word of 10:02 is from before the second         moved by 1 hour
/// </code>
/// The sweep's loop owns it.
/// </remarks>
internal sealed class SetBackWords(IPlaneStore store, Clock clock)
{
    private const int MostSteps = 64;

    private readonly List<uint> _users = [];
    private readonly List<uint> _words = [];
    private uint[] _scratch = [];
    // steps that words may still need: the second before each, and how far it set the clock back (less than 0: forward)
    private readonly List<(uint From, long Back)> _steps = [];
    // a remote store may hold words of a node that stopped while its clock was ahead
    private long _until = store.IsRemote ? 1 : 0;

    /// <summary>
    /// Notes that the clock stepped during this pass. The current pass and one whole pass after it find words that are written meanwhile.
    /// Nodes that wait for each other (<see cref="Clock.IsSettling"/>) need two more.
    /// </summary>
    public void Note(uint from, uint to, long pass)
    {
        if (pass >= _until)
            _steps.Clear();
        // a step forward alone leaves no word in the future
        if (from < to && _steps.Count == 0)
            return;
        // a clock that steps all the time: the oldest words are then moved too little, to now
        if (_steps.Count == MostSteps)
            _steps.RemoveAt(0);
        _steps.Add((from, (long)from - to));
        if (from > to)
            _until = pass + (store.IsRemote ? 4 : 2);
    }

    /// <summary>
    /// Moves all words in memory at once, so that no offline user looks online. The words of a remote store take a pass.
    /// </summary>
    public async ValueTask MoveAllAsync(long pass)
    {
        if (store.IsRemote || pass >= _until)
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
                _words.Add(Pulse.TakenBack(words[slot], SetBackSince(Pulse.Second(words[slot])), now));
            }
        }
    }

    // How far the clock was set back since it showed this second, which is in the future now.
    private uint SetBackSince(uint second)
    {
        var back = 0L;
        for (var i = _steps.Count - 1; i >= 0; i--)
        {
            back += _steps[i].Back;
            if (second <= _steps[i].From + Clock.Apart)
                break;
        }

        return (uint)Math.Max(0, back);
    }
}
