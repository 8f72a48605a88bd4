namespace Aglow.Swarm.Tests;

/// <summary>Which of millions of users are active at a step: the computed users are those who were sent.</summary>
public class RingTests
{
    [Theory]
    [InlineData(1000, 500, 10, 40.0)]
    [InlineData(1000, 1000, 7, 30.0)] // everybody, always
    [InlineData(997, 13, 1, 3.5)]
    [InlineData(10, 7, 3, 5.0)]
    public void A_user_was_sent_at_the_steps_that_are_computed(uint registered, uint active, int stepsAnInterval, double stepsASession)
    {
        var ring = new Ring(registered, active, stepsAnInterval, stepsASession);
        var sent = new Dictionary<uint, List<long>>();
        var users = new uint[registered];
        for (var step = 0; step < 300; step++)
        {
            foreach (var user in users.AsSpan(0, ring.Fill(step, users)))
                (sent.TryGetValue(user, out var steps) ? steps : sent[user] = []).Insert(0, step);
        }

        sent.Keys.ShouldAllBe(u => u < registered);
        for (uint user = 0; user < registered; user++)
        {
            var computed = new long[300];
            computed[..ring.StepsOf(user, 299, computed)].ShouldBe(sent.GetValueOrDefault(user) ?? []);
        }
    }

    [Fact]
    public void Each_active_user_is_sent_once_an_interval()
    {
        var ring = new Ring(200_000, 100_000, 100, stepsASession: 12_000);
        var users = new uint[1_001];
        var seen = new HashSet<uint>();
        for (var step = 0; step < 100; step++)
        {
            foreach (var user in users.AsSpan(0, ring.Fill(step, users)))
                seen.Add(user).ShouldBeTrue();
        }

        seen.Count.ShouldBeInRange(99_000, 101_000);
    }

    [Fact]
    public void Steps_are_found_far_from_the_beginning_and_among_a_billion()
    {
        var ring = new Ring(1_000_000_000, 5_000_000, 100, stepsASession: 12_000);
        var users = new uint[50_001];
        var steps = new long[2];
        const long Step = 4_000_000;
        foreach (var user in users[..ring.Fill(Step, users)].Where(static u => u % 100 == 0))
        {
            ring.StepsOf(user, Step, steps).ShouldBeGreaterThan(0);
            steps[0].ShouldBe(Step);
        }
    }
}
