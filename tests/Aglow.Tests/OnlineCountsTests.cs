using Aglow.AspNetCore.Endpoints;
using Aglow.Queries;

namespace Aglow.Tests;

/// <summary>The count of online users, by nodes that share their counts of pages.</summary>
public sealed class OnlineCountsTests : IAsyncDisposable
{
    private static readonly Definition Chat = new(Definition.DefaultName, 30);

    private readonly ManualTimeProvider _time = new();
    private readonly RiggedStore _store = new(isRemote: true);
    private readonly SharedCounts _shared = new();
    private readonly Claims _claims = new();
    private readonly Visibilities _visibilities = new(isReciprocal: false);
    private readonly Clock _clock;
    private readonly OnlineCounts _one;
    private readonly OnlineCounts _other;

    public OnlineCountsTests()
    {
        _clock = new Clock(_time, new StallGuard(20));
        _one = Node();
        _other = Node();
    }

    public async ValueTask DisposeAsync()
    {
        await _one.DisposeAsync();
        await _other.DisposeAsync();
        _visibilities.Dispose();
        await _store.DisposeAsync();
    }

    [Fact]
    public async Task Nobody_is_online_where_there_are_no_pages() => (await _one.ReadAsync(Chat)).ShouldBe((0, _clock.Now));

    [Fact]
    public async Task A_page_is_counted_once_for_all_who_ask()
    {
        await HeartbeatAsync(0, 600);
        var asked = Enumerable.Range(0, 100).Select(i => (i % 2 == 0 ? _one : _other).ReadAsync(Chat)).ToArray();
        // no time passes while a node counts: after three seconds it would count as dead
        await Task.WhenAny(asked);
        await PassAsync(Task.WhenAll(asked));
        asked.ShouldAllBe(answer => answer.Result.Online == 600);
        (_one.PagesCounted + _other.PagesCounted).ShouldBe(256);

        // when the count is stale, the first node that asks counts again
        _time.Advance(TimeSpan.FromSeconds(11));
        await HeartbeatAsync(600, 50);
        var now = _clock.Now;
        (await _other.ReadAsync(Chat)).ShouldBe((650, now));
        (await _one.ReadAsync(Chat)).ShouldBe((650, now));
        (_one.PagesCounted + _other.PagesCounted).ShouldBe(512);
    }

    [Fact]
    public async Task An_answer_of_this_moment_is_given_again_and_an_older_one_while_it_is_counted_anew()
    {
        await HeartbeatAsync(0, 3);
        var first = await _one.ReadAsync(Chat);
        await HeartbeatAsync(3, 1);
        _time.Advance(TimeSpan.FromSeconds(0.5));
        (await _one.ReadAsync(Chat)).ShouldBe(first);

        _time.Advance(TimeSpan.FromSeconds(3));
        (await _one.ReadAsync(Chat)).ShouldBe(first);
        await UntilAsync(async () => (await _one.ReadAsync(Chat)).Online == 4);
    }

    [Fact]
    public async Task Who_counts_and_dies_holds_nobody_up_for_long()
    {
        await HeartbeatAsync(0, 3);
        await _shared.ClaimAsync(Chat, _clock.Now);
        var asked = _one.ReadAsync(Chat);
        await UntilAsync(() => Task.FromResult(_time.ArmedTimers > 0));
        asked.IsCompleted.ShouldBeFalse();
        await PassAsync(asked);
        (await asked).Online.ShouldBe(3);
    }

    [Fact]
    public async Task Who_appears_offline_is_not_counted_where_that_is_what_they_show()
    {
        var always = new Definition("reachable", 86_400, EndedByLeave: false);
        await HeartbeatAsync(0, 3);
        _claims.Set(1, [new Claim(Claim.UserSource, ClaimStatus.Hidden, ShownLastSeen: _clock.Now - 60)], _clock.Now);
        _claims.Set(257, [new Claim(Claim.UserSource, ClaimStatus.Hidden, ShownLastSeen: _clock.Now - 60)], _clock.Now);
        (await _one.ReadAsync(Chat)).Online.ShouldBe(2);
        // both hidden users are shown as seen a minute ago, so they count
        (await _one.ReadAsync(always)).Online.ShouldBe(4);
    }

    [Fact]
    public async Task Who_does_not_show_it_to_everyone_is_not_counted_be_they_here_or_not()
    {
        var always = new Definition("reachable", 86_400, EndedByLeave: false);
        await HeartbeatAsync(0, 600);
        // users who are online, a user who is offline, and a user who hides in both ways
        foreach (var user in new uint[] { 1, 257, 300, 700 })
            _visibilities.Set(user, new Visibility { Online = OnlineVisibility.Nobody });
        _visibilities.Set(2, new Visibility { Online = OnlineVisibility.FollowersApproved, Approved = [3] });
        _visibilities.Set(4, new Visibility { LastSeen = LastSeenVisibility.Hidden, Blocked = [5] });
        _claims.Set(300, [new Claim(Claim.UserSource, ClaimStatus.Hidden, ShownLastSeen: _clock.Now - 60)], _clock.Now);
        (await _one.ReadAsync(Chat)).Online.ShouldBe(596);
        (await _one.ReadAsync(always)).Online.ShouldBe(596);

        // a user who is visible again counts when the page is counted next
        _visibilities.Set(257, Visibility.Default);
        _time.Advance(TimeSpan.FromSeconds(11));
        await HeartbeatAsync(0, 600);
        (await _other.ReadAsync(Chat)).Online.ShouldBe(597);
    }

    [Fact]
    public async Task Counting_ends_with_the_node()
    {
        await HeartbeatAsync(0, 3);
        await _shared.ClaimAsync(Chat, _clock.Now);
        var asked = _one.ReadAsync(Chat);
        await UntilAsync(() => Task.FromResult(_time.ArmedTimers > 0));
        await _one.DisposeAsync();
        asked.IsCanceled.ShouldBeTrue();
    }

    [Fact]
    public async Task Activity_counts_where_a_definition_says_so()
    {
        var active = new Definition("active", 30, ActivitySeconds: 300);
        await HeartbeatAsync(0, 300);
        await _store.ExchangeAsync(Plane.Activity, 7, _clock.Now);
        await _store.ExchangeAsync(Plane.Activity, 8, _clock.Now - 301);
        (await _one.ReadAsync(active)).Online.ShouldBe(1);
    }

    [Fact]
    public void Counted_in_sixty_fours_is_counted_one_by_one()
    {
        var random = new Random(7);
        var at = new Moment(1000, 1000);
        foreach (var definition in (Definition[])[Chat, new("active", 30, 40), new("reachable", 100, EndedByLeave: false)])
        {
            var pulse = Words(random, 1920);
            var activity = Words(random, 960);
            var expected = Enumerable.Range(0, pulse.Length)
                .Count(i => definition.IsMet(pulse[i], i < activity.Length ? activity[i] : Pulse.Never, at));
            OnlineCounts.OnlineOf(definition, pulse, activity, at).ShouldBe((uint)expected);
        }

        static uint[] Words(Random random, int count) =>
            [.. Enumerable.Range(0, count).Select(
                _ => random.Next(4) == 0 ? Pulse.Never : (uint)random.Next(880, 1001) | (random.Next(3) == 0 ? Pulse.LeftBit : 0))];
    }

    private OnlineCounts Node()
    {
        var beliefs = new Beliefs(new Definitions(new AglowOptions()), new LocalTransitionBus());
        return new OnlineCounts(_store, _shared, _clock, _claims, _visibilities, new Sweep(_store, _clock, beliefs));
    }

    private async Task HeartbeatAsync(uint first, int count)
    {
        uint[] users = [.. Enumerable.Range((int)first, count).Select(i => (uint)i)];
        await _store.ExchangeAsync(Plane.Pulse, users, users.Select(_ => _clock.Now).ToArray(), new uint[count]);
    }

    // Lets time pass while a node waits for another, until the task is done. A node that works is as quick as the host.
    private async Task PassAsync(Task task)
    {
        await UntilAsync(() =>
        {
            if (!task.IsCompleted && _time.ArmedTimers > 0)
                _time.Advance(TimeSpan.FromMilliseconds(10));
            return Task.FromResult(task.IsCompleted);
        });
        await task;
    }

    private static async Task UntilAsync(Func<Task<bool>> holds)
    {
        var began = System.Diagnostics.Stopwatch.GetTimestamp();
        while (!await holds())
        {
            System.Diagnostics.Stopwatch.GetElapsedTime(began).ShouldBeLessThan(TimeSpan.FromSeconds(60));
            await Task.Delay(5);
        }
    }

    /// <summary>The shared counts of nodes, in memory.</summary>
    private sealed class SharedCounts : IPageCounts
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<(Definition, int Page), PageCount> _counts = [];
        private readonly Dictionary<Definition, uint> _claims = [];

        public ValueTask<uint> ReadAsync(Definition definition, Memory<PageCount> counts)
        {
            lock (_gate)
            {
                for (var page = 0; page < counts.Length; page++)
                    counts.Span[page] = _counts.GetValueOrDefault((definition, page));
                return new(_claims.GetValueOrDefault(definition));
            }
        }

        public ValueTask<uint> ClaimAsync(Definition definition, uint now)
        {
            lock (_gate)
            {
                var before = _claims.GetValueOrDefault(definition);
                _claims[definition] = now;
                return new(before);
            }
        }

        public ValueTask WriteAsync(Definition definition, IReadOnlyList<(int Page, PageCount Count)> counts, uint claim)
        {
            lock (_gate)
            {
                foreach (var (page, count) in counts)
                    _counts[(definition, page)] = count;
                _claims[definition] = claim;
            }

            return default;
        }
    }
}
