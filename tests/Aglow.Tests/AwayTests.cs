using Aglow.Queries;

namespace Aglow.Tests;

/// <summary>
/// A user is away if they are online, have reported activity since they came online, and have reported none for the configured time.
/// </summary>
public class AwayTests
{
    private const int Away = 60;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Who_has_just_come_online_is_not_away_for_what_an_earlier_session_left(bool isRemote)
    {
        await using var rig = new AwayRig(isRemote);
        await rig.Writer.WriteAsync(1, active: true);
        await rig.Writer.WriteAsync(new uint[] { 2, 3 }, active: true, durable: true);
        var activeAt = rig.Clock.Now;
        // user 1 leaves, and the leases of the others expire
        await rig.Writer.LeaveAsync(new uint[] { 1 });
        await rig.PassAsync(Away + 10);
        await rig.Writer.WriteAsync(1, active: false);
        await rig.Writer.WriteAsync(new uint[] { 2 }, active: false, durable: true);
        await rig.Writer.WriteLateAsync(3, rig.Clock.Now - 5);
        foreach (var user in (uint[])[1, 2, 3])
        {
            await rig.BeatOnAsync(user, 3 * Away, PresenceStatus.Online);
            // the record still has the time of the earlier activity
            (await rig.ReadAsync(user)).ActiveAt.ShouldBe(activeAt);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Who_was_active_in_this_session_and_is_no_more_is_away_until_they_are_again(bool isRemote)
    {
        await using var rig = new AwayRig(isRemote);
        await rig.Writer.WriteAsync(1, active: true);
        await rig.Writer.LeaveAsync(new uint[] { 1 });
        await rig.PassAsync(5);
        await rig.Writer.WriteAsync(1, active: true);
        await rig.BeatOnAsync(1, Away, PresenceStatus.Online);
        await rig.PassAsync(1);
        (await rig.ReadAsync(1)).Status.ShouldBe(PresenceStatus.Away);
        await rig.BeatOnAsync(1, 20, PresenceStatus.Away);
        await rig.Writer.WriteAsync(1, active: true);
        (await rig.ReadAsync(1)).Status.ShouldBe(PresenceStatus.Online);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Activity_that_brings_a_user_online_in_a_batch_is_of_the_session_that_begins(bool isRemote)
    {
        await using var rig = new AwayRig(isRemote);
        await rig.Writer.WriteAsync(1, active: false);
        await rig.PassAsync(40);
        await rig.Writer.WriteAsync(new uint[] { 1 }, active: true, durable: true);
        await rig.BeatOnAsync(1, Away, PresenceStatus.Online);
        await rig.PassAsync(1);
        (await rig.ReadAsync(1)).Status.ShouldBe(PresenceStatus.Away);
    }

    [Fact]
    public async Task Activity_that_the_store_could_not_take_is_written_with_its_own_second_when_it_can()
    {
        await using var rig = new AwayRig(isRemote: true);
        await rig.Writer.WriteAsync(1, active: false);
        await rig.PassAsync(10);
        rig.Store.IsAway = static _ => true;
        var did = rig.Clock.Now;
        // user 1 is online, and the others come online; 3 and 4 in a list
        foreach (var user in (uint[])[1, 2])
            await Should.ThrowAsync<StoreUnavailableException>(async () => await rig.Writer.WriteAsync(user, active: true));
        await Should.ThrowAsync<StoreUnavailableException>(
            async () => await rig.Writer.WriteAsync(new uint[] { 3, 4 }, active: true, durable: true));
        await rig.PassAsync(5);
        rig.Store.IsAway = static _ => false;
        foreach (var user in (uint[])[2, 3, 4])
            await rig.Writer.WriteAsync(user, active: false);
        await rig.PassAsync(2);
        foreach (var user in (uint[])[1, 2, 3, 4])
            (await rig.ReadAsync(user)).ActiveAt.ShouldBe(did, $"user {user}");
    }

    [Fact]
    public async Task Who_comes_online_by_a_heartbeat_that_waited_is_not_away_either()
    {
        // the user leaves at another node, and this node has received no hint of that
        await using var rig = new AwayRig(isRemote: true);
        await rig.Writer.WriteAsync(1, active: true);
        await rig.PassAsync(1);
        await rig.Store.ExchangeAsync(Plane.Pulse, 1, rig.Clock.Now | Pulse.LeftBit);
        await rig.PassAsync(1);
        await rig.Writer.WriteAsync(1, active: false);
        await rig.BeatOnAsync(1, 2 * Away, PresenceStatus.Online);
    }

    [Fact]
    public async Task A_session_begins_when_a_crash_took_longer_than_the_lease_and_goes_on_when_it_did_not()
    {
        var rig = JournalRig.Begin();
        var options = new AglowOptions { AwaySeconds = Away };
        await BeatAsync(active: true);
        rig.Journal.Writer.Commit();
        rig = await rig.CrashAsync(20);
        for (var i = 0; i < 9; i++)
            await BeatAsync();
        Status().ShouldBe(PresenceStatus.Away);
        rig.Journal.Writer.Tick();

        rig = await rig.CrashAsync(60);
        await BeatAsync();
        Status().ShouldBe(PresenceStatus.Online);
        rig.Journal.Writer.Commit();
        // the beginning of the session was persisted
        rig = await rig.CrashAsync(5);
        await BeatAsync();
        Status().ShouldBe(PresenceStatus.Online);
        await rig.DisposeAsync();

        async Task BeatAsync(bool active = false)
        {
            rig.Advance(10);
            await using var writer = new HeartbeatWriter(
                rig.Store, new LocalTransitionBus(), rig.Clock, new Definitions(options), options, new AglowMetrics());
            var written = writer.WriteAsync(1, active);
            rig.Journal.Writer.Commit();
            await written;
        }

        PresenceStatus Status() => Presence.Of(
            rig.Word(1), rig.Store.Read(Plane.Activity, 1), EffectiveClaim.None, rig.Online, rig.Clock.Moment, Away).Status;
    }

    private sealed class AwayRig : IAsyncDisposable
    {
        private readonly ManualTimeProvider _time = new();
        private readonly AglowMetrics _metrics = new();
        private readonly StatusReader _reader;
        private readonly Definition _online;

        public AwayRig(bool isRemote)
        {
            var options = new AglowOptions { AwaySeconds = Away };
            var definitions = new Definitions(options);
            Store = new RiggedStore(isRemote);
            Clock = new Clock(_time, new StallGuard(20));
            Writer = new HeartbeatWriter(Store, new LocalTransitionBus(), Clock, definitions, options, _metrics);
            _reader = new StatusReader(Store, new Claims(), Clock, options, _metrics);
            _online = definitions.Default;
        }

        public RiggedStore Store { get; }

        public Clock Clock { get; }

        public HeartbeatWriter Writer { get; }

        public async Task PassAsync(int seconds)
        {
            for (var beat = 0; beat < seconds * 10; beat++)
            {
                _time.Advance(Sweep.BeatInterval);
                Clock.Beat();
                if (Writer.Renewals is { } renewals)
                    await renewals.FlushAsync(all: false);
            }
        }

        public async Task BeatOnAsync(uint user, int seconds, PresenceStatus expected)
        {
            for (var second = 0; second < seconds; second += 10)
            {
                await PassAsync(10);
                await Writer.WriteAsync(user, active: false);
                (await ReadAsync(user)).Status.ShouldBe(expected, $"user {user}, {second + 10} s later");
            }
        }

        public async Task<Presence> ReadAsync(uint user)
        {
            var statuses = new Presence[1];
            await _reader.ReadAsync(new[] { user }, _online, statuses);
            return statuses[0];
        }

        public async ValueTask DisposeAsync()
        {
            await Writer.DisposeAsync();
            await Store.DisposeAsync();
            _metrics.Dispose();
        }
    }
}
