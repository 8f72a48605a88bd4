using System.Text;
using System.Text.Json;

namespace Aglow.Tests;

public class WatchHubTests
{
    private readonly World _world = new();

    [Fact]
    public async Task A_watch_answers_with_a_snapshot_of_exactly_those()
    {
        await _world.Presence.HeartbeatAsync(1);
        var watcher = _world.Connect(99);
        _world.Watch(watcher, 1, 2);
        await _world.BeatAsync();
        watcher.Take().ShouldBe(["{\"type\":\"welcome\"}", $"1:online {_world.Unix},2:offline null"]);
    }

    [Fact]
    public async Task An_arrival_is_told_to_those_who_watch_and_to_nobody_else()
    {
        var watcher = _world.Connect(98);
        var other = _world.Connect(99);
        _world.Watch(watcher, 1);
        _world.Watch(other, 2);
        await _world.BeatAsync();
        watcher.Take();
        other.Take();
        await _world.Presence.HeartbeatAsync(1);
        await _world.BeatAsync();
        watcher.Take().ShouldBe([$"1:online {_world.Unix}"]);
        other.Take().ShouldBeEmpty();
    }

    [Fact]
    public async Task A_renewal_tells_nobody()
    {
        await _world.Presence.HeartbeatAsync(1);
        var watcher = await _world.ConnectAsync(99, 1);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(10));
        await _world.Presence.HeartbeatAsync(1);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(15));
        watcher.Take().ShouldBeEmpty();
    }

    [Fact]
    public async Task A_lapse_is_told_once_within_a_second_and_a_half_of_the_lease()
    {
        await _world.Presence.HeartbeatAsync(1);
        var seen = _world.Unix;
        var watcher = _world.Connect(99);
        _world.Watch(watcher, 1);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(30));
        watcher.Take().Length.ShouldBe(2);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(2.5));
        watcher.Take().ShouldBe([$"1:offline {seen}"]);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(30));
        watcher.Take().ShouldBeEmpty();
    }

    [Fact]
    public async Task A_goodbye_is_told_a_second_later_and_not_at_all_if_taken_back()
    {
        await _world.Presence.HeartbeatAsync(1);
        var watcher = await _world.ConnectAsync(99, 1);
        await _world.Presence.LeaveAsync(new uint[] { 1 });
        await _world.AdvanceAsync(TimeSpan.FromSeconds(0.5));
        watcher.Take().ShouldBeEmpty();
        await _world.Presence.HeartbeatAsync(1);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(3));
        watcher.Take().ShouldBeEmpty();
        await _world.Presence.LeaveAsync(new uint[] { 1 });
        var left = _world.Unix;
        await _world.AdvanceAsync(TimeSpan.FromSeconds(1.2));
        watcher.Take().ShouldBe([$"1:offline {left}"]);
    }

    [Fact]
    public async Task Answers_wait_for_a_connection_that_does_not_read()
    {
        var watcher = await _world.ConnectAsync(99, 1);
        watcher.IsFull = true;
        await _world.Presence.HeartbeatAsync(1);
        await _world.BeatAsync();
        watcher.Take().Length.ShouldBe(1);
        _world.Hub.Reply(watcher, "{\"type\":\"ok\",\"id\":1}"u8.ToArray());
        _world.WatchWithId(watcher, 2, 2);
        await _world.BeatAsync();
        watcher.Take().ShouldBeEmpty();
        watcher.IsFull = false;
        _world.Hub.Writable(watcher);
        await _world.BeatAsync();
        watcher.Take().ShouldBe(["{\"type\":\"ok\",\"id\":1}", "#2 2:offline null"]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_connection_that_asks_and_does_not_read_is_ended(bool asksForSnapshots)
    {
        var watcher = _world.Connect(99);
        watcher.IsFull = true;
        await _world.BeatAsync();
        watcher.Take();
        for (var i = 0; i <= WatchHub.MaxWaitingAnswers; i++)
        {
            watcher.Take().ShouldBeEmpty();
            if (asksForSnapshots)
                _world.WatchWithId(watcher, i, 2);
            else
                _world.Hub.Reply(watcher, "{\"type\":\"ok\",\"id\":1}"u8.ToArray());
            await _world.BeatAsync();
        }

        watcher.Take().ShouldBe(["end 1008"]);
    }

    [Fact]
    public async Task A_busy_connection_gets_the_latest_state_and_nothing_older()
    {
        var watcher = await _world.ConnectAsync(99, 1, 2);
        watcher.IsFull = true;
        await _world.Presence.HeartbeatAsync(2);
        await _world.BeatAsync();
        watcher.Take().Length.ShouldBe(1);
        for (var i = 0; i < 20; i++)
        {
            await _world.Presence.HeartbeatAsync(1);
            await _world.AdvanceAsync(TimeSpan.FromSeconds(35));
        }

        watcher.Take().ShouldBeEmpty();
        watcher.IsFull = false;
        _world.Hub.Writable(watcher);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(1));
        var caughtUp = watcher.Take();
        caughtUp.Length.ShouldBe(1);
        caughtUp[0].ShouldStartWith("1:offline");
        caughtUp[0].ShouldContain(",2:offline");
    }

    [Fact]
    public async Task A_key_nobody_registered_waits_by_its_name()
    {
        var watcher = _world.Connect(99);
        _world.WatchKey(watcher, "bob");
        await _world.BeatAsync();
        watcher.Take().ShouldBe(["{\"type\":\"welcome\"}", "\"bob\":offline null"]);
        UserId.TryParse("bob", out var bob).ShouldBeTrue();
        var number = await _world.Presence.RegisterAsync(bob);
        await _world.Presence.HeartbeatAsync(number);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(0.1));
        watcher.Take().ShouldBe([$"\"bob\":online {_world.Unix}"]);
    }

    [Fact]
    public async Task An_ID_that_is_watched_just_when_it_gets_its_index_has_one_topic()
    {
        const uint Bob = UserId.FirstDirectoryNumber;
        var waiting = _world.Connect(98);
        _world.WatchKey(waiting, "bob");
        await _world.BeatAsync();
        // another request knows the index already, but the command to bind it is still in the queue
        _world.Presence.KnownKeys.Add("bob"u8, Bob);
        var watcher = _world.Connect(99);
        _world.WatchKey(watcher, "bob");
        _world.Hub.Bind("bob", Bob);
        await _world.BeatAsync();
        _world.UnwatchKey(watcher, "bob");
        await _world.BeatAsync();
        waiting.Take();
        watcher.Take();
        await _world.Presence.HeartbeatAsync(Bob);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(0.1));
        waiting.Take().ShouldBe([$"\"bob\":online {_world.Unix}"]);
        watcher.Take().ShouldBeEmpty();
        _world.Hub.Watches.ShouldBe(1);
    }

    [Fact]
    public async Task The_same_user_can_be_watched_under_two_definitions_and_in_two_forms()
    {
        await _world.Presence.HeartbeatAsync(1);
        var watcher = _world.Connect(99);
        _world.Watch(watcher, 1);
        _world.WatchText(watcher, "1", "reachable");
        await _world.BeatAsync();
        watcher.Take().Length.ShouldBe(3);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(33));
        watcher.Take().Single().ShouldStartWith("1:offline");
        await _world.AdvanceAsync(TimeSpan.FromHours(24));
        watcher.Take().Single().ShouldStartWith("reachable \"1\":offline");
    }

    [Fact]
    public async Task Hiding_reads_like_a_goodbye_and_showing_again_like_an_arrival()
    {
        await _world.Presence.HeartbeatAsync(1);
        var watcher = await _world.ConnectAsync(99, 1);
        var hidden = _world.Unix;
        await _world.Presence.SetClaimAsync(1, ClaimStatus.Hidden);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(0.5));
        watcher.Take().ShouldBeEmpty();
        await _world.Presence.HeartbeatAsync(1);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(12));
        watcher.Take().ShouldBe([$"1:offline {hidden}"]);
        await _world.Presence.HeartbeatAsync(1);
        await _world.Presence.SetClaimAsync(1, ClaimStatus.Auto);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(0.1));
        watcher.Take().ShouldBe([$"1:online {_world.Unix}"]);
    }

    [Theory]
    [InlineData(false, 0, ClaimStatus.Auto)]
    [InlineData(true, 0, ClaimStatus.Auto)]
    [InlineData(true, 700, ClaimStatus.Auto)]
    [InlineData(true, 0, ClaimStatus.Online)]
    public async Task Hiding_is_told_under_every_definition_as_leaving_is(bool isActive, int idleSeconds, ClaimStatus chosen)
    {
        await TellAsync();
        await TellAsync(_world.Presence.Definitions.All.Reverse());

        async Task TellAsync(IEnumerable<Definition>? order = null)
        {
            var sent = new List<string[]>();
            foreach (var hides in new[] { false, true })
            {
                var world = new World();
                var phone = new Device(5, DeviceKind.Mobile);
                await world.Presence.HeartbeatAsync(1, phone, isActive);
                if (chosen != ClaimStatus.Auto)
                    await world.Presence.SetClaimAsync(1, chosen);
                for (var second = 0; second < idleSeconds; second += 10)
                {
                    await world.AdvanceAsync(TimeSpan.FromSeconds(10));
                    await world.Presence.HeartbeatAsync(1, phone);
                }

                var watcher = world.Connect(99);
                foreach (var definition in order ?? world.Presence.Definitions.All)
                    world.WatchText(watcher, "1", definition.Name);
                // advance to a moment between two rechecks of the user
                await world.AdvanceAsync(TimeSpan.FromSeconds(3));
                watcher.Take();
                if (hides)
                    await world.Presence.SetClaimAsync(1, ClaimStatus.Hidden);
                else
                    await world.Presence.LeaveAsync(new uint[] { 1 });
                List<string> messages = [];
                for (var beat = 0; beat < 300; beat++)
                {
                    await world.AdvanceAsync(WatchHub.BeatInterval);
                    messages.AddRange(watcher.Take().Select(message => $"{beat}: {message}"));
                }

                sent.Add([.. messages]);
            }

            sent[0].ShouldNotBeEmpty();
            sent[1].ShouldBe(sent[0]);
        }
    }

    [Fact]
    public async Task One_act_is_told_under_every_definition_at_once_whatever_finds_it()
    {
        foreach (var finding in new[] { "another watch", "a periodic read" })
        {
            foreach (var first in new World().Presence.Definitions.All)
            {
                foreach (var hides in new[] { false, true })
                {
                    var sent = await SentAsync(hides, world =>
                    {
                        if (finding == "another watch")
                            world.WatchText(world.Connect(98), "1", first.Name);
                    });
                    sent.Length.ShouldBe(1, $"{finding} under {first.Name} found that {(hides ? "they hid" : "they left")}");
                    sent[0].Length.ShouldBeGreaterThan(1);
                }
            }
        }
    }

    // Returns, for each beat with messages, the messages by which a watcher under all definitions learns that a user is gone.
    private static async Task<string[][]> SentAsync(bool hides, Action<World> find)
    {
        var world = new World();
        await world.Presence.HeartbeatAsync(1, new Device(5, DeviceKind.Mobile), active: true);
        var watcher = world.Connect(99);
        foreach (var definition in world.Presence.Definitions.All)
            world.WatchText(watcher, "1", definition.Name);
        await world.AdvanceAsync(TimeSpan.FromSeconds(3));
        watcher.Take();
        if (hides)
            await world.Presence.SetClaimAsync(1, ClaimStatus.Hidden);
        else
            await world.Presence.LeaveAsync(new uint[] { 1 });
        await world.AdvanceAsync(TimeSpan.FromSeconds(0.5));
        find(world);
        List<string[]> sent = [];
        for (var beat = 0; beat < 600; beat++)
        {
            await world.AdvanceAsync(WatchHub.BeatInterval);
            if (watcher.Take() is { Length: > 0 } messages)
                sent.Add(messages);
        }

        return [.. sent];
    }

    [Fact]
    public async Task Kinds_of_devices_that_come_and_go_are_told()
    {
        var watcher = _world.Connect(99);
        _world.WatchText(watcher, "1", "mobile");
        await _world.Presence.HeartbeatAsync(1, new Device(5, DeviceKind.Desktop));
        await _world.BeatAsync();
        watcher.Take()[1].ShouldStartWith("mobile \"1\":offline");
        await _world.Presence.HeartbeatAsync(1, new Device(6, DeviceKind.Mobile));
        await _world.AdvanceAsync(TimeSpan.FromSeconds(0.1));
        watcher.Take().ShouldBe([$"mobile \"1\":online {_world.Unix}"]);
        await _world.Presence.LeaveAsync(1, new Device(6, DeviceKind.Mobile));
        for (var second = 0; second < 20; second++)
        {
            await _world.Presence.HeartbeatAsync(1, new Device(5, DeviceKind.Desktop));
            await _world.AdvanceAsync(TimeSpan.FromSeconds(1));
        }

        var sent = watcher.Take();
        sent.ShouldNotBeEmpty();
        sent.ShouldAllBe(static message => message.StartsWith("mobile \"1\":offline"));
    }

    [Fact]
    public async Task The_end_of_a_claim_is_told_at_its_second_and_what_was_beneath_shows_again()
    {
        await _world.Presence.HeartbeatAsync(1);
        var watcher = await _world.ConnectAsync(99, 1);
        var now = _world.Presence.Clock.Now;
        await _world.Presence.SetClaimAsync(1, new Claim("beneath", ClaimStatus.Away, StatusDetails.Of("beneath", null, now + 9), -1));
        await _world.Presence.SetClaimAsync(1, new Claim("call", ClaimStatus.Busy, StatusDetails.Of("on top", null, now + 4)));
        // an earlier end replaces a later one
        await _world.AdvanceAsync(TimeSpan.FromSeconds(1));
        watcher.Take().Last().ShouldStartWith("1:busy");
        await _world.Presence.SetClaimAsync(1, new Claim("call", ClaimStatus.Busy, StatusDetails.Of("on top", null, now + 3)));
        await _world.AdvanceAsync(TimeSpan.FromSeconds(1));
        await _world.Presence.HeartbeatAsync(1);
        watcher.Take().Last().ShouldStartWith("1:busy");
        await _world.AdvanceAsync(TimeSpan.FromSeconds(1.1));
        watcher.Take().ShouldHaveSingleItem().ShouldStartWith("1:away");
        await _world.AdvanceAsync(TimeSpan.FromSeconds(5));
        watcher.Take().ShouldBeEmpty();
        await _world.AdvanceAsync(TimeSpan.FromSeconds(1));
        watcher.Take().ShouldHaveSingleItem().ShouldStartWith("1:online");
    }

    [Fact]
    public async Task Away_is_found_though_no_heartbeat_announces_it()
    {
        await _world.Presence.HeartbeatAsync(1, active: true);
        var watcher = await _world.ConnectAsync(99, 1);
        for (var i = 0; i < 62; i++)
        {
            await _world.AdvanceAsync(TimeSpan.FromSeconds(10));
            await _world.Presence.HeartbeatAsync(1);
        }

        watcher.Take().Single().ShouldStartWith("1:away");
        await _world.Presence.HeartbeatAsync(1, active: true);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(0.1));
        watcher.Take().Single().ShouldStartWith("1:online");
    }

    [Fact]
    public async Task Closing_and_unwatching_leave_nothing_behind()
    {
        for (var i = 0; i < 50; i++)
        {
            var watcher = _world.Connect(99);
            _world.Watch(watcher, [.. Enumerable.Range(0, 200).Select(u => (uint)u)]);
            _world.WatchKey(watcher, "nobody");
            if (i % 2 == 0)
                _world.Unwatch(watcher, 5, 6);
            await _world.BeatAsync();
            _world.Hub.Close(watcher);
            await _world.BeatAsync();
        }

        _world.Hub.Watches.ShouldBe(0);
        _world.Hub.Connections.ShouldBe(0);
    }

    [Fact]
    public async Task While_part_of_the_store_is_away_nothing_piles_up()
    {
        // neighbouring numbers are on different pages
        var store = new RiggedStore(isRemote: false) { IsAway = page => page == PageLayout.Page(2) };
        var world = new World(store);
        var topics = new Topics();
        var checks = new TopicChecks(
            topics, world.Presence.Statuses, world.Presence.Definitions, world.Presence.Claims, world.Presence.Clock);
        var here = topics.FindOrAdd(1, [], UserForm.Number, world.Presence.Definitions.Default);
        var away = topics.FindOrAdd(2, [], UserForm.Number, world.Presence.Definitions.Find("reachable")!);
        for (var i = 0; i < 50; i++)
        {
            checks.Enqueue(here, gentle: false);
            checks.Enqueue(away, gentle: false);
            await Should.ThrowAsync<StoreUnavailableException>(async () => await checks.ReadAsync(static (_, _) => { }));
            checks.Count.ShouldBe(1);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(500)]
    public async Task Every_user_is_read_again_within_the_interval_while_other_watches_begin(int beatsForEach)
    {
        var world = new World();
        var topics = new Topics();
        var checks = new TopicChecks(
            topics, world.Presence.Statuses, world.Presence.Definitions, world.Presence.Claims, world.Presence.Clock);
        var interval = (int)(WatchHub.RecheckInterval / WatchHub.BeatInterval);
        var readAt = new List<int>();
        for (var beat = 1; beat <= 4 * interval; beat++)
        {
            // adds topics also in the beat in which a pass begins
            if (beat % beatsForEach == 0)
            {
                topics.FindOrAdd((uint)beat, [], UserForm.Number, world.Presence.Definitions.Default);
                readAt.Add(beat);
            }

            checks.Beat();
            for (var id = 0; id < readAt.Count; id++)
            {
                if (topics[id]!.IsQueued)
                    readAt[id] = beat;
                (beat - readAt[id]).ShouldBeLessThanOrEqualTo(interval, $"topic {id} in beat {beat}");
            }

            await checks.ReadAsync(static (_, _) => { });
        }
    }

    [Fact]
    public async Task Who_watches_what_the_store_has_lost_is_told_at_once_and_the_others_live_on()
    {
        var store = new RiggedStore(isRemote: false) { SaysWhatIsAway = true };
        var world = new World(store);
        await world.Presence.HeartbeatAsync(new uint[] { 1, 2 });
        var (both, one) = (world.Connect(98), world.Connect(99));
        world.Watch(both, 1, 2);
        world.Watch(one, 1);
        await world.BeatAsync();
        both.Take();
        one.Take();

        store.IsAway = static page => page == 2;
        store.Outages++;
        await world.BeatAsync();
        both.Take().ShouldBe([$"{{\"type\":\"stale\",\"as_of\":{world.Unix}}}"]);
        // the snapshot has the users who can be read; the others follow later
        var late = world.Connect(97);
        world.Watch(late, 1, 2);
        await world.BeatAsync();
        late.Take().ShouldBe(["{\"type\":\"welcome\"}", $"{{\"type\":\"stale\",\"as_of\":{world.Unix}}}", $"1:online {world.Unix}"]);
        var seen = world.Unix;
        await world.Presence.LeaveAsync(new uint[] { 1 });
        await world.AdvanceAsync(TimeSpan.FromSeconds(2));
        one.Take().ShouldBe([$"1:offline {seen}"]);
        both.Take().ShouldBe([$"1:offline {seen}"]);
        late.Take().ShouldBe([$"1:offline {seen}"]);

        store.IsAway = static _ => false;
        store.Outages++;
        await world.BeatAsync();
        await world.BeatAsync();
        both.Take().ShouldBe(["{\"type\":\"fresh\"}"]);
        late.Take().ShouldBe([$"2:online {seen}", "{\"type\":\"fresh\"}"]);
        one.Take().ShouldBeEmpty();
    }

    [Fact]
    public async Task An_id_without_an_index_depends_on_no_page_until_it_has_one()
    {
        var store = new RiggedStore(isRemote: false)
        {
            SaysWhatIsAway = true,
            IsAway = static page => page == PageLayout.Page(UserId.Nobody),
            Outages = 1,
        };
        var world = new World(store);
        var watcher = world.Connect(98);
        world.WatchKey(watcher, "carol");
        await world.BeatAsync();
        watcher.Take().ShouldBe(["{\"type\":\"welcome\"}", "\"carol\":offline null"]);

        store.IsAway = static page => page == PageLayout.Page(UserId.FirstDirectoryNumber);
        store.Outages++;
        await world.BeatAsync();
        watcher.Take().ShouldBeEmpty();
        // the ID gets an index, whose page is lost
        (await world.Presence.RegisterAsync(UserId.Parse("carol"))).ShouldBe(UserId.FirstDirectoryNumber);
        await world.BeatAsync();
        watcher.Take().ShouldBe([$"{{\"type\":\"stale\",\"as_of\":{world.Unix}}}"]);

        store.IsAway = static _ => false;
        store.Outages++;
        await world.Presence.HeartbeatAsync(UserId.FirstDirectoryNumber);
        await world.BeatAsync();
        await world.BeatAsync();
        watcher.Take().ShouldBe([$"\"carol\":online {world.Unix}", "{\"type\":\"fresh\"}"]);
    }

    [Theory]
    [InlineData(true)] // the store says which pages are away
    [InlineData(false)] // reads fail
    public async Task What_changed_during_an_outage_is_told_before_fresh(bool saysWhatIsAway)
    {
        var store = new RiggedStore(isRemote: false) { SaysWhatIsAway = saysWhatIsAway };
        var world = new World(store);
        await world.Presence.HeartbeatAsync(new uint[] { 2 });
        var seen = world.Unix;
        var watcher = await world.ConnectAsync(98, 2);
        store.IsAway = static _ => true;
        store.Outages += saysWhatIsAway ? 1 : 0;
        // long enough for the pass over all topics
        await world.AdvanceAsync(TimeSpan.FromSeconds(40));
        watcher.Take().ShouldHaveSingleItem().ShouldStartWith("{\"type\":\"stale\"");

        store.IsAway = static _ => false;
        store.Outages += saysWhatIsAway ? 1 : 0;
        await world.AdvanceAsync(TimeSpan.FromSeconds(12));
        watcher.Take().ShouldBe([$"2:offline {seen}", "{\"type\":\"fresh\"}"]);
    }

    [Fact]
    public async Task Where_all_is_away_everybody_is_told_and_who_comes_then_too()
    {
        var store = new RiggedStore(isRemote: false) { SaysWhatIsAway = true, IsAway = static _ => true, Outages = 1 };
        var world = new World(store);
        var early = world.Connect(98);
        await world.BeatAsync();
        early.Take().ShouldBe(["{\"type\":\"welcome\"}", $"{{\"type\":\"stale\",\"as_of\":{world.Unix}}}"]);
        var late = world.Connect(99);
        world.Watch(late, 1);
        await world.BeatAsync();
        late.Take().ShouldBe(["{\"type\":\"welcome\"}", $"{{\"type\":\"stale\",\"as_of\":{world.Unix}}}"]);
        store.IsAway = static _ => false;
        store.Outages++;
        await world.BeatAsync();
        await world.BeatAsync();
        early.Take().ShouldBe(["{\"type\":\"fresh\"}"]);
        late.Take().ShouldBe(["1:offline null", "{\"type\":\"fresh\"}"]);
    }

    [Theory]
    [InlineData("ann")]
    [InlineData("042")]
    [InlineData("Zoë & 🌞 \"Ωmega\" <ελληνικά>")]
    public async Task A_watch_holds_no_more_than_it_reserved(string key)
    {
        var watcher = new HoldingConnection();
        _world.Hub.Open(watcher, "{}"u8.ToArray());
        _world.Hub.Watch(watcher, World.Batch(key, _world.Presence.KnownKeys), _world.Presence.Definitions.Default);
        await _world.BeatAsync();
        watcher.Reserved.ShouldHaveSingleItem().ShouldBe(watcher.Held);
    }

    [Fact]
    public async Task A_drain_of_a_hub_that_has_stopped_is_over()
    {
        var drain = _world.Hub.DrainAsync(TimeSpan.FromSeconds(8));
        await _world.Hub.DisposeAsync();
        await drain.WaitAsync(TimeSpan.FromSeconds(30));
        await _world.Hub.DrainAsync(TimeSpan.FromSeconds(8)).WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task More_than_ten_thousand_watches_are_refused_whole()
    {
        var watcher = _world.Connect(99);
        _world.Watch(watcher, [.. Enumerable.Range(0, 10_000).Select(u => (uint)u)]);
        _world.Watch(watcher, 1, 2, 3);
        _world.Watch(watcher, 1, 10_000);
        await _world.BeatAsync();
        var sent = watcher.Take();
        sent.Length.ShouldBe(4);
        sent[1].ShouldBe(
            "{\"type\":\"error\",\"status\":413,\"title\":\"Too many watches\",\"detail\":\"A connection may watch 10000 users: nothing of "
                + "this message was watched; unwatch some, or open another connection.\"}");
        _world.Hub.Watches.ShouldBe(10_000);
    }

    [Fact]
    public async Task A_pause_of_the_process_shows_nobody_offline()
    {
        await _world.Presence.HeartbeatAsync(1);
        var watcher = _world.Connect(99);
        _world.Watch(watcher, 1);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(5));
        watcher.Take();
        _world.Pause(TimeSpan.FromSeconds(40));
        await _world.AdvanceAsync(TimeSpan.FromSeconds(12));
        await _world.Presence.HeartbeatAsync(1);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(25));
        watcher.Take().ShouldBeEmpty();
        await _world.AdvanceAsync(TimeSpan.FromSeconds(10));
        watcher.Take().Single().ShouldStartWith("1:offline");
    }

    [Fact]
    public async Task Who_hides_goes_for_those_who_may_not_see_them_and_nothing_more_is_told()
    {
        await _world.Presence.HeartbeatAsync(1);
        var (watcher, friend) = (_world.Connect(98), _world.Connect(99));
        _world.Watch(watcher, 1);
        _world.Watch(friend, 1);
        await _world.BeatAsync();
        watcher.Take();
        friend.Take();
        _world.Show(1, new Visibility { Online = OnlineVisibility.FollowersApproved, Approved = [99] });
        await _world.BeatAsync();
        watcher.Take().ShouldBe(["1:offline null"]);
        friend.Take().ShouldBeEmpty();

        // the hidden user leaves and comes online, and nothing is sent; when visible again, the present status is sent
        await _world.Presence.LeaveAsync(new uint[] { 1 });
        await _world.AdvanceAsync(TimeSpan.FromSeconds(2));
        await _world.Presence.HeartbeatAsync(1);
        await _world.AdvanceAsync(TimeSpan.FromSeconds(2));
        watcher.Take().ShouldBeEmpty();
        friend.Take().Length.ShouldBe(2);
        _world.Show(1, new Visibility { Blocked = [99] });
        await _world.BeatAsync();
        watcher.Take().Single().ShouldStartWith("1:online");
        friend.Take().ShouldBe(["1:offline null"]);
    }

    [Theory]
    [InlineData(true, true, true)]
    [InlineData(true, true, false)]
    [InlineData(true, false, true)]
    [InlineData(true, false, false)]
    [InlineData(false, true, true)]
    [InlineData(false, true, false)]
    [InlineData(false, false, true)]
    [InlineData(false, false, false)]
    public async Task The_deletion_of_a_user_who_was_never_visible_tells_nothing(bool isOnline, bool isHere, bool hasJustLeft)
    {
        await _world.Presence.HeartbeatAsync(1);
        if (!isOnline)
            await _world.AdvanceAsync(TimeSpan.FromSeconds(40));
        _world.Show(1, new Visibility { Online = OnlineVisibility.FollowersApproved, Approved = [98] });
        var (friend, watcher) = (_world.Connect(98), _world.Connect(99));
        _world.Watch(friend, 1);
        _world.Watch(watcher, 1);
        await _world.BeatAsync();
        friend.Take();
        watcher.Take()[1].ShouldBe("1:offline null");
        if (hasJustLeft)
            await _world.Presence.LeaveAsync(new uint[] { 1 });
        if (isHere)
        {
            (await _world.Presence.DeleteUserAsync(1)).ShouldBeTrue();
        }
        else
        {
            // a deletion by another node: the leave comes first, then the words are erased, and then the user no longer hides
            await _world.Presence.EndAsync(1, isDeleted: true);
            _world.Show(1, Visibility.Default);
        }

        await _world.AdvanceAsync(TimeSpan.FromSeconds(15));
        watcher.Take().ShouldBeEmpty();
        friend.Take()[^1].ShouldBe("1:offline null");
        // a new user under the same ID hides nothing
        await _world.Presence.HeartbeatAsync(1);
        await _world.BeatAsync();
        watcher.Take().Single().ShouldStartWith("1:online");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Who_shows_less_is_told_that_they_see_less_where_it_is_reciprocal(bool isReciprocal)
    {
        var world = new World(isReciprocal: isReciprocal);
        await world.Presence.HeartbeatAsync(1);
        var (hiding, other) = (world.Connect(98), world.Connect(99));
        world.Watch(hiding, 1);
        world.Watch(other, 1);
        await world.BeatAsync();
        hiding.Take();
        other.Take();
        foreach (var (shows, sent) in new[]
        {
            (OnlineVisibility.Nobody, "1:offline null"), (OnlineVisibility.Everyone, $"1:online {world.Unix}"),
        })
        {
            world.Presence.Visibilities.Set(98, Visibility.Default.With(shows, LastSeenVisibility.Exact));
            // called twice in a beat, as if the user had changed the setting twice
            world.Hub.Resight(98);
            world.Hub.Resight(98);
            await world.BeatAsync();
            string[] expected = isReciprocal ? [sent] : [];
            hiding.Take().ShouldBe(expected);
            other.Take().ShouldBeEmpty();
        }
    }

    [Fact]
    public async Task A_round_of_changes_and_ticks_allocates_nothing()
    {
        for (uint i = 0; i < 100; i++)
            _world.Watch(_world.Connect(1000 + i, isQuiet: true), 1, 2, 3);
        var allocated = long.MaxValue;
        // the first passes fill pools and grow lists
        for (var pass = 0; pass < 4; pass++)
        {
            allocated = 0;
            for (var beat = 0; beat < 600; beat++)
            {
                if (beat % 100 == 0)
                    await _world.Presence.HeartbeatAsync((uint)((beat / 100 % 3) + 1));
                _world.Pause(WatchHub.BeatInterval);
                var before = GC.GetAllocatedBytesForCurrentThread();
                await _world.BeatAsync();
                allocated += GC.GetAllocatedBytesForCurrentThread() - before;
            }

            await _world.AdvanceAsync(TimeSpan.FromSeconds(40));
        }

        _world.Hub.Deliveries.ShouldBeGreaterThan(1000);
        allocated.ShouldBe(0);
    }

    /// <summary>A hub with its engine, and time that the test advances.</summary>
    private sealed class World
    {
        private readonly ManualTimeProvider _time = new();

        public World(IPlaneStore? store = null, bool isReciprocal = false)
        {
            var options = new AglowOptions { MemoryMegabytes = 512, KnownKeys = 1024, IsVisibilityReciprocal = isReciprocal };
            var log = new AglowLog(NullLogger.Instance);
            var bus = new LocalTransitionBus();
            var clock = new Clock(_time, new StallGuard(20));
            Presence = new PresenceService(
                store ?? new MemoryPlaneStore(PageBudget.Of(options)), new FakeDirectory(), bus, clock, options, new AglowMetrics(), log);
        }

        public PresenceService Presence { get; }

        public WatchHub Hub => Presence.Watchers;

        public long Unix => Pulse.EpochUnixSeconds + (long)Presence.Clock.Now;

        public NotingConnection Connect(uint user, bool isQuiet = false)
        {
            var connection = new NotingConnection(user, isQuiet);
            Hub.Open(connection, "{\"type\":\"welcome\"}"u8.ToArray());
            return connection;
        }

        /// <summary>Connects, watches these users, and takes their snapshot.</summary>
        public async Task<NotingConnection> ConnectAsync(uint user, params uint[] watched)
        {
            var connection = Connect(user);
            Watch(connection, watched);
            await BeatAsync();
            connection.Take();
            return connection;
        }

        public void Watch(NotingConnection connection, params uint[] users) =>
            Hub.Watch(connection, Batch(users), Presence.Definitions.Default);

        public void WatchWithId(NotingConnection connection, long id, params uint[] users) =>
            Hub.Watch(connection, Batch(users), Presence.Definitions.Default, id);

        public void Unwatch(NotingConnection connection, params uint[] users) =>
            Hub.Unwatch(connection, Batch(users), Presence.Definitions.Default);

        public void Show(uint user, Visibility visibility)
        {
            Presence.Visibilities.Set(user, visibility);
            Hub.Resight(user);
        }

        public void WatchKey(NotingConnection connection, string key) => WatchText(connection, key, Definition.DefaultName);

        public void UnwatchKey(NotingConnection connection, string key) =>
            Hub.Unwatch(connection, Batch(key), Presence.Definitions.Default);

        public void WatchText(NotingConnection connection, string text, string definition) =>
            Hub.Watch(connection, Batch(text), Presence.Definitions.Find(definition)!);

        private UserBatch Batch(string text) => Batch(text, Presence.KnownKeys);

        public static UserBatch Batch(string text, KeyCache known)
        {
            var batch = new UserBatch();
            batch.TryAdd(Encoding.UTF8.GetBytes(text), known).ShouldBeTrue();
            return batch;
        }

        public ValueTask BeatAsync() => Hub.BeatAsync();

        // Advances time in beats. Sweeps and beats the clock as the loops do.
        public async Task AdvanceAsync(TimeSpan by)
        {
            if (by > TimeSpan.FromHours(1))
            {
                // advances at once, like a pause of the process, and then until the stall guard has ended
                _time.Advance(by);
                by = TimeSpan.FromSeconds(30);
            }

            for (var passed = TimeSpan.Zero; passed < by; passed += WatchHub.BeatInterval)
            {
                _time.Advance(WatchHub.BeatInterval);
                if (passed.TotalMilliseconds % 100 == 0)
                {
                    Presence.Clock.Beat();
                    await SweepAsync();
                }

                await Hub.BeatAsync();
            }
        }

        private async ValueTask SweepAsync()
        {
            try
            {
                await Presence.Sweep.BeatAsync();
            }
            catch (StoreUnavailableException)
            {
                // the loop tries again
            }
        }

        public void Pause(TimeSpan by) => _time.Advance(by);

        private static UserBatch Batch(uint[] users)
        {
            var batch = new UserBatch();
            foreach (var user in users)
                batch.Add(user);
            return batch;
        }
    }

    private sealed class HoldingConnection() : FakeConnection(1)
    {
        public List<long> Reserved { get; } = [];

        public long Held { get; private set; }

        protected internal override bool TryHold(long bytes)
        {
            Reserved.Add(bytes);
            Held += bytes;
            return true;
        }

        protected internal override void Release(long bytes) => Held -= bytes;
    }

    private sealed class NotingConnection(uint user, bool isQuiet = false) : FakeConnection(user)
    {
        private readonly List<string> _sent = [];

        public string[] Take()
        {
            var sent = _sent.ToArray();
            _sent.Clear();
            return sent;
        }

        protected internal override bool Send(ReadOnlySpan<byte> json)
        {
            if (!isQuiet)
                _sent.Add(Shorten(Encoding.UTF8.GetString(json)));
            return !IsFull;
        }

        protected internal override void End(int code) => _sent.Add($"end {code}");

        private static string Shorten(string json)
        {
            var message = JsonDocument.Parse(json).RootElement;
            if (message.GetProperty("type").GetString() != "presence")
                return json;
            var definition = message.TryGetProperty("definition", out var name) ? name.GetString() + " " : "";
            var answers = message.TryGetProperty("id", out var id) ? $"#{id} " : "";
            return answers + definition + string.Join(',', message.GetProperty("users").EnumerateArray().Select(u =>
                $"{u.GetProperty("user_id").GetRawText()}:{u.GetProperty("status").GetString()} "
                    + $"{u.GetProperty("last_seen").GetRawText()}"));
        }
    }
}
