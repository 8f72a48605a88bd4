using System.Text.Json;

namespace Aglow.Swarm.Tests;

/// <summary>What is drawn before a run.</summary>
public class PlanTests
{
    [Fact]
    public void The_same_seed_is_the_same_plan()
    {
        Json(Plan.Draw(300, 120, 3, seed: 7)).ShouldBe(Json(Plan.Draw(300, 120, 3, seed: 7)));
        Json(Plan.Draw(300, 120, 3, seed: 7)).ShouldNotBe(Json(Plan.Draw(300, 120, 3, seed: 8)));
    }

    [Fact]
    public void Everything_that_happens_to_people_happens()
    {
        var people = Plan.Draw(2000, 300, 3, seed: 1);
        var sessions = people.SelectMany(static p => p.Sessions).SelectMany(static s => s).ToArray();
        foreach (var ending in Enum.GetValues<Ending>())
            sessions.ShouldContain(s => s.Ending == ending);
        sessions.ShouldContain(static s => s.IsSocket);
        sessions.ShouldContain(static s => !s.IsSocket);
        sessions.ShouldContain(static s => s.IsBackground);
        sessions.ShouldContain(static s => s.Number == 2);
        sessions.ShouldContain(static s => s.Outages.Any(o => o.Node != s.Node));
        sessions.SelectMany(static s => s.Outages).Where(static o => o.Seconds >= 5).ShouldNotBeEmpty();
        sessions.SelectMany(static s => s.Outages).ShouldAllBe(static o => o.Seconds <= 60);
    }

    [Fact]
    public void Celebrities_are_followed_by_many_and_nobody_by_themselves()
    {
        var people = Plan.Draw(2000, 60, 1, seed: 1);
        people.ShouldAllBe(static p => !p.Follows.Contains(p.Person));
        var followers = people.SelectMany(static p => p.Follows).CountBy(static f => f).ToDictionary();
        followers[0].ShouldBeGreaterThan(20 * followers.GetValueOrDefault(1900, 1));
    }

    [Fact]
    public void Sockets_stay_within_what_a_process_may_open() =>
        Plan.Draw(40_000, 30, 1, seed: 1).SelectMany(
            static p => p.Sessions.SelectMany(static s => s).Where(static d => d.IsSocket).Select(d => (p.Person, d.Number)))
            .Distinct().Count().ShouldBeLessThanOrEqualTo(Plan.MaxSockets);

    [Fact]
    public void A_quantile_is_within_its_step()
    {
        var latencies = new Latencies();
        for (var ms = 1; ms <= 1000; ms++)
            latencies.Add(ms / 1000.0);
        latencies.Quantile(0.5).ShouldBe(0.5, 0.03);
        latencies.Quantile(0.99).ShouldBe(0.99, 0.06);
        latencies.Max.ShouldBe(1);
    }

    private static string Json(PersonPlan[] people) => JsonSerializer.Serialize(people);
}
