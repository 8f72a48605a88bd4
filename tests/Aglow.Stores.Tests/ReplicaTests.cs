using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Json;
using Aglow.Redis.Replicas;
using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>Leaves wait for a replica, so a failover undoes no acknowledged leave.</summary>
[Collection(GateCollection.Name)]
public sealed class ReplicaTests(GatedCluster servers)
{
    private const int Page = 3;

    [Fact]
    public Task No_leave_that_was_acknowledged_is_undone_by_a_failover() => Fairly.JudgeAsync(FailOverAsync);

    private async Task FailOverAsync()
    {
        await servers.Cluster.FlushAsync();
        await servers.Cluster.HealedAsync();
        await using var node = await NodeAsync(servers.Cluster.Address);
        // all on one shard
        uint[] people = [.. Enumerable.Range(0, 400).Select(static i => (uint)((i << 8) + Page))];
        (await node.Http.PostAsJsonAsync("/heartbeat", new { user_ids = people })).EnsureSuccessStatusCode();
        var shard = await servers.Cluster.ShardOfAsync(Page);
        var (primary, replica) = (shard[0], shard[1]);
        var acknowledged = new ConcurrentBag<uint>();
        var refused = 0;
        // on a busy machine, the replica may be too slow for some of them
        await Eventually.HoldsAsync(async () => await LeaveAsync([.. people[..200].Except(acknowledged)]) >= 200);
        acknowledged.Distinct().Count().ShouldBe(200);
        refused = 0;

        // packets to the replica are dropped, and the primary dies before it notices that
        primary.Gate!.Cut(static _ => false, replication: true);
        var leaving = LeaveAsync(people[200..]);
        await Task.Delay(1200);
        await primary.KillAsync();
        try
        {
            await leaving;
            refused.ShouldBeGreaterThan(0);
            // the primary was to die before the replica counts as lost; from then on it acknowledges alone
            if (await MetricAsync(node, "aglow_redis_facts_alone_total") > 0)
                throw new ClientLateException("This test killed the primary too late.");
            await Eventually.HoldsAsync(async () => (await InfoAsync(replica)).Contains("role:master"));
            foreach (var user in acknowledged)
                (await WordAsync(replica, user) >> 31).ShouldBe(1u);
            // a caller that sends the leave again succeeds, and that leave is kept
            await Eventually.HoldsAsync(async () => await LeaveAsync([people[^1]]) > 0 && acknowledged.Contains(people[^1]));
            (await WordAsync(replica, people[^1]) >> 31).ShouldBe(1u);
        }
        finally
        {
            primary.Gate.Cut(static _ => false, replication: false);
            await primary.RestartAsync();
            await servers.Cluster.HealedAsync();
        }

        async Task<int> LeaveAsync(uint[] users)
        {
            await Parallel.ForEachAsync(users, new ParallelOptions { MaxDegreeOfParallelism = 16 }, async (user, _) =>
            {
                using var answer = await node.Http.PostAsJsonAsync("/offline", new { user_id = user }, CancellationToken.None);
                if (answer.IsSuccessStatusCode)
                    acknowledged.Add(user);
                else
                    Interlocked.Increment(ref refused);
            });
            return acknowledged.Count;
        }
    }

    [Fact]
    public async Task A_replica_that_is_gone_holds_leaves_up_until_it_counts_as_lost()
    {
        await using var primary = await RedisProcess.StartAsync();
        await using var replica = await RedisProcess.StartAsync(
            "--replicaof", "127.0.0.1", $"{primary.Port}", "--repl-diskless-sync-delay", "0");
        await Eventually.HoldsAsync(async () => await InfoAsync(replica) is var said && said.Contains("master_link_status:up"));
        await Eventually.HoldsAsync(async () => ShardReplicas.CountInStep(await InfoAsync(primary)) == 1);
        await using var node = await NodeAsync($"{primary.Endpoint}");
        await AcceptedAsync(node, 1);
        await Eventually.HoldsAsync(async () => (await LeaveAsync(1)).StatusCode == HttpStatusCode.OK);
        (await MetricAsync(node, "aglow_redis_facts_confirmed_total")).ShouldBe(1);

        replica.Signal(19);
        try
        {
            await AcceptedAsync(node, 2);
            (await LeaveAsync(2)).StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable);
            (await StatusAsync(node, 2)).ShouldBe("offline");
            await Eventually.HoldsAsync(async () => (await LeaveAsync(2)).StatusCode == HttpStatusCode.OK);
            await Eventually.HoldsAsync(() => node.Output.Contains("has no replica in step"));
            (await MetricAsync(node, "aglow_redis_facts_alone_total")).ShouldBeGreaterThan(0);
        }
        finally
        {
            replica.Signal(18);
        }

        var before = await MetricAsync(node, "aglow_redis_facts_confirmed_total");
        await Eventually.HoldsAsync(async () =>
            (await LeaveAsync(2)).StatusCode == HttpStatusCode.OK && await MetricAsync(node, "aglow_redis_facts_confirmed_total") > before);

        Task<HttpResponseMessage> LeaveAsync(uint user) => node.Http.PostAsJsonAsync("/offline", new { user_id = user });
    }

    [Fact]
    public async Task Where_there_is_no_replica_and_where_nothing_waits_leaves_are_acknowledged_at_once()
    {
        await using var redis = await RedisProcess.StartAsync();
        await using var alone = await NodeAsync($"{redis.Endpoint}");
        await using var off = await NodeAsync($"{redis.Endpoint}", "--wait-for-replica", "off");
        foreach (var node in (AglowProcess[])[alone, off])
        {
            (await HeartbeatAsync(node, 5)).StatusCode.ShouldBe(HttpStatusCode.OK);
            (await node.Http.PostAsJsonAsync("/offline", new { user_id = 5 })).StatusCode.ShouldBe(HttpStatusCode.OK);
        }

        (await MetricAsync(alone, "aglow_redis_facts_alone_total")).ShouldBe(1);
        (await off.Http.GetStringAsync("/metrics")).ShouldNotContain("aglow_redis_facts");
    }

    [Fact]
    public async Task Arrivals_wait_where_they_are_told_to()
    {
        await servers.Cluster.HealedAsync();
        await using var node = await NodeAsync(servers.Cluster.Address, "--wait-for-replica", "all");
        (await node.Http.PostAsJsonAsync("/heartbeat", new { user_ids = Enumerable.Range(70_000, 30) })).EnsureSuccessStatusCode();
        (await HeartbeatAsync(node, 70_100)).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await MetricAsync(node, "aglow_redis_facts_confirmed_total")).ShouldBe(31);
        // renewals do not wait
        (await HeartbeatAsync(node, 70_100)).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await MetricAsync(node, "aglow_redis_facts_confirmed_total")).ShouldBe(31);
    }

    [Theory]
    [InlineData("role:master\r\nconnected_slaves:0\r\n", 0)]
    [InlineData("slave0:ip=10.0.0.1,port=1,state=online,offset=9,lag=1\r\nslave1:ip=10.0.0.2,port=1,state=online,offset=9,lag=4", 1)]
    [InlineData("slave0:ip=10.0.0.1,port=1,state=wait_bgsave,offset=0,lag=0\nslave1:ip=::1,port=1,state=online,offset=1,lag=0", 1)]
    [InlineData("slave0:ip=10.0.0.1,port=1,state=online\nslave_read_only:1\n", 0)]
    public void A_replica_is_in_step_if_it_is_online_and_was_heard(string info, int inStep) =>
        ShardReplicas.CountInStep(info).ShouldBe(inStep);

    private static async Task<uint> WordAsync(RedisProcess server, uint user) =>
        (uint)(long)((object?[])(await server.CallAsync("BITFIELD_RO", $"{{p:{Page}}}:pulse", "GET", "u32", $"#{user >> 8}"))!)[0]!;

    private static async Task<string> InfoAsync(RedisProcess server) => (string)(await server.CallAsync("INFO", "replication"))!;

    private static Task<AglowProcess> NodeAsync(string redis, params string[] flags) =>
        AglowProcess.StartAsync(null, ["--redis", redis, "--drain-seconds", "0", .. flags]);
}
