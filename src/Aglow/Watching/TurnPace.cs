namespace Aglow.Watching;

/// <summary>
/// Decides when the hub may have its next turn for commands: a few at once after a quiet moment, and one in <paramref name="gatherFor"/> on
/// average.
/// </summary>
/// <remarks>
/// A thread that wakes costs as much as two frames, so a busy hub gathers commands. On a quiet node a change must not wait because another
/// command came just before it: timers of milliseconds fire late, and a wait of 2 ms took 5. The <see cref="WatchLoop"/> owns it. It reads
/// no clock.
/// </remarks>
internal sealed class TurnPace(TimeSpan gatherFor)
{
    /// <summary>How many turns may follow each other at once. 5: the turns that one change on a quiet node causes, with a beat.</summary>
    public const int AtOnce = 5;

    // the end of the time that the turns so far have used, at gatherFor for each
    private TimeSpan _paidUntil;

    public TimeSpan NextAt => _paidUntil - (gatherFor * (AtOnce - 1));

    /// <summary>Counts a turn that ended at <paramref name="now"/>.</summary>
    public void Turned(TimeSpan now) => _paidUntil = (_paidUntil > now ? _paidUntil : now) + gatherFor;
}
