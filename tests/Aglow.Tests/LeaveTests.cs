namespace Aglow.Tests;

/// <summary>Leaves that meet other words of the same user, and the hints of devices.</summary>
public class LeaveTests
{
    [Fact]
    public async Task A_leave_that_loses_against_a_later_heartbeat_is_not_published()
    {
        await using var rig = new Rig(isRemote: false);
        await rig.Writer.WriteAsync(new uint[] { 1, 2 }, active: false, durable: true);
        // another thread read the clock a second later, and wrote first
        await rig.Store.ExchangeAsync(Plane.Pulse, 1, rig.Clock.Now + 1);
        (await rig.Writer.LeaveAsync(new uint[] { 1, 2 })).ShouldBe(1);
        rig.Hints.Where(hint => hint.Kind != TransitionKind.Arrived)
            .ShouldBe([(TransitionKind.LeftEverywhere, 2u), (TransitionKind.Left, 2u)]);
        (rig.Beliefs.Default.Contains(1), rig.Beliefs.Default.Contains(2)).ShouldBe((true, false));
    }

    [Fact]
    public async Task A_user_who_is_named_twice_leaves_once()
    {
        await using var rig = new Rig(isRemote: false);
        await rig.Writer.WriteAsync(1, active: false);
        (await rig.Writer.LeaveAsync(new uint[] { 1, 1 })).ShouldBe(1);
        rig.Hints.ShouldBe([(TransitionKind.Arrived, 1u), (TransitionKind.LeftEverywhere, 1u), (TransitionKind.Left, 1u)]);
        (await rig.Writer.LeaveAsync(new uint[] { 1, 1 })).ShouldBe(0);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Of_leaves_that_are_written_in_part_those_that_were_written_are_published(bool hasKinds)
    {
        await using var rig = new Rig(isRemote: true);
        rig.Store.HasKinds = hasKinds;
        var phone = new Device(1, DeviceKind.Mobile);
        uint[] users = [1, 2, 3];
        foreach (var user in users)
            await rig.Writer.WriteAsync(user, active: false, hasKinds ? phone : default);
        rig.Hints.Clear();
        rig.Store.IsReadOnly = static page => page == 2;
        await Should.ThrowAsync<StoreUnavailableException>(async () => await rig.Writer.LeaveAsync(users));
        (TransitionKind, uint)[] published =
        [
            (TransitionKind.LeftEverywhere, 1), (TransitionKind.LeftEverywhere, 3), (TransitionKind.Left, 1), (TransitionKind.Left, 3),
        ];
        rig.Hints.ShouldBe(published);
        users.Select(rig.Beliefs.Default.Contains).ShouldBe([false, true, false]);
        // a retry finds only the other user online
        rig.Store.IsReadOnly = static _ => false;
        (await rig.Writer.LeaveAsync(users)).ShouldBe(1);
        rig.Hints.ShouldBe([.. published, (TransitionKind.LeftEverywhere, 2), (TransitionKind.Left, 2)]);
    }

    [Fact]
    public async Task A_word_in_the_future_is_not_published_as_left_until_it_is_replaced()
    {
        await using var rig = new Rig(isRemote: true);
        uint[] users = [1, 2, 3];
        await rig.Writer.WriteAsync(users, active: false, durable: true);
        // a clock that was ahead wrote it
        await rig.Store.ExchangeAsync(Plane.Pulse, 1, rig.Clock.Now + 100);
        rig.Hints.Clear();
        rig.Store.IsReadOnly = static page => page == 2;
        await Should.ThrowAsync<StoreUnavailableException>(async () => await rig.Writer.LeaveAsync(users));
        rig.Hints.ShouldBe([(TransitionKind.LeftEverywhere, 3u), (TransitionKind.Left, 3u)]);
        rig.Beliefs.Default.Contains(1).ShouldBeTrue();
        rig.Store.IsReadOnly = static _ => false;
        (await rig.Writer.LeaveAsync(users)).ShouldBe(2);
        Pulse.Left(rig.Store.Read(1)).ShouldBeTrue();
    }

    [Fact]
    public async Task A_new_kind_of_device_is_published_even_if_the_pulse_cannot_be_written()
    {
        await using var rig = new Rig(isRemote: true);
        var phone = new Device(1, DeviceKind.Mobile);
        rig.Store.UnwritableSince = TimeSpan.FromMinutes(1);
        await Should.ThrowAsync<StoreUnavailableException>(async () => await rig.Writer.WriteAsync(1, active: false, phone));
        // a retry finds the kind written
        rig.Store.UnwritableSince = TimeSpan.Zero;
        await rig.Writer.WriteAsync(1, active: false, phone);
        rig.Hints.ShouldBe([(TransitionKind.DeviceCame, 1u), (TransitionKind.Arrived, 1u)]);
    }

    private sealed class Rig : IAsyncDisposable
    {
        private readonly AglowMetrics _metrics = new();

        public Rig(bool isRemote)
        {
            var options = new AglowOptions();
            var definitions = new Definitions(options);
            var bus = new LocalTransitionBus();
            Store = new RiggedStore(isRemote);
            Clock = new Clock(new ManualTimeProvider(), new StallGuard(20));
            Beliefs = new Beliefs(definitions, bus);
            Writer = new HeartbeatWriter(Store, bus, Clock, definitions, options, _metrics);
            bus.Subscribe((kind, users) =>
            {
                foreach (var user in users)
                    Hints.Add((kind, user));
            });
        }

        public RiggedStore Store { get; }

        public Clock Clock { get; }

        public Beliefs Beliefs { get; }

        public HeartbeatWriter Writer { get; }

        public List<(TransitionKind Kind, uint User)> Hints { get; } = [];

        public async ValueTask DisposeAsync()
        {
            await Writer.DisposeAsync();
            Beliefs.Dispose();
            await Store.DisposeAsync();
            _metrics.Dispose();
        }
    }
}
