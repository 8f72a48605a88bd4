using Aglow.Model;
using Aglow.Storage;
using Aglow.Sweeping;

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

    [Fact]
    public void Time_does_not_go_back_across_a_restart()
    {
        var clock = new Clock(_time, _guard, notBefore: _time.Second + 100);
        clock.Now.ShouldBe(_time.Second + 100);
    }

    [Theory]
    [InlineData(3600)]
    [InlineData(-3600)]
    public void A_wall_clock_that_is_set_is_followed_by_one_second_in_twenty(int step)
    {
        var clock = new Clock(_time, _guard);
        var start = clock.Now;
        _time.StepWallClock(TimeSpan.FromSeconds(step));
        Beat(clock, TimeSpan.FromSeconds(100));
        ((long)clock.Now - start).ShouldBeInRange(step > 0 ? 104 : 94, step > 0 ? 105 : 95);
        // the second of a beat is never earlier than that of the one before
        var last = clock.Now;
        for (var i = 0; i < 100; i++)
        {
            Beat(clock, TimeSpan.FromMilliseconds(100));
            clock.Now.ShouldBeGreaterThanOrEqualTo(last);
            last = clock.Now;
        }
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
    public void Time_does_not_go_back_after_a_pause_in_which_the_wall_clock_was_set_back()
    {
        var clock = new Clock(_time, _guard);
        Beat(clock, TimeSpan.FromSeconds(1));
        _time.StepWallClock(TimeSpan.FromMinutes(-30));
        _time.Advance(TimeSpan.FromSeconds(40));
        var last = clock.Now;
        for (var i = 0; i < 3000; i++)
        {
            if (i % 10 == 0)
                clock.Beat();
            clock.Now.ShouldBeGreaterThanOrEqualTo(last);
            last = clock.Now;
            _time.Advance(TimeSpan.FromMilliseconds(10));
        }
    }

    [Fact]
    public void A_small_step_is_absorbed_and_no_more()
    {
        var clock = new Clock(_time, _guard);
        _time.StepWallClock(TimeSpan.FromSeconds(2));
        Beat(clock, TimeSpan.FromSeconds(60));
        clock.WallAheadSeconds.ShouldBe(0, 0.01);
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
        // the store's clock was set forth by ten seconds: followed by one second in twenty
        clock.Follow(1070, _time.GetTimestamp());
        Beat(clock, TimeSpan.FromSeconds(60));
        clock.Now.ShouldBeInRange(1122u, 1124u);
        Beat(clock, TimeSpan.FromSeconds(200));
        // from below, ever closer
        clock.Now.ShouldBeInRange(1329u, 1330u);
    }

    private void Beat(Clock clock, TimeSpan during)
    {
        for (var passed = TimeSpan.Zero; passed < during; passed += TimeSpan.FromMilliseconds(100))
        {
            _time.Advance(TimeSpan.FromMilliseconds(100));
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
        _guard.IsInForce(1080).ShouldBeTrue();
        _guard.HeldAt(1081).ShouldBe(1081u);
        _guard.IsInForce(1081).ShouldBeFalse();
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
    public void A_stall_after_the_hold_begins_anew()
    {
        _guard.Stalled(1000, 1060);
        _guard.Stalled(1200, 1210);
        _guard.HeldAt(1210).ShouldBe(1200u);
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
