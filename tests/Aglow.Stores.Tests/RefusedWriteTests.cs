using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Aglow.Redis.Connections;
using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>
/// A Redis that answers reads and refuses writes, and a node that is cut off. A user whose client keeps trying is not shown offline.
/// </summary>
[Collection(FaultCollection.Name)]
public sealed class RefusedWriteTests(FaultyCluster servers)
{
    // The stall guard holds for two heartbeats after the fault: on a busy machine, the crowd needs several seconds to be heard again.
    private const int Lease = 10;
    private const int Heartbeat = 3;
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly string[] Flags = ["--lease-seconds", $"{Lease}", "--heartbeat-seconds", $"{Heartbeat}", "--drain-seconds", "0"];
    private static readonly uint[] Everybody = [.. Enumerable.Range(256, 128).Select(static i => (uint)i)];

    [Theory]
    [InlineData("OOM", "CONFIG SET maxmemory 1mb", "CONFIG SET maxmemory 0")]
    [InlineData("NOREPLICAS", "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0")]
    public Task A_redis_that_refuses_writes_is_away_for_writes(string error, string refuse, string accept) =>
        Fairly.JudgeAsync(() => RefuseAsync(error, refuse, accept));

    private static async Task RefuseAsync(string error, string refuse, string accept)
    {
        await using var redis = await RedisProcess.StartAsync();
        await using var one = await NodeAsync($"{redis.Endpoint}");
        await using var other = await NodeAsync($"{redis.Endpoint}");
        await using var crowd = new Crowd(Everybody, Second, one.Address);
        await using var watcher = await Watcher.StayAsync(other, 1, Everybody);
        await Eventually.HoldsAsync(() => Everybody.All(user => watcher.Statuses(user)[^1] == "online"));

        await redis.CallAsync(refuse.Split(' '));
        // reads continue all the time
        await Eventually.HoldsAsync(async () =>
        {
            crowd.ShouldBeOnline(await StatusAsync(other, Everybody[0]));
            return (await one.Http.GetAsync("/health/ready")).StatusCode == HttpStatusCode.ServiceUnavailable;
        });
        await Eventually.HoldsAsync(async () =>
            (await other.Http.GetAsync("/health/ready")).StatusCode == HttpStatusCode.ServiceUnavailable);
        (await HeartbeatAsync(one, 7)).StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable);
        // nothing is acknowledged once a lease could not be held much longer
        await Eventually.HoldsAsync(async () => (await HeartbeatAsync(one, Everybody[0])).StatusCode == HttpStatusCode.ServiceUnavailable);
        foreach (var node in (AglowProcess[])[one, other])
        {
            await Eventually.HoldsAsync(() => node.Output.Contains($"refuses writes ({error}", StringComparison.Ordinal));
            (await MetricAsync(node, "aglow_redis_servers_refusing")).ShouldBe(1);
            (await MetricAsync(node, "aglow_store_reachable")).ShouldBe(0);
        }

        // past the lease: no node shows a user offline, although each reads words that grow old
        var until = TimeProvider.System.GetTimestamp();
        while (TimeProvider.System.GetElapsedTime(until) < (Lease + 3) * Second)
        {
            crowd.ShouldBeOnline(await StatusAsync(other, Everybody[1]));
            await Task.Delay(100);
        }

        await redis.CallAsync(accept.Split(' '));
        await Eventually.HoldsAsync(async () => (await HeartbeatAsync(one, 7)).StatusCode == HttpStatusCode.OK);
        await Eventually.HoldsAsync(async () => (await other.Http.GetAsync("/health/ready")).StatusCode == HttpStatusCode.OK);
        await Task.Delay((Lease + 2) * Second);
        crowd.NobodyWentOffline(Everybody, watcher);
        // unless this machine is so busy that Redis did not even answer reads for 2 s
        if (!other.Output.Contains(" is away (", StringComparison.Ordinal))
            watcher.HasReceived("reconnect").ShouldBeFalse();
        watcher.IsOpen.ShouldBeTrue();
        // the stall guard holds no lease forever
        await crowd.DisposeAsync();
        await Eventually.HoldsAsync(() => Everybody.All(user => watcher.Statuses(user)[^1] == "offline"));
    }

    [Fact]
    public Task A_node_that_is_cut_off_hands_its_people_over_and_takes_them_back() => Fairly.JudgeAsync(CutOffAsync);

    private static async Task CutOffAsync()
    {
        await using var redis = await RedisProcess.StartAsync();
        await using var proxy = new LosingProxy(redis.Port);
        await using var cut = await NodeAsync($"{proxy.Endpoint}");
        await using var other = await NodeAsync($"{redis.Endpoint}");
        await using var crowd = new Crowd(Everybody, Second, cut.Address, other.Address);
        await using var watcher = await Watcher.StayAsync(other, 1, Everybody);
        await using var socket = await Watcher.ConnectAsync(cut, 2);
        // the cut node has received hints of the other node
        await HeartbeatAsync(other, 3);
        await Eventually.HoldsAsync(() => Everybody.All(user => watcher.Statuses(user)[^1] == "online"));
        await Eventually.HoldsAsync(async () => await MetricAsync(cut, "aglow_hints_heard_total") > 0);

        proxy.Hold(true);
        await Eventually.HoldsAsync(() => socket.HasReceived("reconnect"));
        await Eventually.HoldsAsync(() => !socket.IsOpen);
        var refused = await HeartbeatAsync(cut, Everybody[0]);
        refused.StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable);
        refused.Headers.RetryAfter!.Delta.ShouldBe(TimeSpan.Zero);
        (await refused.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("detail").GetString()!.ShouldContain("another node");
        (await cut.Http.GetAsync("/health/ready")).StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable);
        await Task.Delay(2 * Lease * Second);
        crowd.NobodyWentOffline(Everybody, watcher);

        proxy.Hold(false);
        await Eventually.HoldsAsync(async () => (await HeartbeatAsync(cut, Everybody[0])).StatusCode == HttpStatusCode.OK);
        await Eventually.HoldsAsync(async () => (await cut.Http.GetAsync("/health/ready")).StatusCode == HttpStatusCode.OK);
        await Task.Delay((Lease + 2) * Second);
        crowd.NobodyWentOffline(Everybody, watcher);
    }

    [Fact]
    public Task One_shard_of_three_refuses_writes_and_only_its_users_are_refused() => Fairly.JudgeAsync(OneShardRefusesAsync);

    private async Task OneShardRefusesAsync()
    {
        await servers.Cluster.FlushAsync();
        await using var node = await NodeAsync(servers.Cluster.Address);
        var map = await RedisClusterProcesses.PortsOfSlotsAsync(servers.Cluster.Servers[0]);
        var page = Enumerable.Range(0, 128).First(page => map[RedisKeys.SlotOf(page)] != map[RedisKeys.PagesSlot]);
        uint[] refusing = [.. Everybody.Where(user => map[RedisKeys.SlotOf((int)user % 256)] == map[RedisKeys.SlotOf(page)])];
        uint[] taking = [.. Everybody.Except(refusing)];
        await using var crowd = new Crowd(Everybody, Second, node.Address);
        await Eventually.HoldsAsync(async () => await StatusAsync(node, Everybody[^1]) == "online");
        var server = await servers.Cluster.PrimaryOfAsync(page);
        await server.CallAsync("CONFIG", "SET", "maxmemory", "1mb");
        try
        {
            await Eventually.HoldsAsync(async () =>
                (await HeartbeatAsync(node, refusing[0])).StatusCode == HttpStatusCode.ServiceUnavailable);
            await AcceptedAsync(node, taking[0]);
            (await node.Http.GetAsync("/health/ready")).StatusCode.ShouldBe(HttpStatusCode.OK);
            await Task.Delay((Lease + 2) * Second);
            crowd.ShouldBeOnline(await StatusAsync(node, refusing[0]));
        }
        finally
        {
            await server.CallAsync("CONFIG", "SET", "maxmemory", "0");
        }

        await Eventually.HoldsAsync(async () => (await HeartbeatAsync(node, refusing[0])).StatusCode == HttpStatusCode.OK);
    }

    private static Task<AglowProcess> NodeAsync(string redis) => AglowProcess.StartAsync(null, ["--redis", redis, .. Flags]);
}
