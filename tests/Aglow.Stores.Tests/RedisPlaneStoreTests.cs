using System.Collections.Concurrent;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Redis;
using Aglow.Redis.Connections;
using Aglow.Redis.Hints;
using Aglow.Redis.Replicas;
using Aglow.Storage;
using Aglow.Watching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Stores.Tests;

[Collection(RedisCollection.Name)]
public sealed class RedisAloneTests(RedisServers servers) : RedisPlaneStoreTests
{
    private protected override async Task<RedisCluster> ConnectAsync(bool flush)
    {
        if (flush)
            await servers.Alone.CallAsync("FLUSHALL", "SYNC");
        return await ConnectAsync($"{servers.Alone.Endpoint}");
    }

    [Fact]
    public async Task A_page_costs_little_more_than_its_words()
    {
        await using var store = await CreateAsync();
        // write up to the full length: Redis allocates twice what a growing string needs
        uint[] users = [.. Enumerable.Range(0, PageLayout.Slots).Select(slot => (uint)slot << 8)];
        await store.ExchangeAsync(Plane.Pulse, users[^1], 1);
        await store.ExchangeAsync(Plane.Pulse, users, users.Select(user => 1 + (user >> 8)).ToArray(), new uint[users.Length]);
        var bytes = (long)(await servers.Alone.CallAsync("MEMORY", "USAGE", "{p:0}:pulse"))!;
        (bytes / (double)PageLayout.Slots).ShouldBeLessThanOrEqualTo(4.2);
        var page = await store.ReadPageAsync(Plane.Pulse, 0, new uint[PageLayout.Slots]);
        page.ToArray().ShouldBe(Enumerable.Range(1, PageLayout.Slots).Select(second => (uint)second));
    }

    [Fact]
    public async Task A_page_that_has_grown_is_made_as_long_as_it_is()
    {
        await using var store = await CreateAsync();
        const int count = 49_000;
        uint[] users = [.. Enumerable.Range(0, count).Select(slot => (uint)slot << 8)];
        await store.ExchangeAsync(Plane.Pulse, users, users.Select(user => 1 + (user >> 8)).ToArray(), new uint[users.Length]);
        (await MemoryAsync()).ShouldBeGreaterThan(count * 5);
        // read twice, so that the page does not seem to be growing
        for (var sweep = 0; sweep < 2; sweep++)
            await store.ReadPageAsync(Plane.Pulse, 0, new uint[PageLayout.Slots]);
        (await MemoryAsync()).ShouldBeLessThan((long)(count * 4.2));
        var page = await store.ReadPageAsync(Plane.Pulse, 0, new uint[PageLayout.Slots]);
        page.ToArray().Where(word => word != Pulse.Never).ShouldBe(Enumerable.Range(1, count).Select(second => (uint)second));
        (await servers.Alone.CallAsync("EXISTS", "{p:0}:copy")).ShouldBe(0L);

        async Task<long> MemoryAsync() => (long)(await servers.Alone.CallAsync("MEMORY", "USAGE", "{p:0}:pulse"))!;
    }

    [Fact]
    public async Task An_answer_that_is_lost_is_asked_for_again_and_its_old_word_is_not_known()
    {
        await servers.Alone.CallAsync("FLUSHALL", "SYNC");
        await using var proxy = new LosingProxy(servers.Alone.Port);
        await using var cluster = await ConnectAsync($"{proxy.Endpoint}");
        var store = new RedisPlaneStore(cluster);
        (await store.ExchangeAsync(Plane.Pulse, 42, 100)).ShouldBe(Pulse.Never);
        proxy.LoseNextAnswer();
        (await store.ExchangeAsync(Plane.Pulse, 42, 110)).ShouldBe(Pulse.Never);
        proxy.Lost.ShouldBe(1);
        (await store.ExchangeAsync(Plane.Pulse, 42, 120)).ShouldBe(110u);
    }

    [Fact]
    public async Task A_server_that_stands_still_is_given_up_after_two_seconds_and_used_again_when_it_goes_on()
    {
        await using var cluster = await ConnectAsync(flush: true);
        var store = new RedisPlaneStore(cluster);
        var recovered = new ConcurrentQueue<TimeSpan>();
        cluster.Recovered = (_, away) => recovered.Enqueue(away);
        await store.ExchangeAsync(Plane.Pulse, 42, 100);
        servers.Alone.Signal(19);
        try
        {
            var began = System.Diagnostics.Stopwatch.GetTimestamp();
            await Should.ThrowAsync<StoreUnavailableException>(async () => await store.ExchangeAsync(Plane.Pulse, 42, 101));
            System.Diagnostics.Stopwatch.GetElapsedTime(began).ShouldBeGreaterThan(TimeSpan.FromSeconds(1.5));
            await Eventually.HoldsAsync(() => !store.IsReachable);
            // known to be away: refused at once
            var refused = store.ExchangeAsync(Plane.Pulse, 42, 102).AsTask();
            refused.IsFaulted.ShouldBeTrue();
            _ = refused.Exception;
        }
        finally
        {
            servers.Alone.Signal(18);
        }

        await Eventually.HoldsAsync(() => store.IsReachable);
        await store.ExchangeAsync(Plane.Pulse, 42, 103);
        // the callback comes even if the first answer is a late one, which may be older than the outage
        recovered.ShouldNotBeEmpty();
        recovered.ShouldAllBe(away => away > TimeSpan.FromSeconds(1.5));
    }

    [Fact]
    public async Task Nobody_hears_of_a_command_that_failed_by_a_server_that_is_away_before_the_outage_can_be_known()
    {
        await using var server = await RedisProcess.StartAsync();
        var time = new TimeWithoutTimers();
        await using var cluster = await RedisCluster.ConnectAsync(
            RedisAddress.Parse($"{server.Endpoint}"), time, new RedisLog(NullLogger.Instance));
        var store = new RedisPlaneStore(cluster);
        await store.ExchangeAsync(Plane.Pulse, 42, 100);
        await server.KillAsync();
        await Eventually.HoldsAsync(() =>
        {
            time.Advance(TimeSpan.FromSeconds(3));
            return !store.IsReachable;
        });
        var known = store.Outages;
        // the loop that checks every 50 ms has not run, and never runs here
        var refused = store.ExchangeAsync(Plane.Pulse, 42, 101).AsTask();
        refused.IsFaulted.ShouldBeTrue();
        refused.Exception!.InnerException.ShouldBeOfType<StoreUnavailableException>();
        store.Outages.ShouldBe(known + 1);
    }

    [Fact]
    public async Task An_ID_without_an_index_is_read_although_the_server_of_its_page_is_lost()
    {
        await using var server = await RedisProcess.StartAsync();
        var cluster = await ConnectAsync($"{server.Endpoint}");
        await using var replicas = new ReplicaConfirmations(
            await RedisConnections.ConnectAsync(RedisAddress.Parse($"{server.Endpoint}"), TimeProvider.System),
            cluster, ofArrivals: false, TimeProvider.System, new RedisLog(NullLogger.Instance));
        await using var store = new RedisPlaneStore(cluster, replicas);
        uint[] users = [UserId.Nobody, 42, UserId.Nobody];
        var words = new uint[users.Length];
        await store.ExchangeAsync(Plane.Pulse, 42, 100);
        await store.ReadAsync(Plane.Pulse, users, words);
        words.ShouldBe([Pulse.Never, 100u, Pulse.Never]);
        await server.KillAsync();
        await Eventually.HoldsAsync(() => !store.IsReachable);
        await Should.ThrowAsync<StoreUnavailableException>(async () => await store.ReadAsync(Plane.Pulse, users, words));
        await Should.ThrowAsync<StoreUnavailableException>(async () => await store.ReplicatedAsync(users, isLeave: true));
        users[1] = UserId.Nobody;
        await store.ReadAsync(Plane.Pulse, users, words);
        words.ShouldAllBe(word => word == Pulse.Never);
        // nothing of theirs can be lost with a server
        await store.ReplicatedAsync(users, isLeave: true);
    }

    [Fact]
    public async Task A_password_is_asked_for_and_sent()
    {
        await using var server = await RedisProcess.StartAsync("--aclfile", "");
        await server.CallAsync("ACL", "SETUSER", "aglow", "on", ">s3cret:@", "~*", "&*", "+@all");
        await server.CallAsync("CONFIG", "SET", "requirepass", "other");
        var address = $"redis://aglow:s3cret%3A%40@{server.Endpoint}";
        foreach (var right in (string[])[address, $"{server.Endpoint},user=aglow,password=s3cret:@"])
        {
            await using var cluster = await ConnectAsync(right);
            await new RedisPlaneStore(cluster).ExchangeAsync(Plane.Pulse, 1, 100);
        }

        (await ConnectFailsAsync($"redis://aglow:wrong@{server.Endpoint}")).ShouldContain("refuses this user and password");
        (await ConnectFailsAsync($"{server.Endpoint}")).ShouldContain("wants a password");
        (await ConnectFailsAsync(address.Replace("redis:", "rediss:"))).ShouldContain("cannot be used");
        (await ConnectFailsAsync("127.0.0.1:1")).ShouldContain("127.0.0.1:1 cannot be used: Connection refused");

        static async Task<string> ConnectFailsAsync(string address) =>
            (await Should.ThrowAsync<StoreUnavailableException>(() => ConnectAsync(address))).Message;
    }

    /// <summary>Time that advances only on request, and that never wakes a loop.</summary>
    private sealed class TimeWithoutTimers : TimeProvider
    {
        private long _ticks = 1;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Interlocked.Read(ref _ticks);

        public void Advance(TimeSpan by) => Interlocked.Add(ref _ticks, by.Ticks);

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            System.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }
}

[Collection(RedisCollection.Name)]
public sealed class RedisClusterTests(RedisServers servers) : RedisPlaneStoreTests
{
    private protected override async Task<RedisCluster> ConnectAsync(bool flush)
    {
        if (flush)
            await servers.Cluster.FlushAsync();
        // one server names the others
        return await ConnectAsync($"{servers.Cluster.Servers[0].Endpoint}");
    }

    [Fact]
    public async Task Pages_spread_over_the_shards_as_the_servers_count_slots()
    {
        await using var cluster = await ConnectAsync(flush: false);
        cluster.Map.Shards.Count.ShouldBe(3);
        foreach (var page in (int[])[0, 7, 255, 66_047])
            (await KeySlotAsync($"{{p:{page}}}:activity")).ShouldBe((long)RedisKeys.SlotOf(page));
        (await KeySlotAsync(RedisKeys.Pages(Plane.Activity))).ShouldBe((long)RedisKeys.PagesSlot);
        (await KeySlotAsync(RedisKeys.Hints)).ShouldBe((long)RedisKeys.HintsSlot);
        Enumerable.Range(0, 256).CountBy(page => cluster.Map[RedisKeys.SlotOf(page)]).ShouldAllBe(owner => owner.Value > 60);

        Task<object?> KeySlotAsync(string key) => servers.Cluster.Servers[0].CallAsync("CLUSTER", "KEYSLOT", key);
    }

    [Fact]
    public async Task A_slot_that_is_being_moved_is_followed()
    {
        await using var cluster = await ConnectAsync(flush: true);
        var store = new RedisPlaneStore(cluster);
        uint[] users = [.. Enumerable.Range(0, 512).Select(i => (uint)i)];
        await store.ExchangeAsync(Plane.Pulse, users, users.Select(_ => 100u).ToArray(), new uint[users.Length]);
        const int page = 3;
        var slot = $"{RedisKeys.SlotOf(page)}";
        var from = await servers.Cluster.PrimaryOfAsync(page);
        var to = servers.Cluster.Servers.Take(3).First(server => server != from);
        var (fromId, toId) = ((string)(await from.CallAsync("CLUSTER", "MYID"))!, (string)(await to.CallAsync("CLUSTER", "MYID"))!);

        await to.CallAsync("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
        await from.CallAsync("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
        // At first the old server still has the key and serves it. Then the key is gone, and the client asks the new server.
        (await store.ExchangeAsync(Plane.Pulse, page, 110)).ShouldBe(100u);
        await from.CallAsync("MIGRATE", "127.0.0.1", $"{to.Port}", "", "0", "5000", "KEYS", $"{{p:{page}}}:pulse");
        (await store.ExchangeAsync(Plane.Pulse, page, 120)).ShouldBe(110u);
        cluster.Map[RedisKeys.SlotOf(page)].Endpoint.ShouldBe(from.Endpoint);

        foreach (var server in (RedisProcess[])[to, from])
            await server.CallAsync("CLUSTER", "SETSLOT", slot, "NODE", toId);
        (await store.ExchangeAsync(Plane.Pulse, page, 130)).ShouldBe(120u);
        cluster.Redirections.ShouldBeGreaterThanOrEqualTo(2);
        await Eventually.HoldsAsync(() => cluster.Map[RedisKeys.SlotOf(page)].Endpoint.Equals(to.Endpoint));

        // move it back for the tests that follow
        await from.CallAsync("CLUSTER", "SETSLOT", slot, "IMPORTING", toId);
        await to.CallAsync("CLUSTER", "SETSLOT", slot, "MIGRATING", fromId);
        await to.CallAsync("MIGRATE", "127.0.0.1", $"{from.Port}", "", "0", "5000", "KEYS", $"{{p:{page}}}:pulse");
        foreach (var server in (RedisProcess[])[from, to])
            await server.CallAsync("CLUSTER", "SETSLOT", slot, "NODE", fromId);
        (await store.ExchangeAsync(Plane.Pulse, page, 140)).ShouldBe(130u);
    }
}

/// <summary>What Redis does beyond the contract, as a single server and as a cluster.</summary>
public abstract class RedisPlaneStoreTests : PlaneStoreContract
{
    protected override bool PutsNewerBack => true;

    private protected abstract Task<RedisCluster> ConnectAsync(bool flush);

    internal static Task<RedisCluster> ConnectAsync(string address) =>
        RedisCluster.ConnectAsync(RedisAddress.Parse(address), TimeProvider.System, new RedisLog(NullLogger.Instance));

    protected override async ValueTask<IPlaneStore> CreateAsync() => new RedisPlaneStore(await ConnectAsync(flush: true));

    [Fact]
    public async Task Two_nodes_see_each_others_words_and_pages()
    {
        await using var one = await CreateAsync();
        await using var other = new RedisPlaneStore(await ConnectAsync(flush: false));
        (await one.ExchangeAsync(Plane.Pulse, 42, 100)).ShouldBe(Pulse.Never);
        (await other.ExchangeAsync(Plane.Pulse, 42, 110)).ShouldBe(100u);
        await one.ExchangeAsync(Plane.Activity, 42, 100);
        (await other.PagesAsync(Plane.Pulse)).ShouldBe([42]);
        var activity = new uint[1];
        await other.ReadAsync(Plane.Activity, new uint[] { 42 }, activity);
        activity[0].ShouldBe(100u);
    }

    [Fact]
    public async Task Counts_of_pages_are_shared_and_of_many_claims_one_is_granted()
    {
        await using var one = await CreateAsync();
        await using var other = new RedisPlaneStore(await ConnectAsync(flush: false));
        var chat = new Definition(Definition.DefaultName, 30);
        var counts = new PageCount[300];
        (await one.PageCounts!.ReadAsync(chat, counts)).ShouldBe(0u);
        counts.ShouldAllBe(count => count == default);
        await one.PageCounts.WriteAsync(chat, [(0, new PageCount(7, 100)), (299, new PageCount(8, 101))], claim: 0);
        await other.PageCounts.ReadAsync(chat, counts);
        (counts[0], counts[1], counts[299]).ShouldBe((new PageCount(7, 100), default, new PageCount(8, 101)));
        // another rule has its own key
        await other.PageCounts.ReadAsync(new Definition("reachable", 30, EndedByLeave: false), counts);
        counts.ShouldAllBe(count => count == default);
        var before = await Task.WhenAll(
            Enumerable.Range(0, 20).Select(async i => await (i % 2 == 0 ? one.PageCounts : other.PageCounts).ClaimAsync(chat, 500)));
        before.Count(claim => claim == 0).ShouldBe(1);
    }

    [Fact]
    public async Task Of_two_nodes_that_write_older_words_over_newer_ones_the_newest_stands_at_the_end()
    {
        await using var one = await CreateAsync();
        await using var other = new RedisPlaneStore(await ConnectAsync(flush: false));
        uint[] users = [.. Enumerable.Range(0, 300).Select(i => (uint)i)];
        await Task.WhenAll(WriteAsync(one, 1), WriteAsync(other, 2));
        var words = new uint[users.Length];
        await one.ReadAsync(Plane.Pulse, users, words);
        words.ShouldAllBe(word => word == 1000);

        async Task WriteAsync(IPlaneStore store, int seed)
        {
            var random = new Random(seed);
            for (var round = 0; round < 50; round++)
            {
                // each user gets the newest word in one of the rounds
                var written = users.Select(user => user % 50 == round ? 1000 : (uint)random.Next(1, 1000)).ToArray();
                await store.ExchangeAsync(Plane.Pulse, users, written, new uint[users.Length]);
            }
        }
    }

    [Fact]
    public async Task A_batch_of_ten_words_a_page_allocates_less_than_160_bytes_a_word()
    {
        await using var store = await CreateAsync();
        uint[] users = [.. Enumerable.Range(0, 2560).Select(i => (uint)i)];
        var (words, old) = (new uint[users.Length], new uint[users.Length]);
        await WriteAsync(20);
        // other tests in this process also allocate, so use a round in which none did
        var least = double.MaxValue;
        for (var round = 0; round < 200 && least >= 160; round++)
        {
            var before = GC.GetTotalAllocatedBytes(precise: true);
            await WriteAsync(20);
            least = Math.Min(least, (GC.GetTotalAllocatedBytes(precise: true) - before) / (20.0 * users.Length));
        }

        // each command needs a message, an answer and their tasks; a full command has 256 words
        least.ShouldBeLessThan(160);

        async Task WriteAsync(int times)
        {
            for (var i = 0; i < times; i++)
            {
                words.AsSpan().Fill(words[0] + 1);
                await store.ExchangeAsync(Plane.Pulse, users, words, old);
            }
        }
    }

    [Fact]
    public async Task Hints_of_one_node_are_heard_by_the_other()
    {
        await using var one = await NodeAsync();
        await using var other = await NodeAsync();
        uint[] users = [.. Enumerable.Range(0, 20_000).Select(i => (uint)i * 7)];
        one.Hints.Publish(TransitionKind.Arrived, users);
        one.Hints.Publish(TransitionKind.Left, [42]);
        other.Hints.Publish(TransitionKind.Changed, [7]);
        await Eventually.HoldsAsync(() => other.Count == users.Length + 2 && one.Count == users.Length + 2);
        one.Received(TransitionKind.Changed).ShouldBe([7u]);
        other.Received(TransitionKind.Arrived).ShouldBe(users);
        other.Received(TransitionKind.Left).ShouldBe([42u]);
    }

    [Fact]
    public async Task A_node_whose_users_neither_come_nor_go_is_known_to_the_others()
    {
        await using var one = await NodeAsync();
        await using var other = await NodeAsync();
        one.Hints.HasPeers.ShouldBeFalse();
        other.Hints.Tick();
        await Eventually.HoldsAsync(() => one.Hints.HasPeers);
        (one.Count, other.Hints.HasPeers).ShouldBe((0, false));
    }

    private async Task<Node> NodeAsync()
    {
        var cluster = await ConnectAsync(flush: false);
        var node = new Node(cluster, new RedisHints(cluster, TimeProvider.System, new RedisLog(NullLogger.Instance)));
        await node.Hints.StartAsync();
        await Eventually.HoldsAsync(() => node.Hints.IsSubscribed);
        return node;
    }

    private sealed class Node : IAsyncDisposable
    {
        private readonly RedisCluster _cluster;
        private readonly List<(TransitionKind Kind, uint User)> _received = [];

        public Node(RedisCluster cluster, RedisHints hints)
        {
            _cluster = cluster;
            Hints = hints;
            hints.Subscribe((kind, users) =>
            {
                lock (_received)
                {
                    foreach (var user in users)
                        _received.Add((kind, user));
                }
            });
        }

        public RedisHints Hints { get; }

        public int Count
        {
            get
            {
                lock (_received)
                    return _received.Count;
            }
        }

        public uint[] Received(TransitionKind kind)
        {
            lock (_received)
                return [.. _received.Where(h => h.Kind == kind).Select(h => h.User)];
        }

        public async ValueTask DisposeAsync()
        {
            await Hints.DisposeAsync();
            await _cluster.DisposeAsync();
        }
    }
}
