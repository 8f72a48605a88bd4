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
