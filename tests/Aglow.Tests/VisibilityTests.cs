namespace Aglow.Tests;

/// <summary>The rule that decides what each viewer sees of each user.</summary>
public class VisibilityTests
{
    private const uint Ann = 1, Bob = 2;

    private static readonly Presence Online = new(PresenceStatus.Online, 1_000_000);

    private static Visibility Shows(
        OnlineVisibility online = default, LastSeenVisibility lastSeen = default, uint[]? approved = null, uint[]? blocked = null) =>
        new() { Online = online, LastSeen = lastSeen, Approved = approved ?? [], Blocked = blocked ?? [] };

    [Theory]
    [InlineData(0)]
    [InlineData(1_000_001)]
    public void A_limit_of_approvals_and_blocks_out_of_bounds_is_one_clear_line(int limit) =>
        new AglowOptions { RelationLimit = limit }.Validate().ShouldBe([$"relation-limit is {limit}: set it from 1 to 1000000."]);

    [Theory]
    [InlineData(OnlineVisibility.Everyone, false, false, true)]
    [InlineData(OnlineVisibility.Everyone, false, true, false)]
    [InlineData(OnlineVisibility.FollowersApproved, false, false, false)]
    [InlineData(OnlineVisibility.FollowersApproved, true, false, true)]
    [InlineData(OnlineVisibility.FollowersApproved, true, true, false)]
    [InlineData(OnlineVisibility.Nobody, true, false, false)]
    public void Being_online_is_seen_by_who_may(OnlineVisibility online, bool isApproved, bool isBlocked, bool isSeen)
    {
        using var all = new Visibilities(isReciprocal: false);
        all.Set(Ann, Shows(online, approved: isApproved ? [Bob] : [], blocked: isBlocked ? [Bob] : []));
        all.Show(Bob, Ann, Online, 1_000_000).ShouldBe(isSeen ? Online : default);
        all.Show(Ann, Ann, Online, 1_000_000).ShouldBe(Online, "of oneself one sees everything");
        all.Show(UserId.Nobody, Ann, Online, 1_000_000)
            .ShouldBe(online == OnlineVisibility.Everyone ? Online : default, "a stranger is nobody's follower, and blocked by nobody");
        all.IsShownToEveryone(Ann).ShouldBe(online == OnlineVisibility.Everyone);
    }

    [Theory]
    [InlineData(0, LastSeenAbout.Recently)]
    [InlineData(3 * 86_400, LastSeenAbout.Recently)]
    [InlineData((3 * 86_400) + 1, LastSeenAbout.ThisWeek)]
    [InlineData(7 * 86_400, LastSeenAbout.ThisWeek)]
    [InlineData((7 * 86_400) + 1, LastSeenAbout.ThisMonth)]
    [InlineData(30 * 86_400, LastSeenAbout.ThisMonth)]
    [InlineData((30 * 86_400) + 1, LastSeenAbout.LongAgo)]
    public void Coarse_is_days(int ago, LastSeenAbout about)
    {
        using var all = new Visibilities(isReciprocal: false);
        all.Set(Ann, Shows(lastSeen: LastSeenVisibility.Coarse));
        all.Show(Bob, Ann, new Presence(PresenceStatus.Offline, 1_000_000), (ulong)(1_000_000 + ago))
            .ShouldBe(new Presence(PresenceStatus.Offline, 0, about));
        all.Show(Bob, Ann, default, 1_000_000).ShouldBe(default, "who was never seen was not seen long ago");
    }

    [Fact]
    public void Where_it_is_reciprocal_nobody_sees_more_than_they_show()
    {
        using var all = new Visibilities(isReciprocal: true);
        all.Set(Bob, Shows(lastSeen: LastSeenVisibility.Hidden));
        all.Between(Bob, Ann).ShouldBe(Sight.StatusOnly);
        all.Set(Bob, Shows(OnlineVisibility.Nobody));
        all.Between(Bob, Ann).ShouldBe(Sight.Nothing);
        all.Set(Bob, Shows(OnlineVisibility.FollowersApproved, approved: [Ann]));
        all.Between(Bob, Ann).ShouldBe(Sight.All);
        all.Set(Bob, Shows(blocked: [Ann]));
        all.Between(Bob, Ann).ShouldBe(Sight.Nothing);
    }

    [Fact]
    public void Counts_are_of_who_shows_it_to_everyone()
    {
        using var all = new Visibilities(isReciprocal: false);
        using var online = new UserBits();
        foreach (var user in new uint[] { 1, 2, 3, 70_000, 3_000_000_000 })
            online.Set(user, present: true);
        all.CountNotToEveryone(online).ShouldBe(0);
        all.Set(2, Shows(OnlineVisibility.Nobody));
        all.Set(3, Shows(lastSeen: LastSeenVisibility.Hidden));
        all.Set(9, Shows(OnlineVisibility.Nobody));
        all.Set(3_000_000_000, Shows(OnlineVisibility.FollowersApproved));
        all.CountNotToEveryone(online).ShouldBe(2);
    }

    [Fact]
    public void What_is_set_back_is_forgotten_and_what_others_said_stays()
    {
        using var all = new Visibilities(isReciprocal: false);
        all.IsEmpty.ShouldBeTrue();
        all.Set(Ann, Visibility.Default).ShouldBeFalse();
        all.Set(Ann, Shows(approved: [Bob, 5], blocked: [3])).ShouldBeTrue();
        all.Set(Ann, Shows(approved: [Bob, 5], blocked: [3])).ShouldBeFalse();
        all.Set(Bob, Shows(OnlineVisibility.Nobody));
        all.Set(Bob, Visibility.Default);
        all.Of(Ann).Approved.ShouldBe([5u, Bob], ignoreOrder: true);
        all.IsShownToEveryone(Bob).ShouldBeTrue();
        all.Users.ShouldBe([Ann]);
        all.Set(Ann, Visibility.Default).ShouldBeTrue();
        all.IsEmpty.ShouldBeTrue();
    }

    [Fact]
    public void A_presence_is_24_bytes() => System.Runtime.CompilerServices.Unsafe.SizeOf<Presence>().ShouldBe(24);
}
