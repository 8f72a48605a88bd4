using Aglow.Swarm.Claims;

namespace Aglow.Swarm.Tests;

/// <summary>The naive model of claims. Lease 30 s, bound 10 s; second 0 of the run is <see cref="Epoch"/>.</summary>
public class ClaimTests
{
    private const long Epoch = 1_800_000_000;
    private static readonly Promises Promises = new() { UnixAtZero = Epoch };
    private static readonly Claim Busy = new("user", "busy", "Lunch", null, null, 0);
    private static readonly Claim Call = new("call", "busy", "In a call", "📞", null, 1);
    private static readonly Claim Hidden = new("user", "offline", null, null, null, 0);

    [Fact]
    public void Before_and_after_a_change_are_possible_while_other_nodes_may_not_know_it()
    {
        var book = Of((100, 101, Busy));
        book.ShownIn(99, 99).ShouldBe([null]);
        book.ShownIn(100.5, 100.5).ShouldBe([null, Busy], ignoreOrder: true);
        book.ShownIn(110, 110).ShouldBe([null, Busy], ignoreOrder: true);
        book.ShownIn(111, 112).ShouldBe([Busy]);
    }

    [Fact]
    public void The_highest_priority_is_shown_then_the_newest_and_what_hides_before_all()
    {
        Of((100, 100, Call), (120, 120, Busy)).ShownIn(140, 140).ShouldBe([Call]);
        Of((100, 100, Call with { Priority = 0 }), (120, 120, Busy)).ShownIn(140, 140).ShouldBe([Busy]);
        Of((100, 100, Hidden), (120, 120, Call)).ShownIn(140, 140).ShouldBe([Hidden]);
    }

    [Fact]
    public void What_is_beneath_a_claim_that_ended_is_shown_again()
    {
        var book = Of((100, 100, Busy), (120, 120, Call with { Until = Epoch + 150 }));
        book.ShownIn(147, 147).Count.ShouldBe(1);
        book.ShownIn(150, 150).Count.ShouldBe(2);
        book.ShownIn(153, 153).ShouldBe([Busy]);
    }

    [Theory]
    [InlineData("busy", "Lunch", null)]
    [InlineData("busy", "Dinner", ViolationKind.NeverTrue)]
    [InlineData("online", null, ViolationKind.NeverTrue)]
    [InlineData("offline", null, ViolationKind.FalseOffline)]
    public void A_record_shows_what_was_claimed(string status, string? text, object? expected) =>
        Judged(Of((100, 100, Busy)), 120, new ServerRecord(status != "offline", status, Epoch + 119) { Text = text })
            .ShouldBe((ViolationKind?)expected);

    [Theory]
    [InlineData(115, ViolationKind.GhostOnline)]
    [InlineData(105, null)] // another node may not know yet
    public void Who_hides_is_offline(double at, object? expected)
    {
        Judged(Of((100, 100, Hidden)), at, new ServerRecord(true, "online", Epoch + (long)at)).ShouldBe((ViolationKind?)expected);
        Judged(Of((100, 100, Hidden)), at, new ServerRecord(false, "offline", Epoch + 100)).ShouldBeNull();
    }

    [Fact]
    public void A_record_of_who_is_offline_has_no_text() =>
        Judged(Of((100, 100, Hidden)), 120, new ServerRecord(false, "offline", Epoch + 100) { Text = "Lunch" })
            .ShouldBe(ViolationKind.NeverTrue);

    [Fact]
    public void A_watcher_who_was_not_told_of_an_end_is_late()
    {
        var book = Of((100, 100, Busy), (101, 101, Call with { Until = Epoch + 150 }));
        var last = new ServerRecord(true, "busy", Epoch + 149) { Text = "In a call", Emoji = "📞", Until = Epoch + 150 };
        ClaimJudge.WhyLate(book, Promises, last, 151).ShouldBeNull();
        ClaimJudge.WhyLate(book, Promises, last, 157).ShouldNotBeNull();
        ClaimJudge.WhyLate(book, Promises, new ServerRecord(true, "busy", Epoch) { Text = "Lunch" }, 157).ShouldBeNull();
    }

    [Fact]
    public void What_a_backend_can_see_of_who_hides_is_a_leave()
    {
        var book = Of((100, 100, Hidden), (140, 140, Busy));
        var there = new Standing(50, 200, IsPossible: true);
        book.Seen(there, 120).ShouldBe(new Standing(null, 110, IsPossible: false));
        book.Seen(there, 145).SurelySince.ShouldBeNull();
        book.Seen(there, 151).SurelySince.ShouldBe(140);
    }

    private static ClaimBook Of(params (double From, double To, Claim Claim)[] changes)
    {
        var book = new ClaimBook(Promises);
        foreach (var (from, to, claim) in changes)
        {
            book.Set(from, claim, removes: false);
            book.Acknowledge(to);
        }

        return book;
    }

    // of a person with a heartbeat each second
    private static ViolationKind? Judged(ClaimBook claims, double at, ServerRecord record)
    {
        var truth = new Truth(Promises);
        for (var beat = at - 40; beat <= at; beat++)
            truth.Add(new Act(ActKind.Heartbeat, 0, beat, beat, IsSure: true));
        return Judge.OfRecord(truth, Promises, record, new RecordWindow(at, at, 0), new Personal(claims, [])).Kind;
    }
}
