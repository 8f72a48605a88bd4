using System.Net.Http.Json;
using System.Text.Json;
using Aglow.Benchmarks.Devices;
using Aglow.Server.Tests;

namespace Aglow.Stores.Tests;

/// <summary>People with two devices, as in <c>./aglow bench devices</c>, with fewer runs.</summary>
[Collection(RedisCollection.Name)]
public sealed class DeviceTests(RedisServers servers)
{
    private static readonly string[] Flags = ["--heartbeat-seconds", "2", "--lease-seconds", "20"];

    [Fact]
    public async Task On_one_node_a_device_that_leaves_takes_nobody_offline_whose_other_device_is_alive()
    {
        await using var node = await AglowProcess.StartAsync(null, Flags);
        await JudgeAsync([node.Address], times: 4);
    }

    [Fact]
    public async Task On_two_nodes_a_device_that_leaves_takes_nobody_offline_whose_other_device_is_alive()
    {
        await servers.Cluster.FlushAsync();
        string[] flags = ["--redis", servers.Cluster.Address, "--drain-seconds", "0", .. Flags];
        await using var one = await AglowProcess.StartAsync(null, flags);
        await using var other = await AglowProcess.StartAsync(null, flags);
        await JudgeAsync([one.Address, other.Address], times: 4);
    }

    [Fact]
    public async Task Kinds_of_devices_are_seen_on_every_node_at_once_and_end_with_a_leave_of_all()
    {
        await servers.Cluster.FlushAsync();
        string[] flags = ["--redis", servers.Cluster.Address, "--drain-seconds", "0", .. Flags];
        await using var one = await AglowProcess.StartAsync(null, flags);
        await using var other = await AglowProcess.StartAsync(null, flags);
        await one.Http.PostAsJsonAsync("/heartbeat", new { user_id = 7, device = new { id = "d", kind = "desktop" } });
        await other.Http.PostAsJsonAsync("/heartbeat", new { user_id = 7, device = new { id = "m", kind = "mobile" } });
        foreach (var node in new[] { one, other })
            await Eventually.HoldsAsync(async () => await DevicesAsync(node) is ["desktop", "mobile"]);
        (await other.Http.GetFromJsonAsync<JsonElement>("/status/7?definition=desktop")).GetProperty("is_online").GetBoolean()
            .ShouldBeTrue();

        await one.Http.PostAsJsonAsync("/offline", new { user_id = 7 });
        await one.Http.PostAsJsonAsync("/heartbeat", new { user_id = 7, device = new { id = "w", kind = "web" } });
        foreach (var node in new[] { one, other })
            await Eventually.HoldsAsync(async () => await DevicesAsync(node) is ["web"]);
    }

    private static async Task<string[]> DevicesAsync(AglowProcess node) =>
        (await node.Http.GetFromJsonAsync<JsonElement>("/status/7"))
            .TryGetProperty("devices", out var devices) ? devices.Deserialize<string[]>()! : [];

    private static async Task JudgeAsync(Uri[] nodes, int times)
    {
        var pairs = DevicePair.All(nodes.Length);
        var devices = new DevicePairs(nodes, TimeSpan.FromSeconds(2));
        var findings = new PairFindings();
        // people whose devices were late on this machine are not judged, so there are more rounds
        for (var round = 0u; findings.Judged < pairs.Count * times; round++)
            await devices.RunAsync([.. Enumerable.Range(0, times).SelectMany(_ => pairs)], 1000 + (round * 1000), findings);
        findings.Wrong.ShouldBeEmpty();
        findings.Flickers.ShouldBe(0);
        findings.OfflineAfter.ShouldNotBeEmpty();
    }
}
