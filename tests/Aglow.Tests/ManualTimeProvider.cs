using Aglow.Model;

namespace Aglow.Tests;

/// <summary>
/// Time that moves only when a test says so: a monotonic clock, a wall clock that can be stepped apart from it, and timers.
/// </summary>
/// <remarks>
/// <see cref="Advance"/> runs what falls due on the caller's thread, in order of time, each at its own due time; what callbacks arm within the
/// span runs too. A timer of zero fires at once, on the thread pool. Continuations of awaited timers may still run elsewhere: poll for their effect. Threading: any thread.
/// </remarks>
internal sealed class ManualTimeProvider : TimeProvider
{
    private readonly Lock _gate = new();
    private readonly List<ManualTimer> _timers = [];
    private DateTimeOffset _utcNow;
    private long _ticks;

    /// <summary>Starts at this wall time, 2026-01-01 where none is given.</summary>
    public ManualTimeProvider(DateTimeOffset? utcNow = null) =>
        _utcNow = utcNow ?? new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    /// <summary>Timers that wait to fire: what a test polls to know that a loop went to sleep.</summary>
    public int ArmedTimers
    {
        get
        {
            lock (_gate)
                return _timers.Count;
        }
    }

    /// <summary>The present second of the wall clock, as words count it.</summary>
    public uint Second => Pulse.FromUnix(GetUtcNow().ToUnixTimeSeconds());

    public override DateTimeOffset GetUtcNow()
    {
        lock (_gate)
            return _utcNow;
    }

    public override long GetTimestamp()
    {
        lock (_gate)
            return _ticks;
    }

    /// <summary>Sets the wall clock forth or back; monotonic time and timers do not notice.</summary>
    public void StepWallClock(TimeSpan by)
    {
        lock (_gate)
            _utcNow += by;
    }

    /// <summary>Lets time pass, and runs what falls due.</summary>
    public void Advance(TimeSpan by)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(by, TimeSpan.Zero);
        long end;
        lock (_gate)
            end = _ticks + by.Ticks;
        while (true)
        {
            ManualTimer? due;
            lock (_gate)
            {
                due = _timers.MinBy(timer => timer.DueAt);
                if (due == null || due.DueAt > end)
                {
                    MoveTo(end);
                    return;
                }

                MoveTo(Math.Max(due.DueAt, _ticks));
                due.Next();
            }

            due.Fire();
        }
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new ManualTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    private void MoveTo(long ticks)
    {
        _utcNow += TimeSpan.FromTicks(ticks - _ticks);
        _ticks = ticks;
    }

    private sealed class ManualTimer(ManualTimeProvider time, TimerCallback callback, object? state) : ITimer
    {
        private TimeSpan _period;
        private bool _disposed;

        public long DueAt { get; private set; }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            bool now;
            lock (time._gate)
            {
                if (_disposed)
                    return false;
                time._timers.Remove(this);
                _period = period;
                now = dueTime == TimeSpan.Zero;
                if (now)
                    Rearm();
                else if (dueTime != Timeout.InfiniteTimeSpan)
                    Arm(dueTime);
            }

            if (now)
                ThreadPool.QueueUserWorkItem(_ => Fire());
            return true;
        }

        // under the gate
        public void Next()
        {
            time._timers.Remove(this);
            Rearm();
        }

        public void Fire() => callback(state);

        public void Dispose()
        {
            lock (time._gate)
            {
                _disposed = true;
                time._timers.Remove(this);
            }
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }

        private void Rearm()
        {
            if (_period != Timeout.InfiniteTimeSpan && _period != TimeSpan.Zero)
                Arm(_period);
        }

        private void Arm(TimeSpan after)
        {
            DueAt = time._ticks + after.Ticks;
            time._timers.Add(this);
        }
    }
}
