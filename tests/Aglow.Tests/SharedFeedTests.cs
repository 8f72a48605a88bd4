using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using Aglow.Changes;
using Aglow.Changes.Shared;

namespace Aglow.Tests;

/// <summary>The owner of a shared feed on a store across a network, whose pages no sweep reads.</summary>
public sealed class SharedFeedTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    [Theory]
    [InlineData(2, 1)]
    [InlineData(5, 1)]
    [InlineData(9, 3)]
    [InlineData(20, 7)]
    public async Task A_short_lease_that_ends_is_recorded_in_that_second_although_no_page_is_read(int lease, int heartbeat)
    {
        await using var rig = new Rig(lease, heartbeat);
        var owner = rig.Own();
        await rig.HeartbeatAsync(1, isArrival: true);
        await rig.HeartbeatAsync(2, isArrival: true);
        await rig.HeartbeatAsync(3, isArrival: true);
        await rig.UntilAsync(() => rig.Log.Of(1) + rig.Log.Of(2) + rig.Log.Of(3) == "online online online ");
        var silentSince = new Dictionary<uint, uint> { [1] = rig.Now };
        for (var second = 1; second <= 5 * lease; second++)
        {
            rig.AdvanceASecond();
            // another node takes over while two users are online
            if (second == 2 * lease)
                owner = await rig.TakeOverAsync(owner);
            foreach (var (user, until) in new[] { (2u, lease), (3u, 3 * lease) })
            {
                if (second % heartbeat == 0 && second <= until)
                {
                    await rig.HeartbeatAsync(user, isArrival: false);
                    silentSince[user] = rig.Now;
                }
            }

            foreach (var user in silentSince.Keys)
            {
                if (silentSince[user] + (uint)lease + 1 == rig.Now)
                    await rig.UntilAsync(() => rig.Log.Of(user) == "online offline ");
                else if (silentSince[user] + (uint)lease >= rig.Now)
                    rig.Log.Of(user).ShouldBe("online ");
            }
        }

        silentSince.Keys.ShouldAllBe(user => rig.Log.Of(user) == "online offline ");
        await rig.TakeOverAsync(owner);
    }

    [Fact]
    public async Task What_happens_while_nobody_owns_the_feed_is_recorded_also_in_the_second_in_which_it_began()
    {
        await using var rig = new Rig(lease: 30, heartbeat: 10);
        await using (rig.Own())
        {
            await rig.HeartbeatAsync(1, isArrival: true);
            await rig.UntilAsync(() => rig.Log.Of(1) == "online ");
        }

        await rig.HeartbeatAsync(2, isArrival: true);
        await rig.LeaveAsync(2);
        await rig.LeaveAsync(1);
        rig.Own();
        await rig.UntilAsync(() => rig.Log.Of(1) == "online offline " && rig.Log.Of(2) == "online offline ");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Who_comes_back_at_once_after_a_deletion_is_deleted_first(bool isOffline)
    {
        await using var rig = new Rig(lease: 30, heartbeat: 10);
        rig.Own();
        await rig.HeartbeatAsync(1, isArrival: true);
        await rig.UntilAsync(() => rig.Log.ReasonsOf(1) == "heartbeat ");
        rig.AdvanceASecond();
        // the owner looks only after all of it
        await rig.EraseAsync(1);
        await rig.HeartbeatAsync(1, isArrival: false);
        if (isOffline)
            await rig.LeaveAsync(1);
        rig.ApplyDeletion(1, isDeleting: false);
        await rig.UntilAsync(() => rig.Log.ReasonsOf(1).EndsWith(isOffline ? "deleted " : "deleted heartbeat ", StringComparison.Ordinal));
        // once, also for the next owner
        await rig.TakeOverAsync(rig.Owner);
        await rig.LeaveAsync(1);
        await rig.HeartbeatAsync(2, isArrival: true);
        await rig.UntilAsync(() => rig.Log.Of(2) == "online ");
        rig.Log.ReasonsOf(1).Split(' ').Count(static reason => reason == "deleted").ShouldBe(1);
    }

    [Fact]
    public async Task Erased_words_of_which_the_directory_tells_later_are_a_deletion_and_no_lapse()
    {
        await using var rig = new Rig(lease: 30, heartbeat: 10);
        rig.Own();
        await rig.HeartbeatAsync(1, isArrival: true);
        await rig.UntilAsync(() => rig.Log.ReasonsOf(1) == "heartbeat ");
        rig.AdvanceASecond();
        rig.DeletedOnAnotherNode = 1;
        await rig.EraseAsync(1);
        rig.Publish(TransitionKind.Left, 1);
        await rig.UntilAsync(() => rig.Log.ReasonsOf(1) == "heartbeat deleted ");
    }

    [Fact]
    public async Task Words_that_a_deletion_has_yet_to_erase_are_nobody_new()
    {
        await using var rig = new Rig(lease: 30, heartbeat: 10);
        rig.Own();
        await rig.HeartbeatAsync(1, isArrival: true);
        await rig.UntilAsync(() => rig.Log.ReasonsOf(1) == "heartbeat ");
        rig.AdvanceASecond();
        rig.ApplyDeletion(1, isDeleting: true);
        await rig.HeartbeatAsync(2, isArrival: true);
        await rig.UntilAsync(() => rig.Log.Of(2) == "online ");
        rig.Log.ReasonsOf(1).ShouldBe("heartbeat ");
        await rig.EraseAsync(1);
        rig.ApplyDeletion(1, isDeleting: false);
        await rig.UntilAsync(() => rig.Log.ReasonsOf(1) == "heartbeat deleted ");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(1000)]
    public async Task Changes_of_users_whose_id_is_unknown_are_left_out_and_do_not_end_the_feed(int limit)
    {
        var directory = new FakeDirectory();
        var known = new uint[2];
        await directory.RegisterAsync(["ann", "bob"], known);
        uint[] users = [known[0], 3_000_000_000, 3_000_000_001, 3_000_000_002, 7, 3_000_000_003, known[1], 3_000_000_004, 3_000_000_005];
        var records = users.Select(static u => new StoredChange(u, 1, PresenceStatus.Online, true, ChangeReason.Heartbeat)).ToArray();
        List<string> given = [];
        for (string? after = null; ;)
        {
            var page = await ChangeReading.ReadAsync(after, directory, from =>
            {
                var part = ChangeReading.After(from, 1, trimmed: 0, records.Length, records.Length, limit, accounts: null);
                part.Add(records.Length, 1, MemoryMarshal.AsBytes(records.AsSpan()));
                return new((part, 1u));
            });
            after = page.Next;
            if (page.Changes.Count == 0)
                break;
            given.AddRange(page.Changes.Select(static change => $"{change.User}"));
        }

        given.ShouldBe(["ann", "7", "bob"]);
    }

    [Fact]
    public void Users_are_followed_once_each_and_no_more_than_there_is_room_for()
    {
        using var ends = new LeaseEnds(follows: true);
        const uint Most = HintHistory.Most;
        for (var user = 0u; user <= Most; user++)
        {
            ends.Follow(user, 5);
            ends.Follow(user, 4);
        }

        ends.TryTake(4, out _).ShouldBeFalse();
        var taken = 0u;
        while (ends.TryTake(5, out _))
            taken++;
        taken.ShouldBe(Most);
        ends.Follow(7, 9);
        ends.CheckAt(8, 6);
        ends.TryTake(9, out var first).ShouldBeTrue();
        ends.TryTake(9, out var next).ShouldBeTrue();
        (first, next).ShouldBe((8u, 7u));
    }

    private sealed class Rig : IAsyncDisposable
    {
        private readonly ManualTimeProvider _time = new();
        private readonly RiggedStore _store = new(isRemote: true);
        private readonly Clock _clock;
        private readonly AglowOptions _options;
        private readonly Beliefs _beliefs;
        private readonly Sweep _sweep;
        private readonly HintHistory _hints = new();
        private readonly List<Owner> _owners = [];
        private readonly Accounts _accounts = new();

        public Rig(int lease, int heartbeat)
        {
            _options = new AglowOptions { LeaseSeconds = lease, HeartbeatSeconds = heartbeat };
            _clock = new Clock(_time, new StallGuard(20));
            _beliefs = new Beliefs(new Definitions(_options), new LocalTransitionBus());
            _sweep = new Sweep(_store, _clock, _beliefs);
        }

        public FakeLog Log { get; } = new();

        public uint Now => _clock.Now;

        public Owner Owner => _owners[^1];

        /// <summary>A user whose deletion this node hears of only when it asks.</summary>
        public uint? DeletedOnAnotherNode { get; set; }

        public Owner Own()
        {
            var recorder = new SharedChangeRecorder(
                Log, _store, _clock, _beliefs.Default, _sweep, new Claims(), _accounts, _hints, _options, static _ => { }, CatchUp);
            var owner = new Owner(recorder);
            _owners.Add(owner);
            return owner;
        }

        public async Task<Owner> TakeOverAsync(Owner before)
        {
            await before.DisposeAsync();
            return Own();
        }

        public void AdvanceASecond()
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            _clock.Beat();
        }

        public async Task HeartbeatAsync(uint user, bool isArrival)
        {
            await _store.ExchangeAsync(Plane.Pulse, user, Now);
            if (isArrival)
                Publish(TransitionKind.Arrived, user);
        }

        public async Task LeaveAsync(uint user)
        {
            await _store.ExchangeAsync(Plane.Pulse, user, Now | Pulse.LeftBit);
            Publish(TransitionKind.Left, user);
        }

        public ValueTask EraseAsync(uint user) => _store.EraseAsync(Plane.Pulse, user);

        public void ApplyDeletion(uint user, bool isDeleting)
        {
            var at = Pulse.ToUnix(Now)!.Value;
            _accounts.Set(user, new Account(RevokedAt: at, DeletedAt: at, IsDeleting: isDeleting));
            Publish(TransitionKind.Changed, user);
        }

        public async Task UntilAsync(Func<bool> condition)
        {
            for (var began = Stopwatch.GetTimestamp(); !condition(); await Task.Delay(5))
                Stopwatch.GetElapsedTime(began).ShouldBeLessThan(Patience);
        }

        private ValueTask CatchUp()
        {
            if (DeletedOnAnotherNode is { } user)
                ApplyDeletion(user, isDeleting: true);
            return default;
        }

        public void Publish(TransitionKind kind, uint user)
        {
            _hints.Add(kind, [user], Now);
            _owners[^1].Recorder.Wake();
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var owner in _owners)
                await owner.DisposeAsync();
            _beliefs.Dispose();
            await _store.DisposeAsync();
        }
    }

    private sealed class Owner : IAsyncDisposable
    {
        private readonly CancellationTokenSource _lost = new();
        private readonly Task _owning;

        public Owner(SharedChangeRecorder recorder)
        {
            Recorder = recorder;
            _owning = Task.Run(() => recorder.OwnAsync("token", _lost.Token));
        }

        public SharedChangeRecorder Recorder { get; }

        public async ValueTask DisposeAsync()
        {
            await _lost.CancelAsync();
            await _owning;
        }
    }

    /// <summary>The shared part of a feed, in memory.</summary>
    private sealed class FakeLog : IChangeLog
    {
        private readonly ConcurrentQueue<StoredChange> _records = new();
        private readonly UserBits _reported = new();
        private readonly ConcurrentDictionary<uint, long> _facts = new();
        private ChangeLogHead? _head;

        public IConsumerStore Consumers => throw new NotSupportedException();

        /// <summary>What was recorded of a user.</summary>
        public string Of(uint user) =>
            string.Concat(_records.Where(r => r.User == user).Select(static r => r.Status.ToString().ToLowerInvariant() + " "));

        /// <summary>Why it was recorded.</summary>
        public string ReasonsOf(uint user) =>
            string.Concat(_records.Where(r => r.User == user).Select(static r => r.Reason.ToString().ToLowerInvariant() + " "));

        public Task RunOwnedAsync(string name, Func<string, CancellationToken, Task> run, CancellationToken stop) => run("token", stop);

        public ValueTask<ChangeLogHead?> HeadAsync() => new(_head);

        public ValueTask<IReadOnlyList<ChangeLogEntry>> ReadAsync(long after, int most) => new([]);

        public ValueTask ReadReportedAsync(int page, Memory<ulong> groups)
        {
            _reported.Groups(page).CopyTo(groups.Span);
            return default;
        }

        public ValueTask<IReadOnlyDictionary<uint, long>> ReadFactsAsync() =>
            new((IReadOnlyDictionary<uint, long>)_facts.ToDictionary());

        public ValueTask<bool> BeginAsync(
            string token, ChangeLogHead head, IReadOnlyList<(int Page, ulong[] Groups)> reported, IReadOnlyDictionary<uint, long> facts)
        {
            _head = head;
            return new(true);
        }

        public ValueTask<bool> AppendAsync(string token, ChangeLogWrite write)
        {
            foreach (var (user, online) in write.Flips)
                _reported.Set(user, online);
            foreach (var (user, value) in write.Facts)
                _facts[user] = value;
            foreach (var entry in write.Entries)
            {
                foreach (var record in MemoryMarshal.Cast<byte, StoredChange>(entry.Records.Span))
                    _records.Enqueue(record);
            }

            _head = write.After;
            return new(true);
        }
    }
}
