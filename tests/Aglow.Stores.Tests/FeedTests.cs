using Aglow.Redis.Connections;
using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>One feed of changes for all nodes. Any node serves it, one node at a time records it, and a dead node is replaced.</summary>
[Collection(NodeCollection.Name)]
public sealed class FeedTests(RedisServers servers)
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    // A node writes renewals up to a second late, and a killed node loses those. So clients of a killed node have the lease less two
    // heartbeats and a second to reach another node.
    private static readonly string[] ShortLease = ["--lease-seconds", "10", "--heartbeat-seconds", "2", "--drain-seconds", "0"];

    [Fact]
    public async Task What_happens_on_any_node_is_in_the_feed_once_in_order_and_every_node_serves_it()
    {
        await servers.Cluster.FlushAsync();
        await using var one = await NodeAsync();
        await using var other = await NodeAsync();
        // a feed reports no change for users who are online when it begins
        await using var consumer = await FeedConsumer.FollowAsync(one, other);
        await HeartbeatAsync(one, 42);
        await HeartbeatAsync(other, 42);
        await HeartbeatAsync(other, 43);
        await other.PostAsync("/offline", "{\"user_id\":42}");
        // a user who comes online and leaves at once
        await HeartbeatAsync(one, 44);
        await other.PostAsync("/offline", "{\"user_id\":44}");
        await HeartbeatAsync(one, 42);
        await Eventually.HoldsAsync(() => !consumer.IsOnline(42) && !consumer.IsOnline(43) && consumer.Of(42).Length >= 4);
        consumer.Of(42).ShouldBe(["true heartbeat", "false leave", "true heartbeat", "false lapse"]);
        consumer.Of(43).ShouldBe(["true heartbeat", "false lapse"]);
        consumer.Of(44).ShouldBe(["true heartbeat", "false leave"]);
        consumer.Gaps.ShouldBe(0);
        consumer.Changes.Select(static change => change["id"]!.GetValue<string>()).ShouldBeUnique();

        // both nodes return the same, also page by page and as a stream
        var all = (await one.GetAsync("/changes")).Json["changes"]!.ToJsonString();
        (await other.GetAsync("/changes")).Json["changes"]!.ToJsonString().ShouldBe(all);
        var first = consumer.Changes[0]["id"]!.GetValue<string>();
        (await other.GetAsync($"/changes?limit=1&after={first}")).Json["changes"]![0]!.ToJsonString().ShouldBe(
            consumer.Changes[1].ToJsonString());
        using var asked = new HttpRequestMessage(HttpMethod.Get, $"/changes?after={first}");
        asked.Headers.Add("Accept", "text/event-stream");
        using var stream = await other.Http.SendAsync(asked, HttpCompletionOption.ResponseHeadersRead);
        using var lines = new StreamReader(await stream.Content.ReadAsStreamAsync());
        (await lines.ReadLineAsync()).ShouldBe($"id: {consumer.Changes[1]["id"]}");
        // on a busy machine, the owner may be about to change
        await Eventually.HoldsAsync(
            async () => await MetricAsync(one, "aglow_feed_owner") + await MetricAsync(other, "aglow_feed_owner") == 1);
        (await one.GetAsync("/changes?after=no-cursor")).ShouldBeProblem(400);
    }

    [Fact]
    public Task When_the_owner_is_killed_or_stops_another_takes_over_and_nothing_is_missing() => Fairly.JudgeAsync(ReplaceOwnersAsync);

    private async Task ReplaceOwnersAsync()
    {
        await servers.Cluster.FlushAsync();
        var nodes = await Task.WhenAll(NodeAsync(), NodeAsync(), NodeAsync());
        await using var stopped = new Together(nodes);
        var alive = nodes.ToList();
        await using var consumer = await FeedConsumer.FollowAsync(() => [.. alive]);
        uint[] steady = [.. Enumerable.Range(1000, 100).Select(static i => (uint)i)];
        await using var crowd = new Crowd(steady, Second, [.. nodes.Select(static node => node.Address)]);
        await Eventually.HoldsAsync(() => steady.All(user => consumer.IsOnline(user)));
        var visitor = 1u;
        for (var fault = 0; fault < 2; fault++)
        {
            var owner = await OwnerAsync(alive);
            // the user comes online at the owner, and is silent from then on
            await AcceptedAsync(owner, visitor);
            await Eventually.HoldsAsync(() => consumer.Of(visitor).Length > 0);
            alive = [.. alive.Where(node => node != owner)];
            if (fault == 0)
                await owner.KillAsync();
            else
                (await owner.StopAsync()).ShouldBe(0);
            // no node owns the feed yet: a user comes online and leaves, and another comes online, whose lease expires after a new owner
            // starts
            await AcceptedAsync(alive[0], visitor + 1);
            (await alive[0].PostAsync("/offline", $"{{\"user_id\":{visitor + 1}}}")).Status.ShouldBe(200);
            await AcceptedAsync(alive[0], visitor + 2);
            await Eventually.HoldsAsync(() =>
                consumer.Of(visitor).Length >= 2 && consumer.Of(visitor + 1).Length >= 2 && consumer.Of(visitor + 2).Length >= 2);
            consumer.Of(visitor).ShouldBe(["true heartbeat", "false lapse"]);
            consumer.Of(visitor + 1).ShouldBe(["true heartbeat", "false leave"]);
            consumer.Of(visitor + 2).ShouldBe(["true heartbeat", "false lapse"]);
            visitor += 3;
        }

        await Eventually.HoldsAsync(async () => await MetricAsync(alive[0], "aglow_feed_owner") == 1);
        crowd.NobodyWentOffline(
            steady,
            user => [.. consumer.Of(user).Select(static line => line.StartsWith("true ", StringComparison.Ordinal) ? "online" : "offline")],
            user => string.Join(", ", consumer.Of(user)));
        steady.ShouldAllBe(user => consumer.Of(user).Length == 1);
        consumer.Gaps.ShouldBe(0);
    }

    [Fact]
    public async Task One_node_that_restarts_goes_on_with_the_feed_and_tells_what_happened_meanwhile()
    {
        await servers.Alone.CallAsync("FLUSHALL", "SYNC");
        string after;
        await using (var node = await NodeAsync($"{servers.Alone.Endpoint}"))
        {
            await using var consumer = await FeedConsumer.FollowAsync(node);
            await HeartbeatAsync(node, 2);
            await node.PostAsync("/offline", "{\"user_id\":2}");
            await HeartbeatAsync(node, 1);
            // on a slow machine, the lease of user 1 may end before the kill
            await Eventually.HoldsAsync(() => consumer.Changes.Count >= 3);
            after = consumer.Changes[2]["id"]!.GetValue<string>();
            await node.KillAsync();
        }

        await using var again = await NodeAsync($"{servers.Alone.Endpoint}");
        await Eventually.HoldsAsync(async () =>
            (await again.GetAsync($"/changes?after={after}")).Json["changes"]!.AsArray() is [var lapse]
            && lapse!["user_id"]!.GetValue<int>() == 1 && lapse["reason"]!.GetValue<string>() == "lapse");
        (await again.GetAsync("/changes")).Json["changes"]!.AsArray().Count.ShouldBe(4);

        // The feed reports a gap for changes that no node recorded for over a minute. Changes before and after the gap are still there.
        await again.KillAsync();
        var feed = RedisKeys.ChangesFeed;
        var asOf = long.Parse((string)(await servers.Alone.CallAsync("HGET", feed, "heard"))!);
        await servers.Alone.CallAsync("HSET", feed, "heard", $"{asOf - 120}");
        await using var late = await NodeAsync($"{servers.Alone.Endpoint}");
        await HeartbeatAsync(late, 3);
        var next = after;
        var pages = new List<(bool IsGap, int FirstUser)>();
        await Eventually.HoldsAsync(async () =>
        {
            var page = (await late.GetAsync($"/changes?after={next}")).Json;
            next = page["next"]!.GetValue<string>();
            if (page["changes"]!.AsArray() is [var first, ..])
                pages.Add((page["gap"]!.GetValue<bool>(), first!["user_id"]!.GetValue<int>()));
            return pages.Count >= 2;
        });
        // On a slow machine the lease of user 3 may end before the page is read. The page then has that change, too.
        pages.Take(2).ShouldBe([(false, 1), (true, 3)]);
    }

    [Fact]
    public async Task Old_changes_make_room_and_a_cursor_before_them_is_a_gap()
    {
        await servers.Alone.CallAsync("FLUSHALL", "SYNC");
        await using var node = await AglowProcess.StartAsync(
            null, ["--redis", $"{servers.Alone.Endpoint}", "--changes-megabytes", "1", "--drain-seconds", "0"]);
        var first = (await node.GetAsync("/changes")).Json["next"]!.GetValue<string>();
        var users = string.Join(',', Enumerable.Range(1, 10_000));
        // Each has 12 bytes: more than a megabyte in total. A user who comes and leaves before the owner looks may not be recorded.
        await Eventually.HoldsAsync(async () =>
        {
            await node.PostAsync("/heartbeat", $"{{\"user_ids\":[{users}]}}");
            await node.PostAsync("/offline", $"{{\"user_ids\":[{users}]}}");
            return await MetricAsync(node, "aglow_feed_recorded_total") >= 100_000;
        });
        await Eventually.HoldsAsync(async () =>
        {
            // the owner trims every ten seconds
            await HeartbeatAsync(node, 1);
            return await MetricAsync(node, "aglow_feed_bytes") is > 0 and <= 1 << 20;
        });
        var page = (await node.GetAsync($"/changes?limit=1&after={first}")).Json;
        page["gap"]!.GetValue<bool>().ShouldBeTrue();
        page["changes"]!.AsArray().Count.ShouldBe(1);
        (await node.GetAsync("/changes?limit=1")).Json["gap"]!.GetValue<bool>().ShouldBeFalse();
    }

    [Fact]
    public async Task Webhooks_are_made_on_any_node_and_delivered_by_one_at_a_time_through_the_death_of_that_node()
    {
        await servers.Alone.CallAsync("FLUSHALL", "SYNC");
        var nodes = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => NodeAsync($"{servers.Alone.Endpoint}")));
        await using var stopped = new Together(nodes);
        await using var receiver = new Receiver();
        var added = (await nodes[0].PostAsync("/webhooks", $"{{\"url\":\"{receiver.Url}\"}}")).Json;
        var (id, secret) = (added["id"]!.GetValue<string>(), added["secret"]!.GetValue<string>());
        (await nodes[1].GetAsync("/webhooks")).Json["webhooks"]!.AsArray().Single()!["id"]!.GetValue<string>().ShouldBe(id);
        (await nodes[2].PostAsync($"/webhooks/{id}/test", "{}")).Json["acknowledged"]!.GetValue<bool>().ShouldBeTrue();
        uint[] people = [.. Enumerable.Range(1, 50).Select(static i => (uint)i)];
        var alive = nodes.ToList();
        var rounds = 0;
        for (; alive.Count > 0; rounds++)
        {
            foreach (var user in people)
                await HeartbeatAsync(alive[0], user);
            foreach (var user in people)
                await alive[^1].PostAsync("/offline", $"{{\"user_id\":{user}}}");
            await receiver.UntilAsync(
                () => people.All(user => receiver.Received.Count(received => received == $"{user} offline") > rounds), $"round {rounds}");
            // kill the node that delivers, unless it is the last one
            if (alive.Count == 1)
                break;
            var deliverer = await FirstAsync(alive, "aglow_webhooks");
            await deliverer.KillAsync();
            alive.Remove(deliverer);
        }

        // Each change arrives once, except those that a dead node had not stored as delivered. The newest change gives the present state.
        foreach (var user in people)
            receiver.Received.Last(received => received.StartsWith($"{user} ", StringComparison.Ordinal)).ShouldBe($"{user} offline");
        receiver.Messages.ShouldAllBe(message => message.IsSignedBy(secret));
        await alive[0].PostAsync($"/webhooks/{id}/pause", "{}");
        (await alive[0].GetAsync($"/webhooks/{id}")).Json["paused"]!.GetValue<bool>().ShouldBeTrue();
        (await alive[0].GetAsync($"/webhooks/{id}/log")).Json["deliveries"]!.AsArray().Count.ShouldBeGreaterThan(2);
        (await alive[0].DeleteAsync($"/webhooks/{id}")).Status.ShouldBe(204);
        await Eventually.HoldsAsync(async () => await MetricAsync(alive[0], "aglow_webhooks") == 0);
        (await servers.Alone.CallAsync("HLEN", RedisKeys.Consumers("webhook-state"))).ShouldBe(0L);
    }

    private Task<AglowProcess> NodeAsync(string? redis = null) =>
        AglowProcess.StartAsync(null, ["--redis", redis ?? servers.Cluster.Address, .. ShortLease]);

    private static Task<AglowProcess> OwnerAsync(IReadOnlyList<AglowProcess> nodes) => FirstAsync(nodes, "aglow_feed_owner");

    private static async Task<AglowProcess> FirstAsync(IReadOnlyList<AglowProcess> nodes, string metric)
    {
        AglowProcess? found = null;
        await Eventually.HoldsAsync(async () =>
        {
            foreach (var node in nodes)
            {
                if (await MetricAsync(node, metric) > 0)
                    found = node;
            }

            return found is not null;
        });
        return found!;
    }
}
