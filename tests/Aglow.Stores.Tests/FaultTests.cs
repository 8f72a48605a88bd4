using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Aglow.Redis.Connections;
using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>Faults in and around a cluster of real processes. A user whose client keeps trying is never shown offline.</summary>
[Collection(FaultCollection.Name)]
public sealed class FaultTests(FaultyCluster servers)
{
    // The fault must outlast the lease, so the lease is short here. The stall guard holds for two heartbeats after a fault. On a busy
    // machine, clients need several seconds of it to come back.
    private const int Lease = 10;
    private const int Heartbeat = 2;
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly string[] Flags = ["--lease-seconds", $"{Lease}", "--heartbeat-seconds", $"{Heartbeat}", "--drain-seconds", "0"];

    // these slots hold a handful of pages, and redis-cli moves them in some seconds
    private const int MovedSlots = 400;

    // neighbouring numbers are on different pages
    private static readonly uint[] Everybody = [.. Enumerable.Range(256, 256).Select(i => (uint)i)];

    [Fact]
    public Task A_shard_of_three_is_away_for_long_and_the_others_live_on() => Fairly.JudgeAsync(ShardIsAwayAsync);

    private async Task ShardIsAwayAsync()
    {
        await servers.Cluster.FlushAsync();
        await using var one = await NodeAsync(servers.Cluster.Address);
        await using var other = await NodeAsync(servers.Cluster.Address);
        var map = await RedisClusterProcesses.PortsOfSlotsAsync(servers.Cluster.Servers[0]);
        // not the shard that has the list of pages
        var lostPage = Enumerable.Range(0, 256).First(page => map[RedisKeys.SlotOf(page)] != map[RedisKeys.PagesSlot]);
        uint[] lost = [.. Everybody.Where(user => map[RedisKeys.SlotOf((int)user % 256)] == map[RedisKeys.SlotOf(lostPage)])];
        uint[] kept = [.. Everybody.Except(lost)];
        // a user on a page that other users share, and not one of the watchers
        var newcomer = kept[^1] % 256;
        await using var crowd = new Crowd(Everybody, Second, one.Address);
        // on pages that are not lost: a node sends away the sockets of users whose words it cannot write
        await using var ofLost = await Watcher.StayAsync(other, kept[0] % 256, lost);
        await using var ofKept = await Watcher.StayAsync(other, kept[1] % 256, [.. kept, newcomer]);
        await Eventually.HoldsAsync(() => Everybody.All(user => Statuses(user)[^1] == "online"));

        var shard = await servers.Cluster.ShardOfAsync(lostPage);
        foreach (var server in shard)
            await server.KillAsync();
        try
        {
            await Eventually.HoldsAsync(() => ofLost.HasReceived("stale"));
            (await other.Http.GetAsync($"/status/{lost[0]}")).StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable);
            (await HeartbeatAsync(one, lost[0] % 256)).StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable);
            // Wait longer than the lease and the stall guard. Meanwhile users of the other shards come online and go offline.
            await using (new Crowd([newcomer], Second, one.Address))
                await Eventually.HoldsAsync(() => ofKept.Statuses(newcomer)[^1] == "online");
            await Eventually.HoldsAsync(() => ofKept.Statuses(newcomer)[^1] == "offline");
            crowd.ShouldBeOnline(await StatusAsync(other, kept[0]));
            // unless this machine is so busy that another shard did not answer for 2 s
            if (!other.Output.Split('\n').Any(line => line.Contains(" is away (", StringComparison.Ordinal)
                && !shard.Any(server => line.Contains($"{server.Endpoint} ", StringComparison.Ordinal))))
                ofKept.HasReceived("stale").ShouldBeFalse();
            ofLost.HasReceived("fresh").ShouldBeFalse();
            (await other.Http.GetAsync("/health/ready")).StatusCode.ShouldBe(HttpStatusCode.OK);
        }
        finally
        {
            foreach (var server in shard)
                await server.RestartAsync();
        }

        await Eventually.HoldsAsync(() => ofLost.HasReceived("fresh"));
        await Eventually.HoldsAsync(async () => (await HeartbeatAsync(one, lost[0] % 256)).StatusCode == HttpStatusCode.OK);
        // longer than the stall guard: any expired lease would have been reported by now
        await Task.Delay((Lease + 2) * Second);
        await servers.Cluster.HealedAsync();
        crowd.NobodyWentOffline(Everybody, Statuses);

        string[] Statuses(uint user) => (lost.Contains(user) ? ofLost : ofKept).Statuses(user);
    }

    [Fact]
    public Task Slots_are_moved_by_redis_cli_under_load() => Fairly.JudgeAsync(SlotsAreMovedAsync);

    private async Task SlotsAreMovedAsync()
    {
        await servers.Cluster.FlushAsync();
        await using var one = await NodeAsync(servers.Cluster.Address);
        await using var other = await NodeAsync(servers.Cluster.Address);
        await using var crowd = new Crowd(Everybody, Second, one.Address, other.Address);
        await using var watcher = await Watcher.StayAsync(other, 1, Everybody);
        await Eventually.HoldsAsync(() => Everybody.All(user => watcher.Statuses(user)[^1] == "online"));

        // moves the slots to another server and back
        var from = await servers.Cluster.PrimaryOfAsync(3);
        var to = from;
        for (var page = 0; to == from; page++)
            to = await servers.Cluster.PrimaryOfAsync(page);
        await ReshardAsync(from, to);
        await ReshardAsync(to, from);
        await Task.Delay((Lease + 2) * Second);
        crowd.NobodyWentOffline(Everybody, watcher);
        // unless this machine is so busy that a shard did not answer for 2 s
        if (!other.Output.Contains(" is away (", StringComparison.Ordinal))
            watcher.HasReceived("stale").ShouldBeFalse();
        foreach (var user in Everybody)
            crowd.ShouldBeOnline(await StatusAsync(one, user));
        (await one.Http.GetStringAsync("/metrics")).ShouldNotContain("aglow_redis_redirections_total 0\n");
    }

    [Fact]
    public Task Two_nodes_whose_clocks_differ_by_an_hour_agree() => Fairly.JudgeAsync(ClocksDifferAsync);

    private async Task ClocksDifferAsync()
    {
        await servers.Cluster.FlushAsync();
        using var clock = new FakeWallClock(TimeSpan.FromHours(1));
        await using var ahead = AglowProcess.Run(null, ["--redis", servers.Cluster.Address, .. Flags], clock.Environment);
        await ahead.ReadyAsync();
        await using var right = await NodeAsync(servers.Cluster.Address);
        await using var crowd = new Crowd(Everybody[..128], Second, ahead.Address);
        await using var others = new Crowd(Everybody[128..], Second, right.Address);
        await using var watcher = await Watcher.StayAsync(right, 1, Everybody);
        await using var aheads = await Watcher.StayAsync(ahead, 2, Everybody);
        await Eventually.HoldsAsync(
            () => Everybody.All(user => watcher.Statuses(user)[^1] == "online" && aheads.Statuses(user)[^1] == "online"));
        // the node logs that, and uses the servers' time
        await Eventually.HoldsAsync(() => ahead.Output.Contains("clock is 3600.", StringComparison.Ordinal)
            || ahead.Output.Contains("clock is 3599.", StringComparison.Ordinal));
        right.Output.ShouldNotContain("off the clock of Redis");
        foreach (var node in (AglowProcess[])[ahead, right])
        {
            var seen = (await node.Http.GetFromJsonAsync<JsonElement>($"/status/{Everybody[0]}")).GetProperty("last_seen").GetInt64();
            Math.Abs(seen - DateTimeOffset.UtcNow.ToUnixTimeSeconds()).ShouldBeLessThan(Lease + 10);
        }

        foreach (var each in (Watcher[])[watcher, aheads])
            crowd.NobodyWentOffline(Everybody, each);
        // a user who moves to the other node stays online, and a user who leaves there has left
        (await right.Http.PostAsJsonAsync("/heartbeat", new { user_id = 5 })).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await ahead.Http.PostAsJsonAsync("/offline", new { user_id = 5 })).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await StatusAsync(right, 5)).ShouldBe("offline");
    }

    [Fact]
    public Task Answers_are_lost_after_the_write_again_and_again() => Fairly.JudgeAsync(AnswersAreLostAsync);

    private static async Task AnswersAreLostAsync()
    {
        await using var redis = await RedisProcess.StartAsync();
        await using var proxy = new LosingProxy(redis.Port);
        await using var one = await NodeAsync($"{proxy.Endpoint}");
        await using var other = await NodeAsync($"{redis.Endpoint}");
        await using var crowd = new Crowd(Everybody, Second, one.Address);
        await using var watcher = await Watcher.StayAsync(other, 1, [.. Everybody, 7]);
        await Eventually.HoldsAsync(() => Everybody.All(user => watcher.Statuses(user)[^1] == "online"));
        var began = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(began) < (Lease + 2) * Second)
        {
            proxy.LoseNextAnswer();
            await Task.Delay(300);
        }

        // the arrival is reported even though its answer was lost
        proxy.LoseNextAnswer();
        await AcceptedAsync(one, 7);
        await Eventually.HoldsAsync(() => watcher.Statuses(7) is [_, "online", ..]);
        proxy.Lost.ShouldBeGreaterThan(5);
        crowd.NobodyWentOffline(Everybody, watcher);
        foreach (var user in Everybody)
            crowd.ShouldBeOnline(await StatusAsync(one, user));
    }

    private static Task<AglowProcess> NodeAsync(string redis) => AglowProcess.StartAsync(null, ["--redis", redis, .. Flags]);

    // Waits, as an operator would, until the servers know each other's slots.
    private static async Task ReshardAsync(RedisProcess from, RedisProcess to)
    {
        await Eventually.HoldsAsync(async () => (await RedisCliAsync("check", $"{from.Endpoint}")).ExitCode == 0);
        var (exitCode, said) = await RedisCliAsync(
            "reshard", $"{from.Endpoint}", "--cluster-from", (string)(await from.CallAsync("CLUSTER", "MYID"))!,
            "--cluster-to", (string)(await to.CallAsync("CLUSTER", "MYID"))!,
            "--cluster-slots", $"{MovedSlots}", "--cluster-yes", "--cluster-pipeline", "50");
        exitCode.ShouldBe(0, said);
    }

    private static async Task<(int ExitCode, string Said)> RedisCliAsync(params string[] words)
    {
        using var cli = Process.Start(new ProcessStartInfo("redis-cli", ["--cluster", .. words])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        })!;
        var said = Task.WhenAll(cli.StandardOutput.ReadToEndAsync(), cli.StandardError.ReadToEndAsync());
        await cli.WaitForExitAsync();
        return (cli.ExitCode, string.Join('\n', (await said).Select(static text => text.Length > 2000 ? text[^2000..] : text)));
    }
}
