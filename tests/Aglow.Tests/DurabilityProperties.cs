using Aglow.Durable;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Tests;

/// <summary>
/// Runs any sequence of heartbeats, leaves, expiries, deletions, commits, unfinished checkpoints, crashes and clean stops. Compares the
/// words after each start with a naive model: the words in memory before the end, and the users who were believed online.
/// </summary>
public class DurabilityProperties
{
    private enum Act
    {
        Heartbeat,
        Leave,
        Erase,
        Activity,
        Advance,
        Sweep,
        Commit,
        Tick,
        BeginCheckpoint,
        StepCheckpoint,
        Crash,
        Stop,
    }

    private sealed record Step(Act Act, int User, int Seconds);

    [Fact]
    public void What_was_durable_is_found_again_after_any_end() => Check.One(
        Config.QuickThrowOnFailure.WithMaxTest(60),
        Prop.ForAll(Steps(), steps => Run(steps).GetAwaiter().GetResult()));

    private static Arbitrary<Step[]> Steps()
    {
        var act = Gen.Frequency(
            (8, Gen.Constant(Act.Heartbeat)),
            (2, Gen.Constant(Act.Leave)),
            (1, Gen.Constant(Act.Erase)),
            (1, Gen.Constant(Act.Activity)),
            (5, Gen.Constant(Act.Advance)),
            (3, Gen.Constant(Act.Sweep)),
            (5, Gen.Constant(Act.Commit)),
            (2, Gen.Constant(Act.Tick)),
            (2, Gen.Constant(Act.BeginCheckpoint)),
            (4, Gen.Constant(Act.StepCheckpoint)),
            (2, Gen.Constant(Act.Crash)),
            (1, Gen.Constant(Act.Stop)));
        var step =
            from a in act
            from user in Gen.Choose(0, Model.Users.Length - 1)
            from seconds in Gen.Choose(1, 25)
            select new Step(a, user, seconds);
        var steps = from length in Gen.Choose(1, 80) from list in Gen.ArrayOf(step, length) select list;
        return Arb.From(steps, JournalRig.Shorter);
    }

    private static async Task Run(Step[] steps)
    {
        var model = new Model();
        try
        {
            foreach (var step in steps)
                await model.DoAsync(step);
            await model.CrashAsync(1);
        }
        finally
        {
            await model.Rig.DisposeAsync();
        }
    }

    private sealed class Model
    {
        // neighbours, the next slot of a page, and the highest index
        public static readonly uint[] Users = [0, 1, 256, 257, 65_280 * 256, uint.MaxValue];

        private readonly HashSet<uint> _believed = [];
        private readonly HashSet<uint> _unkept = [];
        private uint _sweptAt;

        public JournalRig Rig { get; private set; } = JournalRig.Begin();

        public async Task DoAsync(Step step)
        {
            var user = Users[step.User];
            switch (step.Act)
            {
                case Act.Heartbeat:
                    if (Rig.Heartbeat(user))
                        _unkept.Add(user);
                    if (Rig.IsOnline(user))
                        _believed.Add(user);
                    break;
                case Act.Leave when Rig.IsOnline(user):
                    Rig.Leave(user);
                    _believed.Remove(user);
                    _unkept.Add(user);
                    break;
                case Act.Erase:
                    Rig.Erase(user);
                    _believed.Remove(user);
                    _unkept.Add(user);
                    break;
                case Act.Activity:
                    Rig.Store.Exchange(Plane.Activity, user, Rig.Now);
                    Rig.Store.Keep(Plane.Activity, [user]);
                    Rig.Journal.Writer.Commit();
                    _unkept.Clear();
                    break;
                case Act.Advance:
                    Rig.Advance(step.Seconds);
                    // a sweep runs at least once a minute
                    if (Rig.Now - _sweptAt > 60)
                        Sweep();
                    break;
                case Act.Sweep:
                    Sweep();
                    break;
                case Act.Commit:
                    Rig.Journal.Writer.Commit();
                    _unkept.Clear();
                    break;
                case Act.Tick:
                    Rig.Journal.Writer.Tick();
                    break;
                case Act.BeginCheckpoint:
                    Rig.Journal.Writer.Rows.BeginCheckpoint();
                    break;
                case Act.StepCheckpoint:
                    for (var i = 0; i <= step.Seconds % 3; i++)
                        Rig.Journal.Writer.Rows.StepCheckpoint();
                    break;
                case Act.Crash:
                    await CrashAsync(step.Seconds * step.Seconds / 10);
                    break;
                case Act.Stop:
                    await StopAsync(step.Seconds * step.Seconds / 10);
                    break;
            }
        }

        public async Task CrashAsync(int downSeconds)
        {
            var held = Users.ToDictionary(user => user, Rig.Word);
            var active = Users.ToDictionary(user => user, user => Rig.Store.Read(Plane.Activity, user));
            var oldest = Rig.Clock.Moment.Oldest(JournalRig.Lease);
            var earlierRunEnd = Rig.Store.EarlierRunEnd;
            Rig = await Rig.CrashAsync(downSeconds);
            var alive = Rig.Recovery.LastAlive;
            var seeded = Seeded();
            foreach (var user in Users)
            {
                var (word, before) = (Rig.Word(user), held[user]);
                Rig.Store.Read(Plane.Activity, user).ShouldBe(active[user]);
                // no word is later than the clock of the next start
                Pulse.Second(word).ShouldBeLessThanOrEqualTo(Rig.Now);
                if (_unkept.Contains(user))
                    continue;
                if (!_believed.Contains(user))
                {
                    word.ShouldBe(before, $"user {user}, who was offline");
                    seeded.Contains(user).ShouldBeFalse($"user {user} was offline");
                }
                else if (before <= earlierRunEnd)
                {
                    // the user was online before this run and sent nothing in it, so a second crash does not raise the last seen
                    word.ShouldBe(before, $"user {user}, who was not heard in the run");
                }
                else if (before >= oldest)
                {
                    word.ShouldBeInRange(alive, Math.Max(alive, before), $"user {user}, who was online");
                    seeded.Contains(user).ShouldBe(Rig.Recovery.IsWithinLease, $"user {user} was online");
                }
                else if (word != before)
                {
                    // the lease has expired, but no sweep has found that yet
                    word.ShouldBeInRange(alive, Math.Max(alive, before), $"user {user}, whose lapse was not found yet");
                }
            }

            Adopt(seeded);
        }

        private async Task StopAsync(int downSeconds)
        {
            var held = Users.ToDictionary(user => user, Rig.Word);
            var oldest = Rig.Clock.Moment.Oldest(JournalRig.Lease);
            Rig = await Rig.RestartAsync(downSeconds);
            var seeded = Seeded();
            Rig.Recovery.WasClean.ShouldBeTrue();
            foreach (var user in Users)
            {
                Rig.Word(user).ShouldBe(held[user], $"user {user}");
                seeded.Contains(user)
                    .ShouldBe(Rig.Recovery.IsWithinLease && !Pulse.Left(held[user]) && held[user] >= oldest, $"user {user}");
            }

            Adopt(seeded);
        }

        private HashSet<uint> Seeded()
        {
            using var belief = new Belief(Rig.Online);
            Rig.Recovery.Seed(belief);
            var seeded = Users.Where(belief.Contains).ToHashSet();
            belief.Online.ShouldBe(seeded.Count);
            Rig.Recovery.Online.ShouldBe(seeded.Count);
            Rig.Recovery.Registered.ShouldBe(Users.Count(user => Rig.Word(user) != Pulse.Never));
            return seeded;
        }

        // The next run begins with the belief that the recovery gave it.
        private void Adopt(HashSet<uint> seeded)
        {
            _believed.Clear();
            _believed.UnionWith(seeded);
            _unkept.Clear();
            _sweptAt = Rig.Now;
        }

        // Like the sweep: persists the words of users whose state differs from the belief, in both directions.
        private void Sweep()
        {
            _sweptAt = Rig.Now;
            foreach (var user in Users)
            {
                var online = Rig.IsOnline(user);
                if (online ? !_believed.Add(user) : !_believed.Remove(user))
                    continue;
                Rig.Store.Keep(Plane.Pulse, [user]);
                _unkept.Add(user);
            }
        }
    }
}
