namespace Aglow.Tests;

public class ClockTests
{
    private readonly ManualTimeProvider _time = new();
    private readonly StallGuard _guard = new(20);

    [Fact]
    public void Time_starts_at_the_wall_clock_and_goes_on_without_it()
    {
        var clock = new Clock(_time, _guard);
        var start = clock.Now;
        start.ShouldBe(_time.Second);
        _time.StepWallClock(TimeSpan.FromHours(-1));
        clock.Now.ShouldBe(start);
        _time.Advance(TimeSpan.FromSeconds(7));
        clock.Now.ShouldBe(start + 7);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 1)]
    // if the last run ended further ahead, the clock was set back since
    [InlineData(100, 0)]
    public void Time_goes_on_where_the_last_run_ended_if_that_is_within_a_second(uint lastAliveIn, uint startsIn)
    {
        var clock = new Clock(_time, _guard, lastAlive: _time.Second + lastAliveIn);
        clock.Now.ShouldBe(_time.Second + startsIn);
    }

    [Theory]
    [InlineData(0.9)]
    [InlineData(-0.9)]
    public void A_small_error_is_followed_by_one_second_in_twenty_and_time_never_goes_back(double error)
    {
        var clock = new Clock(_time, _guard);
        _time.StepWallClock(TimeSpan.FromSeconds(error));
        Beat(clock, TimeSpan.FromSeconds(10));
        clock.ErrorSeconds.ShouldBe(error - (Math.Sign(error) * 0.5), 0.02);
        var last = clock.Now;
        for (var i = 0; i < 3000; i++)
        {
            if (i % 10 == 0)
                clock.Beat();
            clock.Now.ShouldBeGreaterThanOrEqualTo(last);
            last = clock.Now;
            _time.Advance(TimeSpan.FromMilliseconds(10));
        }

        clock.ErrorSeconds.ShouldBe(0, 0.01);
        clock.Steps.ShouldBe(0);
        _guard.Stalls.ShouldBe(0);
    }

    [Theory]
    [InlineData(7_200)]
    [InlineData(-7_200)]
    [InlineData(8 * 3_600)]
    [InlineData(-10 * 365 * 86_400)]
    [InlineData(1.5)]
    [InlineData(-1.5)]
    public void A_larger_one_is_adopted_at_the_next_beat_under_the_guard(double error)
    {
        var time = new ManualTimeProvider(new DateTimeOffset(2036, 1, 1, 0, 0, 0, TimeSpan.Zero));
        var clock = new Clock(time, _guard);
        var steps = new List<(uint From, uint To)>();
        clock.Stepped += (from, to) => steps.Add((from, to));
        Beat(clock, time, TimeSpan.FromSeconds(1));
        var before = clock.Now;
        time.StepWallClock(TimeSpan.FromSeconds(error));
        clock.ErrorSeconds.ShouldBe(error, 0.01);
        Beat(clock, time, TimeSpan.FromMilliseconds(100));

        clock.ErrorSeconds.ShouldBe(0, 0.01);
        clock.WallAheadSeconds.ShouldBe(0, 0.01);
        clock.Now.ShouldBe(time.Second);
        clock.Steps.ShouldBe(1);
        steps.ShouldBe([(before, clock.Now)]);
        var held = Math.Min(before, clock.Now);
        clock.Moment.HeldAt.ShouldBe(held);
        Beat(clock, time, TimeSpan.FromSeconds(19));
        clock.Moment.HeldAt.ShouldBe(held);
        Beat(clock, time, TimeSpan.FromSeconds(3));
        clock.Moment.ShouldBe(Moment.At(time.Second));
    }

    [Fact]
    public void A_step_that_is_taken_back_leaves_no_guard_for_as_long()
    {
        var clock = new Clock(_time, _guard);
        var start = clock.Now;
        _time.StepWallClock(TimeSpan.FromHours(2));
        Beat(clock, TimeSpan.FromSeconds(5));
        _time.StepWallClock(TimeSpan.FromHours(-2));
        Beat(clock, TimeSpan.FromSeconds(1));
        // the guard of the first step stays in force
        clock.ErrorSeconds.ShouldBe(0, 0.01);
        clock.Moment.HeldAt.ShouldBe(start);
        Beat(clock, TimeSpan.FromSeconds(21));
        clock.Moment.ShouldBe(Moment.At(clock.Now));
    }

    [Fact]
    public void A_suspend_within_a_pause_is_held_from_where_the_pause_began()
    {
        var clock = new Clock(_time, _guard);
        var start = clock.Now;
        _time.StepWallClock(TimeSpan.FromHours(8));
        _time.Advance(TimeSpan.FromSeconds(5));
        clock.Beat();
        clock.Moment.ShouldBe(new Moment(start + 5 + (8 * 3600), start));
    }

    [Fact]
    public void A_second_pause_holds_what_the_first_held_also_before_it_is_noticed()
    {
        var clock = new Clock(_time, _guard);
        var start = clock.Now;
        _time.Advance(TimeSpan.FromSeconds(10));
        clock.Beat();
        Beat(clock, TimeSpan.FromSeconds(5));
        clock.Moment.HeldAt.ShouldBe(start);
        _time.Advance(TimeSpan.FromSeconds(40));
        clock.Moment.HeldAt.ShouldBe(start);
        clock.Beat();
        clock.Moment.HeldAt.ShouldBe(start);
    }

    [Fact]
    public void Beats_on_time_are_no_stall()
    {
        var clock = new Clock(_time, _guard);
        Beat(clock, TimeSpan.FromSeconds(30));
        _time.Advance(Clock.StallAfter);
        clock.Beat().ShouldBe(TimeSpan.Zero);
        _guard.Stalls.ShouldBe(0);
        clock.Moment.HeldAt.ShouldBe(clock.Moment.Now);
    }

    [Fact]
    public void A_pause_is_seen_before_the_late_beat_and_held_after_it()
    {
        var clock = new Clock(_time, _guard);
        Beat(clock, TimeSpan.FromSeconds(1));
        var paused = clock.Now;
        _time.Advance(TimeSpan.FromSeconds(45));
        clock.Moment.ShouldBe(new Moment(paused + 45, paused));
        clock.Beat().ShouldBe(TimeSpan.FromSeconds(45));
        clock.Moment.ShouldBe(new Moment(paused + 45, paused));
        Beat(clock, TimeSpan.FromSeconds(20));
        clock.Moment.HeldAt.ShouldBe(paused);
        Beat(clock, TimeSpan.FromSeconds(1));
        clock.Moment.ShouldBe(Moment.At(paused + 66));
    }

    [Fact]
    public void Where_nodes_share_a_store_its_clock_counts_and_not_the_walls()
    {
        var clock = new Clock(_time, _guard, storeSeconds: 1000);
        clock.Now.ShouldBe(1000u);
        _time.StepWallClock(TimeSpan.FromHours(1));
        Beat(clock, TimeSpan.FromSeconds(60));
        clock.Now.ShouldBe(1060u);
        clock.ErrorSeconds.ShouldBe(0, 0.01);
        clock.Steps.ShouldBe(0);
        // the store's clock was set forward by ten seconds
        clock.Follow(1070, _time.GetTimestamp());
        Beat(clock, TimeSpan.FromSeconds(1));
        clock.Now.ShouldBe(1071u);
        clock.Steps.ShouldBe(1);
    }

    private void Beat(Clock clock, TimeSpan during) => Beat(clock, _time, during);

    private static void Beat(Clock clock, ManualTimeProvider time, TimeSpan during)
    {
        for (var passed = TimeSpan.Zero; passed < during; passed += TimeSpan.FromMilliseconds(100))
        {
            time.Advance(TimeSpan.FromMilliseconds(100));
            clock.Beat();
        }
    }
}

public class StallGuardTests
{
    private readonly StallGuard _guard = new(20);

    [Fact]
    public void Without_a_stall_leases_are_counted_against_now() => _guard.HeldAt(1000).ShouldBe(1000u);

    [Fact]
    public void After_a_stall_leases_are_counted_against_its_beginning_for_the_hold()
    {
        _guard.Stalled(1000, 1060);
        _guard.HeldAt(1060).ShouldBe(1000u);
        _guard.HeldAt(1080).ShouldBe(1000u);
        _guard.HeldAt(1081).ShouldBe(1081u);
    }

    [Fact]
    public void A_second_stall_within_the_hold_keeps_the_first_ones_second()
    {
        _guard.Stalled(1000, 1060);
        _guard.Stalled(1070, 1090);
        _guard.HeldAt(1110).ShouldBe(1000u);
        _guard.HeldAt(1111).ShouldBe(1111u);
        _guard.Stalls.ShouldBe(2);
    }

    [Fact]
    public void A_stall_that_ended_earlier_and_is_reported_later_shortens_no_hold()
    {
        _guard.Stalled(1000, 1060);
        _guard.Stalled(1000, 1050);
        _guard.HeldAt(1080).ShouldBe(1000u);
        _guard.Stalled(1000, 1090, [3]);
        _guard.Stalled(1000, 1085, [4]);
        _guard.Hold(Moment.At(1110), 3).HeldAt.ShouldBe(1000u);
        _guard.Hold(Moment.At(1106), 4).HeldAt.ShouldBe(1106u);
    }

    [Fact]
    public void A_stall_after_the_hold_begins_anew()
    {
        _guard.Stalled(1000, 1060);
        _guard.Stalled(1200, 1210);
        _guard.HeldAt(1210).ShouldBe(1200u);
    }

    [Fact]
    public void A_step_back_takes_what_is_held_with_it()
    {
        _guard.Stalled(9_000, 9_010);
        _guard.Stepped(9_020, 2_020);
        _guard.HeldAt(2_020).ShouldBe(2_000u);
        _guard.HeldAt(2_040).ShouldBe(2_000u);
        _guard.HeldAt(2_041).ShouldBe(2_041u);
    }

    [Fact]
    public void A_guard_that_was_over_before_a_step_back_is_over_after_it()
    {
        _guard.Stalled(9_000, 9_010);
        _guard.Stalled(9_000, 9_010, [3]);
        _guard.Stepped(9_100, 2_100);
        _guard.Hold(Moment.At(2_130), 3).ShouldBe(Moment.At(2_130));
        _guard.HeldAt(2_130).ShouldBe(2_130u);
    }

    [Fact]
    public void A_page_that_is_held_is_held_after_a_step_back()
    {
        _guard.Stalled(9_000, 9_010, [3]);
        _guard.Stepped(9_020, 2_020);
        _guard.Hold(Moment.At(2_030), 3).HeldAt.ShouldBe(2_000u);
        _guard.Hold(Moment.At(2_030), 4).HeldAt.ShouldBe(2_030u);
        _guard.Hold(Moment.At(2_041), 3).ShouldBe(Moment.At(2_041));
    }

    [Fact]
    public void A_guard_never_counts_against_the_future()
    {
        _guard.Stalled(1000, 1060);
        _guard.HeldAt(990).ShouldBe(990u);
    }

    [Fact]
    public void A_page_that_stalled_twice_is_held_from_the_first()
    {
        var guard = new StallGuard(20);
        guard.Stalled(100, 110, [3]);
        guard.Stalled(115, 120, [3]);
        guard.Hold(Moment.At(125), 3).ShouldBe(new Moment(125, 100));
        guard.Hold(Moment.At(125), 4).ShouldBe(Moment.At(125));
        guard.Hold(Moment.At(141), 3).ShouldBe(Moment.At(141));
    }
}
