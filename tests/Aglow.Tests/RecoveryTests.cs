using Aglow.Diagnostics;
using Aglow.Durable;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Sweeping;

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
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        rig.Heartbeat(2);
        rig.Journal.Commit();
        rig.Advance(10);
        rig.Heartbeat(1);
        var (lapsed, left) = (rig.Now, rig.Now + 7);
        rig.Advance(7);
        rig.Leave(2);
        rig.Advance(40);
        rig.Store.Keep(Plane.Pulse, [1]);
        rig.Journal.Commit();
        rig.Advance(5);
        rig.Journal.Tick();

        await using var next = await rig.CrashAsync(3);
        next.Word(1).ShouldBe(lapsed);
        next.Word(2).ShouldBe(left | Pulse.LeftBit);
        next.Recovery.Online.ShouldBe(0);
        next.Recovery.Registered.ShouldBe(2);
    }

    [Fact]
    public async Task Who_is_online_at_a_crash_was_last_seen_at_the_last_tick()
    {
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        rig.Journal.Commit();
        for (var i = 0; i < 12; i++)
        {
            rig.Advance(5);
            rig.Heartbeat(1).ShouldBeFalse();
            rig.Journal.Tick();
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
        // nobody is shown offline for it, until two heartbeat intervals have passed
        next.Online.IsMet(next.Word(1), Pulse.Never, next.Clock.Moment).ShouldBeTrue();
        next.Advance(21);
        next.Online.IsMet(next.Word(1), Pulse.Never, next.Clock.Moment).ShouldBeFalse();
    }

    [Fact]
    public async Task After_a_clean_stop_words_are_exact()
    {
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        rig.Heartbeat(2);
        rig.Journal.Commit();
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
        rig.Journal.Commit();
        rig.Advance(10);
        var seen = rig.Now;
        foreach (var user in new uint[] { 1, 2 })
            rig.Store.Exchange(Plane.Activity, user, seen);
        rig.Leave(1);
        rig.Leave(3);
        rig.Journal.Commit();
        rig.Advance((int)JournalRig.Lease);
        // what a sweep does when it has found a lapse
        rig.Store.Keep(Plane.Pulse, [2]);
        rig.Journal.Commit();

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
        await using var heartbeats = new HeartbeatWriter(rig.Store, null, new LocalTransitionBus(), rig.Clock, definitions, options, new AglowMetrics());
        uint[] users = [1, 59, 60, 1000];
        for (var second = 0; second < 300; second += every)
        {
            rig.Advance(every);
            var written = heartbeats.WriteAsync(1, active: true);
            var batch = heartbeats.WriteAsync(users.AsMemory(1), active: true, durable: false);
            rig.Journal.Commit();
            await written;
            await batch;
        }

        var lastActive = rig.Now;
        rig.Journal.Commit();
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
        rig.Journal.Commit();
        rig.Advance(5);
        rig.Journal.Tick();
        var tick = rig.Now;

        await using var next = await rig.CrashAsync(1);
        next.Recovery.WasClean.ShouldBeFalse();
        next.Word(1).ShouldBe(tick);
    }

    [Fact]
    public async Task A_node_that_crashes_again_and_again_does_not_carry_along_who_was_not_heard_since()
    {
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        rig.Heartbeat(2);
        rig.Journal.Commit();
        rig.Journal.Tick();
        rig = await rig.CrashAsync(1);
        var raised = rig.Word(1);
        for (var crash = 0; crash < 10; crash++)
        {
            rig.Advance(3);
            rig.Heartbeat(2).ShouldBeTrue("the first heartbeat of a run is kept");
            rig.Advance(3);
            rig.Heartbeat(2).ShouldBeFalse();
            rig.Journal.Commit();
            rig.Journal.Tick();
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
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        rig.Journal.Commit();
        var seen = rig.Now;
        rig = await rig.CrashAsync(3600);
        rig.Recovery.IsWithinLease.ShouldBeFalse();
        rig.Recovery.Online.ShouldBe(0);
        rig.Advance(5);
        rig.Journal.Tick();

        await using var next = await rig.CrashAsync(1);
        next.Word(1).ShouldBe(seen);
        next.Recovery.IsWithinLease.ShouldBeTrue();
        next.Recovery.Online.ShouldBe(0);
    }

    [Fact]
    public async Task Erased_users_stay_erased()
    {
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        rig.Heartbeat(2);
        rig.Journal.Commit();
        rig.Journal.CheckpointNow();
        rig.Erase(1, Pulse.Never);
        rig.Erase(2, Pulse.Gone);
        rig.Journal.Commit();

        await using var next = await rig.CrashAsync(1);
        next.Word(1).ShouldBe(Pulse.Never);
        next.Word(2).ShouldBe(Pulse.Gone);
        next.Recovery.Online.ShouldBe(0);
        next.Recovery.Registered.ShouldBe(1);
    }

    [Fact]
    public async Task Erasing_who_was_never_seen_makes_no_pages()
    {
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        for (uint user = 2; user < 200; user++)
            rig.Erase(user, Pulse.Never);
        rig.Journal.Commit();

        await using var next = await rig.CrashAsync(1);
        next.Store.Budget.Taken.ShouldBe(1);
    }

    [Fact]
    public async Task A_wall_clock_set_back_does_not_take_time_back()
    {
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        rig.Journal.Commit();
        var seen = rig.Now;
        rig.Time.StepWallClock(-TimeSpan.FromHours(1));

        await using var next = await rig.CrashAsync(2);
        next.Now.ShouldBe(seen);
        next.Word(1).ShouldBe(seen);
        next.Advance(2);
        next.Heartbeat(1);
        next.Word(1).ShouldBe(seen + 1);
    }

    [Fact]
    public async Task Words_later_than_a_clock_that_knew_no_better_are_held_to_it()
    {
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        rig.Leave(2);
        rig.Journal.Commit();
        rig.Journal.CheckpointNow();
        rig.Heartbeat(3);
        rig.Journal.Commit();
        await rig.Journal.AbandonAsync();
        await rig.Store.DisposeAsync();
        rig.Time.StepWallClock(-TimeSpan.FromHours(1));
        var clock = new Clock(rig.Time, new StallGuard(20));
        var journal = Journal.Open(rig.PresencePath, new AglowLog(Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance));
        await using var store = new MemoryPlaneStore(new PageBudget(4096), journal);
        journal.Load(store, clock, JournalRig.Lease);

        store.Read(Plane.Pulse, 1).ShouldBe(clock.Now);
        store.Read(Plane.Pulse, 2).ShouldBe(clock.Now | Pulse.LeftBit);
        store.Read(Plane.Pulse, 3).ShouldBe(clock.Now);
        Directory.Delete(rig.Folder, recursive: true);
    }

    [Fact]
    public async Task Trimming_leaves_the_words_and_shortens_the_journal()
    {
        var rig = JournalRig.Begin();
        for (uint user = 0; user < 1000; user++)
            rig.Heartbeat(user * 77);
        rig.Journal.Commit();
        rig.Store.Exchange(Plane.Activity, 77, rig.Now);
        rig.Store.Keep(Plane.Activity, [77]);
        rig.Journal.Commit();
        var seen = rig.Now;
        rig.Journal.CheckpointNow();
        rig.Journal.JournalBytes.ShouldBe(0);
        rig.Journal.Checkpoints.ShouldBe(1);

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
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        rig.Journal.Commit();
        rig.Advance((int)JournalRig.Lease + 1);
        rig.Journal.CheckpointNow();
        // its clock was read a second ago, so it is no arrival, and nobody asks that it be kept
        rig.Store.Exchange(Plane.Pulse, 1, rig.Now);
        var seen = rig.Now;
        rig.Advance(5);
        rig.Journal.Tick();
        rig.Journal.Commit();

        await using var next = await rig.CrashAsync(1);
        next.Recovery.Online.ShouldBe(1);
        next.Word(1).ShouldBeGreaterThanOrEqualTo(seen);
    }

    [Fact]
    public async Task A_commit_cut_off_by_power_loss_is_as_if_it_had_not_been()
    {
        await using var rig = JournalRig.Begin();
        for (uint user = 0; user < 20; user++)
        {
            rig.Heartbeat(user);
            rig.Journal.Commit();
        }

        var log = File.ReadAllBytes(rig.PresencePath + "-wal");
        var found = new List<long>();
        // the log as far as it may have got, in steps that fall within frames
        for (var length = log.Length; length > 0; length -= 7777)
        {
            var copy = Directory.CreateTempSubdirectory("aglow-tests-").FullName;
            File.Copy(rig.PresencePath, Path.Combine(copy, "presence.db"));
            File.WriteAllBytes(Path.Combine(copy, "presence.db-wal"), log[..length]);
            await using var torn = JournalRig.Begin(copy, rig.Time);
            found.Add(torn.Recovery.Registered);
            for (uint user = 0; user < 20; user++)
                (torn.Word(user) != Pulse.Never).ShouldBe(user < torn.Recovery.Registered);
        }

        found[0].ShouldBe(20);
        found.ShouldBe(found.OrderDescending());
        found[^1].ShouldBe(0);
    }

    [Fact]
    public async Task More_users_than_memory_allows_are_refused_at_start()
    {
        var rig = JournalRig.Begin();
        rig.Heartbeat(1);
        rig.Heartbeat(2);
        rig.Journal.Commit();
        await rig.Journal.AbandonAsync();
        await rig.Store.DisposeAsync();
        var journal = Journal.Open(rig.PresencePath, new AglowLog(Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance));
        await using var store = new MemoryPlaneStore(new PageBudget(1), journal);
        Should.Throw<DataFolderException>(() => journal.Load(store, rig.Clock, JournalRig.Lease)).Message.ShouldContain("--memory-megabytes");
        Directory.Delete(rig.Folder, recursive: true);
    }
}
