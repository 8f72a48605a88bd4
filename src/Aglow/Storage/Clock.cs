using Aglow.Model;
using Aglow.Sweeping;

namespace Aglow.Storage;

/// <summary>
/// Store time in seconds: monotonic inside the process, near a reference between processes (this machine's wall clock; the store's, where there is one
/// that nodes share: <see cref="Follow"/>). The one conversion between the two is here.
/// </summary>
/// <remarks>
/// Starts at the reference (or where the last run ended, if the wall clock was set back since: time does not go back across
/// a restart either) and counts monotonic time from there. A reference that is set or drifts is followed by at most one second
/// in twenty (<see cref="Beat"/>), so a step of an hour flips nobody; it only makes leases 5 % shorter or longer until it is absorbed.
/// It is followed by the pace, not in steps, so that time never goes back: a goodbye a moment after a heartbeat would be the older of the two.
/// <see cref="Beat"/> is called by the sweep's loop ten times a second; a gap of over 2 s between two of them means that this process was paused
/// and nobody could have heartbeaten. A read that comes before the late beat sees the gap by itself.
/// Threading: any thread reads; only the loop calls <see cref="Beat"/>.
/// </remarks>
public sealed class Clock
{
    /// <summary>A loop that wakes this much late was paused.</summary>
    public static readonly TimeSpan StallAfter = TimeSpan.FromSeconds(2);

    private const double MaxSlew = 0.05;
    private readonly TimeProvider _time;
    private readonly long _startedAt;
    private readonly long _stallTicks;
    private Line _line;
    private long _lastBeat;
    // what the store's clock is ahead of this process's monotonic one; not a number: the wall clock is the reference
    private double _storeOffsetSeconds = double.NaN;

    /// <summary>A clock that starts at the wall clock's time, but not before <paramref name="notBefore"/> (a second since 2020).</summary>
    /// <param name="time">What timers and timestamps come from.</param>
    /// <param name="guard">The guard that holds leases where words could not be written.</param>
    /// <param name="notBefore">The second, since 2020, that it starts at where the reference is behind it.</param>
    /// <param name="storeSeconds">What the store's clock reads now, in seconds since 2020; null: the wall clock is the reference.</param>
    public Clock(TimeProvider time, StallGuard guard, uint notBefore = 0, double? storeSeconds = null)
    {
        _time = time;
        Guard = guard;
        _startedAt = _lastBeat = time.GetTimestamp();
        _stallTicks = (long)(StallAfter.TotalSeconds * time.TimestampFrequency);
        if (storeSeconds is { } seconds)
            Follow(seconds, _startedAt);
        _line = new Line(_startedAt, Math.Max(ReferenceSeconds(_startedAt), notBefore), 0);
    }

    /// <summary>The guard that holds leases where words could not be written.</summary>
    public StallGuard Guard { get; }

    /// <summary>What timers and timestamps come from.</summary>
    public TimeProvider Time => _time;

    /// <summary>The present second, since <see cref="Pulse.EpochUnixSeconds"/>.</summary>
    public uint Now => SecondAt(_time.GetTimestamp());

    /// <summary>Seconds by which the wall clock is ahead of store time.</summary>
    public double WallAheadSeconds => WallSeconds() - ExactAt(_time.GetTimestamp());

    /// <summary>The moment by which a status is decided now.</summary>
    public Moment Moment
    {
        get
        {
            var stamp = _time.GetTimestamp();
            var now = SecondAt(stamp);
            var last = Volatile.Read(ref _lastBeat);
            if (stamp - last > _stallTicks)
                return new Moment(now, Guard.HeldAt(SecondAt(last))); // what was held then is held on
            return new Moment(now, Guard.HeldAt(now));
        }
    }

    /// <summary>The moment by which users of one page are decided now: where the words of that page alone could not be written, it is held back.</summary>
    public Moment MomentOf(int page) => Guard.Hold(Moment, page);

    /// <summary>Follows the store's clock, which read this many seconds since 2020 at <paramref name="stamp"/> of <see cref="Time"/>, as it would the wall clock.</summary>
    public void Follow(double storeSeconds, long stamp) =>
        Volatile.Write(ref _storeOffsetSeconds, storeSeconds - _time.GetElapsedTime(_startedAt, stamp).TotalSeconds);

    /// <summary>Ten times a second, by the sweep's loop: notices a pause of this process, and follows the reference slowly. Returns the pause, or zero.</summary>
    public TimeSpan Beat()
    {
        var stamp = _time.GetTimestamp();
        var last = _lastBeat;
        var gap = _time.GetElapsedTime(last, stamp);
        if (gap > StallAfter)
            Guard.Stalled(SecondAt(last), SecondAt(stamp));
        Volatile.Write(ref _line, new Line(stamp, OffsetAt(stamp), Math.Clamp(ReferenceSeconds(stamp) - ExactAt(stamp), -MaxSlew, MaxSlew)));
        Volatile.Write(ref _lastBeat, stamp);
        return gap > StallAfter ? gap : TimeSpan.Zero;
    }

    private uint SecondAt(long stamp) => (uint)Math.Clamp(ExactAt(stamp), 1, Pulse.SecondMask - 1);

    private double ExactAt(long stamp) => OffsetAt(stamp) + _time.GetElapsedTime(_startedAt, stamp).TotalSeconds;

    private double OffsetAt(long stamp)
    {
        var line = Volatile.Read(ref _line);
        // for a second only: in a long gap what is to be followed may have been followed long ago
        return line.OffsetSeconds + (line.Slew * Math.Clamp(_time.GetElapsedTime(line.Stamp, stamp).TotalSeconds, 0, 1));
    }

    private double ReferenceSeconds(long stamp)
    {
        var store = Volatile.Read(ref _storeOffsetSeconds);
        return double.IsNaN(store) ? WallSeconds() : store + _time.GetElapsedTime(_startedAt, stamp).TotalSeconds;
    }

    private double WallSeconds() => (_time.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalSeconds - Pulse.EpochUnixSeconds;

    // By how much time was ahead of the monotonic clock at a beat, and how much of that it gains in the second after.
    private sealed record Line(long Stamp, double OffsetSeconds, double Slew);
}
