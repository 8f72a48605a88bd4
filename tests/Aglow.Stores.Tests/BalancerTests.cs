using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>Nodes that start and stop behind a balancer that uses <c>deploy/haproxy.cfg</c>.</summary>
/// <remarks><c>AGLOW_TEST_LONG=1</c> uses the default lease of 30 s, which takes minutes.</remarks>
[Collection(FaultCollection.Name)]
public sealed class BalancerTests(FaultyCluster servers)
{
    private static readonly bool IsLong = Environment.GetEnvironmentVariable("AGLOW_TEST_LONG") == "1";
    private static readonly int Tick = IsLong ? 10 : 2;
    // longer than haproxy takes to cut off a silent node, plus the time in which two thousand clients come back on a busy machine
    private const int Lease = 30;
    private static readonly int Pause = IsLong ? 40 : 32;

    [Fact]
    public Task A_node_starts_and_another_stops_under_load_and_nobody_is_shown_offline() => Fairly.JudgeAsync(StartAndStopAsync);

    private async Task StartAndStopAsync()
    {
        await servers.Cluster.FlushAsync();
        int[] ports = [Ports.Free(), Ports.Free(), Ports.Free()];
        await using var first = await NodeAsync(ports[0], "--drain-seconds", "10");
        await using var second = await NodeAsync(ports[1]);
        await using var balancer = await Balancer.StartAsync(ports);
        foreach (var node in (AglowProcess[])[first, second])
            await GivenConnectionsAsync(balancer, node);
        uint[] heartbeating = [.. Enumerable.Range(1000, 200).Select(i => (uint)i)];
        await using var people = new People(TimeSpan.FromSeconds(Tick), balancer.Address, watched: 7);
        await JoinUntilAsync(people, 10_000, async () => await ConnectionsAsync(first) > 100 && await ConnectionsAsync(second) > 100);
        uint[] connected = [.. people.Users];
        await using var crowd = new Crowd(heartbeating, TimeSpan.FromSeconds(1), balancer.Address);
        await using var watcher = await Watcher.ConnectAsync(second, 1, [.. connected, .. heartbeating]);
        await Eventually.HoldsAsync(
            () => connected.Concat(heartbeating).All(user => watcher.Statuses(user)[^1] == "online") && people.AllKnow("offline"));

        // one more node gets the new connections
        await using var third = await NodeAsync(ports[2]);
        await GivenConnectionsAsync(balancer, third);
        await using var newcomers = new People(TimeSpan.FromSeconds(Tick), balancer.Address);
        await JoinUntilAsync(newcomers, 20_000, async () => await ConnectionsAsync(third) >= 50);

        // a node stops: it reports at once that it is not ready, but still serves
        var stopping = first.StopAsync();
        await Eventually.HoldsAsync(
            async () => (await first.Http.GetAsync("/health/ready")).StatusCode == HttpStatusCode.ServiceUnavailable);
        (await first.Http.PostAsJsonAsync("/heartbeat", new { user_id = 7 })).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await stopping).ShouldBe(0);
        // each client was sent away in turn; nobody missed the change, and nobody went offline
        people.SentElsewhereOver.ShouldBeGreaterThan(TimeSpan.FromSeconds(1));
        await Eventually.HoldsAsync(() => people.AreConnected && people.AllKnow("online"));
        crowd.NobodyWentOffline(connected.Concat(heartbeating), watcher);
    }

    [Fact]
    public Task A_node_that_stands_still_and_one_that_is_killed_with_two_thousand_sockets_lose_nobody() =>
        Fairly.JudgeAsync(StandStillAsync);

    private async Task StandStillAsync()
    {
        await servers.Cluster.FlushAsync();
        int[] ports = [Ports.Free(), Ports.Free()];
        await using var first = await NodeAsync(ports[0]);
        await using var second = await NodeAsync(ports[1]);
        await using var elsewhere = await NodeAsync(Ports.Free());
        await using var balancer = await Balancer.StartAsync(ports);
        uint[] connected = [.. Enumerable.Range(10_000, 2000).Select(i => (uint)i)];
        uint[] heartbeating = [.. Enumerable.Range(1000, 200).Select(i => (uint)i)];
        uint[] all = [.. connected, .. heartbeating];
        await using var people = new People(TimeSpan.FromSeconds(Tick), balancer.Address);
        people.Join(connected);
        await using var crowd = new Crowd(heartbeating, TimeSpan.FromSeconds(Tick), balancer.Address);
        await Eventually.HoldsAsync(() => people.AreConnected);
        await using var watcher = await Watcher.ConnectAsync(elsewhere, 1, all);
        await Eventually.HoldsAsync(() => all.All(user => watcher.Statuses(user)[^1] == "online"));

        var began = Stopwatch.GetTimestamp();
        first.Signal(19);
        await Eventually.HoldsAsync(async () => await ConnectionsAsync(second) >= connected.Length);
        await Task.Delay(TimeSpan.FromSeconds(Math.Max(0, Pause - Stopwatch.GetElapsedTime(began).TotalSeconds)));
        first.Signal(18);
        await Eventually.HoldsAsync(async () => (await first.Http.GetAsync("/health/ready")).StatusCode == HttpStatusCode.OK);
        // The node has released all clients that were cut off. On a busy machine, a client that was silent for too long may have come back
        // to it.
        await Eventually.HoldsAsync(
            async () => people.AreConnected && await ConnectionsAsync(first) + await ConnectionsAsync(second) == connected.Length);
        // while a node stood still
        crowd.NobodyWentOffline(all, watcher.Statuses, History);

        await second.KillAsync();
        await Eventually.HoldsAsync(async () => await ConnectionsAsync(first) >= connected.Length);
        // longer than any watcher needs to read all users
        await Task.Delay(TimeSpan.FromSeconds(3));
        // when a node was killed
        crowd.NobodyWentOffline(all, watcher.Statuses, History);
        (await elsewhere.Http.GetFromJsonAsync<JsonElement>("/status/10007")).GetProperty("status").GetString().ShouldBe("online");

        // what happened to a user's connections
        string History(uint user) => $"{watcher.Times(user)}; {(connected.Contains(user) ? people.History(user) : "by HTTP")}";
    }

    private async Task<AglowProcess> NodeAsync(int port, params string[] flags)
    {
        var node = AglowProcess.Run(
            null, ["--redis", servers.Cluster.Address, "--lease-seconds", $"{Lease}", "--heartbeat-seconds", $"{Tick}", .. flags],
            urls: $"http://127.0.0.1:{port}");
        await node.ReadyAsync();
        return node;
    }

    // Waits until the balancer has found a node that has no connections yet.
    private static Task GivenConnectionsAsync(Balancer balancer, AglowProcess node) => Eventually.HoldsAsync(async () =>
    {
        await using var newcomer = await Watcher.ConnectAsync(balancer.Address, 5);
        return await ConnectionsAsync(node) > 0;
    });

    // People connect, fifty at a time, until the condition holds. A node that answered the balancer's first check too late may have been
    // cut off, and its people are then on another node.
    private static Task JoinUntilAsync(People people, int firstUser, Func<Task<bool>> holds) => Eventually.HoldsAsync(async () =>
    {
        people.Join(Enumerable.Range(firstUser + people.Users.Count(), 50).Select(static user => (uint)user));
        await Eventually.HoldsAsync(() => people.AreConnected);
        return await holds();
    });

    private static Task<long> ConnectionsAsync(AglowProcess node) => MetricAsync(node, "aglow_connections");
}
