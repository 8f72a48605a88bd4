namespace Aglow.Tests;

public sealed class TurnPaceTests
{
    private static readonly TimeSpan GatherFor = TimeSpan.FromMilliseconds(2);

    [Theory]
    [InlineData(100, 0)]
    [InlineData(10_000, 2)]
    public void Few_commands_never_wait_and_many_get_a_turn_in_each_interval(int commandsPerSecond, double longestWait)
    {
        var (pace, now, turns, longest) = (new TurnPace(GatherFor), TimeSpan.Zero, 0, TimeSpan.Zero);
        var pause = TimeSpan.FromSeconds(1.0 / commandsPerSecond);
        for (var next = pause; next < TimeSpan.FromSeconds(10); turns++)
        {
            now = now > next ? now : next;
            var wait = pace.NextAt - now;
            if (wait > TimeSpan.Zero)
                now += wait;
            longest = wait > longest ? wait : longest;
            pace.Turned(now);
            // a turn handles all commands that came meanwhile
            for (; next <= now; next += pause)
            {
            }
        }

        longest.TotalMilliseconds.ShouldBeLessThanOrEqualTo(longestWait);
        turns.ShouldBeLessThanOrEqualTo((10_000 / 2) + TurnPace.AtOnce);
    }

    [Fact]
    public void Some_turns_follow_each_other_at_once_after_a_quiet_moment()
    {
        var pace = new TurnPace(GatherFor);
        foreach (var quiet in new[] { 1, 2, 3 }.Select(static s => TimeSpan.FromSeconds(s)))
        {
            for (var i = 0; i < TurnPace.AtOnce; i++)
            {
                pace.NextAt.ShouldBeLessThanOrEqualTo(quiet);
                pace.Turned(quiet);
            }

            pace.NextAt.ShouldBe(quiet + GatherFor);
        }
    }
}
