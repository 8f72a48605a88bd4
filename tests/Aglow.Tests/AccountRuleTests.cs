using Aglow.Model;
using Aglow.Users;

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
        var statuses = new ManualStatuses();
        statuses.Set(7, new ManualStatus(ManualStatusKind.Busy));
        statuses.Disable(7, Now - 5);
        Shown(statuses, definition).ShouldBe((PresenceStatus.Offline, Now - 5));
        statuses.Enable(7);
        Shown(statuses, definition).ShouldBe((PresenceStatus.Busy, Now));
    }

    [Fact]
    public void What_a_disabled_user_chose_is_theirs_again_when_they_are_enabled()
    {
        var statuses = new ManualStatuses();
        statuses.Disable(7, Now);
        statuses.Set(7, new ManualStatus(ManualStatusKind.Away));
        statuses.ChosenBy(7).Kind.ShouldBe(ManualStatusKind.Away);
        statuses.Of(7).Kind.ShouldBe(ManualStatusKind.Hidden);
        statuses.Users.ShouldBe([7u]);
        statuses.Enable(7);
        statuses.Of(7).Kind.ShouldBe(ManualStatusKind.Away);
        statuses.HiddenCount.ShouldBe(0);
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

    private static (PresenceStatus, uint) Shown(ManualStatuses statuses, string definition)
    {
        var shown = Presence.Of(Now, Now, statuses.Of(7), All.Find(definition)!, new Moment(Now, Now), 300);
        return (shown.Status, shown.LastSeen);
    }
}
