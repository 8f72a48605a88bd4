namespace Aglow.Watching;

/// <summary>
/// Decides whether the hub may send now. It may while it takes less than <see cref="Share"/> of one core. Above that share, changes are
/// held and gathered, for at most <see cref="MaxHold"/>.
/// </summary>
/// <remarks>
/// A frame costs the same with one record or ten, so a busy hub saves CPU by sending later. A credit of time decides how much later:
/// <code>
///   credit   grows by Share x the time that passes, up to Burst     shrinks by the time that the hub works
///   open     the credit is positive
///   closed   until the credit is 2 ms again, or the first connection in the queue has waited for MaxHold, which resets the credit
/// </code>
/// So the first change after a quiet moment is sent at once, and changes are held only as long as the share requires. After the load ends,
/// the credit is positive again within <c>Burst / Share</c>, a sixth of a second.
/// A saturated hub never pauses: a round of all connections takes longer than MaxHold, so each has waited that long when its turn comes.
/// Rejected: a window that grows and shrinks by steps. It followed the load a second late, and was 500 ms wide at a quarter of saturation.
/// The <see cref="WatchHub"/>'s loop owns it. It reads no clock.
/// </remarks>
internal sealed class CoalescingWindow
{
    /// <summary>The share of one core that the hub takes before it holds changes.</summary>
    public const double Share = 0.6;

    /// <summary>The longest hold. A node at half of its highest rate then tells watchers within a tenth of a second.</summary>
    public static readonly TimeSpan MaxHold = TimeSpan.FromMilliseconds(39);

    /// <summary>How long the hub may work at once after a pause. 100 ms: a change of one user with 10,000 watchers is not held.</summary>
    public static readonly TimeSpan Burst = TimeSpan.FromMilliseconds(100);

    // the cost of a frame besides the send: its receipt, its acknowledgement, or a pipe
    private static readonly TimeSpan FrameCost = TimeSpan.FromMicroseconds(2);

    // a closed window opens with this much credit
    private static readonly TimeSpan Quantum = TimeSpan.FromMilliseconds(2);

    private TimeSpan _credit = Burst;
    private TimeSpan _countedAt;
    private bool _isClosed;

    /// <summary>How long sending must wait; zero: not at all. <paramref name="heldSince"/>: since when the first change waits.</summary>
    public TimeSpan OpensIn(TimeSpan now, TimeSpan heldSince)
    {
        Grow(now);
        var needed = _isClosed ? Quantum - _credit : -_credit;
        _isClosed = needed >= TimeSpan.Zero;
        if (!_isClosed)
            return TimeSpan.Zero;
        var untilCredit = (Quantum - _credit) / Share;
        var untilHeld = heldSince + MaxHold - now;
        if (untilHeld > TimeSpan.Zero)
            return untilHeld < untilCredit ? untilHeld : untilCredit;
        // enough credit for several connections: a turn of the hub for each would cost more than the frames
        _credit = Quantum;
        _isClosed = false;
        return TimeSpan.Zero;
    }

    /// <summary>Counts time that the hub worked until <paramref name="now"/>, and the frames that it sent.</summary>
    public void Worked(TimeSpan now, TimeSpan took, int frames)
    {
        Grow(now);
        // one long pause of the machine must not hold changes for as long
        _credit = Max(_credit - took - (frames * FrameCost), -Burst);
    }

    private static TimeSpan Max(TimeSpan a, TimeSpan b) => a > b ? a : b;

    private void Grow(TimeSpan now)
    {
        if (now == _countedAt)
            return;
        var grown = _credit + ((now - _countedAt) * Share);
        _credit = grown < Burst ? grown : Burst;
        _countedAt = now;
    }
}
