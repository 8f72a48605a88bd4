using Aglow.Redis.Connections;
using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>The state of a consumer of the feed after a failover of Redis, with real processes.</summary>
[Collection(FaultCollection.Name)]
public sealed class FeedFaultTests(FaultyCluster servers)
{
    private static readonly string[] Flags = ["--lease-seconds", "10", "--heartbeat-seconds", "2", "--drain-seconds", "0"];

    [Fact]
    public Task Records_that_a_failover_loses_are_recorded_again_and_every_consumer_ends_in_the_truth() =>
        Fairly.JudgeAsync(LoseRecordsAsync);

    private async Task LoseRecordsAsync()
    {
        await servers.Cluster.FlushAsync();
        await servers.Cluster.SetNodeTimeoutAsync(RedisClusterProcesses.ShortTimeout);
        await using var one = await AglowProcess.StartAsync(null, ["--redis", servers.Cluster.Address, .. Flags]);
        await using var other = await AglowProcess.StartAsync(null, ["--redis", servers.Cluster.Address, .. Flags]);
        var map = await RedisClusterProcesses.PortsOfSlotsAsync(servers.Cluster.Servers[0]);
        // the feed's shard loses its newest seconds, and the words are on other shards
        var page = Enumerable.Range(0, 256).First(page => map[RedisKeys.SlotOf(page)] == map[RedisKeys.ChangesSlot]);
        uint[] people =
        [
            .. Enumerable.Range(256, 256).Select(static i => (uint)i)
                .Where(user => map[RedisKeys.SlotOf((int)user % 256)] != map[RedisKeys.ChangesSlot]).Take(40),
        ];
        uint[] steady = people[..20];
        uint[] silent = people[20..];
        var shard = await servers.Cluster.ShardOfAsync(page);
        await using var consumer = await FeedConsumer.FollowAsync(one, other);
        await using var crowd = new Crowd(steady, TimeSpan.FromSeconds(1), one.Address, other.Address);
        await Eventually.HoldsAsync(() => steady.All(user => consumer.IsOnline(user)));
        var before = consumer.Changes[^1]["id"]!.GetValue<string>();
        shard[1].Signal(19);
        // bytes in the socket of a suspended process would still reach it, so cut the connection
        await shard[0].CallAsync("CLIENT", "KILL", "TYPE", "replica");
        foreach (var user in silent)
            await AcceptedAsync(one, user);
        // a fast consumer has read records that will be lost
        await Eventually.HoldsAsync(() => silent.All(user => consumer.Of(user).Contains("true heartbeat")));
        await shard[0].KillAsync();
        shard[1].Signal(18);
        try
        {
            await using var late = FeedConsumer.From(() => [one, other], before);
            await Eventually.HoldsAsync(async () =>
            {
                var isRight = true;
                foreach (var user in people)
                {
                    // silent users go offline in the end
                    isRight &= await IsOnlineAsync(user) is { } truth && truth == steady.Contains(user) && consumer.IsOnline(user) == truth
                        && late.IsOnline(user, before: steady.Contains(user)) == truth;
                }

                return isRight;
            });
            foreach (var user in steady)
                crowd.ShouldBeOnline(consumer.IsOnline(user) ? "online" : "offline");
            late.Changes.Select(static change => change["id"]!.GetValue<string>()).ShouldBeUnique();
            // both consumers continue
            await AcceptedAsync(one, silent[0]);
            await Eventually.HoldsAsync(() => consumer.Of(silent[0]).Length > 2 && late.Of(silent[0]).Length >= 1);
        }
        finally
        {
            await shard[0].RestartAsync();
            await servers.Cluster.SetNodeTimeoutAsync(RedisClusterProcesses.LongTimeout);
        }

        await servers.Cluster.HealedAsync();

        async Task<bool?> IsOnlineAsync(uint user)
        {
            using var answer = await other.Http.GetAsync($"/status/{user}");
            return answer.IsSuccessStatusCode ? (await answer.Content.ReadAsStringAsync()).Contains("\"is_online\":true") : null;
        }
    }
}
