namespace Aglow.Watching;

/// <summary>
/// Decides how many beats are due, and how often the loop wakes for them: for each beat while something happens, for
/// <see cref="AtOnce"/> together on an idle node.
/// </summary>
/// <remarks>
/// A wake-up costs some 50 µs of CPU, and a beat without work next to nothing. Beats follow the clock, so the intervals of pings and
/// rechecks are the same on an idle node and on a busy one. The <see cref="WatchLoop"/> owns it. It reads no clock.
/// </remarks>
internal sealed class BeatPace(TimeSpan interval)
{
    /// <summary>
    /// How many beats at most follow each other at once. On a node that is late by more, the others are left out. 5: what is due on an idle
    /// node waits for at most 100 ms.
    /// </summary>
    public const int AtOnce = 5;

    private TimeSpan _lastAt;
    private int _idleBeats;

    /// <summary>How long the loop may sleep without a command.</summary>
    public TimeSpan Sleep => _idleBeats < AtOnce ? interval : interval * AtOnce;

    /// <summary>Takes the beats that are due at <paramref name="now"/>.</summary>
    public int Take(TimeSpan now)
    {
        // timers count milliseconds, so they may fire a little early
        var due = (int)Math.Min((now - _lastAt + (interval / 4)) / interval, int.MaxValue);
        _lastAt = due > AtOnce ? now : _lastAt + (interval * due);
        return Math.Min(due, AtOnce);
    }

    /// <summary>Notes whether there was nothing to do in these beats.</summary>
    public void Passed(int beats, bool isIdle) => _idleBeats = isIdle ? Math.Min(_idleBeats + beats, AtOnce) : 0;
}
