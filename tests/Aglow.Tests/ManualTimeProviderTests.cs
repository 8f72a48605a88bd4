namespace Aglow.Tests;

public class ManualTimeProviderTests
{
    private static TimeSpan Second => TimeSpan.FromSeconds(1);

    private readonly ManualTimeProvider _time = new();

    [Fact]
    public void Timers_fire_in_order_at_their_own_time()
    {
        var fired = new List<(string Name, double At)>();
        var start = _time.GetTimestamp();
        void Note(object? name) => fired.Add(((string)name!, _time.GetElapsedTime(start).TotalSeconds));
        using var every = _time.CreateTimer(Note, "every", Second, 2 * Second);
        using var once = _time.CreateTimer(Note, "once", 2 * Second, Timeout.InfiniteTimeSpan);

        _time.Advance(3.5 * Second);

        fired.ShouldBe([("every", 1), ("once", 2), ("every", 3)]);
        _time.GetElapsedTime(start).ShouldBe(3.5 * Second);
        _time.ArmedTimers.ShouldBe(1);
    }

    [Fact]
    public void The_wall_clock_steps_without_moving_monotonic_time()
    {
        var (wall, stamp) = (_time.GetUtcNow(), _time.GetTimestamp());
        _time.StepWallClock(-60 * Second);
        _time.GetUtcNow().ShouldBe(wall - (60 * Second));
        _time.GetTimestamp().ShouldBe(stamp);
    }
}
