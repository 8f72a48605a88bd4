namespace Aglow.Client.Tests;

public class JitterTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 2)]
    [InlineData(4, 16)]
    [InlineData(5, 30)]
    [InlineData(2_000_000_000, 30)]
    public void Waits_are_drawn_evenly_from_nothing_to_a_ceiling_that_doubles(int attempt, int ceilingSeconds)
    {
        var random = new Random(42);
        var waits = Enumerable.Range(0, 10_000)
            .Select(_ => Jitter.Retry(attempt, Second, 30 * Second, random) / (ceilingSeconds * Second))
            .Order()
            .ToArray();
        waits[0].ShouldBeInRange(0, 0.01);
        waits[^1].ShouldBeInRange(0.99, 1);
        // each tenth of the span has about a tenth of the waits
        for (var tenth = 1; tenth < 10; tenth++)
            waits[tenth * 1000].ShouldBe(tenth / 10.0, 0.02);
    }

    [Fact]
    public void A_heartbeat_is_never_later_than_the_server_asked_for_and_at_most_a_tenth_earlier()
    {
        var random = new Random(42);
        var waits = Enumerable.Range(0, 10_000).Select(_ => Jitter.Heartbeat(10 * Second, random)).Order().ToArray();
        waits[0].ShouldBeInRange(9 * Second, 9.01 * Second);
        waits[^1].ShouldBeInRange(9.99 * Second, 10 * Second);
        waits.Distinct().Count().ShouldBeGreaterThan(9_000);
    }
}
