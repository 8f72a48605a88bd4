namespace Aglow;

/// <summary>
/// Store time in seconds: monotonic inside the process, near the wall clock between processes. The one conversion between the two is here.
/// </summary>
/// <remarks>
/// Starts at the wall clock (or where the last run ended, if the wall clock was set back since: time does not go back across
/// a restart either) and counts monotonic time from there. A wall clock that is set or drifts is followed by at most one second
/// in twenty (<see cref="Beat"/>), so a step of an hour flips nobody; it only makes leases 5 % shorter or longer until it is absorbed.
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
    private double _offsetSeconds;
    private long _lastBeat;

    /// <summary>A clock that starts at the wall clock's time, but not before <paramref name="notBefore"/> (a second since 2020).</summary>
    public Clock(TimeProvider time, StallGuard guard, uint notBefore = 0)
    {
        _time = time;
        Guard = guard;
        _startedAt = _lastBeat = time.GetTimestamp();
        _stallTicks = (long)(StallAfter.TotalSeconds * time.TimestampFrequency);
        _offsetSeconds = Math.Max(WallSeconds(), notBefore);
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
                return new Moment(now, Math.Min(Guard.HeldAt(now), SecondAt(last)));
            return new Moment(now, Guard.HeldAt(now));
        }
    }

    /// <summary>Ten times a second, by the sweep's loop: notices a pause of this process, and follows the wall clock slowly. Returns the pause, or zero.</summary>
    public TimeSpan Beat()
    {
        var stamp = _time.GetTimestamp();
        var last = _lastBeat;
        var gap = _time.GetElapsedTime(last, stamp);
        if (gap > StallAfter)
            Guard.Stalled(SecondAt(last), SecondAt(stamp));
        var slew = Math.Clamp(WallSeconds() - ExactAt(stamp), -gap.TotalSeconds * MaxSlew, gap.TotalSeconds * MaxSlew);
        Volatile.Write(ref _offsetSeconds, _offsetSeconds + slew);
        Volatile.Write(ref _lastBeat, stamp);
        return gap > StallAfter ? gap : TimeSpan.Zero;
    }

    private uint SecondAt(long stamp) => (uint)Math.Clamp(ExactAt(stamp), 1, Pulse.SecondMask - 1);

    private double ExactAt(long stamp) => Volatile.Read(ref _offsetSeconds) + _time.GetElapsedTime(_startedAt, stamp).TotalSeconds;

    private double WallSeconds() => (_time.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalSeconds - Pulse.EpochUnixSeconds;
}
