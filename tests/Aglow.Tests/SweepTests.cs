using Aglow.AspNetCore.Endpoints;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Tests;

public class SweepTests
{
    private static readonly uint[] Extremes =
    [
        Pulse.Never, 1, 2, Pulse.SecondMask, Pulse.SecondMask - 1, Pulse.LeftBit, Pulse.LeftBit | 1, uint.MaxValue, uint.MaxValue - 1,
        1000, 970,
        969, 971, 1000 | Pulse.LeftBit,
    ];

    [Fact]
    public void Sixty_four_words_at_once_are_decided_as_one_is()
    {
        var word = Gen.OneOf<uint>(
            Gen.Elements(Extremes),
            Gen.Choose(900, 1100).Select(n => (uint)n),
            Gen.Choose(900, 1100).Select(n => (uint)n | Pulse.LeftBit),
            Gen.Choose(900, 1100).Select(n => (uint)n | Pulse.DeviceLeftBit),
            Gen.Choose(900, 1100).Select(n => (uint)n | Pulse.LeftBit | Pulse.DeviceLeftBit),
            PageLayoutTests.AnyNumber);
        var definition =
            from pulse in Gen.Elements(1, 30, 86_400, 31_536_000)
            from activity in Gen.Elements<int?>(null, 1, 300, 31_536_000)
            from left in Gen.Elements(true, false)
            from deviceLeft in Gen.Choose(1, pulse)
            select new Definition("x", (uint)pulse, (uint?)activity, left) { DeviceLeftSeconds = (uint)deviceLeft };
        var moment =
            from now in Gen.OneOf(Gen.Choose(1, 1200), Gen.Elements((int)Pulse.SecondMask - 1))
            from held in Gen.Choose(0, 60)
            select new Moment((uint)now, (uint)Math.Max(1, now - held));
        var sample =
            from d in definition
            from at in moment
            from words in Gen.ArrayOf(word, 128)
            select (Definition: d, At: at, Words: words);
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(2000), Prop.ForAll(Arb.From(sample), s =>
        {
            var rule = new Threshold(s.Definition, s.At);
            var bits = rule.PulseBits(ref s.Words[0]);
            if (rule.NeedsActivity)
                bits &= rule.ActivityBits(ref s.Words[64]);
            rule.BitsOf(ulong.MaxValue, 0, s.Words.AsSpan(0, 64), s.Words.AsSpan(64)).ShouldBe(bits);
            for (var i = 0; i < 64; i++)
                ((bits >> i & 1) != 0).ShouldBe(
                    s.Definition.IsMet(s.Words[i], s.Words[64 + i], s.At),
                    $"{s.Definition} at {s.At}: {s.Words[i]:x}, {s.Words[64 + i]:x}");
        }));
    }

    [Fact]
    public async Task Each_lapse_is_found_once()
    {
        await using var rig = new Rig();
        uint[] users = [1, 2, 300, 70_000_000, uint.MaxValue];
        foreach (var user in users)
            rig.Heartbeat(user);
        await rig.Sweep.PassAsync();
        rig.Reported.ShouldBe(users.Select(user => (user, TransitionKind.Arrived)), ignoreOrder: true);

        rig.Reported.Clear();
        rig.Advance(30);
        await rig.Sweep.PassAsync();
        rig.Reported.ShouldBeEmpty();
        rig.Advance(1);
        await rig.Sweep.PassAsync();
        await rig.Sweep.PassAsync();
        rig.Reported.ShouldBe(users.Select(user => (user, TransitionKind.Lapsed)), ignoreOrder: true);
        rig.Sweep.Lapses.ShouldBe(users.Length);
        rig.Beliefs.Default.Online.ShouldBe(0);
    }

    [Fact]
    public async Task A_hint_between_two_sweeps_is_told_at_once_and_not_again_by_the_sweep()
    {
        await using var rig = new Rig();
        await rig.Sweep.PassAsync();
        rig.Heartbeat(5);
        rig.Bus.Publish(TransitionKind.Arrived, [5]);
        rig.Reported.ShouldBe([(5u, TransitionKind.Arrived)]);
        await rig.Sweep.PassAsync();
        rig.Reported.Count.ShouldBe(1);
        rig.Beliefs.Default.Contains(5).ShouldBeTrue();
    }

    [Fact]
    public async Task A_hint_that_lied_is_repaired()
    {
        await using var rig = new Rig();
        rig.Heartbeat(5);
        // on a page that was never written, on a page that was, and beyond the written part of that page
        uint[] nobodies = [6, 5 + 256, 5 + (60_000 << 8)];
        rig.Bus.Publish(TransitionKind.Arrived, nobodies);
        rig.Bus.Publish(TransitionKind.Left, [5]);
        rig.Reported.Clear();
        rig.Heartbeat(6 + 256);
        await rig.Sweep.PassAsync();
        rig.Beliefs.Default.Contains(5).ShouldBeTrue();
        foreach (var nobody in nobodies)
            rig.Beliefs.Default.Contains(nobody).ShouldBeFalse($"user {nobody}");
        rig.Beliefs.Default.Online.ShouldBe(2);
    }

    [Fact]
    public async Task A_goodbye_is_found_where_its_hint_was_lost()
    {
        await using var rig = new Rig();
        rig.Heartbeat(5);
        await rig.Sweep.PassAsync();
        rig.Reported.Clear();
        rig.Store.Exchange(Plane.Pulse, 5, rig.Clock.Now | Pulse.LeftBit);
        await rig.Sweep.PassAsync();
        rig.Reported.ShouldBe([(5u, TransitionKind.Lapsed)]);
    }

    [Fact]
    public void Beliefs_agree_with_the_words_after_any_sequence()
    {
        var act =
            from kind in Gen.Choose(0, 4)
            from user in Gen.Elements(1u, 2u, 257u, 513u, 40_000_000u)
            from seconds in Gen.Choose(1, 20)
            select (kind, user, seconds);
        Check.One(
            Config.QuickThrowOnFailure.WithMaxTest(100),
            Prop.ForAll(Arb.From(Gen.ListOf(act)), acts => RunAsync(acts).GetAwaiter().GetResult()));

        static async Task RunAsync(IEnumerable<(int Kind, uint User, int Seconds)> acts)
        {
            await using var rig = new Rig();
            var shown = new Dictionary<uint, bool>();
            foreach (var (kind, user, seconds) in acts)
            {
                rig.Reported.Clear();
                switch (kind)
                {
                    case 0:
                        rig.Heartbeat(user);
                        break;
                    case 1:
                        rig.Heartbeat(user);
                        rig.Bus.Publish(TransitionKind.Arrived, [user]);
                        break;
                    case 2:
                        rig.Store.Exchange(Plane.Pulse, user, rig.Clock.Now | Pulse.LeftBit);
                        break;
                    case 3:
                        rig.Advance(seconds);
                        break;
                    default:
                        await rig.Sweep.PassAsync();
                        break;
                }

                // no user goes offline twice in a row, and a sweep brings nobody online twice; a hint of an arrival is always passed on
                foreach (var (who, why) in rig.Reported)
                {
                    var online = why == TransitionKind.Arrived;
                    if (kind != 1)
                        shown.GetValueOrDefault(who).ShouldBe(!online);
                    shown[who] = online;
                }
            }

            rig.Reported.Clear();
            await rig.Sweep.PassAsync();
            foreach (var (who, why) in rig.Reported)
                shown[who] = why == TransitionKind.Arrived;
            foreach (var user in (uint[])[1, 2, 257, 513, 40_000_000])
            {
                var online = rig.Definitions.Default.IsMet(rig.Store.Read(Plane.Pulse, user), Pulse.Never, rig.Clock.Moment);
                rig.Beliefs.Default.Contains(user).ShouldBe(online);
                shown.GetValueOrDefault(user).ShouldBe(online);
            }

            rig.Beliefs.Default.Online.ShouldBe(shown.Count(s => s.Value));
        }
    }

    [Fact]
    public async Task Ten_beats_read_every_page_once()
    {
        await using var rig = new Rig();
        for (var user = 0u; user < 100; user++)
            rig.Heartbeat(user);
        // the first pass finds which pages exist
        await BeatsAsync(rig, 10);
        var came = rig.Reported.Count;
        for (var beat = 0; beat < 10; beat++)
        {
            await BeatsAsync(rig, 1);
            // each beat finds about a tenth of the users, never all at once
            (rig.Reported.Count - came).ShouldBeInRange(0, 20);
            came = rig.Reported.Count;
        }

        rig.Reported.Select(reported => reported.User).Order().ShouldBe(Enumerable.Range(0, 100).Select(user => (uint)user));
        rig.Sweep.Interval.ShouldBe(Sweep.ShortestInterval);
    }

    [Fact]
    public async Task Another_definition_has_its_own_belief()
    {
        await using var rig = new Rig();
        var active = rig.Definitions.Find("active")!;
        rig.Heartbeat(1);
        rig.Heartbeat(2);
        rig.Store.Exchange(Plane.Activity, 2, rig.Clock.Now);
        var belief = rig.Beliefs.Use(active, out var made);
        made.ShouldBeTrue();
        await rig.Sweep.PassAsync();
        (belief.Contains(1), belief.Contains(2)).ShouldBe((false, true));
        rig.Beliefs.Default.Online.ShouldBe(2);
    }

    [Fact]
    public async Task While_a_stall_is_held_nobody_lapses()
    {
        await using var rig = new Rig();
        rig.Heartbeat(1);
        await rig.Sweep.PassAsync();
        // a pause of this process: the clock had no beat meanwhile
        rig.Time.Advance(TimeSpan.FromSeconds(60));
        rig.Clock.Beat().ShouldBeGreaterThan(Clock.StallAfter);
        await rig.Sweep.PassAsync();
        rig.Beliefs.Default.Contains(1).ShouldBeTrue();
        rig.Advance(21);
        await rig.Sweep.PassAsync();
        rig.Beliefs.Default.Contains(1).ShouldBeFalse();
    }

    [Fact]
    public async Task Heartbeats_under_a_sweep_are_never_shown_as_absence()
    {
        // Users whose lease has just expired come back, while a sweep passes over them in the same order. So the two often touch the same
        // user at the same time. When both are done, every user who sent a heartbeat must be believed online.
        await using var rig = new Rig();
        var users = Enumerable.Range(0, 5000).Select(slot => (uint)slot << 8).ToArray();
        for (var round = 0; round < 300; round++)
        {
            rig.Advance(31);
            using var together = new Barrier(2);
            var sweeping = Task.Run(async () =>
            {
                together.SignalAndWait();
                await rig.Sweep.PassAsync();
            });
            together.SignalAndWait();
            foreach (var user in users)
            {
                var old = rig.Store.Exchange(Plane.Pulse, user, rig.Clock.Now);
                if (!rig.Definitions.Default.IsMet(old, Pulse.Never, rig.Clock.Moment))
                    rig.Bus.Publish(TransitionKind.Arrived, [user]);
            }

            await sweeping;
            rig.Beliefs.Default.Online.ShouldBe(users.Length, $"round {round}");
        }
    }

    [Fact]
    public async Task Where_hints_may_be_lost_an_arrival_is_found_by_the_next_pass()
    {
        await using var rig = new Rig(new LossyBus());
        await BeatsAsync(rig, 40);
        await rig.Store.ExchangeAsync(Plane.Pulse, 5, rig.Clock.Now);
        await BeatsAsync(rig, 12);
        rig.Reported.ShouldBe([(5u, TransitionKind.Arrived)]);
    }

    [Fact]
    public async Task Where_none_is_lost_who_came_without_one_is_found_all_the_same_later()
    {
        await using var rig = new Rig();
        await BeatsAsync(rig, 40);
        await rig.Store.ExchangeAsync(Plane.Pulse, 5, rig.Clock.Now + 60);
        await BeatsAsync(rig, 12 * Sweep.FullEvery);
        rig.Reported.ShouldBe([(5u, TransitionKind.Arrived)]);
    }

    [Fact]
    public async Task A_belief_made_later_is_filled_by_the_next_pass()
    {
        await using var rig = new Rig();
        await BeatsAsync(rig, 40);
        await rig.Store.ExchangeAsync(Plane.Pulse, 5, rig.Clock.Now + 60);
        await rig.Store.ExchangeAsync(Plane.Activity, 5, rig.Clock.Now);
        var belief = rig.Beliefs.Use(rig.Definitions.Find("active")!, out var made);
        made.ShouldBeTrue();
        await BeatsAsync(rig, 12);
        belief.Contains(5).ShouldBeTrue();
    }

    [Fact]
    public async Task Who_lapse_all_at_once_are_told_within_the_bound_whatever_telling_costs()
    {
        await using var rig = new Rig();
        for (var user = 0u; user < 100; user++)
            rig.Heartbeat(user);
        await BeatsAsync(rig, 20);
        rig.Advance(31);
        rig.Reported.Clear();
        // a hundred pages, each with a user whose lease expired: a second of work in all, 2 % of a minute
        rig.Beliefs.Changed += (_, _, _) => rig.Time.Advance(TimeSpan.FromMilliseconds(10));
        var longest = TimeSpan.Zero;
        for (var beat = 0; beat < Sweep.RareInterval / Sweep.BeatInterval && rig.Reported.Count < 100; beat++)
        {
            await BeatsAsync(rig, 1);
            longest = longest < rig.Sweep.Interval ? rig.Sweep.Interval : longest;
        }

        rig.Reported.Count.ShouldBe(100);
        longest.ShouldBe(Sweep.RareInterval);
    }

    // reading a hundred pages takes 0.05, 0.2 and 0.4 s
    [Theory]
    [InlineData(0.5, Sweep.CoreShare, 4)]
    [InlineData(2, Sweep.CoreShareAtMost, 8)]
    [InlineData(4, Sweep.CoreShareAtMost, 13)]
    public async Task What_takes_long_to_read_is_read_less_often_and_costs_no_more_than_its_share(
        double milliseconds, double share, int seconds)
    {
        var time = new ManualTimeProvider();
        await using var store =
            new RiggedStore(isRemote: false) { OnPageRead = () => time.Advance(TimeSpan.FromMilliseconds(milliseconds)) };
        var clock = new Clock(time, new StallGuard(20));
        for (var user = 0u; user < 100; user++)
            await store.ExchangeAsync(Plane.Pulse, user, clock.Now + 10_000);
        using var beliefs = new Beliefs(new Definitions(new AglowOptions()), new LocalTransitionBus());
        var sweep = new Sweep(store, clock, beliefs);
        while (sweep.Passes < 3)
        {
            time.Advance(Sweep.BeatInterval);
            await sweep.BeatAsync();
        }

        sweep.Interval.TotalSeconds.ShouldBeInRange(seconds - 2, seconds);
        (sweep.LastPassCost / sweep.Interval).ShouldBeLessThanOrEqualTo(share);
    }

    [Fact]
    public async Task After_a_stall_everybody_is_looked_at_once_within_the_bound_and_from_then_on_who_is_believed_online()
    {
        var time = new ManualTimeProvider();
        var reads = 0;
        var longest = TimeSpan.Zero;
        await using var store = new RiggedStore(isRemote: false)
        {
            OnPageRead = () =>
            {
                reads++;
                time.Advance(TimeSpan.FromMilliseconds(4));
            },
        };
        var clock = new Clock(time, new StallGuard(60));
        using var beliefs = new Beliefs(new Definitions(new AglowOptions()), new LocalTransitionBus());
        var sweep = new Sweep(store, clock, beliefs);
        // a hundred pages, ten of them with a user whose heartbeat is later than those of the others
        for (var user = 0u; user < 100; user++)
            await store.ExchangeAsync(Plane.Pulse, user, clock.Now + (user % 10 == 0 ? 10u : 0));
        // a second at which the leases of the other users have expired, but not those of these ten
        var between = clock.Now + 35;
        await BeatAsync(70);
        beliefs.Default.Online.ShouldBe(100);
        await BeatAsync(1000);
        beliefs.Default.Online.ShouldBe(0);

        clock.Guard.Stalled(between, clock.Now);
        reads = 0;
        longest = TimeSpan.Zero;
        await BeatAsync((int)(Sweep.Bound / Sweep.BeatInterval));
        beliefs.Default.Online.ShouldBe(10);
        longest.ShouldBe(Sweep.RareInterval);
        // 0.4 s at once, or 2 % of 20 s
        reads.ShouldBeInRange(100, 140);

        reads = 0;
        var passes = sweep.Passes;
        await BeatAsync(200);
        clock.Guard.IsInForceAnywhere(clock.Moment).ShouldBeTrue();
        passes = sweep.Passes - passes;
        passes.ShouldBeGreaterThan(2);
        reads.ShouldBeLessThan((int)passes * 20);

        async Task BeatAsync(int beats)
        {
            for (var i = 0; i < beats; i++)
            {
                time.Advance(Sweep.BeatInterval);
                clock.Beat();
                await sweep.BeatAsync();
                longest = longest < sweep.Interval ? sweep.Interval : longest;
            }
        }
    }

    private static async Task BeatsAsync(Rig rig, int beats)
    {
        for (var i = 0; i < beats; i++)
        {
            rig.Time.Advance(Sweep.BeatInterval);
            await rig.Sweep.BeatAsync();
        }
    }

    private sealed class Rig : IAsyncDisposable
    {
        private readonly Lock _gate = new();

        public Rig(ITransitionBus? bus = null)
        {
            Bus = bus ?? new LocalTransitionBus();
            var options = new AglowOptions();
            options.Definitions["active"] = new DefinitionOptions { ActivitySeconds = 300 };
            Definitions = new Definitions(options);
            Clock = new Clock(Time, new StallGuard(20));
            Beliefs = new Beliefs(Definitions, Bus);
            Sweep = new Sweep(Store, Clock, Beliefs);
            Beliefs.Changed += (definition, why, users) =>
            {
                if (definition != Definitions.Default)
                    return;
                lock (_gate)
                {
                    foreach (var user in users)
                        Reported.Add((user, why));
                }
            };
        }

        public ManualTimeProvider Time { get; } = new();

        public MemoryPlaneStore Store { get; } = new(new PageBudget(1024));

        public ITransitionBus Bus { get; }

        public Definitions Definitions { get; }

        public Clock Clock { get; }

        public Beliefs Beliefs { get; }

        public Sweep Sweep { get; }

        public List<(uint User, TransitionKind Why)> Reported { get; } = [];

        /// <summary>Lets time pass, while this process is awake.</summary>
        public void Advance(int seconds)
        {
            for (var second = 0; second < seconds; second++)
            {
                Time.Advance(TimeSpan.FromSeconds(1));
                Clock.Beat();
            }
        }

        public void Heartbeat(uint user) => Store.Exchange(Plane.Pulse, user, Clock.Now);

        public ValueTask DisposeAsync()
        {
            Beliefs.Dispose();
            return Store.DisposeAsync();
        }
    }

    // a bus that delivers nothing
    private sealed class LossyBus : ITransitionBus
    {
        public bool IsLossless => false;

        public void Publish(TransitionKind kind, ReadOnlySpan<uint> users)
        {
        }

        public void Subscribe(TransitionHandler handler)
        {
        }
    }
}
