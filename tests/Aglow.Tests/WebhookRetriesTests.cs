using Aglow.Changes.Webhooks;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Tests;

public class WebhookRetriesTests
{
    private const long Began = 1_763_763_300;
    private const long Day = 24 * 3600;

    [Fact]
    public void The_wait_is_a_sixth_of_the_time_that_the_receiver_fails_with_jitter_and_within_bounds()
    {
        var sample =
            from failing in Gen.Frequency((1, Gen.Choose(0, 60)), (1, Gen.Choose(0, 3600)), (1, Gen.Choose(0, (int)Day)))
            from luck in Gen.Choose(0, 1000)
            select (Failing: failing, Luck: luck / 1000.0);
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(1000), Prop.ForAll(Arb.From(sample), s =>
        {
            var rule = Math.Clamp(s.Failing / 6.0, 1, 600);
            var wait = WebhookRetries.WaitAt(Began + s.Failing, Began, null, s.Luck).TotalSeconds;
            wait.ShouldBe(rule * (0.5 + (s.Luck / 2)), 1e-6);
            wait.ShouldBeInRange((rule / 2) - 1e-6, rule + 1e-6);
        }));
    }

    [Theory]
    [InlineData(0, 5, 5)]
    [InlineData(0, 0, 0.5)]
    [InlineData(0, -7, 0.5)]
    [InlineData(3600, 5, 300)]
    [InlineData(3600, 400, 400)]
    [InlineData(0, 86_400, 600)]
    public void A_receiver_may_ask_for_a_longer_wait_and_for_ten_minutes_at_most(int failing, int asked, double seconds) =>
        WebhookRetries.WaitAt(Began + failing, Began, TimeSpan.FromSeconds(asked), luck: 0).TotalSeconds.ShouldBe(seconds);

    [Theory]
    [InlineData(0)]
    [InlineData(0.5)]
    [InlineData(1)]
    public void A_receiver_that_was_down_hears_again_within_a_sixth_of_that_time_after_few_attempts(double luck)
    {
        foreach (var down in new[] { 1.0, 10, 60, 120, 600, 3600, Day })
        {
            var (at, attempts) = (0.0, 1);
            for (; at < down; attempts++)
                at += WebhookRetries.WaitAt(Began + (long)at, Began, null, luck).TotalSeconds;
            (at - down).ShouldBeLessThanOrEqualTo(Math.Clamp(down / 6, 1, 600), $"down for {down} s");
            attempts.ShouldBeLessThan(400, $"down for {down} s");
        }
    }

    [Fact]
    public void A_clock_that_was_set_back_makes_no_wait_longer_than_the_shortest() =>
        WebhookRetries.WaitAt(Began - 3600, Began, null, luck: 1).ShouldBe(WebhookRetries.Shortest);
}
