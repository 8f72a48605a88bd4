namespace Aglow.Swarm;

/// <summary>
/// Computes which of many registered users are active at a time, so that millions need no state. Users are scattered on a ring, and a
/// window slides over it.
/// </summary>
/// <remarks>
/// <code>
///   places on the ring   0 1 2 3 4 5 6 7 8 9 …          user = place x stride mod registered
///   active at step s         ├───────────┤              slides by its length per session: users come at its front and go at its back
/// </code>
/// Places are numbered without end; a user has one place in every round of the ring. Step s sends a heartbeat for each place in the window
/// that equals s modulo the steps of an interval. So every active user has one heartbeat per interval, and neighbours have theirs at
/// different times. Immutable; any thread.
/// </remarks>
internal sealed class Ring
{
    private readonly long _registered;
    private readonly long _active;
    private readonly double _stepsASession;
    private readonly ulong _stride;
    private readonly ulong _placeOfOne;

    public Ring(uint registered, uint active, int stepsAnInterval, double stepsASession)
    {
        _registered = registered;
        _active = active;
        StepsAnInterval = stepsAnInterval;
        _stepsASession = stepsASession;
        // The golden ratio scatters neighbours best. Without a common divisor every user has exactly one place per round.
        for (_stride = (ulong)Math.Max(1, registered * 0.6180339887498949); Inverse(_stride, registered) is null; _stride++)
        {
        }

        _placeOfOne = Inverse(_stride, registered)!.Value;
    }

    public int StepsAnInterval { get; }

    /// <summary>The first active place at a step.</summary>
    public long Begin(long step) => (long)(step * (_active / _stepsASession));

    /// <summary>The first place behind the active ones at a step.</summary>
    public long End(long step) => Begin(step) + _active;

    /// <summary>The user at a place.</summary>
    public uint UserAt(long place) => (uint)((ulong)(place % _registered) * _stride % (ulong)_registered);

    /// <summary>Writes the users with a heartbeat at a step; returns their number.</summary>
    public int Fill(long step, Span<uint> users)
    {
        var (begin, end) = (Begin(step), End(step));
        var count = 0;
        for (var place = begin + Modulo(step - begin, StepsAnInterval); place < end; place += StepsAnInterval)
            users[count++] = UserAt(place);
        return count;
    }

    /// <summary>
    /// Writes the steps until <paramref name="last"/> at which a user had a heartbeat, newest first, as many as fit. Returns their number.
    /// </summary>
    public int StepsOf(uint user, long last, Span<long> steps)
    {
        var first = (long)(user * _placeOfOne % (ulong)_registered);
        var found = 0;
        if (first >= End(last))
            return 0;
        for (
            var place = first + ((End(last) - 1 - first) / _registered * _registered); place >= 0
                && found < steps.Length; place -= _registered)
        {
            var step = Math.Min(last, LastWith(place));
            for (
                step -=
                    Modulo(step - place, StepsAnInterval); step >= 0 && place < End(step) && found < steps.Length; step -= StepsAnInterval)
                steps[found++] = step;
        }

        return found;
    }

    // The last step whose window still contains the place.
    private long LastWith(long place)
    {
        var step = (long)((place + 1) / (_active / _stepsASession));
        while (Begin(step) > place)
            step--;
        while (Begin(step + 1) <= place)
            step++;
        return step;
    }

    private static long Modulo(long number, long by) => ((number % by) + by) % by;

    // the extended Euclidean algorithm; null if there is a common divisor
    private static ulong? Inverse(ulong number, ulong modulus)
    {
        var (divisor, rest, at, next) = ((long)modulus, (long)number, 0L, 1L);
        while (rest != 0)
        {
            var times = divisor / rest;
            (divisor, rest) = (rest, divisor - (times * rest));
            (at, next) = (next, at - (times * next));
        }

        return divisor == 1 ? (ulong)Modulo(at, (long)modulus) : null;
    }
}
