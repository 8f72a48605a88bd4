using Aglow.Durable;
using Aglow.Stores.Tests;

namespace Aglow.Tests;

public class JournalTests
{
    [Fact]
    public async Task Who_waits_is_answered_at_once()
    {
        await using var rig = JournalRig.Begin(started: true);
        rig.Heartbeat(1);
        // no time passes
        await rig.Store.KeptAsync();
        rig.Journal.Writer.Rows.CommittedEntries.ShouldBe(1);
        rig.Journal.QueueLength.ShouldBe(0);
    }

    [Fact]
    public async Task What_nobody_waits_for_is_committed_50_ms_later()
    {
        // Time stands still until the first heartbeat, so the writer has had no turn that could be late and take it.
        await using var rig = JournalRig.Begin(started: true);
        rig.Heartbeat(1);
        rig.Time.Advance(TimeSpan.FromMilliseconds(20));
        rig.Heartbeat(2);
        rig.Time.Advance(TimeSpan.FromMilliseconds(29));
        rig.Journal.Writer.Rows.CommittedEntries.ShouldBe(0);
        rig.Time.Advance(TimeSpan.FromMilliseconds(1));
        await Eventually.HoldsAsync(() => rig.Journal.Writer.Rows.CommittedEntries == 2);
        rig.Journal.Writer.Rows.CommittedRows.ShouldBe(1);
    }

    [Fact]
    public async Task What_is_added_during_a_commit_has_its_own_50_ms()
    {
        await using var rig = JournalRig.Begin(started: true);
        for (uint user = 0; user < 200; user++)
        {
            rig.Heartbeat(user);
            if (user % 10 == 0)
                _ = rig.Store.KeptAsync().AsTask();
        }

        await Eventually.HoldsAsync(() =>
        {
            rig.Time.Advance(TimeSpan.FromMilliseconds(50));
            return rig.Journal.Writer.Rows.CommittedEntries == 200;
        });
    }

    [Fact]
    public async Task Nothing_to_wait_for_is_complete()
    {
        await using var rig = JournalRig.Begin(started: true);
        rig.Store.KeptAsync().AsTask().IsCompletedSuccessfully.ShouldBeTrue();
    }

    [Fact]
    public async Task A_tick_is_written_every_five_seconds()
    {
        var rig = JournalRig.Begin(started: true);
        rig.Heartbeat(1);
        await rig.Store.KeptAsync();
        var start = rig.Now;
        for (var ticks = 1; ticks <= 3; ticks++)
        {
            rig.Advance(5);
            await Eventually.HoldsAsync(() => rig.Journal.Writer.LastTick == start + ((uint)ticks * 5));
        }

        await using var next = await rig.CrashAsync(1);
        next.Recovery.LastAlive.ShouldBe(start + 15);
    }

    [Fact]
    public async Task Large_batches_span_rows_and_commits()
    {
        var rig = JournalRig.Begin(started: true);
        var users = Enumerable.Range(0, 1_300_000).Select(i => (uint)i).ToArray();
        var words = new uint[users.Length];
        Array.Fill(words, rig.Now);
        rig.Store.Exchange(Plane.Pulse, users, words, new uint[users.Length]);
        rig.Store.Keep(Plane.Pulse, users);
        rig.Journal.IsBacklogged.ShouldBeTrue();
        await rig.Store.KeptAsync();
        rig.Journal.IsBacklogged.ShouldBeFalse();
        rig.Journal.Writer.Rows.CommittedEntries.ShouldBe(users.Length);

        await using var next = await rig.CrashAsync(1);
        next.Recovery.Registered.ShouldBe(users.Length);
        next.Recovery.Online.ShouldBe(users.Length);
    }

    [Fact]
    public async Task The_order_of_the_journal_is_that_of_exchanges()
    {
        var rig = JournalRig.Begin(started: true);
        const int users = 5;
        await Task.WhenAll(Enumerable.Range(0, 4).Select(seed => Task.Run(async () =>
        {
            var random = new Random(seed);
            for (var i = 0; i < 20_000; i++)
            {
                var user = (uint)random.Next(users);
                var left = random.Next(2) == 0 ? Pulse.LeftBit : 0;
                rig.Store.Exchange(Plane.Pulse, user, (rig.Now + (uint)(i / 100)) | left);
                rig.Store.Keep(Plane.Pulse, [user]);
                if (random.Next(200) == 0)
                    await rig.Store.KeptAsync();
            }
        })));
        await rig.Store.KeptAsync();
        var words = Enumerable.Range(0, users).Select(user => rig.Word((uint)user)).ToArray();
        rig.Journal.Writer.Rows.CommittedRows.ShouldBeGreaterThan(10);

        await rig.Journal.AbandonAsync();
        await rig.Store.DisposeAsync();
        rig.Time.Advance(TimeSpan.FromHours(1));
        await using var next = JournalRig.Begin(rig.Folder, rig.Time);
        for (uint user = 0; user < users; user++)
            next.Word(user).ShouldBe(words[user]);
    }

    [Fact]
    public async Task A_full_disk_is_told_of_and_got_over()
    {
        var rig = JournalRig.Begin(started: true);
        rig.Heartbeat(1);
        await rig.Store.KeptAsync();
        rig.Journal.LimitPages(0);
        var many = Enumerable.Range(1000, 50_000).Select(i => (uint)i).ToArray();
        foreach (var user in many)
            rig.Store.Exchange(Plane.Pulse, user, rig.Now);
        rig.Store.Keep(Plane.Pulse, many);
        var waits = rig.Store.KeptAsync().AsTask();
        await Eventually.HoldsAsync(() => rig.Journal.IsFailing);
        waits.IsCompleted.ShouldBeFalse();
        rig.Time.Advance(TimeSpan.FromSeconds(2));
        (await Should.ThrowAsync<StoreUnavailableException>(waits)).Message.ShouldContain("presence.db");

        // heartbeats are still served from memory, the queue does not grow, and callers now get the exception at once
        rig.Time.Advance(TimeSpan.FromSeconds(1));
        rig.Heartbeat(2).ShouldBeTrue();
        await Should.ThrowAsync<StoreUnavailableException>(async () => await rig.Store.KeptAsync());
        await Eventually.HoldsAsync(() =>
        {
            rig.Time.Advance(TimeSpan.FromMilliseconds(250));
            return rig.Journal.QueueLength == 0 && rig.Journal.Writer.Failures > 3;
        });
        rig.Journal.IsFailing.ShouldBeTrue();

        rig.Journal.LimitPages(1_000_000);
        await Eventually.HoldsAsync(() =>
        {
            rig.Time.Advance(TimeSpan.FromMilliseconds(250));
            return !rig.Journal.IsFailing;
        });
        await rig.Store.KeptAsync();

        await using var next = await rig.CrashAsync(1);
        next.Recovery.Online.ShouldBe(many.Length + 2);
    }

    [Fact]
    public async Task A_long_journal_is_checkpointed_while_commits_go_on()
    {
        var rig = JournalRig.Begin(started: true);
        var users = Enumerable.Range(0, 1_000_000).Select(i => (uint)i * 7).ToArray();
        var words = new uint[users.Length];
        while (rig.Journal.Writer.Rows.JournalBytes < Checkpoint.SmallestJournal)
        {
            rig.Advance(1);
            Array.Fill(words, rig.Now);
            rig.Store.Exchange(Plane.Pulse, users, words, words);
            rig.Store.Keep(Plane.Pulse, users);
            await rig.Store.KeptAsync();
        }

        // one slice per millisecond, and after each slice a commit for a user who comes online
        uint newcomer = 1;
        for (; rig.Journal.Writer.Rows.Checkpoint.Count == 0; newcomer += 7)
        {
            rig.Heartbeat(newcomer).ShouldBeTrue();
            await rig.Store.KeptAsync();
            rig.Time.Advance(TimeSpan.FromMilliseconds(1));
        }

        newcomer.ShouldBeGreaterThan(7u * 64);
        rig.Journal.Writer.Rows.JournalBytes.ShouldBeLessThan(Checkpoint.SmallestJournal);
        await using var next = await rig.CrashAsync(1);
        next.Recovery.Registered.ShouldBe(users.Length + (newcomer / 7));
        next.Recovery.Online.ShouldBe(users.Length + (newcomer / 7));
    }

    [Fact]
    public async Task A_running_server_stops_clean()
    {
        var rig = JournalRig.Begin(started: true);
        rig.Heartbeat(1);
        rig.Advance(4);
        rig.Heartbeat(1);
        var seen = rig.Now;
        await using var next = await rig.RestartAsync(5, started: true);
        next.Recovery.WasClean.ShouldBeTrue();
        next.Word(1).ShouldBe(seen);
        next.Recovery.Online.ShouldBe(1);
    }

    [Fact]
    public async Task A_stop_that_cannot_write_says_so()
    {
        await using var rig = JournalRig.Begin(started: true);
        rig.Journal.LimitPages(0);
        for (uint user = 0; user < 10_000; user++)
            rig.Heartbeat(user);
        await Should.ThrowAsync<StoreUnavailableException>(async () => await rig.Journal.DisposeAsync());
    }
}
