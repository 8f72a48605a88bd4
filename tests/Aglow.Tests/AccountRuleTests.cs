namespace Aglow.Tests;

public class AccountRuleTests
{
    private const uint Now = 200_000_000;

    private static readonly Definitions All = new(new AglowOptions());

    [Theory]
    [InlineData("chat")]
    [InlineData("active")]
    [InlineData("reachable")]
    public void A_disabled_user_is_offline_under_every_definition(string definition)
    {
        var claims = new Claims();
        claims.Set(7, [new Claim(Claim.UserSource, ClaimStatus.Busy)], Now);
        claims.Disable(7, Now - 5);
        Shown(claims, definition).ShouldBe((PresenceStatus.Offline, Now - 5));
        claims.Enable(7);
        Shown(claims, definition).ShouldBe((PresenceStatus.Busy, Now));
    }

    [Fact]
    public void What_a_disabled_user_chose_is_theirs_again_when_they_are_enabled()
    {
        var claims = new Claims();
        claims.Disable(7, Now);
        claims.Set(7, [new Claim(Claim.UserSource, ClaimStatus.Away)], Now);
        claims.ChosenBy(7, Now).ShouldBe(ClaimStatus.Away);
        claims.Of(7, Now).Status.ShouldBe(ClaimStatus.Hidden);
        claims.Users.ShouldBe([7u]);
        claims.Enable(7);
        claims.Of(7, Now).Status.ShouldBe(ClaimStatus.Away);
        claims.IsNobodyHidden.ShouldBeTrue();
    }

    [Fact]
    public async Task Claims_are_counted_right_while_others_are_dropped_because_they_have_ended()
    {
        var claims = new Claims();
        using var done = new CancellationTokenSource();
        var another = Task.Run(() =>
        {
            for (var i = 0u; !done.IsCancellationRequested; i++)
                claims.Set(1, [Until(1 + (i % 2))], now: 0);
        });
        const uint Seconds = 400_000;
        // each claim has ended when the next user's is set, so they are dropped a thousand at a time
        for (var second = 2u; second < Seconds; second++)
            claims.Set(100 + second, [Until(second + 1)], second);
        await done.CancelAsync();
        await another;
        foreach (var user in claims.Users.ToArray())
            claims.Set(user, [], Seconds);
        claims.IsEmpty.ShouldBeTrue();

        static Claim Until(uint second) => new(Claim.UserSource, ClaimStatus.Busy, StatusDetails.Of(null, null, second));
    }

    [Theory]
    [InlineData(99L, true)]
    [InlineData(100L, true)]
    [InlineData(101L, false)]
    [InlineData(null, true)]
    public void A_revocation_refuses_what_was_issued_until_then(long? issuedAt, bool isRefused)
    {
        new Account(RevokedAt: 100).Revokes(issuedAt).ShouldBe(isRefused);
        Account.Default.Revokes(issuedAt).ShouldBeFalse();
    }

    private static (PresenceStatus, uint) Shown(Claims claims, string definition)
    {
        var shown = Presence.Of(Now, Now, claims.Of(7, Now), All.Find(definition)!, new Moment(Now, Now), 300);
        return (shown.Status, shown.LastSeen);
    }
}
