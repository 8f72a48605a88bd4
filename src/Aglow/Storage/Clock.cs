namespace Aglow.Storage;

/// <summary>
/// Store time: the seconds in words. It stays within <see cref="StepAfter"/> of a reference, which is this machine's wall clock, or the
/// clock of a shared store (<see cref="Follow"/>).
/// </summary>
/// <remarks>
/// Only this class converts between monotonic time and the reference.
/// <code>
///   reference − store time    up to 1 s    corrected by at most 1 s in 20 s: time never goes back, and leases are not affected
///                             more         adopted at the next beat, under the stall guard (a suspend, a corrected clock)
/// </code>
/// The loop calls <see cref="Beat"/> ten times a second, so the error of store time is below 2 s soon after any step of the reference.
/// After a step forward, leases are judged by the second before it for two heartbeat intervals (<see cref="StallGuard"/>). After a step
/// back, some words are in the future. They count as heartbeats of now until the sweep rewrites them (<see cref="Stepped"/>). Nodes that
/// share a store notice a step of its clock seconds apart, so early nodes wait before they rewrite (<see cref="IsSettling"/>).
/// A gap of over 2 s between two beats means that this process was paused and received no heartbeats. A read before the late beat notices
/// the gap by itself. Where nodes share a store, a slow start is not a pause: other nodes received heartbeats meanwhile, and this one would
/// show users online who are offline there.
/// Rejected: to follow every step slowly, which left <c>last_seen</c> wrong for a week after a suspend of one night.
/// Threading: any thread reads; only the loop calls <see cref="Beat"/>.
/// </remarks>
public sealed class Clock
{
    /// <summary>A loop that wakes this much later than due was paused.</summary>
    public static readonly TimeSpan StallAfter = TimeSpan.FromSeconds(2);

    /// <summary>A larger error of store time is corrected at once: half of the 2 s by which <c>last_seen</c> may be off.</summary>
    public static readonly TimeSpan StepAfter = TimeSpan.FromSeconds(1);

    /// <summary>
    /// How many seconds a word may be ahead of this node's second: nodes' clocks differ, and threads read the clock before they write.
    /// </summary>
    public const uint Apart = 2;

    /// <summary>
    /// For this time after a step back of a shared store's clock, a node overwrites no word of a later second. Other nodes may not have
    /// stepped yet, and would see such a user as offline.
    /// </summary>
    public static readonly TimeSpan SettleAfter = TimeSpan.FromSeconds(5);

    private const long NoBeat = long.MinValue;
    private const double MaxSlew = 0.05;
    // two clocks can be compared if both were read within this time
    private static readonly TimeSpan ReadWithin = TimeSpan.FromMilliseconds(200);
    private readonly TimeProvider _time;
    private readonly long _startedAt;
    private readonly long _stallTicks;
    private Line _line;
    // the timestamp of the last beat; NoBeat over a store that nodes share, until the loop has started
    private long _lastBeat;
    private long _steps;
    private long _settledAt;
    // how far the store's clock is ahead of the monotonic clock; NaN: the wall clock is the reference
    private double _storeOffsetSeconds = double.NaN;

    /// <summary>A clock that starts at its reference.</summary>
    /// <param name="time">The source of timers and timestamps.</param>
    /// <param name="guard">The guard that holds leases while words cannot be written.</param>
    /// <param name="lastAlive">The second, since 2020, at which the last run ended. The clock starts there if the reference is behind it by
    /// less than a step.</param>
    /// <param name="storeSeconds">What the store's clock reads now, in seconds since 2020; null: the wall clock is the reference.</param>
    public Clock(TimeProvider time, StallGuard guard, uint lastAlive = 0, double? storeSeconds = null)
    {
        _time = time;
        Guard = guard;
        _startedAt = _settledAt = time.GetTimestamp();
        _lastBeat = storeSeconds is null ? _startedAt : NoBeat;
        _stallTicks = (long)(StallAfter.TotalSeconds * time.TimestampFrequency);
        if (storeSeconds is { } seconds)
            Follow(seconds, _startedAt);
        var reference = ReferenceSeconds(_startedAt);
        _line = new Line(_startedAt, lastAlive - reference <= StepAfter.TotalSeconds ? Math.Max(reference, lastAlive) : reference, 0);
    }

    /// <summary>
    /// Raised by <see cref="Beat"/> just before store time jumps, with the old second and the new one. An earlier new second is a step
    /// back. Handlers return at once.
    /// </summary>
    public event Action<uint, uint>? Stepped;

    /// <summary>The guard that holds leases while words cannot be written.</summary>
    public StallGuard Guard { get; }

    /// <summary>The source of timers and timestamps.</summary>
    public TimeProvider Time => _time;

    /// <summary>The present second, since <see cref="Pulse.EpochUnixSeconds"/>.</summary>
    public uint Now => SecondAt(_time.GetTimestamp());

    /// <summary>Whole monotonic seconds since this clock was created, plus 1; for times within this process.</summary>
    public uint Uptime => 1 + (uint)_time.GetElapsedTime(_startedAt).TotalSeconds;

    /// <summary>How many seconds the wall clock is ahead of store time.</summary>
    public double WallAheadSeconds => WallSeconds() - ExactAt(_time.GetTimestamp());

    /// <summary>How many seconds the reference is ahead of store time: the error of words. Below 2 s while the loop beats.</summary>
    public double ErrorSeconds
    {
        get
        {
            var stamp = _time.GetTimestamp();
            return ReferenceSeconds(stamp) - ExactAt(stamp);
        }
    }

    /// <summary>How often store time jumped to its reference.</summary>
    public long Steps => Volatile.Read(ref _steps);

    /// <summary>Whether other nodes may still use the later time from before a step back.</summary>
    public bool IsSettling => _time.GetTimestamp() < Volatile.Read(ref _settledAt);

    /// <summary>The moment by which a status is judged now.</summary>
    public Moment Moment
    {
        get
        {
            var stamp = _time.GetTimestamp();
            var now = SecondAt(stamp);
            var last = Volatile.Read(ref _lastBeat);
            if (last != NoBeat && stamp - last > _stallTicks)
                // a second that was held at the last beat stays held
                return new Moment(now, Guard.HeldAt(SecondAt(last)));
            return new Moment(now, Guard.HeldAt(now));
        }
    }

    /// <summary>
    /// The moment by which users of one page are judged now. It may be held if the words of this page alone could not be written.
    /// </summary>
    public Moment MomentOf(int page) => Guard.Hold(Moment, page);

    /// <summary>
    /// Makes the store's clock the reference. It read this many seconds since 2020 at <paramref name="stamp"/> of <see cref="Time"/>.
    /// </summary>
    public void Follow(double storeSeconds, long stamp) =>
        Volatile.Write(ref _storeOffsetSeconds, storeSeconds - _time.GetElapsedTime(_startedAt, stamp).TotalSeconds);

    /// <summary>Adds the metrics of store time, and of the leases that are held.</summary>
    internal void Observe(AglowMetrics metrics)
    {
        metrics.Count(
            "aglow.stalls",
            "Times that expired leases were held, because heartbeats could not be written or the clock jumped.",
            () => Guard.Stalls);
        metrics.Gauge(
            "aglow.stall.guard.in.force",
            "1 while expired leases of all users or of some pages are held, because heartbeats could not be written.",
            () => Guard.IsInForceAnywhere(Moment) ? 1 : 0);
        metrics.Gauge(
            "aglow.clock.error.seconds",
            "Seconds by which store time, which words use, is behind its reference: the wall clock, or the clock of Redis.",
            () => ErrorSeconds);
        metrics.Count(
            "aglow.clock.steps",
            "Times that store time jumped because it was over 1 s off: after a suspend, or when a clock was corrected.",
            () => Steps);
        metrics.Gauge(
            "aglow.clock.wall.ahead.seconds",
            "Seconds by which the wall clock is ahead of store time.",
            () => WallAheadSeconds);
    }

    /// <summary>
    /// Detects a pause of this process and follows the reference. The sweep's loop calls it ten times a second. Returns the pause, or zero.
    /// </summary>
    internal TimeSpan Beat()
    {
        var stamp = _time.GetTimestamp();
        var last = _lastBeat;
        var gap = last == NoBeat ? TimeSpan.Zero : _time.GetElapsedTime(last, stamp);
        if (gap > StallAfter)
            Guard.Stalled(SecondAt(last), SecondAt(stamp));
        // if this thread was paused between the two clock reads, they cannot be compared; the next beat compares them
        var error = ReferenceSeconds(stamp) - ExactAt(stamp);
        if (_time.GetElapsedTime(stamp) > ReadWithin)
            error = 0;
        if (Math.Abs(error) > StepAfter.TotalSeconds)
            Step(stamp, error);
        else
            Volatile.Write(ref _line, new Line(stamp, OffsetAt(stamp), Math.Clamp(error, -MaxSlew, MaxSlew)));
        Volatile.Write(ref _lastBeat, stamp);
        return gap > StallAfter ? gap : TimeSpan.Zero;
    }

    private void Step(long stamp, double error)
    {
        var line = new Line(stamp, OffsetAt(stamp) + error, 0);
        var (from, to) = (SecondAt(stamp), Second(line.OffsetSeconds + _time.GetElapsedTime(_startedAt, stamp).TotalSeconds));
        Guard.Stepped(from, to);
        if (to < from && !double.IsNaN(Volatile.Read(ref _storeOffsetSeconds)))
            Volatile.Write(ref _settledAt, stamp + (long)(SettleAfter.TotalSeconds * _time.TimestampFrequency));
        Stepped?.Invoke(from, to);
        Volatile.Write(ref _line, line);
        Interlocked.Increment(ref _steps);
    }

    private static uint Second(double exact) => (uint)Math.Clamp(exact, 1, Pulse.SecondMask - 1);

    private uint SecondAt(long stamp) => Second(ExactAt(stamp));

    private double ExactAt(long stamp) => OffsetAt(stamp) + _time.GetElapsedTime(_startedAt, stamp).TotalSeconds;

    private double OffsetAt(long stamp)
    {
        var line = Volatile.Read(ref _line);
        // limited to a second: after a long gap the error may have been corrected long ago
        return line.OffsetSeconds + (line.Slew * Math.Clamp(_time.GetElapsedTime(line.Stamp, stamp).TotalSeconds, 0, 1));
    }

    private double ReferenceSeconds(long stamp)
    {
        var store = Volatile.Read(ref _storeOffsetSeconds);
        return double.IsNaN(store) ? WallSeconds() : store + _time.GetElapsedTime(_startedAt, stamp).TotalSeconds;
    }

    private double WallSeconds() => (_time.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalSeconds - Pulse.EpochUnixSeconds;

    // how far time was ahead of the monotonic clock at a beat, and how much it gains or loses in the next second
    private sealed record Line(long Stamp, double OffsetSeconds, double Slew);
}
