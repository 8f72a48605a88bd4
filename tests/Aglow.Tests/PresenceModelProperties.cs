using Aglow.Durable;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Tests;

/// <summary>
/// Runs any sequence of heartbeats, late heartbeats, leaves, manual statuses, expired leases, pauses, steps of the wall clock and restarts.
/// Every status agrees with a naive model that stores each event as it was reported.
/// </summary>
public class PresenceModelProperties
{
    private const int Users = 4;

    private enum Act
    {
        Heartbeat,
        Active,
        Late,
        Leave,
        DeviceLeave,
        DeviceHeartbeat,
        Manual,
        Advance,
        LongAdvance,
        Pause,
        SetWallClock,
        Restart,
    }

    private sealed record Step(Act Act, int User, int Amount);

    [Fact]
    public void Status_agrees_with_a_naive_model() => Check.One(
        Config.QuickThrowOnFailure.WithMaxTest(80),
        Prop.ForAll(Steps(), steps => RunAsync(steps).GetAwaiter().GetResult()));

    // The property found this: after a pause, the lease of the other device has expired when the guard ends.
    [Fact]
    public async Task A_device_that_leaves_after_the_others_lease_takes_its_user_offline() => await RunAsync(
    [
        new(Act.DeviceHeartbeat, 1, 58), new(Act.Pause, 3, 50), new(Act.Advance, 0, 14), new(Act.DeviceLeave, 1, 4),
        new(Act.Advance, 3, 49), new(Act.Advance, 0, 49), new(Act.DeviceLeave, 1, 7),
    ]);

    // The property found this: a clean stop lost the second of two heartbeats with activity within a minute.
    [Fact]
    public async Task Activity_survives_a_stop_to_the_second() => await RunAsync(
    [
        new(Act.Active, 1, 0), new(Act.Advance, 0, 3), new(Act.Active, 1, 0), new(Act.LongAdvance, 0, 34), new(Act.Restart, 0, 26),
        .. Enumerable.Repeat(new Step(Act.Advance, 0, 1), 70),
    ]);

    private static Arbitrary<Step[]> Steps()
    {
        var act = Gen.Frequency(
            (8, Gen.Constant(Act.Heartbeat)),
            (2, Gen.Constant(Act.Active)),
            (3, Gen.Constant(Act.Late)),
            (3, Gen.Constant(Act.Leave)),
            (3, Gen.Constant(Act.DeviceLeave)),
            (5, Gen.Constant(Act.DeviceHeartbeat)),
            (3, Gen.Constant(Act.Manual)),
            (8, Gen.Constant(Act.Advance)),
            (1, Gen.Constant(Act.LongAdvance)),
            (1, Gen.Constant(Act.Pause)),
            (1, Gen.Constant(Act.SetWallClock)),
            (1, Gen.Constant(Act.Restart)));
        var step = from a in act from user in Gen.Choose(0, Users - 1) from amount in Gen.Choose(0, 60) select new Step(a, user, amount);
        return Arb.From(
            from length in Gen.Choose(1, 60) from steps in Gen.ArrayOf(step, length) select steps,
            static steps => Enumerable.Range(0, steps.Length).Select(i => (Step[])[.. steps[..i], .. steps[(i + 1)..]]));
    }

    private static async Task<bool> RunAsync(Step[] steps)
    {
        var model = new NaiveModel(Users);
        var world = await World.BeginAsync();
        try
        {
            foreach (var step in steps)
            {
                world = await world.DoAsync(step, model);
                for (var user = 0; user < Users; user++)
                    await AgreeAsync(world, model, user, steps, step);
            }
        }
        finally
        {
            await world.EndAsync();
        }

        return true;
    }

    private static async Task AgreeAsync(World world, NaiveModel model, int user, Step[] steps, Step last)
    {
        var now = world.Clock.Now;
        foreach (var definition in world.Presence.Definitions.All)
        {
            var told = await world.Presence.StatusAsync((uint)user, definition);
            var expected = model.Status(user, definition.Name, now);
            told.ShouldBe(expected, $"user {user}, {definition.Name}, at {now}, after {last} of {string.Join("; ", (object[])steps)}");
            var packed = new[] { (uint)user };
            await world.Presence.Statuses.ReadPackedAsync(packed, definition, packed);
            packed[0].ShouldBe(expected.LastSeen | (expected.IsOnline ? 1u << 31 : 0));
        }
    }

    private sealed class World(JournalRig rig, SqliteUserDirectory directory, PresenceService presence)
    {
        public PresenceService Presence => presence;

        public Clock Clock => rig.Clock;

        public static Task<World> BeginAsync() => BeginAsync(JournalRig.Begin(started: true));

        public async Task<World> DoAsync(Step step, NaiveModel model)
        {
            var user = (uint)step.User;
            var person = model[step.User];
            var now = Clock.Now;
            switch (step.Act)
            {
                case Act.Heartbeat or Act.Active:
                    (await presence.HeartbeatAsync(user, step.Act == Act.Active)).ShouldBe(Admission.Accepted);
                    model.Heartbeat(step.User, now, now);
                    if (step.Act == Act.Active)
                        model.Active(step.User, now);
                    break;
                case Act.Late:
                    // seconds in the future count as now
                    var second = now + 5 - (uint)step.Amount;
                    await presence.HeartbeatAtAsync(user, Pulse.EpochUnixSeconds + (long)second);
                    if (second >= now)
                        model.Heartbeat(step.User, now, now);
                    else if (second > person.SeenAt)
                        model.Heartbeat(step.User, second, now);
                    person.ReceivedAt = now;
                    break;
                case Act.Leave:
                    await presence.LeaveAsync(new[] { user });
                    if (model.IsOnline(step.User, now))
                        (person.SeenAt, person.HasLeft) = (now, true);
                    person.Kinds.Clear();
                    break;
                case Act.DeviceLeave:
                    // device 1 never sent a heartbeat
                    var leaving = (DeviceKind)(step.Amount % 4);
                    await presence.LeaveAsync(user, new Device(1, leaving));
                    model.DeviceLeft(step.User, leaving, now);
                    break;
                case Act.DeviceHeartbeat:
                    var kindReceived = (DeviceKind)(step.Amount % 4);
                    (await presence.HeartbeatAsync(user, new Device(2, kindReceived))).ShouldBe(Admission.Accepted);
                    model.Heartbeat(step.User, now, now);
                    person.Kinds[kindReceived] = (now, false);
                    break;
                case Act.Manual:
                    var kind = (ClaimStatus)(step.Amount % 5);
                    await presence.SetClaimAsync(user, kind);
                    model.Chose(step.User, kind, now);
                    break;
                case Act.Advance:
                    rig.Advance(step.Amount % 15);
                    break;
                case Act.LongAdvance:
                    rig.Advance(step.Amount * 15);
                    break;
                case Act.Pause:
                    rig.Time.Advance(TimeSpan.FromSeconds(step.Amount + 3));
                    model.Stalled(now, Clock.Now);
                    Clock.Beat();
                    break;
                case Act.SetWallClock:
                    rig.Time.StepWallClock(TimeSpan.FromSeconds((step.Amount - 30) * 120));
                    Clock.Now.ShouldBe(now);
                    Clock.Beat();
                    Clock.Now.ShouldBe(rig.Time.Second);
                    if (step.Amount != 30)
                        model.Stepped(now, Clock.Now);
                    // the sweep's next beat notices the step, and a pass moves words back
                    await presence.Sweep.BeatAsync();
                    await presence.Sweep.PassAsync();
                    break;
                case Act.Restart:
                    return await RestartAsync(step.Amount, model);
            }

            return this;
        }

        public async Task EndAsync()
        {
            await presence.DisposeAsync();
            await directory.DisposeAsync();
            await rig.DisposeAsync();
        }

        private async Task<World> RestartAsync(int downSeconds, NaiveModel model)
        {
            var stoppedAt = Clock.Now;
            await presence.DisposeAsync();
            await directory.DisposeAsync();
            var world = await BeginAsync(await rig.RestartAsync(downSeconds, started: true));
            var now = world.Clock.Now;
            now.ShouldBeGreaterThanOrEqualTo(stoppedAt);
            model.Forget();
            model.Loaded(now);
            if (now - stoppedAt <= NaiveModel.Lease)
                model.Stalled(stoppedAt, now);
            return world;
        }

        private static async Task<World> BeginAsync(JournalRig rig)
        {
            var options = new AglowOptions { MemoryMegabytes = 512, KnownKeys = 1024 };
            var log = new AglowLog(NullLogger.Instance);
            var directory = SqliteUserDirectory.Open(rig.Folder, rig.Time);
            var presence = new PresenceService(rig.Store, directory, new LocalTransitionBus(), rig.Clock, options, new AglowMetrics(), log);
            rig.Recovery.Seed(presence.Beliefs.Default);
            // loads claims as a start does, but starts no loops, because the test controls time
            foreach (var (user, claims) in await directory.ClaimsAsync())
                presence.Claims.Set(user, claims, rig.Clock.Now);
            return new World(rig, directory, presence);
        }
    }
}
