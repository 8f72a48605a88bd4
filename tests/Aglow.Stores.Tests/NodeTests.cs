using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>Production nodes over real servers, during every kind of fault.</summary>
[Collection(NodeCollection.Name)]
public sealed class NodeTests(RedisServers servers)
{
    // The outage must outlast the lease, so the lease is short here. The stall guard holds for two heartbeats after it: on a busy machine,
    // clients need several seconds to come back.
    private const int Lease = 10;
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly string[] ShortLease = ["--lease-seconds", $"{Lease}", "--heartbeat-seconds", "2", "--drain-seconds", "0"];

    [Fact]
    public async Task What_happens_on_one_node_is_told_on_the_other()
    {
        await servers.Cluster.FlushAsync();
        await using var one = await NodeAsync(servers.Cluster.Address);
        await using var other = await NodeAsync(servers.Cluster.Address);
        await using var watcher = await Watcher.ConnectAsync(other, 1, 42, 43);
        watcher.Statuses(42).ShouldBe(["offline"]);

        (await HeartbeatAsync(one, 42)).StatusCode.ShouldBe(HttpStatusCode.OK);
        // acknowledged: every node answers "online" from now on
        (await StatusAsync(other, 42)).ShouldBe("online");
        await Eventually.HoldsAsync(() => watcher.Statuses(42) is [_, "online"]);
        (await one.Http.PostAsJsonAsync("/offline", new { user_id = 42 })).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await StatusAsync(other, 42)).ShouldBe("offline");
        await Eventually.HoldsAsync(() => watcher.Statuses(42) is [_, "online", "offline"]);

        // A connection on one node is presence on the other. After its loss only the lease remains; a sweep or a recheck finds its end.
        await using (await Watcher.ConnectAsync(one, 43))
            await Eventually.HoldsAsync(() => watcher.Statuses(43) is [_, "online"]);
        await Eventually.HoldsAsync(() => watcher.Statuses(43) is [_, "online", "offline"]);

        await one.Http.PostAsJsonAsync("/heartbeat", new { user_ids = Enumerable.Range(1000, 500) });
        await Eventually.HoldsAsync(async () => await CountAsync(one) >= 500 && await CountAsync(other) >= 500);
        var listed = await other.Http.GetFromJsonAsync<JsonElement>("/online?limit=1000");
        listed.GetProperty("users").GetArrayLength().ShouldBeGreaterThanOrEqualTo(500);
        (await other.Http.GetFromJsonAsync<JsonElement>("/status/42/explain")).GetProperty("store").GetString().ShouldBe("cluster");
        (await one.StopAsync()).ShouldBe(0);
        (await other.StopAsync()).ShouldBe(0);
    }

    [Fact]
    public Task Who_is_online_is_counted_once_for_all_nodes_and_listed_by_any() => Fairly.JudgeAsync(CountAndListAsync);

    private async Task CountAndListAsync()
    {
        await servers.Cluster.FlushAsync();
        await using var one = await NodeAsync(servers.Cluster.Address);
        await using var other = await NodeAsync(servers.Cluster.Address);
        const int people = 2000;
        await using var crowd = new Crowd([.. Enumerable.Range(0, people).Select(i => (uint)i)], Second, one.Address);
        await Eventually.HoldsAsync(async () => await CountAsync(other) == people);

        var began = Stopwatch.GetTimestamp();
        var before = await PagesCountedAsync();
        var counts = await Task.WhenAll(Enumerable.Range(0, 400).Select(i => CountAsync(i % 2 == 0 ? one : other)));
        foreach (var count in counts)
            crowd.ShouldBeOnline(count == people ? "online" : $"{count} of {people}");
        // at most 256 pages per second, however many nodes request them
        (await PagesCountedAsync() - before).ShouldBeLessThanOrEqualTo(256 * (2 + (long)Stopwatch.GetElapsedTime(began).TotalSeconds));

        // the two nodes return alternate parts of the list
        await Eventually.HoldsAsync(async () =>
            (await ListAsync(one, other)).SequenceEqual(await ListAsync(other, one)) && (await ListAsync(one, other)).Count == people);
        List<uint> list = [];
        await Eventually.HoldsAsync(async () => (list = await ListAsync(one, other)).Count == people);
        list.Order().ShouldBe(Enumerable.Range(0, people).Select(i => (uint)i));

        async Task<long> PagesCountedAsync()
        {
            var counted = 0L;
            foreach (var node in (AglowProcess[])[one, other])
                counted += await MetricAsync(node, "aglow_count_pages_total");
            return counted;
        }

        static async Task<List<uint>> ListAsync(AglowProcess first, AglowProcess second)
        {
            var listed = new List<uint>();
            string? next = "";
            for (var part = 0; next is not null; part++)
            {
                var page = await (part % 2 == 0 ? first : second).Http.GetFromJsonAsync<JsonElement>(
                    $"/online?limit=300{(next.Length > 0 ? $"&cursor={next}" : "")}");
                listed.AddRange(page.GetProperty("users").EnumerateArray().Select(user => user.GetUInt32()));
                next = page.GetProperty("next").GetString();
            }

            return listed;
        }
    }

    [Fact]
    public async Task Of_a_user_with_devices_on_two_nodes_one_that_leaves_ends_nothing()
    {
        await servers.Cluster.FlushAsync();
        await using var one = await NodeAsync(servers.Cluster.Address);
        await using var other = await NodeAsync(servers.Cluster.Address);
        await using var watcher = await Watcher.ConnectAsync(one, 1, 42);
        await using var phone = await Watcher.ConnectAsync(one, 42);
        await using var laptop = await Watcher.ConnectAsync(other, 42);
        await Eventually.HoldsAsync(() => watcher.Statuses(42) is [.., "online"]);
        var received = watcher.Statuses(42);

        await phone.SendAsync("{\"type\":\"leave\"}");
        await Eventually.HoldsAsync(() => !phone.IsOpen);
        // the other node reports it at once, and a confirmation a second later does not change it
        await Eventually.HoldsAsync(async () => await StatusAsync(one, 42) == "online");
        await Task.Delay(TimeSpan.FromSeconds(2));
        watcher.Statuses(42).ShouldBe(received);

        // a leave for all devices: the laptop's open socket does not prevent it
        await one.Http.PostAsJsonAsync("/offline", new { user_id = 42 });
        await Eventually.HoldsAsync(() => watcher.Statuses(42)[^1] == "offline");
        (await StatusAsync(other, 42)).ShouldBe("offline");
    }

    [Fact]
    public async Task Hints_that_are_lost_are_made_up_for_within_the_bound()
    {
        await servers.Alone.CallAsync("FLUSHALL", "SYNC");
        await using var one = await NodeAsync($"{servers.Alone.Endpoint}");
        await using var other = await NodeAsync($"{servers.Alone.Endpoint}");
        await using var watcher = await Watcher.ConnectAsync(other, 1, 42);
        using var done = new CancellationTokenSource();
        var killing = Task.Run(async () =>
        {
            while (!done.IsCancellationRequested)
            {
                await servers.Alone.CallAsync("CLIENT", "KILL", "TYPE", "pubsub");
                await Task.Delay(5);
            }
        });
        await Task.Delay(100);
        await using (new Crowd([42], Second, one.Address))
            await Eventually.HoldsAsync(() => watcher.Statuses(42)[^1] == "online");
        await done.CancelAsync();
        await killing;
    }

    [Fact]
    public Task All_of_redis_is_away_for_longer_than_the_lease_and_back() => Fairly.JudgeAsync(AllIsAwayAsync);

    private static async Task AllIsAwayAsync()
    {
        await using var redis = await RedisProcess.StartAsync("--appendonly", "yes", "--appendfsync", "always");
        await using var node = await NodeAsync($"{redis.Endpoint}");
        uint[] people = [.. Enumerable.Range(100, 200).Select(i => (uint)i)];
        await using var crowd = new Crowd(people, Second, node.Address);
        await Eventually.HoldsAsync(async () => await StatusAsync(node, people[^1]) == "online");
        await using var watcher = await Watcher.StayAsync(node, 1, people);
        await Eventually.HoldsAsync(() => people.All(user => watcher.Statuses(user)[^1] == "online"));

        await redis.KillAsync();
        // an arrival cannot be acknowledged, because no store confirms that the user is online
        var refused = await HeartbeatAsync(node, 7);
        refused.StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable);
        refused.Headers.RetryAfter.ShouldNotBeNull();
        (await refused.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("title").GetString().ShouldBe("Store away");
        (await node.Http.GetAsync("/status/100")).StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable);
        await Eventually.HoldsAsync(
            async () => (await node.Http.GetAsync("/health/ready")).StatusCode == HttpStatusCode.ServiceUnavailable);
        (await node.Http.GetAsync("/health/live")).StatusCode.ShouldBe(HttpStatusCode.OK);
        await Eventually.HoldsAsync(() => watcher.HasReceived("stale"));
        // nothing acknowledges it, and it is not lost
        await watcher.SendAsync("{\"type\":\"active\"}");
        await Task.Delay((Lease + 2) * Second);
        var returned = DateTimeOffset.UtcNow.ToUnixTimeSeconds();

        await redis.RestartAsync();
        await Eventually.HoldsAsync(() => watcher.HasReceived("fresh"));
        await Eventually.HoldsAsync(async () => (await HeartbeatAsync(node, 7)).StatusCode == HttpStatusCode.OK);
        await Eventually.HoldsAsync(async () => (await node.Http.GetAsync("/health/ready")).StatusCode == HttpStatusCode.OK);
        // longer than the stall guard: any expired lease would have been reported by now
        await Task.Delay(7 * Second);
        watcher.IsOpen.ShouldBeTrue();
        crowd.NobodyWentOffline(people, watcher);
        crowd.ShouldBeOnline(await StatusAsync(node, 100));
        await Eventually.HoldsAsync(async () => await MetricAsync(node, "aglow_redis_servers_away") == 0);
        node.Output.ShouldContain("is away");
        node.Output.ShouldContain("is back after");
        var activeAt = 0L;
        await Eventually.HoldsAsync(async () =>
            (await node.Http.GetFromJsonAsync<JsonElement>("/status/1")).TryGetProperty("active_at", out var at)
                && at.TryGetInt64(out activeAt));
        activeAt.ShouldBeLessThan(returned - 3);
    }

    [Fact]
    public Task A_primary_is_killed_and_its_replica_takes_over() => Fairly.JudgeAsync(PrimaryIsKilledAsync);

    private async Task PrimaryIsKilledAsync()
    {
        await servers.Cluster.FlushAsync();
        await servers.Cluster.SetNodeTimeoutAsync(RedisClusterProcesses.ShortTimeout);
        await using var one = await NodeAsync(servers.Cluster.Address);
        await using var other = await NodeAsync(servers.Cluster.Address);
        uint[] people = [.. Enumerable.Range(256, 256).Select(i => (uint)i)];
        await using var crowd = new Crowd(people, Second, one.Address);
        await Eventually.HoldsAsync(async () => await StatusAsync(other, people[^1]) == "online");
        await using var watcher = await Watcher.StayAsync(other, 1, people);
        await Eventually.HoldsAsync(() => people.All(user => watcher.Statuses(user)[^1] == "online"));

        var killed = await servers.Cluster.PrimaryOfAsync(3);
        await killed.KillAsync();
        try
        {
            // new users on the lost shard can come online again without help
            await Eventually.HoldsAsync(async () => (await HeartbeatAsync(one, 3)).StatusCode == HttpStatusCode.OK);
            await Eventually.HoldsAsync(async () => await StatusAsync(other, 3) == "online");
            // longer than the lease and the stall guard
            await Task.Delay((Lease + 6) * Second);
            crowd.NobodyWentOffline(people, watcher);
            foreach (var user in people)
                crowd.ShouldBeOnline(await StatusAsync(other, user));
        }
        finally
        {
            await killed.RestartAsync();
            await servers.Cluster.SetNodeTimeoutAsync(RedisClusterProcesses.LongTimeout);
        }

        await Eventually.HoldsAsync(async () =>
            ((string)(await killed.CallAsync("INFO", "replication"))!).Contains("master_link_status:up", StringComparison.Ordinal));
    }

    [Fact]
    public Task A_node_is_killed_and_its_clients_go_to_another() => Fairly.JudgeAsync(NodeIsKilledAsync);

    private async Task NodeIsKilledAsync()
    {
        await using var pace = new Pace();
        await servers.Cluster.FlushAsync();
        await using var one = await NodeAsync(servers.Cluster.Address);
        await using var other = await NodeAsync(servers.Cluster.Address);
        uint[] people = [.. Enumerable.Range(100, 100).Select(i => (uint)i)];
        var sockets = await Task.WhenAll(people.Select(user => Watcher.ConnectAsync(one, user)));
        await using var watcher = await Watcher.ConnectAsync(other, 1, people);
        await Eventually.HoldsAsync(() => people.All(user => watcher.Statuses(user)[^1] == "online"));

        await one.KillAsync();
        await Eventually.HoldsAsync(() => sockets.All(socket => !socket.IsOpen));
        var moved = await Task.WhenAll(people.Select(user => Watcher.ConnectAsync(other, user)));
        // longer than the lease of the dead node's last words
        await Task.Delay((Lease + 2) * Second);
        foreach (var socket in sockets.Concat(moved))
            await socket.DisposeAsync();
        pace.NobodyWentOffline(people, watcher.Statuses, watcher.Times);
    }

    [Fact]
    public async Task A_node_that_stops_writes_what_waits()
    {
        await servers.Alone.CallAsync("FLUSHALL", "SYNC");
        await using var one = await NodeAsync($"{servers.Alone.Endpoint}");
        await HeartbeatAsync(one, 42);
        var first = (long)((object?[])(await servers.Alone.CallAsync("BITFIELD_RO", "{p:42}:pulse", "GET", "u32", "#0"))!)[0]!;
        await Task.Delay(1100);
        await HeartbeatAsync(one, 42);
        (await one.StopAsync()).ShouldBe(0);
        ((long)((object?[])(await servers.Alone.CallAsync("BITFIELD_RO", "{p:42}:pulse", "GET", "u32", "#0"))!)[0]!)
            .ShouldBeGreaterThan(first);
    }

    [Fact]
    public async Task A_node_that_stops_while_redis_is_away_says_what_was_lost()
    {
        await using var redis = await RedisProcess.StartAsync();
        // with a long lease, heartbeats wait for a long time before they are refused
        await using var node = await AglowProcess.StartAsync(
            null, ["--redis", $"{redis.Endpoint}", "--drain-seconds", "0", "--lease-seconds", "300"]);
        uint[] people = [.. Enumerable.Range(1, 50).Select(static i => (uint)i)];
        (await node.Http.PostAsJsonAsync("/heartbeat", new { user_ids = people })).EnsureSuccessStatusCode();
        await redis.KillAsync();
        await Task.Delay(1100);
        (await node.Http.PostAsJsonAsync("/heartbeat", new { user_ids = people })).EnsureSuccessStatusCode();
        (await node.StopAsync()).ShouldBe(1);
        node.Errors.ShouldStartWith("aglow: The last heartbeats of 50 users could not be written");
        node.Output.ShouldNotContain("everything is written");
    }

    [Fact]
    public async Task Without_a_directory_users_are_numbers_and_the_rest_says_so()
    {
        await servers.Alone.CallAsync("FLUSHALL", "SYNC");
        await using var node = await NodeAsync($"{servers.Alone.Endpoint}");
        foreach (var response in new[]
        {
            await node.Http.PostAsJsonAsync("/users", new { user_name = "alice" }),
            await node.Http.GetAsync("/users?q=ali"),
            await node.Http.GetAsync("/users/42/subscriptions"),
            await node.Http.PutAsJsonAsync("/users/42/status", new { status = "busy" }),
            await node.Http.DeleteAsync(new Uri("/users/42", UriKind.Relative)),
            await node.Http.PostAsJsonAsync("/heartbeat", new { user_id = "alice" }),
        })
        {
            response.StatusCode.ShouldBe(HttpStatusCode.NotImplemented, response.RequestMessage!.RequestUri!.PathAndQuery);
            (await response.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("detail").GetString()!.ShouldContain("no user directory");
        }

        (await node.Http.GetFromJsonAsync<JsonElement>("/status/alice")).GetProperty("is_online").GetBoolean().ShouldBeFalse();
        var packed = await node.Http.PostAsync(
            "/heartbeat",
            new ByteArrayContent([1, 0, 0, 0, 0, 0, 0, 0x80]) { Headers = { ContentType = new("application/octet-stream") } });
        (await packed.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("accepted").GetInt32().ShouldBe(1);
        (await node.Http.PostAsJsonAsync("/status/update", new { user_id = 5, timestamp = DateTimeOffset.UtcNow.ToUnixTimeSeconds() - 2 }))
            .StatusCode.ShouldBe(HttpStatusCode.OK);
        (await StatusAsync(node, 5)).ShouldBe("online");
        (await node.Http.PostAsJsonAsync("/heartbeat", new { user_id = 6, active = true })).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await node.Http.GetFromJsonAsync<JsonElement>("/status/6?definition=active")).GetProperty("is_online").GetBoolean().ShouldBeTrue();
    }

    [Fact]
    public Task A_primary_behind_Sentinel_is_killed_and_its_replica_takes_over() => Fairly.JudgeAsync(PrimaryBehindSentinelAsync);

    private static async Task PrimaryBehindSentinelAsync()
    {
        await using var primary = await RedisProcess.StartAsync();
        await using var replica = await RedisProcess.StartAsync(
            "--replicaof", "127.0.0.1", $"{primary.Port}", "--repl-diskless-sync-delay", "0");
        await Eventually.HoldsAsync(
            async () => ((string)(await replica.CallAsync("INFO", "replication"))!).Contains("master_link_status:up"));
        await using var sentinel = await RedisProcess.StartSentinelAsync(primary.Port);
        await Eventually.HoldsAsync(async () => ((object?[])(await sentinel.CallAsync("SENTINEL", "REPLICAS", "presence"))!).Length == 1);
        await using var one = await NodeAsync($"{sentinel.Endpoint},serviceName=presence");
        await using var other = await NodeAsync($"{sentinel.Endpoint},serviceName=presence");
        uint[] people = [.. Enumerable.Range(256, 64).Select(i => (uint)i)];
        await using var crowd = new Crowd(people, Second, one.Address);
        await Eventually.HoldsAsync(async () => await StatusAsync(other, people[^1]) == "online");
        await using var watcher = await Watcher.StayAsync(other, 1, people);
        await Eventually.HoldsAsync(() => people.All(user => watcher.Statuses(user)[^1] == "online"));

        await primary.KillAsync();
        // users who were not online can come online again without help, and the other node sees them
        await Eventually.HoldsAsync(async () => (await HeartbeatAsync(one, 3)).StatusCode == HttpStatusCode.OK);
        await Eventually.HoldsAsync(async () => await StatusAsync(other, 3) == "online");
        ((string)(await replica.CallAsync("INFO", "replication"))!).ShouldContain("role:master");
        // longer than the lease and the stall guard
        await Task.Delay((Lease + 6) * Second);
        crowd.NobodyWentOffline(people, watcher);
        foreach (var user in people)
            crowd.ShouldBeOnline(await StatusAsync(one, user));
        one.Output.ShouldContain($"127.0.0.1:{replica.Port}");
    }

    [Fact]
    public async Task Over_tls_a_node_takes_a_certificate_that_its_machine_trusts_and_no_other()
    {
        using var certificates = new TestCertificates();
        await using var redis = await RedisProcess.StartAsync(
            "--tls-port", "BUS-PORT", "--tls-cert-file", certificates.Server, "--tls-key-file", certificates.Key,
            "--tls-ca-cert-file", certificates.Authority, "--tls-auth-clients", "no");
        var address = $"rediss://127.0.0.1:{redis.BusPort}";
        await using (var node = AglowProcess.Run(null, ["--redis", address], new() { ["SSL_CERT_FILE"] = certificates.Authority }))
        {
            await node.ReadyAsync();
            // the node opens further connections after its first one; a 503 until then is not a failure
            await Eventually.HoldsAsync(async () => (await HeartbeatAsync(node, 42)).StatusCode == HttpStatusCode.OK);
            (await StatusAsync(node, 42)).ShouldBe("online");
        }

        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--urls", "http://127.0.0.1:0", "--redis", address]);
        code.ShouldBe(1);
        errors.ShouldStartWith($"aglow: Redis at 127.0.0.1:{redis.BusPort} cannot be used: its TLS certificate is not accepted");
        errors.Count(c => c == '\n').ShouldBe(1);
    }

    [Fact]
    public async Task What_cannot_be_reached_or_read_is_one_line()
    {
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--urls", "http://127.0.0.1:0", "--redis", "127.0.0.1:1"]);
        (code, errors).ShouldBe((1, "aglow: Redis at 127.0.0.1:1 cannot be used: Connection refused. Start it, or name another.\n"));
        (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--redis", "redis://me:secret@nowhere:0"]);
        code.ShouldBe(2);
        errors.ShouldStartWith("aglow: --redis is \"…@nowhere:0\": set HOST:PORT");
        // a connection string may contain a password anywhere
        (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--redis", "127.0.0.1:1,password=secret,colour=red"]);
        code.ShouldBe(2);
        errors.ShouldContain("Keyword 'colour' is not supported");
        errors.ShouldNotContain("secret");
        errors.ShouldNotContain("secret");
        (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--redis", "127.0.0.1:1", "--demo", "5"]);
        (code, errors).ShouldBe((2, "aglow: demo people are in the memory of one server: set --demo or --redis, not both.\n"));
        (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--redis-password", "x"]);
        (code, errors).ShouldBe((2, "aglow: redis-user and redis-password are for --redis: set that, too.\n"));
    }

    private static Task<AglowProcess> NodeAsync(string redis) => AglowProcess.StartAsync(null, ["--redis", redis, .. ShortLease]);

    private static async Task<int> CountAsync(AglowProcess node) =>
        (await node.Http.GetFromJsonAsync<JsonElement>("/online/count")).GetProperty("online").GetInt32();
}
