using System.Net;
using System.Net.Http.Json;
using Aglow.Model;
using Aglow.Redis;
using Aglow.Redis.Connections;
using Aglow.Server.Tests;
using Aglow.Storage;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>The suite of every store, and nodes, on Garnet.</summary>
public sealed class GarnetTests(GarnetServer server) : RedisPlaneStoreTests, IClassFixture<GarnetServer>
{
    private static readonly string[] Lease = ["--lease-seconds", "10", "--heartbeat-seconds", "2", "--drain-seconds", "0"];

    [Fact]
    public async Task Two_nodes_over_garnet_tell_each_other_of_users_who_come_leave_and_vanish()
    {
        await server.Process.CallAsync("FLUSHALL");
        await using var one = await NodeAsync();
        await using var other = await NodeAsync();
        await using var watcher = await Watcher.ConnectAsync(other, 1, 42, 43);
        (await HeartbeatAsync(one, 42)).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await StatusAsync(other, 42)).ShouldBe("online");
        await Eventually.HoldsAsync(() => watcher.Statuses(42) is [_, "online"]);
        (await one.Http.PostAsJsonAsync("/offline", new { user_id = 42 })).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await StatusAsync(other, 42)).ShouldBe("offline");
        await Eventually.HoldsAsync(() => watcher.Statuses(42) is [_, "online", "offline"]);
        await HeartbeatAsync(one, 43);
        await Eventually.HoldsAsync(() => watcher.Statuses(43) is [_, "online", "offline"]);
        // hints reported the changes, and none was dropped
        (await MetricAsync(other, "aglow_hints_heard_total")).ShouldBeGreaterThan(0);
        foreach (var node in (AglowProcess[])[one, other])
        {
            (await MetricAsync(node, "aglow_hints_dropped_total")).ShouldBe(0);
            node.Output.ShouldNotContain("are not received");
            node.Output.ShouldNotContain("error:");
        }
    }

    private protected override async Task<RedisCluster> ConnectAsync(bool flush)
    {
        if (flush)
            await server.Process.CallAsync("FLUSHALL");
        return await ConnectAsync($"{server.Process.Endpoint}");
    }

    private Task<AglowProcess> NodeAsync() => AglowProcess.StartAsync(null, ["--redis", $"{server.Process.Endpoint}", .. Lease]);
}

/// <summary>The Garnet server of a test class.</summary>
public sealed class GarnetServer : IAsyncLifetime
{
    private RedisProcess? _process;

    internal RedisProcess Process => _process!;

    public async Task InitializeAsync()
    {
        _process = await RedisProcess.StartGarnetAsync();
        // Garnet compiles each of its commands at its first use. On a busy machine that may take longer than the 2 s that a call has.
        await Eventually.HoldsAsync(WritesAsync);
    }

    public async Task DisposeAsync()
    {
        if (_process is not null)
            await _process.DisposeAsync();
    }

    private async Task<bool> WritesAsync()
    {
        try
        {
            await using var cluster = await RedisPlaneStoreTests.ConnectAsync($"{Process.Endpoint}");
            uint[] users = [.. Enumerable.Range(0, 1000).Select(i => (uint)i)];
            var words = new uint[users.Length];
            var store = new RedisPlaneStore(cluster);
            await store.ExchangeAsync(Plane.Pulse, users, words, new uint[users.Length]);
            await store.ReadAsync(Plane.Pulse, users, words);
            return true;
        }
        catch (StoreUnavailableException)
        {
            return false;
        }
    }
}
