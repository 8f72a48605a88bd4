using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Tests;

/// <summary>Compares <see cref="EffectiveClaim.Of"/> with a simple model: a sorted list of all claims.</summary>
public class ClaimRuleTests
{
    private const uint Now = 200_000_000;

    private static readonly Definitions All = new(new AglowOptions());

    private static Arbitrary<int> Seeds => Gen.Choose(0, int.MaxValue - 1).ToArbitrary();

    [Fact]
    public void The_effective_claim_is_what_a_list_on_paper_says() =>
        Prop.ForAll(Seeds, CompareWithPaper).Check(Config.QuickThrowOnFailure.WithMaxTest(2000));

    /// <summary>If the effective claim changes by itself, the rule has announced the second of that change.</summary>
    [Fact]
    public void A_change_comes_at_the_second_that_was_announced() =>
        Prop.ForAll(Seeds, CompareWithAnnounced).Check(Config.QuickThrowOnFailure.WithMaxTest(20));

    private static void CompareWithPaper(int seed)
    {
        var random = new Random(seed);
        Claim[] claims =
        [
            .. Enumerable.Range(0, random.Next(9)).Select(i => new Claim(
                $"{i}",
                (ClaimStatus)random.Next(5),
                StatusDetails.Of(random.Next(2) == 0 ? null : $"text {i}", null, random.Next(2) == 0 ? 0 : Now + (uint)random.Next(20)),
                random.Next(3),
                random.Next(4),
                Now - (uint)random.Next(5))),
        ];
        for (var now = Now; now < Now + 20; now++)
        {
            var there = claims.Where(claim => claim.Details is not { Until: > 0 and var until } || until > now).ToList();
            var hidden = there.Where(static claim => claim.Status == ClaimStatus.Hidden).ToList();
            var first = (hidden.Count > 0 ? hidden : there)
                .OrderByDescending(static claim => claim.Priority)
                    .ThenByDescending(static claim => claim.SetAt)
                    .ThenBy(static claim => claim.Source, StringComparer.Ordinal)
                    .FirstOrDefault();
            var shuffled = claims.ToArray();
            random.Shuffle(shuffled);

            var effective = EffectiveClaim.Of(shuffled, now);

            effective.Claim.ShouldBe(first);
            effective.Status.ShouldBe(first?.Status ?? ClaimStatus.Auto);
            effective.ShownLastSeen.ShouldBe(hidden.Count > 0 ? first!.ShownLastSeen : 0);
        }
    }

    private static void CompareWithAnnounced(int seed)
    {
        var random = new Random(seed);
        var claims = new Claims();
        Claim[] all =
        [
            .. Enumerable.Range(0, random.Next(1, 4)).Select(
                i => new Claim(
                    $"{i}",
                    (ClaimStatus)random.Next(5),
                    StatusDetails.Of(null, null, Now + 1 + (uint)random.Next(4000)),
                    random.Next(2))),
            Claim.Quiet(
                QuietHours.TryParse(
                    $"mon,tue,wed,thu,fri,sat,sun 0{random.Next(10)}:{random.Next(10, 60)} 1{random.Next(10)}:{random.Next(10, 60)} UTC")!),
        ];
        claims.Set(7, all, Now);
        var next = claims.ChangeAfter(7, Now);
        var before = claims.Of(7, Now);
        for (var now = Now + 1; now < Now + 90_000; now++)
        {
            var after = claims.Of(7, now);
            if (now < next)
                after.ShouldBe(before);
            else
                next = claims.ChangeAfter(7, now);
            before = after;
        }
    }

    [Theory]
    [InlineData(ClaimStatus.Auto, PresenceStatus.Online)]
    [InlineData(ClaimStatus.Online, PresenceStatus.Online)]
    [InlineData(ClaimStatus.Away, PresenceStatus.Away)]
    [InlineData(ClaimStatus.Busy, PresenceStatus.Busy)]
    [InlineData(ClaimStatus.Hidden, PresenceStatus.Offline)]
    public void What_is_said_is_shown_while_the_user_is_online(ClaimStatus status, PresenceStatus shown)
    {
        var details = new StatusDetails("In a call", "📞", Now + 5);
        var claim = EffectiveClaim.Of([new Claim("call", status, details, ShownLastSeen: Now - 3)], Now);
        Show(Now, claim).ShouldBe(shown == PresenceStatus.Offline
            ? new Presence(shown, Now - 3, ActiveAt: 0)
            : new Presence(shown, Now, ActiveAt: 0, Details: details));
        // a user who hides looks like a user who left
        Show((Now - 3) | Pulse.LeftBit, claim).ShouldBe(new Presence(PresenceStatus.Offline, Now - 3));
    }

    [Fact]
    public void Nobody_is_away_for_what_they_did_before_a_claim_that_hid_them_ended()
    {
        Claim[] claims = [new(Claim.UserSource, ClaimStatus.Hidden, new StatusDetails(null, null, Now - 5))];
        var claim = EffectiveClaim.Of(claims, Now);
        Show(Now, claim, activity: Now - 1000).Status.ShouldBe(PresenceStatus.Online);
        Show(Now, EffectiveClaim.None, activity: Now - 1000).Status.ShouldBe(PresenceStatus.Away);
        var later = new Moment(Now + 1000, Now + 1000);
        Presence.Of(Now + 1000, Now, claim, All.Default, later, 300).Status.ShouldBe(
            PresenceStatus.Away, "active since, and idle for long");
    }

    [Fact]
    public void Ended_claims_give_their_memory_back()
    {
        var claims = new Claims();
        for (var user = 0u; user < 5000; user++)
            claims.Set(user, [new Claim("call", ClaimStatus.Busy, new StatusDetails(null, null, Now + 10))], Now);
        claims.Set(1, [new Claim("call", ClaimStatus.Hidden, new StatusDetails(null, null, Now + 10))], Now);
        for (var user = 5000u; user < 20_000; user++)
            claims.Set(user, [new Claim("call", ClaimStatus.Busy, new StatusDetails(null, null, Now + 20))], Now + 15);
        claims.Users.ShouldContain(1u, "it says since when they are shown");
        claims.Users.ShouldNotContain(2u);
        claims.Of(5000, Now + 15).Status.ShouldBe(ClaimStatus.Busy);
    }

    private static Presence Show(uint pulse, EffectiveClaim claim, uint activity = 0) =>
        Presence.Of(pulse, activity, claim, All.Default, Moment.At(Now), 300);
}
