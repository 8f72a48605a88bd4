using Aglow.Changes;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Tests;

/// <summary>
/// Runs any sequence of heartbeats, leaves, expiries, deletions, statuses, failed commits, checkpoints, crashes and clean stops. A consumer
/// that applies the newest change of each user then agrees with the words. No change repeats the state of the change before it.
/// </summary>
public class ChangeFeedProperties
{
    private enum Act
    {
        Heartbeat,
        Leave,
        LeaveDevice,
        Erase,
        Status,
        Advance,
        Commit,
        FailedCommit,
        Tick,
        BeginCheckpoint,
        StepCheckpoint,
        Crash,
        Stop,
    }

    private sealed record Step(Act Act, int User, int Seconds);

    [Fact]
    public void A_consumer_of_the_feed_ends_in_what_the_words_say_after_any_end() => Check.One(
        Config.QuickThrowOnFailure.WithMaxTest(40),
        Prop.ForAll(Steps(), steps => Run(steps).GetAwaiter().GetResult()));

    [Fact]
    public Task A_change_is_not_recorded_before_the_word_that_it_is_made_of_is_durable() =>
        Run([new(Act.Status, 1, 2), new(Act.Heartbeat, 1, 5), new(Act.Tick, 3, 14)]);

    private static Arbitrary<Step[]> Steps()
    {
        var act = Gen.Frequency(
            (8, Gen.Constant(Act.Heartbeat)),
            (2, Gen.Constant(Act.Leave)),
            (2, Gen.Constant(Act.LeaveDevice)),
            (1, Gen.Constant(Act.Erase)),
            (3, Gen.Constant(Act.Status)),
            (4, Gen.Constant(Act.Advance)),
            (6, Gen.Constant(Act.Commit)),
            (1, Gen.Constant(Act.FailedCommit)),
            (2, Gen.Constant(Act.Tick)),
            (2, Gen.Constant(Act.BeginCheckpoint)),
            (4, Gen.Constant(Act.StepCheckpoint)),
            (2, Gen.Constant(Act.Crash)),
            (1, Gen.Constant(Act.Stop)));
        var step = from a in act
                   from user in Gen.Choose(0, Model.Users.Length - 1)
                   from seconds in Gen.Choose(1, 25)
                   select new Step(
            a, user, seconds);
        return Arb.From(from length in Gen.Choose(1, 80) from list in Gen.ArrayOf(step, length) select list, JournalRig.Shorter);
    }

    private static async Task Run(Step[] steps)
    {
        var model = new Model();
        try
        {
            foreach (var step in steps)
                await model.DoAsync(step);
            await model.EndAsync(isCrash: true, 1);
            await model.ShouldAgreeAsync();
        }
        finally
        {
            await model.Rig.DisposeAsync();
        }
    }

    private sealed class Model
    {
        public static readonly uint[] Users = [0, 1, 256, 65_280 * 256];
        private static readonly ClaimStatus[] Kinds =
            [ClaimStatus.Auto, ClaimStatus.Hidden, ClaimStatus.Busy, ClaimStatus.Away, ClaimStatus.Online];

        // these survive a crash, because the directory stores them
        private readonly Aglow.Users.Claims _claims = new();
        private readonly Accounts _accounts = new();
        private readonly Dictionary<uint, PresenceChange> _applied = [];
        // deletions are reported until they have ended, and not later: the ID may be somebody else's then
        private readonly HashSet<uint> _deleted = [];
        private string? _after;

        public Model()
        {
            Rig = JournalRig.Begin(records: true);
            Rig.Changes!.Start(_claims, _accounts);
        }

        public JournalRig Rig { get; private set; }

        public async Task DoAsync(Step step)
        {
            var user = Users[step.User];
            switch (step.Act)
            {
                case Act.Heartbeat:
                    Rig.Heartbeat(user);
                    break;
                case Act.Leave when Rig.IsOnline(user):
                    Rig.Leave(user);
                    break;
                case Act.LeaveDevice when Rig.IsOnline(user):
                    Rig.LeaveDevice(user);
                    break;
                case Act.Erase:
                    _claims.Set(user, [], Rig.Now);
                    var at = Pulse.EpochUnixSeconds + (long)Rig.Now;
                    _accounts.Set(user, new Account(RevokedAt: at, DeletedAt: at, IsDeleting: true));
                    Rig.Erase(user);
                    _deleted.Add(user);
                    break;
                case Act.Status:
                    Claim(user, Kinds[step.Seconds % Kinds.Length]);
                    // a crash may come between the directory's commit and the note
                    if (step.Seconds % 3 != 0)
                        Rig.Changes!.Note(user);
                    else
                        await EndAsync(isCrash: true, 1);
                    break;
                case Act.Advance:
                    Rig.Advance(step.Seconds);
                    Sweep();
                    break;
                case Act.Commit:
                    Rig.Journal.Writer.Commit();
                    EndDeletions();
                    await ShouldAgreeAsync();
                    break;
                case Act.FailedCommit:
                    FailToCommit();
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
                    await EndAsync(isCrash: true, step.Seconds * step.Seconds / 10);
                    break;
                case Act.Stop:
                    await EndAsync(isCrash: false, step.Seconds * step.Seconds / 10);
                    break;
            }
        }

        public async Task EndAsync(bool isCrash, int downSeconds)
        {
            Rig = isCrash ? await Rig.CrashAsync(downSeconds) : await Rig.RestartAsync(downSeconds);
            Rig.Changes!.Start(_claims, _accounts);
            using var belief = new Belief(Rig.Online);
            Rig.Recovery.Seed(belief);
            // as a start does: a crash may have come before a deletion had ended
            foreach (var user in _accounts.Deleting)
            {
                if ((Pulse.ToUnix(Pulse.Second(Rig.Word(user))) ?? 0) <= _accounts.Of(user).DeletedAt)
                    Rig.Erase(user);
            }

            // the first transaction finds statuses that were chosen meanwhile, and the next one records them
            Rig.Journal.Writer.Commit();
            Rig.Journal.Writer.Tick();
            Rig.Journal.Writer.Commit();
            EndDeletions();
            await ReadAsync();
            foreach (var user in Users)
            {
                // both answers are right for a user whose lease has expired, but whom no sweep has found yet
                var isOnline = Rig.IsOnline(user);
                if (!belief.Contains(user) || isOnline || Rig.Word(user) == Pulse.Never)
                    Shown(user).ShouldBe(isOnline ? Chosen(user) : PresenceStatus.Offline,
                        $"user {user} after {(isCrash ? "a crash" : "a stop")}");
            }
        }

        // The words of deleted users are erased on disk.
        private void EndDeletions()
        {
            foreach (var user in _accounts.Deleting)
                _accounts.Set(user, _accounts.Of(user) with { IsDeleting = false });
        }

        // After a sweep and a commit, the feed agrees with the words.
        public async Task ShouldAgreeAsync()
        {
            Sweep();
            Rig.Journal.Writer.Commit();
            await ReadAsync();
            foreach (var user in Users)
                Shown(user).ShouldBe(Rig.IsOnline(user) ? Chosen(user) : PresenceStatus.Offline, $"user {user}");
        }

        private async Task ReadAsync()
        {
            ChangePage page;
            do
            {
                page = await Rig.Changes!.ReadAsync(_after, 3);
                page.IsGap.ShouldBeFalse();
                foreach (var change in page.Changes)
                {
                    var user = change.User.Number;
                    var before = Shown(user);
                    // the feed no longer returns earlier records of a deleted user
                    if (change.Reason != ChangeReason.Deleted)
                    {
                        change.Status.ShouldNotBe(before, $"a change that changes nothing: {change}");
                        change.IsTransition.ShouldBe((before != PresenceStatus.Offline) != change.IsOnline);
                    }
                    else
                    {
                        _deleted.ShouldContain(user, $"a deletion that had ended: {change}");
                    }

                    _applied[user] = change;
                }

                _after = page.Next;
            }
            while (page.Changes.Count > 0);
            _deleted.IntersectWith(_accounts.Deleting);
        }

        private void Sweep()
        {
            foreach (var user in Users)
            {
                if (!Rig.IsOnline(user))
                    Rig.Store.Keep(Plane.Pulse, Rig.Word(user) == Pulse.Never ? [] : [user]);
            }
        }

        private void FailToCommit()
        {
            Rig.Journal.LimitPages(0);
            try
            {
                // more than a page of the file has room for
                for (var i = 0; i < 3; i++)
                {
                    Rig.Store.Keep(Plane.Pulse, [.. Enumerable.Range(0, 20_000).Select(static _ => Users[0])]);
                    Rig.Journal.Writer.Commit();
                }
            }
            catch (Microsoft.Data.Sqlite.SqliteException)
            {
                // the commit fails, as on a full disk
            }

            Rig.Journal.LimitPages(1_000_000);
        }

        private void Claim(uint user, ClaimStatus status) =>
            _claims.Set(user, status == ClaimStatus.Auto
                ? [] : [new Aglow.Model.Claim(Aglow.Model.Claim.UserSource, status, ShownLastSeen: Rig.Now)], Rig.Now);

        private PresenceStatus Shown(uint user) => _applied.TryGetValue(user, out var change) ? change.Status : PresenceStatus.Offline;

        private PresenceStatus Chosen(uint user) => _claims.Of(user, Rig.Now).Status switch
        {
            ClaimStatus.Hidden => PresenceStatus.Offline,
            ClaimStatus.Busy => PresenceStatus.Busy,
            ClaimStatus.Away => PresenceStatus.Away,
            _ => PresenceStatus.Online,
        };
    }
}
