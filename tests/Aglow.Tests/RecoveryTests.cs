using Aglow.Durable;

namespace Aglow.Tests;

public class RecoveryTests
{
    [Fact]
    public async Task An_empty_folder_is_an_empty_store()
    {
        await using var rig = JournalRig.Begin();
        rig.Recovery.Registered.ShouldBe(0);
        rig.Recovery.LastAlive.ShouldBe(0u);
        rig.Recovery.IsWithinLease.ShouldBeFalse();
    }

    [Fact]
    public async Task Who_lapsed_or_left_before_a_crash_keeps_the_exact_second()
    {
        var rig = JournalRig.BeginWith(1, 2);
        rig.Advance(10);
        rig.Heartbeat(1);
        var (lapsed, left) = (rig.Now, rig.Now + 7);
        rig.Advance(7);
        rig.Leave(2);
        rig.Advance(40);
        rig.Store.Keep(Plane.Pulse, [1]);
        rig.Journal.Writer.Commit();
        rig.Advance(5);
        rig.Journal.Writer.Tick();

        await using var next = await rig.CrashAsync(3);
        next.Word(1).ShouldBe(lapsed);
        next.Word(2).ShouldBe(left | Pulse.LeftBit);
        next.Recovery.Online.ShouldBe(0);
        next.Recovery.Registered.ShouldBe(2);
    }

    [Fact]
    public async Task Who_is_online_at_a_crash_was_last_seen_at_the_last_tick()
    {
        var rig = JournalRig.BeginWith(1);
        for (var i = 0; i < 12; i++)
        {
            rig.Advance(5);
            rig.Heartbeat(1).ShouldBeFalse();
            rig.Journal.Writer.Tick();
        }

        var tick = rig.Now;
        rig.Advance(3);
        rig.Heartbeat(1);

        await using var next = await rig.CrashAsync(12);
        next.Recovery.LastAlive.ShouldBe(tick);
        next.Word(1).ShouldBe(tick);
        next.Recovery.WasClean.ShouldBeFalse();
        next.Recovery.IsWithinLease.ShouldBeTrue();
        next.Recovery.Online.ShouldBe(1);
        var belief = new Belief(next.Online);
        next.Recovery.Seed(belief);
        belief.Contains(1).ShouldBeTrue();
        belief.Online.ShouldBe(1);
        // the user is still shown online, until two heartbeat intervals have passed
        next.IsOnline(1).ShouldBeTrue();
        next.Advance(21);
        next.IsOnline(1).ShouldBeFalse();
    }

    [Fact]
    public async Task After_a_clean_stop_words_are_exact()
    {
        var rig = JournalRig.BeginWith(1, 2);
        rig.Advance(20);
        rig.Heartbeat(1);
        rig.Store.Exchange(Plane.Activity, 1, rig.Now - 4);
        var seen = rig.Now;
        rig.Advance(3);

        await using var next = await rig.RestartAsync(2);
        next.Recovery.WasClean.ShouldBeTrue();
        next.Recovery.Online.ShouldBe(2);
        next.Word(1).ShouldBe(seen);
        next.Word(2).ShouldBe(seen - 20);
        next.Store.Read(Plane.Activity, 1).ShouldBe(seen - 4);
    }

    [Fact]
    public async Task The_activity_of_who_left_or_lapsed_is_exact_after_a_crash()
    {
        var rig = JournalRig.Begin();
        foreach (var user in new uint[] { 1, 2, 3 })
            rig.Heartbeat(user);
        rig.Journal.Writer.Commit();
        rig.Advance(10);
        var seen = rig.Now;
        foreach (var user in new uint[] { 1, 2 })
            rig.Store.Exchange(Plane.Activity, user, seen);
        rig.Leave(1);
        rig.Leave(3);
        rig.Journal.Writer.Commit();
        rig.Advance((int)JournalRig.Lease);
        // like a sweep that has found the expired lease
        rig.Store.Keep(Plane.Pulse, [2]);
        rig.Journal.Writer.Commit();

        await using var next = await rig.CrashAsync(1);
        next.Store.Read(Plane.Activity, 1).ShouldBe(seen);
        next.Store.Read(Plane.Activity, 2).ShouldBe(seen);
        next.Store.Read(Plane.Activity, 3).ShouldBe(Pulse.Never);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(10)]
    [InlineData(29)]
    public async Task The_activity_of_who_is_active_all_the_time_is_known_to_the_minute_after_a_crash(int every)
    {
        var rig = JournalRig.Begin();
        var options = new AglowOptions();
        var definitions = new Definitions(options);
        await using var heartbeats = new HeartbeatWriter(
            rig.Store, new LocalTransitionBus(), rig.Clock, definitions, options, new AglowMetrics());
        uint[] users = [1, 59, 60, 1000];
        for (var second = 0; second < 300; second += every)
        {
            rig.Advance(every);
            var written = heartbeats.WriteAsync(1, active: true);
            var batch = heartbeats.WriteAsync(users.AsMemory(1), active: true, durable: false);
            rig.Journal.Writer.Commit();
            await written;
            await batch;
        }

        var lastActive = rig.Now;
        rig.Journal.Writer.Commit();
        await using var next = await rig.CrashAsync(1);
        foreach (var user in users)
            next.Store.Read(Plane.Activity, user).ShouldBeInRange(lastActive - 60, lastActive);
    }

    [Fact]
    public async Task A_clean_mark_is_gone_once_the_next_run_has_begun()
    {
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        rig = await rig.RestartAsync(2);
        rig.Heartbeat(1);
        rig.Journal.Writer.Commit();
        rig.Advance(5);
        rig.Journal.Writer.Tick();
        var tick = rig.Now;

        await using var next = await rig.CrashAsync(1);
        next.Recovery.WasClean.ShouldBeFalse();
        next.Word(1).ShouldBe(tick);
    }

    [Fact]
    public async Task A_node_that_crashes_again_and_again_does_not_carry_along_who_was_not_heard_since()
    {
        var rig = JournalRig.BeginWith(1, 2);
        rig.Journal.Writer.Tick();
        rig = await rig.CrashAsync(1);
        var raised = rig.Word(1);
        for (var crash = 0; crash < 10; crash++)
        {
            rig.Advance(3);
            rig.Heartbeat(2).ShouldBeTrue("the first heartbeat of a run is kept");
            rig.Advance(3);
            rig.Heartbeat(2).ShouldBeFalse();
            rig.Journal.Writer.Commit();
            rig.Journal.Writer.Tick();
            var now = rig.Now;
            rig = await rig.CrashAsync(1);
            rig.Word(1).ShouldBe(raised);
            rig.Word(2).ShouldBe(now);
        }

        await rig.DisposeAsync();
    }

    [Fact]
    public async Task A_second_crash_after_a_long_one_leaves_the_first_ones_last_seen()
    {
        var rig = JournalRig.BeginWith(1);
        var seen = rig.Now;
        rig = await rig.CrashAsync(3600);
        rig.Recovery.IsWithinLease.ShouldBeFalse();
        rig.Recovery.Online.ShouldBe(0);
        rig.Advance(5);
        rig.Journal.Writer.Tick();

        await using var next = await rig.CrashAsync(1);
        next.Word(1).ShouldBe(seen);
        next.Recovery.IsWithinLease.ShouldBeTrue();
        next.Recovery.Online.ShouldBe(0);
    }

    [Fact]
    public async Task Erased_users_stay_erased()
    {
        var rig = JournalRig.BeginWith(1, 2);
        rig.Journal.Writer.CheckpointNow();
        rig.Erase(1);
        rig.Journal.Writer.Commit();

        await using var next = await rig.CrashAsync(1);
        next.Word(1).ShouldBe(Pulse.Never);
        next.Word(2).ShouldNotBe(Pulse.Never);
        next.Recovery.Online.ShouldBe(1);
        next.Recovery.Registered.ShouldBe(1);
    }

    [Fact]
    public async Task Erasing_who_was_never_seen_makes_no_pages()
    {
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        for (uint user = 2; user < 200; user++)
            rig.Erase(user);
        rig.Journal.Writer.Commit();

        await using var next = await rig.CrashAsync(1);
        next.Store.Budget.Taken.ShouldBe(1);
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(2 * 3_600, false)]
    [InlineData(2 * 3_600, true)]
    [InlineData(10 * 365 * 86_400, false)]
    [InlineData(10 * 365 * 86_400, true)]
    public async Task Of_a_run_with_a_clock_ahead_nothing_is_later_than_a_start_with_the_right_one(int ahead, bool clean)
    {
        var rig = JournalRig.Begin();
        var right = rig.Now;
        rig.Heartbeat(9);
        rig.Journal.Writer.Commit();
        rig.Time.StepWallClock(TimeSpan.FromSeconds(ahead));
        // like a boot with a wrong clock: the run before had the right time
        rig = await rig.CrashAsync(3_600);
        right += 3_600;
        rig.Heartbeat(1);
        rig.Heartbeat(2);
        rig.Journal.Writer.Commit();
        rig.Journal.Writer.CheckpointNow();
        rig.Advance(100);
        // the sweep finds that the lease of user 2 has expired
        rig.Store.Keep(Plane.Pulse, [2]);
        rig.Heartbeat(1);
        rig.Heartbeat(3);
        rig.Leave(4);
        rig.Store.Exchange(Plane.Activity, 3, rig.Now);
        rig.Store.Keep(Plane.Activity, [3]);
        rig.Journal.Writer.Commit();
        rig.Advance(20);
        rig.Journal.Writer.Tick();
        rig.Time.StepWallClock(TimeSpan.FromSeconds(-ahead));

        rig = clean ? await rig.RestartAsync(0) : await rig.CrashAsync(0);
        right += 120;
        rig.Now.ShouldBeInRange(right, right + 1);
        Check();
        rig.Recovery.Online.ShouldBe(2);
        rig.Recovery.IsWithinLease.ShouldBeTrue();
        rig.Guard.HeldAt(rig.Now).ShouldBeLessThanOrEqualTo(rig.Now);
        rig.IsOnline(3).ShouldBeTrue();
        rig.IsOnline(2).ShouldBeFalse();
        var read = new uint[] { 1, 2, 3, 4, 9 }.ToDictionary(user => user, rig.Word);

        // The corrected words are persisted. Later starts show the same words: one at once, and one when the wrong clock's time has come.
        rig.Journal.Writer.Commit();
        rig = await rig.CrashAsync(1);
        foreach (var user in new uint[] { 2, 4, 9 })
            rig.Word(user).ShouldBe(read[user]);
        rig.Word(3).ShouldBeLessThanOrEqualTo(rig.Now);
        rig.Journal.Writer.Commit();
        rig.Time.StepWallClock(TimeSpan.FromSeconds(ahead));
        rig = await rig.CrashAsync(60);
        foreach (var user in new uint[] { 2, 4, 9 })
            rig.Word(user).ShouldBe(read[user]);
        rig.Word(3).ShouldBeLessThan(right + 30);
        await rig.DisposeAsync();

        void Check()
        {
            // a clock that was a second ahead is followed slowly
            var slack = ahead == 1 ? 1u : 0;
            rig.Word(9).ShouldBe(right - 3_720);
            rig.Word(2).ShouldBeInRange(right - 120, right - 120 + slack);
            rig.Word(4).ShouldBeInRange((right - 20) | Pulse.LeftBit, (right - 20 + slack) | Pulse.LeftBit);
            rig.Store.Read(Plane.Activity, 3).ShouldBeInRange(right - 20, right - 20 + slack);
            foreach (var user in new uint[] { 1, 3 })
                rig.Word(user).ShouldBeInRange(clean ? right - 20 : right, right + slack);
        }
    }

    [Fact]
    public async Task A_crash_before_the_sweep_has_moved_words_back_leaves_none_in_the_future()
    {
        var rig = JournalRig.Begin();
        rig.Time.StepWallClock(TimeSpan.FromHours(2));
        rig.Clock.Beat();
        rig.Heartbeat(1);
        rig.Heartbeat(2);
        rig.Journal.Writer.Commit();
        rig.Advance(100);
        rig.Clock.Beat();
        rig.Heartbeat(1);
        rig.Store.Keep(Plane.Pulse, [1, 2]);
        rig.Journal.Writer.Commit();
        rig.Time.StepWallClock(TimeSpan.FromHours(-2));
        rig.Advance(1);
        rig.Clock.Beat();
        rig.Journal.Writer.Tick();

        await using var next = await rig.CrashAsync(3);
        next.Now.ShouldBe(next.Time.Second);
        next.Word(1).ShouldBeInRange(next.Now - 5, next.Now);
        next.Word(2).ShouldBeInRange(next.Now - 106, next.Now - 100);
    }

    [Fact]
    public async Task Who_is_heard_after_a_step_back_is_known_to_have_been_heard_in_this_run()
    {
        var rig = JournalRig.Begin();
        rig.Time.StepWallClock(TimeSpan.FromHours(2));
        rig.Clock.Beat();
        rig.Journal.Writer.Tick();
        // a run begins with a clock that is two hours ahead, and that is then set back
        rig = await rig.CrashAsync(1);
        rig.Time.StepWallClock(TimeSpan.FromHours(-2));
        rig.Advance(1);
        rig.Clock.Beat();
        rig.Advance(1);
        rig.Heartbeat(1);
        rig.Journal.Writer.Commit();
        rig.Advance(10);
        rig.Heartbeat(1);
        rig.Advance(5);
        rig.Journal.Writer.Tick();
        var tick = rig.Now;

        await using var next = await rig.CrashAsync(1);
        next.Word(1).ShouldBe(tick);
    }

    [Fact]
    public async Task Trimming_leaves_the_words_and_shortens_the_journal()
    {
        var rig = JournalRig.Begin();
        for (uint user = 0; user < 1000; user++)
            rig.Heartbeat(user * 77);
        rig.Journal.Writer.Commit();
        rig.Store.Exchange(Plane.Activity, 77, rig.Now);
        rig.Store.Keep(Plane.Activity, [77]);
        rig.Journal.Writer.Commit();
        var seen = rig.Now;
        rig.Journal.Writer.CheckpointNow();
        rig.Journal.Writer.Rows.JournalBytes.ShouldBe(0);
        rig.Journal.Writer.Rows.Checkpoint.Count.ShouldBe(1);

        await using var next = await rig.CrashAsync(1);
        next.Recovery.Rows.ShouldBe(0);
        next.Recovery.Registered.ShouldBe(1000);
        next.Recovery.Online.ShouldBe(1000);
        for (uint user = 0; user < 1000; user++)
            next.Word(user * 77).ShouldBe(seen);
        next.Store.Read(Plane.Activity, 77).ShouldBe(seen);
    }

    [Fact]
    public async Task Who_renewed_while_an_image_took_them_for_lapsed_is_kept_once_more()
    {
        var rig = JournalRig.BeginWith(1);
        rig.Advance((int)JournalRig.Lease + 1);
        rig.Journal.Writer.CheckpointNow();
        // the heartbeat read the clock a second ago, so it is no arrival, and the heartbeat itself queues nothing
        rig.Store.Exchange(Plane.Pulse, 1, rig.Now);
        var seen = rig.Now;
        rig.Advance(5);
        rig.Journal.Writer.Tick();
        rig.Journal.Writer.Commit();

        await using var next = await rig.CrashAsync(1);
        next.Recovery.Online.ShouldBe(1);
        next.Word(1).ShouldBeGreaterThanOrEqualTo(seen);
    }

    [Fact]
    public async Task A_commit_cut_off_by_power_loss_is_as_if_it_had_not_been()
    {
        await using var rig = JournalRig.Begin();
        // the sums note the length of the WAL, and they reach the disk later than the WAL
        var sums = File.ReadAllBytes(rig.PresencePath + "-sums");
        var noted = (int)new FileInfo(rig.PresencePath + "-wal").Length;
        for (uint user = 0; user < 20; user++)
        {
            rig.Heartbeat(user);
            rig.Journal.Writer.Commit();
        }

        var log = File.ReadAllBytes(rig.PresencePath + "-wal");
        var found = new List<long>();
        // every possible length of the WAL after the loss, in steps that fall within frames
        for (var length = log.Length; ; length = Math.Max(noted, length - 7777))
        {
            var copy = Directory.CreateTempSubdirectory("aglow-tests-").FullName;
            File.Copy(rig.PresencePath, Path.Combine(copy, "presence.db"));
            File.WriteAllBytes(Path.Combine(copy, "presence.db-wal"), log[..length]);
            File.WriteAllBytes(Path.Combine(copy, "presence.db-sums"), sums);
            await using var torn = JournalRig.Begin(copy, rig.Time);
            found.Add(torn.Recovery.Registered);
            for (uint user = 0; user < 20; user++)
                (torn.Word(user) != Pulse.Never).ShouldBe(user < torn.Recovery.Registered);
            if (length == noted)
                break;
        }

        found[0].ShouldBe(20);
        found.ShouldBe(found.OrderDescending());
        found[^1].ShouldBe(0);
    }

    [Fact]
    public async Task More_users_than_memory_allows_are_refused_at_start()
    {
        var rig = JournalRig.BeginWith(1, 2);
        await rig.Journal.AbandonAsync();
        await rig.Store.DisposeAsync();
        var journal = Journal.Open(rig.PresencePath, new AglowLog(NullLogger.Instance));
        await using var store = new JournaledPlaneStore(new PageBudget(1), journal);
        Should.Throw<DataFolderException>(() => journal.Load(store, rig.Clock, JournalRig.Lease)).Message
            .ShouldContain("AglowOptions.MemoryMegabytes (--memory-megabytes)");
        Directory.Delete(rig.Folder, recursive: true);
    }
}
