namespace Aglow.Tests;

public class BeatPaceTests
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(20);

    private readonly BeatPace _pace = new(Interval);

    private int Take(double milliseconds) => _pace.Take(TimeSpan.FromMilliseconds(milliseconds));

    [Fact]
    public void Each_interval_has_one_beat_even_if_timers_fire_a_little_early_or_late()
    {
        // as timers fire: up to 1 ms early, a few late
        var beats = 0;
        for (var i = 1; i <= 1000; i++)
            beats += Take((20 * i) + (i % 4 == 0 ? 3.7 : -0.9));
        beats.ShouldBe(1000);
        Take(20_010).ShouldBe(0);
    }

    [Fact]
    public void Beats_that_were_missed_follow_but_no_more_than_five()
    {
        Take(70).ShouldBe(3);
        Take(81).ShouldBe(1);
        Take(5000).ShouldBe(BeatPace.AtOnce);
        Take(5010).ShouldBe(0, "the others are left out");
        Take(5020).ShouldBe(1);
    }

    [Fact]
    public void The_loop_sleeps_longer_after_five_idle_beats_and_until_something_happens()
    {
        for (var i = 0; i < BeatPace.AtOnce; i++)
        {
            _pace.Sleep.ShouldBe(Interval);
            _pace.Passed(1, isIdle: true);
        }

        _pace.Sleep.ShouldBe(5 * Interval);
        _pace.Passed(5, isIdle: true);
        _pace.Sleep.ShouldBe(5 * Interval);
        _pace.Passed(0, isIdle: false);
        _pace.Sleep.ShouldBe(Interval, "a command came");
        _pace.Passed(0, isIdle: true);
        _pace.Sleep.ShouldBe(Interval, "that step had no beat");
    }

    [Fact]
    public void A_node_that_changes_between_idle_and_busy_has_as_many_beats_as_intervals()
    {
        var (now, beats) = (0.0, 0);
        for (var round = 0; round < 500; round++)
        {
            // idle for a while, then a command in the middle of the sleep
            for (var i = 0; i < 7; i++)
            {
                now += _pace.Sleep.TotalMilliseconds;
                var due = Take(now);
                beats += due;
                _pace.Passed(due, isIdle: true);
            }

            now += 47;
            var some = Take(now);
            beats += some;
            _pace.Passed(some, isIdle: false);
        }

        beats.ShouldBeInRange((int)(now / 20) - 1, (int)(now / 20) + 1);
    }
}
