using Aglow.Model;
using Microsoft.Extensions.Time.Testing;

namespace Aglow.Tests;

/// <summary>
/// The library's fake time, with a wall clock that steps apart from monotonic time, and with a count of armed timers. Callbacks see the
/// time at which they are due, to a tenth of a second.
/// </summary>
/// <remarks>Continuations of awaited timers may run elsewhere: poll for their effect. Threading: any thread.</remarks>
internal sealed class ManualTimeProvider : FakeTimeProvider
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(100);

    private readonly HashSet<CountedTimer> _armed = [];
    private long _steppedTicks;

    /// <summary>Starts at this wall time, or at 2026-01-01.</summary>
    public ManualTimeProvider(DateTimeOffset? utcNow = null)
        : base(utcNow ?? new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
    {
    }

    /// <summary>The number of timers that wait to fire. A test polls it to see that a loop waits.</summary>
    public int ArmedTimers
    {
        get
        {
            lock (_armed)
                return _armed.Count;
        }
    }

    /// <summary>The present second of the wall clock, as words count it.</summary>
    public uint Second => Pulse.FromUnix(GetUtcNow().ToUnixTimeSeconds());

    public override DateTimeOffset GetUtcNow() => base.GetUtcNow().AddTicks(Volatile.Read(ref _steppedTicks));

    // the library would return the wall clock here
    public override long GetTimestamp() => (base.GetUtcNow() - Start).Ticks;

    /// <summary>Steps the wall clock; monotonic time and timers stay.</summary>
    public void StepWallClock(TimeSpan by) => Interlocked.Add(ref _steppedTicks, by.Ticks);

    /// <summary>Lets time pass, and fires the timers that are due.</summary>
    public new void Advance(TimeSpan by)
    {
        for (; by > Step; by -= Step)
            base.Advance(Step);
        base.Advance(by);
    }

    /// <summary>Lets time pass in one step, as a pause of the machine does: no loop runs meanwhile.</summary>
    public void Jump(TimeSpan by) => base.Advance(by);

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new CountedTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    private ITimer CreateBase(TimerCallback callback) =>
        base.CreateTimer(callback, null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

    private sealed class CountedTimer : ITimer
    {
        private readonly ManualTimeProvider _time;
        private readonly ITimer _timer;
        private bool _isPeriodic;

        public CountedTimer(ManualTimeProvider time, TimerCallback callback, object? state)
        {
            _time = time;
            _timer = time.CreateBase(_ =>
            {
                if (!_isPeriodic)
                    Count(isArmed: false);
                callback(state);
            });
        }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            _isPeriodic = period > TimeSpan.Zero;
            Count(isArmed: dueTime != Timeout.InfiniteTimeSpan);
            return _timer.Change(dueTime, period);
        }

        public void Dispose()
        {
            Count(isArmed: false);
            _timer.Dispose();
        }

        public ValueTask DisposeAsync()
        {
            Count(isArmed: false);
            return _timer.DisposeAsync();
        }

        private void Count(bool isArmed)
        {
            lock (_time._armed)
            {
                if (isArmed)
                    _time._armed.Add(this);
                else
                    _time._armed.Remove(this);
            }
        }
    }
}
