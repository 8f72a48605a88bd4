using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>Two production nodes over one Redis and one PostgreSQL.</summary>
[Collection(PostgresCollection.Name)]
public sealed class DirectoryNodeTests(PostgresServer postgres) : IAsyncLifetime
{
    // no lease ends in the middle of a test, however slow the machine is
    private static readonly string[] LongLease = ["--lease-seconds", "3600"];

    private RedisProcess? _redis;
    private AglowProcess? _one;
    private AglowProcess? _other;
    private string _database = "";

    private AglowProcess One => _one!;

    private AglowProcess Other => _other!;

    public async Task InitializeAsync()
    {
        _redis = await RedisProcess.StartAsync();
        _database = await postgres.Process.CreateDatabaseAsync();
        // both create the tables at the same time
        var nodes = await Task.WhenAll(NodeAsync(), NodeAsync());
        (_one, _other) = (nodes[0], nodes[1]);
    }

    public async Task DisposeAsync()
    {
        foreach (var server in new IAsyncDisposable?[] { _one, _other, _redis })
        {
            if (server is not null)
                await server.DisposeAsync();
        }
    }

    [Fact]
    public async Task What_is_registered_changed_or_deleted_on_one_node_is_so_on_the_other()
    {
        One.Output.ShouldContain("users in PostgreSQL");
        One.Output.ShouldNotContain(PostgresProcess.Password);
        await using var watcher = await Watcher.ConnectAsync(Other, 1);
        await watcher.SendAsync("{\"type\":\"watch\",\"users\":[\"alice\",\"bob\"]}");
        await Eventually.HoldsAsync(() => watcher.Statuses("alice") is ["offline"] && watcher.Statuses("bob") is ["offline"]);

        // an ID that a watcher on the other node waits for
        (await HeartbeatAsync(One, "alice")).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await StatusAsync(Other, "alice")).ShouldBe("online");
        await Eventually.HoldsAsync(() => watcher.Statuses("alice") is [.., "online"]);

        // the profile of a user whom the other node does not know
        var created = await (await One.Http.PostAsJsonAsync("/users", new { user_name = "bob", display_name = "Bob Builder" }))
            .Content.ReadFromJsonAsync<JsonElement>();
        created.GetProperty("user_id").GetString().ShouldBe("bob");
        (await HeartbeatAsync(Other, "bob")).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await Other.Http.PostAsJsonAsync("/users", new { user_name = "Bob", user_id = 5 })).StatusCode.ShouldBe(HttpStatusCode.Conflict);
        await Eventually.HoldsAsync(() => watcher.Statuses("bob") is [.., "online"]);
        // an index is not an ID: both users are unknown
        (await StatusAsync(Other, "2147483648")).ShouldBe("offline");
        (await StatusAsync(One, "2147483649")).ShouldBe("offline");

        (await SearchAsync(Other, "uild")).ShouldBe(["bob"]);
        (await SearchAsync(Other, "AL")).ShouldBeEmpty("a heartbeat makes no profile");
        (await One.Http.PutAsJsonAsync("/users/alice", new { user_name = "Älice" })).StatusCode.ShouldBe(HttpStatusCode.Created);
        (await SearchAsync(Other, "AL")).ShouldBe(["Älice"]);
        await One.Http.PostAsJsonAsync("/users/alice/subscriptions", new { user_ids = new object[] { "bob", 7, "nobody yet" } });
        (await SubscriptionsAsync(Other, "alice")).ShouldBe(["7", "bob", "nobody yet"], ignoreOrder: true);

        // the other node sees a manual status and a hidden user as soon as it is notified
        await One.Http.PutAsJsonAsync("/users/bob/status", new { status = "busy" });
        await Eventually.HoldsAsync(async () => await StatusAsync(Other, "bob") == "busy");
        await Eventually.HoldsAsync(() => watcher.Statuses("bob") is [.., "busy"]);
        await Other.Http.PutAsJsonAsync("/users/bob/status", new { status = "offline" });
        await Eventually.HoldsAsync(async () => await StatusAsync(One, "bob") == "offline");
        await HeartbeatAsync(One, "bob");
        (await StatusAsync(One, "bob")).ShouldBe("offline");
        await One.Http.PutAsJsonAsync("/users/bob/status", new { status = "auto" });
        await Eventually.HoldsAsync(async () => await StatusAsync(Other, "bob") == "online");

        // a claim made on one node appears on the other, and ends there by itself
        await One.Http.PutAsJsonAsync("/users/bob/status", new { status = "busy", text = "In a call", source = "call", for_seconds = 600 });
        await Eventually.HoldsAsync(
            async () => (await Other.Http.GetStringAsync("/status/bob")).Contains("In a call", StringComparison.Ordinal));
        await One.Http.PutAsJsonAsync("/users/bob/status", new { status = "busy", text = "In a call", source = "call", for_seconds = 2 });
        await Eventually.HoldsAsync(() => watcher.Statuses("bob") is [.., "busy", "online"]);
        (await StatusAsync(One, "bob")).ShouldBe("online");

        // disabled on one node, refused on the other
        (await One.Http.PutAsJsonAsync("/users/bob/access", new { disabled = true })).StatusCode.ShouldBe(HttpStatusCode.OK);
        await Eventually.HoldsAsync(async () => await StatusAsync(Other, "bob") == "offline");
        (await Other.Http.PutAsJsonAsync("/users/bob/access", new { disabled = false })).StatusCode.ShouldBe(HttpStatusCode.OK);
        await Eventually.HoldsAsync(async () => (await HeartbeatAsync(One, "bob")).StatusCode == HttpStatusCode.OK);
        await Eventually.HoldsAsync(() => watcher.Statuses("bob") is [.., "online"]);

        // A user is deleted, and a new user gets the same ID. A watcher receives both changes.
        (await One.Http.DeleteAsync(new Uri("/users/bob", UriKind.Relative))).StatusCode.ShouldBe(HttpStatusCode.NoContent);
        (await StatusAsync(Other, "bob")).ShouldBe("offline");
        await Eventually.HoldsAsync(() => watcher.Statuses("bob") is [.., "offline"]);
        (await SearchAsync(Other, "uild")).ShouldBeEmpty();
        (await HeartbeatAsync(Other, "bob")).StatusCode.ShouldBe(HttpStatusCode.OK);
        await Eventually.HoldsAsync(() => watcher.Statuses("bob") is [.., "online"]);
        await Eventually.HoldsAsync(async () => await StatusAsync(One, "bob") == "online");
        (await SubscriptionsAsync(Other, "alice")).ShouldBe(["7", "bob", "nobody yet"], ignoreOrder: true);

        // ten thousand new IDs on both at once
        var keys = Enumerable.Range(0, 5000).Select(i => $"key-{i}").ToArray();
        var answers = await Task.WhenAll(
            new[] { One, Other }
                .Select(node => node.Http.PostAsJsonAsync("/heartbeat", new { user_ids = node == One ? keys : [.. keys.Reverse()] })));
        answers.ShouldAllBe(answer => answer.StatusCode == HttpStatusCode.OK);
        (await One.Http.GetStringAsync("/metrics")).ShouldContain("aglow_directory_away 0");
        (
            await postgres.Process.ExecuteAsync(
                "SELECT next_index - 2147483648 - count(*) FROM aglow.state, aglow.ids GROUP BY next_index", _database))
            .ShouldBe(0L);
        (await One.StopAsync()).ShouldBe(0);
        (await Other.StopAsync()).ShouldBe(0);
    }

    [Fact]
    public async Task What_a_user_shows_is_heard_on_the_other_node_and_kept_when_nodes_restart()
    {
        await One.Http.PostAsJsonAsync("/users", new { user_name = "alice" });
        await HeartbeatAsync(One, "alice");
        await using var watcher = await Watcher.ConnectAsync(Other, 1);
        await watcher.SendAsync("{\"type\":\"watch\",\"users\":[\"alice\"]}");
        await Eventually.HoldsAsync(() => watcher.Statuses("alice") is ["online"]);
        await Eventually.HoldsAsync(async () => await CountAsync(Other) == 2);

        // a user who hides on one node is offline on every path of the other
        (await One.Http.PutAsJsonAsync("/users/alice/visibility", new { online = "nobody" })).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await StatusAsync(One, "alice")).ShouldBe("offline");
        await Eventually.HoldsAsync(() => watcher.Statuses("alice") is ["online", "offline"]);
        (await StatusAsync(Other, "alice")).ShouldBe("offline");
        (await Other.Http.GetStringAsync("/online")).ShouldNotContain("alice");
        (await Other.Http.GetStringAsync("/users?q=ali")).ShouldContain("\"status\":\"offline\",\"last_seen\":null");
        await Eventually.HoldsAsync(async () => await CountAsync(One) == 1 && await CountAsync(Other) == 1);

        // visible again, and then to all but one user
        await Other.Http.PutAsJsonAsync("/users/alice/visibility", new { online = "everyone" });
        await Eventually.HoldsAsync(() => watcher.Statuses("alice") is ["online", "offline", "online"]);
        await Eventually.HoldsAsync(async () => await CountAsync(One) == 2);
        (await One.Http.PostAsJsonAsync("/users/alice/blocked", new { user_ids = new[] { 1 } })).StatusCode.ShouldBe(HttpStatusCode.OK);
        await Eventually.HoldsAsync(() => watcher.Statuses("alice") is ["online", "offline", "online", "offline"]);
        (await StatusAsync(Other, "alice")).ShouldBe("online");
        await One.Http.PutAsJsonAsync("/users/2/visibility", new { online = "followers-approved" });
        await HeartbeatAsync(One, 2);

        // a starting node has loaded all of these settings before it answers
        await HeartbeatAsync(One, "alice");
        (await One.StopAsync()).ShouldBe(0);
        await using var again = await NodeAsync();
        (await SeenByAsync(again, "alice", viewer: 1)).ShouldBe("offline");
        (await SeenByAsync(again, "alice", viewer: 3)).ShouldBe("online");
        (await StatusAsync(again, "2")).ShouldBe("offline");
        (await again.Http.GetStringAsync("/users/alice/blocked")).ShouldBe("{\"user_ids\":[1]}");
        (await again.Http.GetStringAsync("/users/2/visibility"))
            .ShouldBe("{\"user_id\":2,\"online\":\"followers-approved\",\"last_seen\":\"exact\"}");

        // A deleted user's own settings are gone, but other users' settings about the user remain. A hidden user's deletion shows nothing.
        await using var onlooker = await Watcher.ConnectAsync(Other, 3, 2);
        await again.Http.DeleteAsync(new Uri("/users/2", UriKind.Relative));
        await again.Http.DeleteAsync(new Uri("/users/1", UriKind.Relative));
        await Eventually.HoldsAsync(async () => (await Other.Http.GetStringAsync("/users/2/visibility")).Contains("\"everyone\""));
        (await Other.Http.GetStringAsync("/users/alice/blocked")).ShouldBe("{\"user_ids\":[1]}");
        (await Other.Http.GetStringAsync("/users/2/visibility")).ShouldContain("\"everyone\"");
        onlooker.Statuses(2).ShouldAllBe(status => status == "offline");
    }

    [Fact]
    public async Task Who_comes_back_in_the_second_of_their_deletion_stays_online_when_a_node_starts()
    {
        await HeartbeatAsync(One, "bob");
        (await One.Http.DeleteAsync(new Uri("/users/bob", UriKind.Relative))).StatusCode.ShouldBe(HttpStatusCode.NoContent);
        await HeartbeatAsync(One, "bob");
        (await Other.StopAsync()).ShouldBe(0);
        await using var again = await NodeAsync();
        foreach (var node in new[] { One, again })
            (await StatusAsync(node, "bob")).ShouldBe("online");
    }

    [Fact]
    public async Task What_is_claimed_of_a_user_and_their_deletion_are_in_the_feed_of_every_node()
    {
        await using var consumer = await FeedConsumer.FollowAsync(One, Other);
        await HeartbeatAsync(One, "ann");
        await Eventually.HoldsAsync(() => consumer.Of("ann").Length == 1);
        await Other.Http.PutAsJsonAsync("/users/ann/status", new { status = "busy" });
        await Eventually.HoldsAsync(() => consumer.Of("ann").Length == 2);
        // the status ends by itself
        await One.Http.PutAsJsonAsync("/users/ann/status", new { status = "offline", for_seconds = 2 });
        await Eventually.HoldsAsync(() => consumer.Of("ann").Length == 4);
        await One.Http.PutAsJsonAsync("/users/ann/access", new { disabled = true });
        await Eventually.HoldsAsync(() => consumer.Of("ann").Length == 5);
        await One.Http.PutAsJsonAsync("/users/ann/access", new { disabled = false });
        await HeartbeatAsync(One, "ann");
        await Eventually.HoldsAsync(() => consumer.IsOnline("ann"));
        await Other.Http.DeleteAsync(new Uri("/users/ann", UriKind.Relative));
        await Eventually.HoldsAsync(() => consumer.Of("ann")[^1] == "false deleted");
        // the deletion sets her offline; the feed withholds that once the deletion is known
        var heard = consumer.Of("ann");
        heard.Where(static line => line is not ("false leave" or "false lapse")).ShouldBe(
            ["true heartbeat", "true status", "false status", "true status", "false status", "true status", "false deleted"]);
        // Records of a deleted user are withheld, and a node that takes over does not report the deletion again.
        (await One.StopAsync()).ShouldBe(0);
        await HeartbeatAsync(Other, "bob");
        await Eventually.HoldsAsync(() => consumer.IsOnline("bob"));
        var given = (await Other.GetAsync("/changes")).Json["changes"]!.AsArray()
            .Select(static c => $"{c!["user_id"]} {c["reason"]}")
            .ToArray();
        given.Where(static line => line.StartsWith("ann", StringComparison.Ordinal)).ShouldNotContain("ann heartbeat");
        given.ShouldContain("ann deleted");
        consumer.Of("ann").ShouldBe(heard);
    }

    [Fact]
    public async Task Who_comes_back_at_once_after_a_deletion_is_deleted_first_in_the_feed()
    {
        await using var consumer = await FeedConsumer.FollowAsync(One, Other);
        string[] users = [.. Enumerable.Range(0, 8).Select(static i => $"user-{i}")];
        foreach (var user in users)
        {
            await HeartbeatAsync(One, user);
            await Eventually.HoldsAsync(() => consumer.IsOnline(user));
            (await Other.Http.DeleteAsync(new Uri($"/users/{user}", UriKind.Relative))).StatusCode.ShouldBe(HttpStatusCode.NoContent);
            (await HeartbeatAsync(Other, user)).StatusCode.ShouldBe(HttpStatusCode.OK);
        }

        foreach (var user in users)
        {
            var heard = "";
            await Eventually.HoldsAsync(
                () => (heard = string.Join(", ", consumer.Of(user))).Contains("false deleted, true heartbeat", StringComparison.Ordinal));
            heard[..heard.IndexOf("false deleted", StringComparison.Ordinal)].ShouldNotContain("lapse");
        }
    }

    [Fact]
    public async Task A_directory_that_was_restored_older_than_the_words_gives_nobody_the_words_of_somebody_else()
    {
        await One.Http.PostAsJsonAsync("/heartbeat", new { user_ids = Ids("old") });
        await One.Http.PostAsJsonAsync("/heartbeat", new { user_ids = Ids("lost") });
        // the words of the last one are erased
        await One.Http.DeleteAsync(new Uri($"/users/{Ids("lost")[^1]}", UriKind.Relative));
        (await One.StopAsync()).ShouldBe(0);
        (await Other.StopAsync()).ShouldBe(0);
        var next = await ValueAsync("SELECT next_index FROM aglow.state");
        await postgres.Process.ExecuteAsync(
            "DELETE FROM aglow.account; DELETE FROM aglow.ids WHERE id LIKE 'lost%'; UPDATE aglow.state SET next_index = next_index - 300",
            _database);

        await using var node = await NodeAsync();
        node.Output.ShouldContain("older than the words in Redis, by up to 300 users");
        foreach (var id in Ids("stranger").Take(20))
            (await node.Http.PostAsJsonAsync("/users", new { user_name = id })).StatusCode.ShouldBe(HttpStatusCode.Created);
        (await ValueAsync("SELECT min(idx) FROM aglow.ids WHERE id LIKE 'stranger%'")).ShouldBe(next);
        foreach (var id in Ids("stranger").Take(20))
        {
            (await node.Http.GetStringAsync($"/status/{id}")).ShouldContain("\"last_seen\":null");
            (await StatusAsync(node, id)).ShouldBe("offline");
        }

        // an index without an ID is shown nowhere
        string[] shown =
            [.. await UsersAsync(node, "/online?limit=10000", "users"), .. await UsersAsync(node, "/changes?limit=10000", "changes")];
        shown.ShouldContain(Ids("old")[0]);
        shown.ShouldAllBe(static id => id.StartsWith("old", StringComparison.Ordinal));
        // whose ID was lost is somebody new
        await HeartbeatAsync(node, Ids("lost")[0]);
        (await UsersAsync(node, "/online?limit=10000", "users")).ShouldContain(Ids("lost")[0]);
        // a node that starts later gives no further indexes away
        await using var later = await NodeAsync();
        later.Output.ShouldNotContain("older than the words");

        static string[] Ids(string name) => [.. Enumerable.Range(0, 300).Select(i => $"{name}-{i}")];

        async Task<long> ValueAsync(string sql) => (long)(await postgres.Process.ExecuteAsync(sql, _database))!;

        static async Task<string[]> UsersAsync(AglowProcess of, string path, string member) =>
            [.. (await of.GetAsync(path)).Json[member]!.AsArray().Select(static one => $"{(one is JsonObject ? one["user_id"] : one)}")];
    }

    [Fact]
    public async Task A_node_without_the_directory_of_the_others_does_not_start()
    {
        await One.Http.PutAsJsonAsync("/users/5/status", new { status = "offline" });
        var empty = await postgres.Process.CreateDatabaseAsync();
        foreach (var flags in new[] { Array.Empty<string>(), ["--postgres", postgres.Process.Address(empty)] })
        {
            var (code, _, errors) = await AglowProcess.RunToEndAsync(
                ["serve", "--urls", "http://127.0.0.1:0", "--redis", $"{_redis!.Endpoint}", .. LongLease, .. flags],
                new() { [flags.Length == 0 ? "AGLOW_NODE_NAME" : "AGLOW_POSTGRES_PASSWORD"] = PostgresProcess.Password });
            code.ShouldBe(1);
            errors.ShouldMatch("^aglow: The nodes that share Redis at .* have user-directory [0-9a-f]{8}, and this node has user-dir.*\n$");
        }
    }

    [Fact]
    public async Task While_postgres_is_away_known_users_go_on_and_it_heals_by_itself()
    {
        await One.Http.PostAsJsonAsync("/users", new { user_name = "alice" });
        await HeartbeatAsync(One, "alice");
        await HeartbeatAsync(Other, "alice");
        // only reads fill the cache of reads, because what a user does must not make a read of that user quicker
        (await StatusAsync(Other, "alice")).ShouldBe("online");
        await postgres.Process.StopAsync();
        try
        {
            (await HeartbeatAsync(One, "alice")).StatusCode.ShouldBe(HttpStatusCode.OK);
            (await HeartbeatAsync(Other, 42)).StatusCode.ShouldBe(HttpStatusCode.OK);
            (await StatusAsync(Other, "alice")).ShouldBe("online");
            foreach (var refused in new[]
            {
                await HeartbeatAsync(One, "nobody yet"),
                await One.Http.GetAsync("/status/somebody"),
                await One.Http.PostAsJsonAsync("/users", new { user_name = "bob" }),
                await One.Http.PostAsJsonAsync("/users/alice/revoke", new { }),
                await Other.Http.PutAsJsonAsync("/users/42/access", new { disabled = true }),
                await Other.Http.GetAsync("/users?q=ali"),
                await Other.Http.PutAsJsonAsync("/users/42/status", new { status = "busy" }),
                await Other.Http.PutAsJsonAsync("/users/42/visibility", new { online = "nobody" }),
                await Other.Http.PostAsJsonAsync("/users/42/blocked", new { user_ids = new[] { 7 } }),
                await Other.Http.GetAsync("/users/42/subscriptions"),
                await Other.Http.DeleteAsync(new Uri("/users/alice", UriKind.Relative)),
            })
            {
                refused.StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable, refused.RequestMessage!.RequestUri!.PathAndQuery);
                refused.Headers.RetryAfter.ShouldNotBeNull();
                (await refused.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("title").GetString().ShouldBe("Store away");
            }

            // presence itself still works, so the node is ready
            (await One.Http.GetAsync("/health/ready")).StatusCode.ShouldBe(HttpStatusCode.OK);
            await Eventually.HoldsAsync(async () => (await One.Http.GetStringAsync("/metrics")).Contains("aglow_directory_away 1"));
        }
        finally
        {
            await postgres.Process.RestartAsync();
        }

        await Eventually.HoldsAsync(async () => (await HeartbeatAsync(One, "nobody yet")).StatusCode == HttpStatusCode.OK);
        await Eventually.HoldsAsync(async () => await StatusAsync(Other, "nobody yet") == "online");
        (await SearchAsync(Other, "ali")).ShouldBe(["alice"]);
        // a deletion takes the user offline before the directory refuses it
        (await HeartbeatAsync(One, "alice")).StatusCode.ShouldBe(HttpStatusCode.OK);
        await One.Http.PutAsJsonAsync("/users/alice/status", new { status = "busy" });
        await Eventually.HoldsAsync(async () => await StatusAsync(Other, "alice") == "busy");
        await Eventually.HoldsAsync(() => One.Output.Contains("is back after") && Other.Output.Contains("is back after"));
        One.Output.Split('\n').Count(line => line.Contains("Calls that need the directory get 503")).ShouldBe(1);
    }

    private async Task<AglowProcess> NodeAsync()
    {
        var node = AglowProcess.Run(
            null,
            ["--redis", $"{_redis!.Endpoint}", "--drain-seconds", "0", "--postgres", postgres.Process.Address(_database), .. LongLease],
            new() { ["AGLOW_POSTGRES_PASSWORD"] = PostgresProcess.Password });
        await node.ReadyAsync();
        return node;
    }

    private static async Task<string?> SeenByAsync(AglowProcess node, string user, uint viewer) =>
        (await node.Http.GetFromJsonAsync<JsonElement>($"/status/{user}?viewer={viewer}")).GetProperty("status").GetString();

    private static async Task<long> CountAsync(AglowProcess node) =>
        (await node.Http.GetFromJsonAsync<JsonElement>("/online/count")).GetProperty("online").GetInt64();

    private static async Task<string[]> SubscriptionsAsync(AglowProcess node, string user) =>
        [.. (await node.Http.GetFromJsonAsync<JsonElement>($"/users/{user}/subscriptions"))
            .GetProperty("user_ids").EnumerateArray().Select(static u => u.ToString())];

    private static async Task<string?[]> SearchAsync(AglowProcess node, string query)
    {
        var names = new List<string?>();
        for (var cursor = ""; cursor is not null;)
        {
            // a page may be short
            var page = await node.Http.GetFromJsonAsync<JsonElement>($"/users?q={query}{(cursor.Length > 0 ? "&cursor=" : "")}{cursor}");
            names.AddRange(page.GetProperty("users").EnumerateArray().Select(u => u.GetProperty("user_name").GetString()));
            cursor = page.GetProperty("next").GetString();
        }

        return [.. names];
    }
}
