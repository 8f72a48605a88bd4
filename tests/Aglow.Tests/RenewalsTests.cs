using Aglow.Queries;

namespace Aglow.Tests;

/// <summary>
/// What the engine does differently with a remote store: renewals wait for a batch, pages are copies, and no user goes offline because of
/// an outage.
/// </summary>
public sealed class RenewalsTests : IAsyncDisposable
{
    private readonly ManualTimeProvider _time = new();
    private readonly RiggedStore _store = new(isRemote: true);
    private readonly LocalTransitionBus _bus = new();
    private readonly AglowMetrics _metrics = new();
    private readonly List<(TransitionKind Kind, uint User)> _hints = [];
    private readonly Clock _clock;
    private readonly HeartbeatWriter _writer;

    public RenewalsTests()
    {
        var options = new AglowOptions { MemoryMegabytes = 512 };
        _clock = new Clock(_time, new StallGuard(20));
        _writer = new HeartbeatWriter(_store, _bus, _clock, new Definitions(options), options, _metrics);
        _bus.Subscribe((kind, users) =>
        {
            foreach (var user in users)
                _hints.Add((kind, user));
        });
    }

    public async ValueTask DisposeAsync()
    {
        _store.IsAway = static _ => false;
        await _writer.DisposeAsync();
        await _store.DisposeAsync();
        _metrics.Dispose();
    }

    [Fact]
    public async Task An_arrival_is_written_at_once_and_a_renewal_waits()
    {
        await _writer.WriteAsync(42, active: false);
        _store.Read(42).ShouldBe(_clock.Now);
        _hints.ShouldBe([(TransitionKind.Arrived, 42u)]);
        var arrivedAt = _clock.Now;

        Advance(10);
        var renewal = _writer.WriteAsync(42, active: false);
        renewal.IsCompletedSuccessfully.ShouldBeTrue();
        (await renewal).ShouldBe(Admission.Accepted);
        _store.Read(42).ShouldBe(arrivedAt);

        await FlushAsync();
        _store.Read(42).ShouldBe(_clock.Now);
        _hints.Count.ShouldBe(1);
    }

    [Theory]
    [InlineData(27, true)]
    [InlineData(28, false)] // if it waited, the lease could expire although a heartbeat was acknowledged
    [InlineData(30, false)]
    public async Task A_renewal_waits_only_while_the_lease_lasts(int seconds, bool waits)
    {
        await _writer.WriteAsync(42, active: false);
        var arrivedAt = _clock.Now;
        Advance(seconds);
        await _writer.WriteAsync(42, active: false);
        _store.Read(42).ShouldBe(waits ? arrivedAt : _clock.Now);
        await FlushAsync();
        _store.Read(42).ShouldBe(_clock.Now);
        _hints.Count.ShouldBe(1);
    }

    [Fact]
    public async Task However_often_a_user_is_heard_one_word_waits()
    {
        await _writer.WriteAsync(new uint[] { 1, 2, 257 }, active: false, durable: true);
        _store.Batches.Clear();
        for (var second = 0; second < 5; second++)
        {
            Advance(1);
            await _writer.WriteAsync(new uint[] { 1, 2, 257, 1 }, active: false, durable: true);
        }

        _store.Batches.ShouldBeEmpty();
        await FlushAsync();
        _store.Batches.Sum().ShouldBe(3);
        _store.Read(257).ShouldBe(_clock.Now);
    }

    [Fact]
    public async Task Who_was_silent_for_longer_than_the_lease_arrives_anew()
    {
        await _writer.WriteAsync(42, active: false);
        Advance(31);
        await _writer.WriteAsync(42, active: false);
        _store.Read(42).ShouldBe(_clock.Now);
        _hints.Count.ShouldBe(2);
    }

    [Fact]
    public async Task A_renewal_of_who_left_elsewhere_is_hinted_as_an_arrival()
    {
        await _writer.WriteAsync(42, active: false);
        Advance(5);
        // another node wrote the leave, and its hint was lost
        await _store.ExchangeAsync(Plane.Pulse, 42, _clock.Now | Pulse.LeftBit);
        Advance(5);
        await _writer.WriteAsync(42, active: false);
        await FlushAsync();
        _hints.ShouldBe([(TransitionKind.Arrived, 42u), (TransitionKind.Arrived, 42u)]);
    }

    [Fact]
    public async Task A_renewal_that_waited_does_not_undo_a_goodbye_of_its_second()
    {
        await _writer.WriteAsync(42, active: false);
        Advance(10);
        await _writer.WriteAsync(42, active: false);
        var goodbye = _clock.Now | Pulse.LeftBit;
        await _store.ExchangeAsync(Plane.Pulse, 42, goodbye);
        await FlushAsync();
        _store.Read(42).ShouldBe(goodbye);
        _hints.Count.ShouldBe(1);

        // the next heartbeat is an arrival
        Advance(1);
        await _writer.WriteAsync(42, active: false);
        _store.Read(42).ShouldBe(_clock.Now);
        _hints.Count.ShouldBe(2);
    }

    [Fact]
    public async Task A_goodbye_drops_what_waits()
    {
        await _writer.WriteAsync(42, active: false);
        Advance(10);
        await _writer.WriteAsync(42, active: false);
        await _writer.LeaveAsync(new uint[] { 42 });
        _store.Batches.Clear();
        await FlushAsync();
        _store.Batches.ShouldBeEmpty();
        Pulse.Left(_store.Read(42)).ShouldBeTrue();
    }

    [Fact]
    public async Task While_the_store_is_away_renewals_wait_and_arrivals_are_refused()
    {
        await _writer.WriteAsync(42, active: false);
        _store.IsAway = static _ => true;
        for (var second = 0; second < 60; second += 10)
        {
            Advance(10);
            (await _writer.WriteAsync(42, active: false)).ShouldBe(Admission.Accepted);
            await FlushAsync();
        }

        await Should.ThrowAsync<StoreUnavailableException>(async () => await _writer.WriteAsync(7, active: false));
        _store.IsAway = static _ => false;
        await FlushAsync();
        _store.Read(42).ShouldBe(_clock.Now);
        _store.Read(7).ShouldBe(Pulse.Never);
    }

    [Theory]
    [InlineData(3, true)]
    [InlineData(4, false)] // after a pause or an outage, a waiting renewal is written only if no other node has written the word since
    [InlineData(20, false)]
    public async Task What_waited_too_long_is_not_written_over_what_another_node_heard(int seconds, bool isWritten)
    {
        await _writer.WriteAsync(new uint[] { 42, 43, 44 }, active: false, durable: true);
        Advance(10);
        await _writer.WriteAsync(new uint[] { 42, 43, 44 }, active: false, durable: true);
        var heardAt = _clock.Now;
        Advance(seconds);
        var newer = _clock.Now;
        await _store.ExchangeAsync(Plane.Pulse, 42, newer);
        await _store.ExchangeAsync(Plane.Pulse, 43, newer | Pulse.LeftBit);
        _store.Batches.Clear();
        await FlushAsync();
        _store.Batches.Sum().ShouldBe(isWritten ? 3 : 1);
        _store.Read(42).ShouldBe(newer);
        _store.Read(43).ShouldBe(newer | Pulse.LeftBit);
        _store.Read(44).ShouldBe(heardAt);
    }

    [Fact]
    public async Task What_waited_too_long_waits_on_where_the_store_cannot_be_read()
    {
        await _writer.WriteAsync(new uint[] { 1, 2 }, active: false, durable: true);
        Advance(10);
        await _writer.WriteAsync(1u, active: false);
        var heardAt = _clock.Now;
        _store.IsAway = static page => page == 1;
        Advance(5);
        await _writer.WriteAsync(2u, active: false);
        await FlushAsync();
        _store.Read(2).ShouldBe(_clock.Now);
        _store.Read(1).ShouldBe(heardAt - 10);
        _store.IsAway = static _ => false;
        await FlushAsync();
        _store.Read(1).ShouldBe(heardAt);
    }

    [Fact]
    public async Task Words_that_a_broken_store_did_not_take_wait_and_never_exceed_the_room_for_them()
    {
        // all users of page 0
        uint[] users = [.. Enumerable.Range(0, PageLayout.Slots).Select(static slot => PageLayout.User(0, slot))];
        await _writer.WriteAsync(users, active: false, durable: true);
        _store.IsBroken = true;
        var failures = 0;
        for (var beat = 0; beat < 40; beat++)
        {
            if (beat % 10 == 0)
            {
                Advance(1);
                await _writer.WriteAsync(users, active: false, durable: true);
            }

            try
            {
                await _writer.Renewals!.FlushAsync(all: false);
            }
            catch (InvalidOperationException)
            {
                failures++;
            }
        }

        failures.ShouldBe(4);
        _store.IsBroken = false;
        await FlushAsync();
        _store.Read(users[0]).ShouldBe(_clock.Now);
        _store.Read(users[^1]).ShouldBe(_clock.Now);
    }

    [Fact]
    public async Task A_page_that_is_away_does_not_hold_up_the_others()
    {
        await _writer.WriteAsync(new uint[] { 1, 2 }, active: false, durable: true);
        Advance(10);
        await _writer.WriteAsync(new uint[] { 1, 2 }, active: false, durable: true);
        _store.IsAway = static page => page == 1;
        await FlushAsync();
        _store.Read(1).ShouldBe(_clock.Now - 10);
        _store.Read(2).ShouldBe(_clock.Now);
        _store.IsAway = static _ => false;
        await FlushAsync();
        _store.Read(1).ShouldBe(_clock.Now);
    }

    [Fact]
    public async Task Of_a_batch_that_was_written_in_part_those_who_came_are_hinted()
    {
        _store.IsAway = static page => page == 1;
        await Should.ThrowAsync<StoreUnavailableException>(
            async () => await _writer.WriteAsync(new uint[] { 1, 2 }, active: false, durable: true));
        _hints.ShouldBe([(TransitionKind.Arrived, 2u)]);
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(1u)]
    public async Task A_batch_with_a_user_who_must_go_to_another_node_says_so(uint user)
    {
        var options = new AglowOptions { MemoryMegabytes = 512 };
        await using var writer = new HeartbeatWriter(_store, new BusWithPeers(), _clock, new Definitions(options), options, _metrics);
        _store.IsAway = static _ => true;
        _store.UnwritableSince = TimeSpan.FromSeconds(20);
        var refused = await Should.ThrowAsync<StoreUnavailableException>(
            async () => await writer.WriteAsync(new[] { user }, active: false, durable: true));
        refused.IsHandedOver.ShouldBeTrue();
    }

    [Fact]
    public async Task Activity_waits_as_heartbeats_do()
    {
        await _writer.WriteAsync(42, active: true);
        Advance(10);
        _store.Batches.Clear();
        await _writer.WriteAsync(42, active: true);
        await _writer.WriteAsync(new uint[] { 42 }, active: true, durable: true);
        _store.Batches.ShouldBeEmpty();
        await FlushAsync();
        _store.Batches.ShouldBe([1, 1]);

        // the user, who is online and away, does something: a hint tells all nodes to read the user
        for (var i = 0; i < 70; i++)
        {
            Advance(10);
            await _writer.WriteAsync(42, active: false);
            await FlushAsync();
        }

        await _writer.WriteAsync(42, active: true);
        _hints[^1].ShouldBe((TransitionKind.Changed, 42u));
    }

    [Fact]
    public async Task A_renewal_allocates_nothing()
    {
        uint[] users = [.. Enumerable.Range(0, 100).Select(i => (uint)i)];
        await _writer.WriteAsync(users, active: false, durable: true);
        Beat();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Beat();
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBe(0);

        void Beat()
        {
            foreach (var user in users)
                IsDone(_writer.WriteAsync(user, active: false)).ShouldBeTrue();
        }
    }

    [Fact]
    public async Task A_hint_that_comes_while_a_page_is_read_is_not_undone_by_it()
    {
        using var beliefs = new Beliefs(new Definitions(new AglowOptions()), _bus);
        var sweep = new Sweep(_store, _clock, beliefs);
        await _store.ExchangeAsync(Plane.Pulse, 256, _clock.Now);
        // while the copy of the page is read, a user comes online
        _store.OnPageRead = () => IsDone(_writer.WriteAsync(512, active: false)).ShouldBeTrue();
        await sweep.PassAsync();
        beliefs.Default.Contains(256).ShouldBeTrue();
        beliefs.Default.Contains(512).ShouldBeTrue();
        beliefs.Default.Online.ShouldBe(2);
    }

    [Fact]
    public async Task A_remote_store_is_swept_once_in_ten_seconds()
    {
        using var beliefs = new Beliefs(new Definitions(new AglowOptions()), _bus);
        var sweep = new Sweep(_store, _clock, beliefs);
        await _writer.WriteAsync(1, active: false);
        await BeatsAsync(11);
        sweep.Interval.ShouldBe(Sweep.RemoteInterval);
        sweep.Passes.ShouldBe(1);
        await BeatsAsync(31);
        beliefs.Default.Contains(1).ShouldBeFalse();
        sweep.Passes.ShouldBe(4);

        async Task BeatsAsync(int seconds)
        {
            for (var beat = 0; beat < seconds * 10; beat++)
            {
                _time.Advance(Sweep.BeatInterval);
                _clock.Beat();
                await sweep.BeatAsync();
            }
        }
    }

    [Fact]
    public async Task Where_one_page_could_not_be_written_only_its_users_are_held()
    {
        await _writer.WriteAsync(new uint[] { 1, 2 }, active: false, durable: true);
        var statuses = new StatusReader(_store, new Claims(), _clock, new AglowOptions(), _metrics);
        var awaySince = _clock.Now;
        Advance(40);
        _clock.Guard.Stalled(awaySince, _clock.Now, [PageLayout.Page(1)]);
        (await OnlineAsync()).ShouldBe([true, false]);
        Advance(21);
        (await OnlineAsync()).ShouldBe([false, false]);

        async Task<bool[]> OnlineAsync()
        {
            var shown = new Presence[2];
            await statuses.ReadAsync(new uint[] { 1, 2 }, new Definition("chat", 30), shown);
            return [.. shown.Select(s => s.IsOnline)];
        }
    }

    [Fact]
    public async Task A_service_over_a_remote_store_writes_what_waits_when_it_stops()
    {
        var options = new AglowOptions { MemoryMegabytes = 512, KnownKeys = 1024 };
        using var metrics = new AglowMetrics();
        var presence = new PresenceService(
            _store, directory: null, new LocalTransitionBus(), _clock, options, metrics, new AglowLog(NullLogger.Instance));
        await presence.HeartbeatAsync(42);
        Advance(5);
        await presence.HeartbeatAsync(42);
        await presence.StopAsync();
        await presence.DisposeAsync();
        _store.Read(42).ShouldBe(_clock.Now);
    }

    private sealed class BusWithPeers : ITransitionBus
    {
        public bool IsLossless => false;

        public bool HasPeers => true;

        public void Publish(TransitionKind kind, ReadOnlySpan<uint> users)
        {
        }

        public void Subscribe(TransitionHandler handler)
        {
        }
    }

    private static bool IsDone(ValueTask<Admission> write) => write.IsCompletedSuccessfully;

    private async Task FlushAsync()
    {
        // each beat writes a tenth of the pages
        for (var beat = 0; beat < 10; beat++)
            await _writer.Renewals!.FlushAsync(all: false);
    }

    private void Advance(int seconds)
    {
        for (var second = 0; second < seconds; second++)
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            _clock.Beat();
        }
    }
}
