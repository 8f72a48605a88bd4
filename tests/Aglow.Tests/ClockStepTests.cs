using Aglow.Queries;

namespace Aglow.Tests;

/// <summary>
/// Heartbeats, reads and sweeps while the wall clock is stepped and the monotonic clock is not, with the memory store and with a remote
/// store.
/// </summary>
public class ClockStepTests
{
    private const uint Beating = 1, Silent = 2, Gone = 3, Leaving = 4, Back = 5;

    public static TheoryData<bool, double> Steps()
    {
        var steps = new TheoryData<bool, double>();
        foreach (var isRemote in (bool[])[false, true])
        {
            foreach (var hours in (double[])[2, -2, 8, -8, 10 * 365 * 24, -10 * 365 * 24])
                steps.Add(isRemote, hours);
        }

        return steps;
    }

    [Theory]
    [MemberData(nameof(Steps))]
    public async Task Who_beats_on_is_never_offline_and_a_new_last_seen_is_right_at_once(bool isRemote, double hours)
    {
        await using var rig = new StepRig(isRemote);
        await rig.LiveAsync(60, Beating, Silent, Leaving);
        await rig.StepAsync(hours);
        var stepped = rig.Wall;
        for (var second = 0; second < 120; second++)
        {
            await rig.LiveAsync(1, Beating);
            var (status, lastSeen) = await rig.ReadAsync(Beating);
            status.ShouldBe(PresenceStatus.Online, $"{second} s after");
            // the user sends a heartbeat every 10 s, so the first one comes at most 10 s after the step
            if (second >= 11)
                lastSeen.ShouldBeInRange(rig.Wall - 12, rig.Wall + 0);
            rig.Beliefs.Default.Contains(Beating).ShouldBeTrue();
            (await rig.ReadAsync(Silent)).LastSeen.ShouldBeLessThanOrEqualTo(rig.Wall);
            if (second == 5)
                await rig.Writer.LeaveAsync(new[] { Leaving });
            if (second is > 5 and < 40)
                (await rig.ReadAsync(Leaving)).ShouldBe((PresenceStatus.Offline, stepped + 6));
        }

        rig.WentOffline.ShouldNotContain(Beating);
        (await rig.ReadAsync(Silent)).Status.ShouldBe(PresenceStatus.Offline);
        rig.Clock.Guard.IsInForceAnywhere(rig.Clock.Moment).ShouldBeFalse();
        rig.Clock.Steps.ShouldBe(1);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task After_a_suspend_who_does_not_come_back_is_offline_with_the_last_seen_they_had(bool isRemote)
    {
        await using var rig = new StepRig(isRemote);
        await rig.LiveAsync(60, Beating, Silent);
        var (_, lastSeen) = await rig.ReadAsync(Silent);
        await rig.StepAsync(8);
        (await rig.ReadAsync(Silent)).ShouldBe((PresenceStatus.Online, lastSeen));
        await rig.LiveAsync(35, Beating);
        (await rig.ReadAsync(Silent)).ShouldBe((PresenceStatus.Offline, lastSeen));
        rig.WentOffline.ShouldBe([Silent]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task After_a_clock_is_set_back_everybody_is_as_they_were_by_the_right_time(bool isRemote)
    {
        await using var rig = new StepRig(isRemote, wrongHours: 10 * 365 * 24);
        await rig.LiveAsync(5, Gone, Back);
        await rig.LiveAsync(60, Beating, Leaving);
        await rig.Writer.WriteAsync(Back, active: true);
        await rig.Writer.LeaveAsync(new[] { Leaving, Back });
        await rig.LiveAsync(30, Beating, Silent);
        var before = rig.Wall;
        var ages = new Dictionary<uint, uint>();
        foreach (var user in (uint[])[Silent, Gone, Leaving, Back])
            ages[user] = before - (await rig.ReadAsync(user)).LastSeen;

        await rig.StepAsync(-10 * 365 * 24);
        await rig.LiveAsync(isRemote ? 31 : 6, Beating);
        var now = rig.Wall;
        foreach (var (user, age) in ages)
        {
            Pulse.Second(rig.Word(user)).ShouldBeLessThanOrEqualTo(now);
            // the words themselves were changed, not only what is shown
            (now - Pulse.Second(rig.Word(user))).ShouldBeInRange(age + (isRemote ? 31u : 6), age + (isRemote ? 32u : 7));
        }

        Pulse.Left(rig.Word(Leaving)).ShouldBeTrue();
        Pulse.Second(rig.Activity(Back)).ShouldBeLessThanOrEqualTo(now);
        (await rig.ReadAsync(Gone)).Status.ShouldBe(PresenceStatus.Offline);
        rig.WentOffline.ShouldNotContain(Beating);

        // a user whose leave was in the future can come online at once
        await rig.Writer.WriteAsync(Back, active: false);
        (await rig.ReadAsync(Back)).ShouldBe((PresenceStatus.Online, rig.Wall));
    }

    [Theory]
    [InlineData(false, -8, -2, 0)] // no sweep comes between the steps
    [InlineData(true, -8, -2, 0)]
    [InlineData(false, -8, 2, 0)]
    [InlineData(true, -8, 2, 0)]
    [InlineData(false, -8, -2, 2)] // the sweep still moves words when the clock steps again
    [InlineData(true, -8, -2, 2)]
    public async Task After_two_steps_of_the_clock_last_seen_is_right_by_the_right_time(bool isRemote, int first, int second, int between)
    {
        await using var rig = new StepRig(isRemote);
        await rig.LiveAsync(5, Gone);
        await rig.LiveAsync(60, Beating, Silent);
        var ages = new Dictionary<uint, uint>();
        foreach (var user in (uint[])[Silent, Gone])
            ages[user] = rig.Wall - (await rig.ReadAsync(user)).LastSeen;

        rig.StepUnswept(first);
        await rig.LiveAsync(between);
        await rig.Writer.WriteAsync(Back, active: false);
        var back = rig.Word(Back);
        rig.StepUnswept(second);
        await rig.LiveAsync(isRemote ? 45 : 6, Beating);
        var since = (uint)((isRemote ? 45 : 6) + between);
        foreach (var (user, age) in ages)
            (rig.Wall - Pulse.Second(rig.Word(user))).ShouldBeInRange(age + since, age + since + 2, $"{user}");
        // this word was written between the steps
        (back - rig.Word(Back)).ShouldBe(second < 0 ? (uint)-second * 3600 : 0);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_heartbeat_or_a_goodbye_replaces_a_word_in_the_future_at_once(bool isRemote)
    {
        await using var rig = new StepRig(isRemote);
        var future = rig.Clock.Now + 7_200;
        foreach (var user in (uint[])[1, 2, 3, 4, 5])
            await rig.Store.ExchangeAsync(Plane.Pulse, user, user == 5 ? future | Pulse.LeftBit : future);
        await rig.Store.ExchangeAsync(Plane.Activity, 2, future);

        await rig.Writer.WriteAsync(1, active: false);
        (await rig.Writer.WriteAsync(new uint[] { 2, 3, 5 }, active: true, durable: true)).ShouldBe(3);
        (await rig.Writer.LeaveAsync(new uint[] { 4 })).ShouldBe(1);
        foreach (var user in (uint[])[1, 2, 3, 5])
            rig.Word(user).ShouldBe(rig.Clock.Now);
        rig.Activity(2).ShouldBe(rig.Clock.Now);
        rig.Word(4).ShouldBe(rig.Clock.Now | Pulse.LeftBit);
        rig.Arrived.ToArray().ShouldBe((uint[])[1, 2, 3, 5], ignoreOrder: true);
    }

    [Fact]
    public async Task After_a_step_back_of_the_stores_clock_a_node_that_has_not_noticed_shows_nobody_offline()
    {
        await using var rig = new StepRig(isRemote: true);
        rig.FollowStore(0);
        await rig.LiveAsync(60, Beating, Leaving);
        var later = rig.Clock.Now;
        rig.FollowStore(-2);
        for (var second = 1u; second < (uint)Clock.SettleAfter.TotalSeconds; second++)
        {
            await rig.LiveAsync(1);
            await rig.Writer.WriteAsync(Beating, active: true);
            rig.Clock.Now.ShouldBeLessThan(later);
            rig.Definition.IsMet(rig.Word(Beating), Pulse.Never, Moment.At(later + second)).ShouldBeTrue($"{second} s after");
        }

        // a leave counts at once
        await rig.Writer.LeaveAsync(new[] { Leaving });
        rig.Word(Leaving).ShouldBe(rig.Clock.Now | Pulse.LeftBit);
        // by now, all nodes have noticed the step
        await rig.LiveAsync(2);
        await rig.Writer.WriteAsync(Beating, active: true);
        rig.Word(Beating).ShouldBe(rig.Clock.Now);
    }

    [Fact]
    public async Task Deletions_later_than_a_step_back_are_moved_to_the_second_that_the_clock_steps_to()
    {
        var time = new ManualTimeProvider();
        var clock = new Clock(time, new StallGuard(20));
        var options = new AglowOptions { MemoryMegabytes = 512, KnownKeys = 1024 };
        var directory = new FakeDirectory();
        using var metrics = new AglowMetrics();
        await using var presence = new PresenceService(
            new MemoryPlaneStore(PageBudget.Of(options)), directory, new LocalTransitionBus(), clock, options, metrics,
            new AglowLog(NullLogger.Instance));
        await presence.StartAsync();
        using var isHeld = new ManualResetEventSlim();
        var heldTo = 0L;
        directory.OnHold = second =>
        {
            heldTo = second;
            isHeld.Set();
        };
        // the clock steps after this handler, so the deletions are moved before that
        clock.Stepped += (_, _) => isHeld.Wait(TimeSpan.FromSeconds(30)).ShouldBeTrue();
        time.StepWallClock(TimeSpan.FromHours(-2));
        clock.Beat();
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        heldTo.ShouldBeInRange(now - 1, now + 1);
    }

    [Fact]
    public void A_word_in_the_future_counts_as_heard_now()
    {
        var definition = new Definition("chat", 30);
        Presence.Of(5_000, 5_000, EffectiveClaim.None, definition, Moment.At(1_000), 300)
            .ShouldBe(new Presence(PresenceStatus.Online, 1_000, ActiveAt: 1_000));
        Presence.Of(5_000 | Pulse.LeftBit, 0, EffectiveClaim.None, definition, Moment.At(1_000), 300)
            .ShouldBe(new Presence(PresenceStatus.Offline, 1_000));
        Presence.Of(900, 900, new EffectiveClaim(ClaimStatus.Hidden, 5_000), definition, Moment.At(1_000), 300)
            .ShouldBe(new Presence(PresenceStatus.Offline, 1_000, ActiveAt: 900));
    }

    [Theory]
    [InlineData(1_000, 5_000, 2_000, 1_000)]
    [InlineData(900, 5_900, 2_000, 900)]
    [InlineData(2_000, 9_000, 2_000, 2_000)]
    [InlineData(1, 3, 2_000, 1_500)]
    public void A_word_is_moved_back_by_as_much_as_the_clock_and_never_later_than_now(uint is_, uint was, uint now, uint back)
    {
        var by = is_ == 1 ? back : was - is_;
        Pulse.TakenBack(was, by, now).ShouldBe(is_);
        Pulse.TakenBack(was | Pulse.LeftBit, by, now).ShouldBe(is_ | Pulse.LeftBit);
    }

    [Fact]
    public async Task Packed_answers_are_never_in_the_future()
    {
        await using var rig = new StepRig(isRemote: false);
        await rig.Store.ExchangeAsync(Plane.Pulse, 1, rig.Clock.Now + 7_200);
        var packed = new uint[] { 1 };
        await rig.Reader.ReadPackedAsync(packed, rig.Definition, packed);
        packed[0].ShouldBe(rig.Clock.Now | (1u << 31));
    }

    private sealed class StepRig : IAsyncDisposable
    {
        private readonly ManualTimeProvider _time;
        private readonly AglowMetrics _metrics = new();
        private long _beats;

        public StepRig(bool isRemote, double wrongHours = 0)
        {
            // 10 years before that is still after 2020, where words begin
            _time = new ManualTimeProvider(new DateTimeOffset(2031, 1, 1, 0, 0, 0, TimeSpan.Zero).AddHours(wrongHours));
            var options = new AglowOptions();
            var definitions = new Definitions(options);
            Store = new RiggedStore(isRemote);
            Clock = new Clock(_time, new StallGuard(20));
            var bus = new LocalTransitionBus();
            Beliefs = new Beliefs(definitions, bus);
            Beliefs.Changed += (_, kind, users) => (kind == TransitionKind.Arrived ? Arrived : WentOffline).AddRange(users);
            Sweep = new Sweep(Store, Clock, Beliefs);
            Writer = new HeartbeatWriter(Store, bus, Clock, definitions, options, _metrics);
            Reader = new StatusReader(Store, new Claims(), Clock, options, _metrics);
            Definition = definitions.Default;
        }

        public RiggedStore Store { get; }

        public Clock Clock { get; }

        public Beliefs Beliefs { get; }

        public Sweep Sweep { get; }

        public HeartbeatWriter Writer { get; }

        public StatusReader Reader { get; }

        public Definition Definition { get; }

        public List<uint> Arrived { get; } = [];

        public List<uint> WentOffline { get; } = [];

        /// <summary>The present second of the wall clock.</summary>
        public uint Wall => _time.Second;

        public uint Word(uint user) => Store.Read(user);

        public uint Activity(uint user) => Store.Read(user, Plane.Activity);

        /// <summary>
        /// Lets seconds pass. These users send a heartbeat every 10 s, counted from the creation of the rig.
        /// </summary>
        public async Task LiveAsync(int seconds, params uint[] users)
        {
            for (var beat = 0; beat < seconds * 10; beat++)
            {
                if (_beats++ % 100 == 0)
                {
                    foreach (var user in users)
                        (await Writer.WriteAsync(user, active: false)).ShouldBe(Admission.Accepted);
                }

                await BeatAsync();
            }
        }

        /// <summary>Steps the wall clock. This process notices that a tenth of a second later.</summary>
        public async Task StepAsync(double hours)
        {
            _time.StepWallClock(TimeSpan.FromHours(hours));
            await BeatAsync();
            Clock.Now.ShouldBe(Wall);
        }

        /// <summary>Steps the wall clock. This process notices that, but no sweep comes.</summary>
        public void StepUnswept(double hours)
        {
            _time.StepWallClock(TimeSpan.FromHours(hours));
            _time.Advance(Sweep.BeatInterval);
            Clock.Beat();
        }

        /// <summary>Makes the store's clock the reference. It is this many hours ahead of the present time.</summary>
        public void FollowStore(double hours) => Clock.Follow(Clock.Now + (hours * 3600), _time.GetTimestamp());

        public async Task<(PresenceStatus Status, uint LastSeen)> ReadAsync(uint user)
        {
            var statuses = new Presence[1];
            await Reader.ReadAsync(new[] { user }, Definition, statuses);
            return (statuses[0].Status, statuses[0].LastSeen);
        }

        public async ValueTask DisposeAsync()
        {
            await Writer.DisposeAsync();
            Beliefs.Dispose();
            await Store.DisposeAsync();
            _metrics.Dispose();
        }

        private async Task BeatAsync()
        {
            _time.Advance(Sweep.BeatInterval);
            Clock.Beat();
            if (Writer.Renewals is { } renewals)
                await renewals.FlushAsync(all: false);
            await Sweep.BeatAsync();
        }
    }
}
