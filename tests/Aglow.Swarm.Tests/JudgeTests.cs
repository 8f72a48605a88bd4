namespace Aglow.Swarm.Tests;

/// <summary>The rules, each with a violation and with a value that is just within the rule. Lease 30 s, bound 10 s.</summary>
public class JudgeTests
{
    private const long Epoch = 1_800_000_000;
    private static readonly Promises Promises = new() { UnixAtZero = Epoch };

    [Theory]
    [InlineData(129.9, ViolationKind.FalseOffline)] // sent at 100: a lease lasts until 130 at least
    [InlineData(130.0, null)]
    public void Told_offline_within_the_lease_is_false_offline(double at, object? expected) =>
        Judged(Offline(100), at, Heartbeat(100, 100.2)).Kind.ShouldBe((ViolationKind?)expected);

    [Fact]
    public void A_heartbeat_that_was_not_acknowledged_proves_nothing()
    {
        var maybe = new Act(ActKind.Heartbeat, 0, 100, double.PositiveInfinity, IsSure: false);
        Judged(Offline(null), 105, maybe).Kind.ShouldBeNull();
        Judged(Online(100), 105, maybe).Kind.ShouldBeNull();
    }

    [Fact]
    public void What_was_decided_before_the_acknowledgement_may_be_either()
    {
        var truth = Of(Heartbeat(100, 104));
        Judge.OfRecord(truth, Promises, Offline(null), new RecordWindow(102, 105, 0)).Kind.ShouldBeNull();
        Judge.OfRecord(truth, Promises, Online(102), new RecordWindow(102, 105, 0)).Kind.ShouldBeNull();
        Judge.OfRecord(truth, Promises, Offline(null), new RecordWindow(104, 105, 0)).Kind.ShouldBe(ViolationKind.FalseOffline);
    }

    [Fact]
    public void Renewals_leave_no_gap()
    {
        var truth = Of(Heartbeat(100, 100.1), Heartbeat(110, 110.1), Heartbeat(120, 120.1));
        truth.SurelyOnlineSince(149, 149.9).ShouldBe(100.1);
        truth.SurelyOnlineSince(150, 150).ShouldBeNull();
        truth.SurelyOnlineSince(100, 110).ShouldBeNull();
    }

    [Fact]
    public void Where_a_store_fails_over_who_came_online_may_be_undone_until_the_next_heartbeat()
    {
        var promises = Promises.Disturbed();
        var truth = new Truth(promises);
        for (var at = 100.0; at <= 120; at += 10)
            truth.Add(Heartbeat(at, at + 0.1));
        KindAt(112).ShouldBeNull();
        KindAt(114).ShouldBe(ViolationKind.FalseOffline); // a heartbeat, and the seconds that it may wait
        KindAt(138).ShouldBe(ViolationKind.FalseOffline); // without a gap while renewals come
        KindAt(140).ShouldBeNull(); // the newest renewal may be lost

        ViolationKind? KindAt(double at) => Judge.OfRecord(truth, promises, Offline(null), new RecordWindow(at, at, 0)).Kind;
    }

    [Theory]
    [InlineData(false, 130, true)]
    [InlineData(false, 112, false)]
    [InlineData(true, 112, true)] // the newest activity was the last second of a node that died
    [InlineData(true, 100, false)] // two are never lost
    [InlineData(true, 115, false)] // when nobody did anything
    public void Where_nodes_die_the_newest_activity_may_be_lost(bool isDisturbed, double second, bool isTrue)
    {
        var truth = new Truth(isDisturbed ? Promises.Disturbed() : Promises);
        foreach (var act in new[] { Active(100), Active(112), Heartbeat(121, 121.1), Active(130) })
            truth.Add(act);
        (truth.WhyNeverActiveAt(second, asked: 150, receivedBy: 150) is null).ShouldBe(isTrue);
    }

    [Theory]
    [InlineData(140.1, null)] // heard by 100.2: lease + bound
    [InlineData(140.3, ViolationKind.GhostOnline)]
    public void Told_online_after_lease_and_bound_is_a_ghost(double at, object? expected) =>
        Judged(Online(100), at, Heartbeat(100, 100.2)).Kind.ShouldBe((ViolationKind?)expected);

    [Fact]
    public void A_stall_of_the_servers_own_holds_ghosts_back()
    {
        var truth = Of(Heartbeat(100, 100.2));
        Judge.OfRecord(truth, Promises, Online(100), new RecordWindow(145, 145, Held: 5)).Kind.ShouldBeNull();
        Judge.OfRecord(truth, Promises, Online(100), new RecordWindow(146, 146, Held: 5)).Kind.ShouldBe(ViolationKind.GhostOnline);
    }

    [Theory]
    [InlineData(112, null)]
    [InlineData(112.6, ViolationKind.GhostOnline)]
    public void Told_online_after_a_goodbye_is_a_ghost(double at, object? expected) =>
        Judged(Online(100), at, Heartbeat(100, 100.2), Leave(102, 102.5)).Kind.ShouldBe((ViolationKind?)expected);

    [Fact]
    public void After_a_goodbye_offline_is_right_and_a_new_heartbeat_counts_again()
    {
        Judged(Offline(102), 103, Heartbeat(100, 100.2), Leave(102, 102.5)).Kind.ShouldBeNull();
        Judged(Offline(104), 105, Heartbeat(100, 100.2), Leave(102, 102.5), Heartbeat(103, 104)).Kind.ShouldBe(ViolationKind.FalseOffline);
    }

    [Fact]
    public void A_goodbye_that_nobody_acknowledged_proves_nothing()
    {
        var maybe = new Act(ActKind.Leave, 0, 102, 112, IsSure: false);
        Judged(Offline(102), 105, Heartbeat(100, 100.2), maybe).Kind.ShouldBeNull();
        Judged(Online(100), 125, Heartbeat(100, 100.2), maybe).Kind.ShouldBeNull();
    }

    [Theory]
    [InlineData(102, ViolationKind.FalseOffline)] // not even for a moment
    [InlineData(112.9, ViolationKind.FalseOffline)]
    [InlineData(113, null)] // the other device is late
    public void One_device_of_two_that_leaves_changes_nothing_until_the_other_is_due(double at, object? expected) =>
        Judged(Offline(102), at, Heartbeat(100, 100.2), new Act(ActKind.LeaveOne, 1, 102, 102.5, IsSure: true))
            .Kind.ShouldBe((ViolationKind?)expected);

    [Theory]
    [InlineData(0, 1, ActKind.LeaveOne, 112.9, ViolationKind.FalseOffline)] // the leave counts for 11 s at least
    [InlineData(0, 1, ActKind.LeaveOne, 113.1, null)]
    [InlineData(0, 1, ActKind.Leave, 103, null)]
    [InlineData(1.1, 1, ActKind.LeaveOne, 113.2, ViolationKind.FalseOffline)] // another second
    [InlineData(1.1, 1, ActKind.Leave, 104.2, ViolationKind.FalseOffline)]
    [InlineData(0, 0, ActKind.LeaveOne, 113.1, ViolationKind.FalseOffline)] // one node knows the order
    [InlineData(0, 0, ActKind.Leave, 103, ViolationKind.FalseOffline)]
    public void On_several_nodes_a_leave_may_count_against_a_heartbeat_of_its_second(
        double later, double unordered, object leave, double at, object? expected)
    {
        var promises = Promises with { Unordered = unordered };
        var truth = new Truth(promises);
        truth.Add(new Act((ActKind)leave, 1, 102, 102.1, IsSure: true));
        truth.Add(Heartbeat(102.2 + later, 102.3 + later));
        Judge.OfRecord(truth, promises, Offline(102), new RecordWindow(at, at, 0)).Kind.ShouldBe((ViolationKind?)expected);
    }

    [Fact]
    public void A_device_that_left_is_no_evidence_any_more()
    {
        Act[] acts = [Heartbeat(100, 100.2), new Act(ActKind.LeaveOne, 0, 102, 102.5, IsSure: true)];
        Judged(Offline(102), 104, acts).Kind.ShouldBeNull();
        Judged(Offline(102), 104, [.. acts, new Act(ActKind.Heartbeat, 1, 103, 103.2, IsSure: true)]).Kind
            .ShouldBe(ViolationKind.FalseOffline);
    }

    [Fact]
    public void A_goodbye_beside_a_device_that_may_be_connected_may_be_evidence_of_life()
    {
        var maybe = new Act(ActKind.Leave, 0, 120, 120.2, IsSure: false);
        Judged(Online(120), 158, Heartbeat(100, 100.2), maybe).Kind.ShouldBeNull();
        Judged(Online(120), 162, Heartbeat(100, 100.2), maybe).Kind.ShouldBe(ViolationKind.GhostOnline);
        Judged(Online(120), 158, Heartbeat(100, 100.2), Leave(120, 120.2)).Kind.ShouldBe(ViolationKind.GhostOnline);
    }

    [Fact]
    public void What_was_never_true_is_found()
    {
        Judged(Online(100), 100).Kind.ShouldBe(ViolationKind.NeverTrue); // no device was ever there
        Judged(Online(null), 101, Heartbeat(100, 100.2)).Kind.ShouldBe(ViolationKind.NeverTrue);
        Judged(new ServerRecord(true, "offline", Epoch + 100), 101, Heartbeat(100, 100.2)).Kind.ShouldBe(ViolationKind.NeverTrue);
        Judged(Online(90), 101, Heartbeat(100, 100.2)).Kind.ShouldBe(ViolationKind.NeverTrue); // nobody did anything then
        Judged(Online(100), 124, Heartbeat(100, 100.2), Heartbeat(120, 120.2)).Kind.ShouldBe(ViolationKind.NeverTrue); // heard since
        Judged(Online(100), 121, Heartbeat(100, 100.2), Heartbeat(120, 120.2)).Kind.ShouldBeNull(); // a renewal may wait for a batch
        Judged(Online(120), 121, Heartbeat(100, 100.2), Heartbeat(120, 120.2)).Kind.ShouldBeNull();
    }

    [Theory]
    [InlineData(103, null)]
    [InlineData(104, ViolationKind.NeverTrue)]
    public void Last_seen_is_never_in_the_future(long second, object? expected) =>
        Judged(Online(second), 101, Heartbeat(100, 100.2), Heartbeat(101, 101)).Kind.ShouldBe((ViolationKind?)expected);

    [Theory]
    [InlineData(155, ViolationKind.NeverTrue)] // active 55 s ago
    [InlineData(162, null)]
    public void Told_away_though_active_lately_was_never_true(double at, object? expected) =>
        JudgedAway("away", at, [Active(100), .. Beating(100)]).ShouldBe((ViolationKind?)expected);

    [Theory]
    [InlineData(170, null)] // a minute, and the bound
    [InlineData(172, ViolationKind.NeverTrue)]
    public void Told_online_though_idle_for_long_was_never_true(double at, object? expected) =>
        JudgedAway("online", at, [Active(100), .. Beating(100)]).ShouldBe((ViolationKind?)expected);

    [Fact]
    public void Nobody_is_away_for_what_an_earlier_session_left()
    {
        JudgedAway("away", 305, Active(100), Heartbeat(110, 110.1), Heartbeat(300, 300.1)).ShouldBe(ViolationKind.NeverTrue);
        JudgedAway("online", 305, Active(100), Heartbeat(110, 110.1), Heartbeat(300, 300.1)).ShouldBeNull();
        JudgedAway("away", 101, Heartbeat(100, 100.1)).ShouldBe(ViolationKind.NeverTrue);
    }

    [Fact]
    public void A_verdict_says_whether_the_other_answer_would_have_been_wrong()
    {
        Judged(Online(100), 110, Heartbeat(100, 100.2)).WasDecisive.ShouldBeTrue();
        Judged(Online(100), 135, Heartbeat(100, 100.2)).WasDecisive.ShouldBeFalse();
        Judged(Offline(100), 135, Heartbeat(100, 100.2)).WasDecisive.ShouldBeFalse();
        Judged(Offline(100), 141, Heartbeat(100, 100.2)).WasDecisive.ShouldBeTrue();
    }

    [Theory]
    [InlineData(111.6, false)] // heard by 100.2: due by 110.2, and 1.5 s for what is on its way
    [InlineData(111.8, true)]
    public void A_watcher_who_was_not_told_online_is_overdue(double now, bool isOverdue) =>
        Overdue(lastOnline: false, watchedSince: 50, now, Heartbeat(100, 100.2)).HasValue.ShouldBe(isOverdue);

    [Theory]
    [InlineData(141.6, false)]
    [InlineData(141.8, true)]
    public void A_watcher_who_was_not_told_offline_is_overdue(double now, bool isOverdue) =>
        Overdue(lastOnline: true, watchedSince: 50, now, Heartbeat(100, 100.2)).HasValue.ShouldBe(isOverdue);

    [Fact]
    public void What_was_told_after_the_look_is_left_to_the_next_one() =>
        Overdue(lastOnline: true, watchedSince: 50, 150, Heartbeat(100, 100.2), receivedAt: 150.01).ShouldBeNull();

    [Fact]
    public void Nothing_is_due_before_somebody_watches() =>
        Overdue(lastOnline: false, watchedSince: 110, 115, Heartbeat(100, 100.2)).ShouldBeNull();

    [Fact]
    public void An_overdue_change_is_late_when_it_comes_and_missed_when_it_does_not()
    {
        Judge.OfOverdue(Promises, towardsOnline: true, deadline: 112, receivedAt: 115, now: 115, isEnd: false)!.Value.Kind.ShouldBe(
            ViolationKind.LateOnline);
        Judge.OfOverdue(Promises, towardsOnline: false, deadline: 112, receivedAt: 115, now: 115, isEnd: false)!.Value.Kind.ShouldBe(
            ViolationKind.GhostOnline);
        Judge.OfOverdue(Promises, towardsOnline: true, deadline: 112, receivedAt: null, now: 115, isEnd: false).ShouldBeNull();
        Judge.OfOverdue(
            Promises, towardsOnline: true, deadline: 112, receivedAt: null, now: 123, isEnd: false)!.Value
            .Kind.ShouldBe(ViolationKind.Missed);
        Judge.OfOverdue(
            Promises, towardsOnline: false, deadline: 112, receivedAt: null, now: 115, isEnd: true)!.Value
            .Kind.ShouldBe(ViolationKind.Missed);
    }

    [Fact]
    public void A_long_history_forgets_its_beginning_and_accuses_nobody_for_it()
    {
        var truth = Of([.. Enumerable.Range(0, 500).Select(static i => Heartbeat(i * 10, (i * 10) + 0.1))]);
        truth.SurelyOnlineSince(5000, 5019).ShouldNotBeNull();
        truth.IsPossiblyOnline(100, 100).ShouldBeTrue();
        truth.WhyNeverSeenAt(15, 5000, 5000).ShouldBeNull();
        truth.History().Length.ShouldBeLessThan(100);
    }

    [Theory]
    [InlineData(100.2, true, 100.0)]
    [InlineData(double.PositiveInfinity, false, 100.0)] // a watcher may hear of it before the caller does
    [InlineData(108.0, false, null)] // perhaps only the next one arrived
    public void The_latency_of_coming_online_counts_from_an_act_that_arrived(double to, bool isSure, object? expected) =>
        Of(new Act(ActKind.Heartbeat, 0, 100, to, isSure), Heartbeat(110, 110.1)).CameOnlineAt(120).ShouldBe((double?)expected);

    [Fact]
    public void Nothing_checked_is_said()
    {
        var findings = new Findings();
        findings.CountRead(wasDecisive: false);
        findings.CountReceived(wasDecisive: true);
        findings.NothingChecked.ShouldNotBeNull();
        findings.CountRead(wasDecisive: true);
        findings.NothingChecked.ShouldBeNull();
    }

    [Theory]
    [InlineData(100L, 106, ViolationKind.NeverTrue)] // the deletion at 102 is over
    [InlineData(100L, 103, null)] // and settles until 105.1
    [InlineData(null, 106, null)]
    public void Nothing_from_before_a_deletion_is_told_after_it(object? lastSeen, double at, object? expected) =>
        Judged(Offline((long?)lastSeen), at, Heartbeat(100, 100.2), Deletion(102, 102.1)).Kind.ShouldBe((ViolationKind?)expected);

    [Fact]
    public void Somebody_deleted_is_online_again_with_their_next_heartbeat()
    {
        Judged(Online(100), 113, Heartbeat(100, 100.2), Deletion(102, 102.1)).Kind.ShouldBe(ViolationKind.GhostOnline);
        Judged(Offline(null), 111, Heartbeat(100, 100.2), Deletion(102, 102.1), Heartbeat(110, 110.1)).Kind.ShouldBe(
            ViolationKind.FalseOffline);
        Judged(Online(110), 111, Heartbeat(100, 100.2), Deletion(102, 102.1), Heartbeat(110, 110.1)).Kind.ShouldBeNull();
    }

    private static Act Deletion(double from, double to) => new(ActKind.Delete, -1, from, to, IsSure: true);

    private static Act Heartbeat(double from, double to) => new(ActKind.Heartbeat, 0, from, to, IsSure: true);

    private static Act Leave(double from, double to) => new(ActKind.Leave, 0, from, to, IsSure: true);

    private static IEnumerable<Act> Beating(double from) =>
        Enumerable.Range(1, 12).Select(i => Heartbeat(from + (i * 6), from + 0.1 + (i * 6)));

    private static Act Active(double at) => new(ActKind.Active, 0, at, at + 0.1, IsSure: true);

    private static ViolationKind? JudgedAway(string status, double at, params Act[] acts)
    {
        var promises = Promises with { Away = 60 };
        var truth = new Truth(promises);
        foreach (var act in acts)
            truth.Add(act);
        var seen = acts.Where(act => act.From <= at).Max(static act => act.From);
        return Judge.OfRecord(truth, promises, new ServerRecord(true, status, Epoch + (long)seen), new RecordWindow(at, at, 0)).Kind;
    }

    private static ServerRecord Online(long? second) => new(true, "online", Epoch + second);

    private static ServerRecord Offline(long? second) => new(false, "offline", Epoch + second);

    private static Truth Of(params Act[] acts)
    {
        var truth = new Truth(Promises);
        foreach (var act in acts)
            truth.Add(act);
        return truth;
    }

    private static Verdict Judged(ServerRecord record, double at, params Act[] acts) =>
        Judge.OfRecord(Of(acts), Promises, record, new RecordWindow(at, at, 0));

    private static double? Overdue(bool lastOnline, double watchedSince, double now, Act act, double? receivedAt = null) =>
        Judge.OverdueSince(Of(act).At(now, held: 0), Promises, lastOnline, receivedAt ?? watchedSince, watchedSince, now);
}
