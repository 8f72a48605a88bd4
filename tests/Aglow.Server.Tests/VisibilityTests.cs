namespace Aglow.Server.Tests;

/// <summary>What each viewer sees of each user, on every path.</summary>
[Collection(TokenCalls.Name)]
public class VisibilityTests(TokenServer shared)
{
    private readonly AglowProcess _server = shared.Server;

    private Task<Answer> CallAsync(string user, string method, string path, string? json = null) =>
        _server.CallAsync(Token.Of(user), method, path, json);

    /// <summary>Creates a user who is online and has a profile: a text ID, or a number below 2^31, which packed words can hold.</summary>
    private async Task<string> ArriveAsync(string prefix, bool isNumber = false)
    {
        var user = isNumber ? $"{SharedServer.NewUsers()}" : SharedServer.NewKey(prefix);
        (await CallAsync(user, "POST", "/heartbeat")).Status.ShouldBe(200);
        (await CallAsync(user, "PUT", $"/users/{user}", $"{{\"user_name\":\"{SharedServer.NewKey(NameOf(user))}\"}}")).Status.ShouldBe(201);
        return user;
    }

    private static string NameOf(string user) => $"called-{user}";

    /// <summary>The ID in the form of lists.</summary>
    private static string Json(string user) => uint.TryParse(user, out _) ? user : $"\"{user}\"";

    [Theory]
    [InlineData("everyone", "exact")]
    [InlineData("everyone", "coarse")]
    [InlineData("everyone", "hidden")]
    [InlineData("nobody", "exact")]
    public async Task A_write_answers_with_what_its_caller_may_see(string online, string lastSeen)
    {
        var key = await TokenServer.AddKeyAsync(_server.Folder, SharedServer.NewKey(), "read,users");
        await Eventually.TrueAsync(async () => (await _server.CallAsync(key, "GET", "/status/1")).Status == 200, 60, "the key is taken");
        var user = await ArriveAsync("shown");
        await ShowAsync(user, $$"""{"online":"{{online}}","last_seen":"{{lastSeen}}"}""");
        var (name, token) = (NameOf(user), Token.Of(user));
        foreach (var credential in new[] { key, token })
        {
            foreach (var (method, path, json) in new[]
            {
                ("PUT", $"/users/{user}/status", "{\"status\":\"busy\",\"text\":\"secret\"}"),
                ("PUT", $"/users/{user}/status", "{\"status\":\"auto\"}"),
                ("PATCH", $"/users/{user}", "{\"display_name\":\"Shown\"}"),
                ("PUT", $"/users/{user}", $"{{\"user_name\":\"{name}\"}}"),
            })
            {
                var written = (await _server.CallAsync(credential, method, path, json)).Json;
                var read = (await _server.CallAsync(credential, "GET", $"/users/{user}")).Json;
                foreach (var member in new[] { "is_online", "status", "last_seen_about", "text", "manual", "devices" })
                    written[member]?.ToJsonString().ShouldBe(read[member]?.ToJsonString(), $"{method} {path} {json} {member}");
                // a second may pass between the two
                (written["last_seen"] is null).ShouldBe(read["last_seen"] is null, $"{method} {path} {json}");
            }
        }
    }

    private async Task ShowAsync(string user, string json) =>
        (await CallAsync(user, "PUT", $"/users/{user}/visibility", json)).Status.ShouldBe(200);

    /// <summary>What a viewer sees of a user by every call, each as one text without the parts that name the call itself.</summary>
    private async Task<Dictionary<string, string>> SeenAsync(string viewer, string name)
    {
        static string Record(JsonNode node) =>
            $"{node["is_online"]} {node["status"]} {node["last_seen"]?.ToString() ?? "null"} {node["last_seen_about"]}";
        var seen = new Dictionary<string, string>
        {
            ["status"] = Record((await CallAsync(viewer, "GET", $"/status/{name}")).Json),
            ["status by query"] = Record((await CallAsync(viewer, "GET", $"/status?user={name}")).Json),
            ["reachable"] = Record((await CallAsync(viewer, "GET", $"/status/{name}?definition=reachable")).Json),
            ["by ids"] = Record((await CallAsync(viewer, "GET", $"/status/users?ids={name}")).Json[name]!),
            ["batch"] = Record((await CallAsync(viewer, "POST", "/status/batch", $"{{\"user_ids\":[\"{name}\"]}}")).Json[0]!),
            ["objects"] = Record((await CallAsync(viewer, "POST", "/status/batch", $"[{{\"user_id\":{Json(name)}}}]")).Json[0]!),
            ["user by query"] = Record((await CallAsync(viewer, "GET", $"/users?user={name}")).Json),
            ["user"] = Record((await CallAsync(viewer, "GET", $"/users/{name}")).Json),
            ["search"] = Record((await CallAsync(viewer, "GET", $"/users?q={NameOf(name)}")).Json["users"]![0]!),
            ["list"] = (await _server.CallAsync(shared.Keys["read"], "GET", $"/online?limit=10000&viewer={viewer}"))
                .Json["users"]!.AsArray()
                .Any(user => user!.ToString() == name)
                .ToString(),
            ["a backend with their eyes"] = Record(
                (await _server.CallAsync(shared.Keys["read"], "GET", $"/status/{name}?viewer={viewer}")).Json),
        };
        if (uint.TryParse(name, out var number))
        {
            var word = (await _server.SendAsync(
                HttpMethod.Post, "/status/batch", Calling.Pack([number]), Calling.Packed, token: Token.Of(viewer))).Words[0];
            seen["packed"] = $"{word >> 31} {(word & int.MaxValue) != 0}";
        }

        await using (var socket = await _server.OpenSocketAsync(Token.Of(viewer)))
        {
            await socket.SendAsync($"{{\"type\":\"watch\",\"users\":[\"{name}\"]}}");
            seen["socket"] = Record(JsonNode.Parse((await socket.ReadMessageAsync()).GetProperty("users")[0].GetRawText())!);
        }

        using var stream = new StreamReader(await _server.Http.GetStreamAsync($"/watch?users={name}&access_token={Token.Of(viewer)}"));
        await stream.ReadLineAsync();
        seen["stream"] = Record(JsonNode.Parse((await stream.ReadLineAsync())!["data: ".Length..])!["users"]![0]!);
        return seen;
    }

    private static void ShouldSee(Dictionary<string, string> seen, Func<string, bool> record, bool isOnline, bool hasExactTime)
    {
        foreach (var (path, told) in seen)
        {
            if (path == "list")
                told.ShouldBe($"{isOnline}", path);
            else if (path == "packed")
                told.ShouldBe($"{(isOnline ? 1 : 0)} {hasExactTime}", path);
            else
                record(told).ShouldBeTrue($"{path}: {told}");
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_nobody_may_see_is_on_no_path(bool isNumber)
    {
        var (ann, bob) = (await ArriveAsync("ann", isNumber), await ArriveAsync("bob"));
        ShouldSee(
            await SeenAsync(bob, ann),
            static r => r.StartsWith("true online 1", StringComparison.Ordinal),
            isOnline: true,
            hasExactTime: true);
        var counted = await CountAsync();
        await ShowAsync(ann, """{"online":"nobody"}""");
        ShouldSee(await SeenAsync(bob, ann), static r => r == "false offline null ", isOnline: false, hasExactTime: false);
        (await CountAsync()).ShouldBeLessThan(counted);
        // she sees her own status, and operators see the reason
        (await CallAsync(ann, "GET", $"/status/{ann}")).Json["status"]!.GetValue<string>().ShouldBe("online");
        (await _server.CallAsync(shared.Keys["operate"], "GET", $"/status/{ann}/explain")).Json["status"]!.GetValue<string>()
            .ShouldBe("online");
        // a caller that names no viewer sees what everyone sees
        (await _server.CallAsync(shared.Keys["read"], "GET", $"/status/{ann}")).Json["last_seen"].ShouldBeNull();
        // and she looks exactly like a user who never existed
        var never = (await CallAsync(bob, "GET", "/status/nobody-of-this-name")).Text;
        (await CallAsync(bob, "GET", $"/status/{ann}")).Text.ShouldBe(never.Replace("\"nobody-of-this-name\"", Json(ann)));
        await ShowAsync(ann, """{"online":"everyone"}""");
        ShouldSee(
            await SeenAsync(bob, ann),
            static r => r.StartsWith("true online 1", StringComparison.Ordinal),
            isOnline: true,
            hasExactTime: true);
    }

    [Theory]
    [InlineData("nobody")]
    [InlineData("followers-approved")]
    [InlineData("blocked")]
    public async Task The_deletion_of_a_user_who_was_never_visible_reaches_no_watcher(string how)
    {
        var (ann, bob, carl) = (SharedServer.NewKey("ann"), await ArriveAsync("bob"), await ArriveAsync("carl"));
        if (how == "blocked")
            (await CallAsync(ann, "POST", $"/users/{ann}/blocked", $"{{\"user_ids\":[\"{bob}\"]}}")).Status.ShouldBe(200);
        else
            await ShowAsync(ann, $"{{\"online\":\"{how}\"}}");
        (await CallAsync(ann, "POST", "/heartbeat")).Status.ShouldBe(200);
        await using var socket = await _server.OpenSocketAsync(Token.Of(bob));
        await socket.SendAsync($"{{\"type\":\"watch\",\"users\":[\"{ann}\",\"{carl}\"]}}");
        (await socket.ReadMessageAsync()).GetProperty("users")[0].GetProperty("status").GetString().ShouldBe("offline");
        (await CallAsync(ann, "DELETE", $"/users/{ann}")).Status.ShouldBe(204);
        // carl's leave is reported a second later, so any change of ann would come before it
        (await CallAsync(carl, "POST", "/offline")).Status.ShouldBe(200);
        var told = (await socket.ReadMessageAsync()).GetProperty("users");
        (told.GetArrayLength(), told[0].GetProperty("user_id").GetString()).ShouldBe((1, carl));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Approved_followers_see_what_others_do_not_and_who_is_blocked_sees_nothing(bool isNumber)
    {
        var (ann, bob, eve) = (await ArriveAsync("ann", isNumber), await ArriveAsync("bob", isNumber), await ArriveAsync("eve"));
        await ShowAsync(ann, """{"online":"followers-approved"}""");
        (await CallAsync(ann, "POST", $"/users/{ann}/approved", $"{{\"user_ids\":[\"{bob}\"]}}"))
            .ShouldBeJson($"{{\"user_ids\":[{Json(bob)}]}}");
        ShouldSee(
            await SeenAsync(bob, ann),
            static r => r.StartsWith("true online 1", StringComparison.Ordinal),
            isOnline: true,
            hasExactTime: true);
        ShouldSee(await SeenAsync(eve, ann), static r => r == "false offline null ", isOnline: false, hasExactTime: false);
        (await CallAsync(ann, "POST", $"/users/{ann}/blocked", $"{{\"user_ids\":[{Json(bob)}]}}")).Status.ShouldBe(200);
        ShouldSee(await SeenAsync(bob, ann), static r => r == "false offline null ", isOnline: false, hasExactTime: false);
        (await CallAsync(ann, "DELETE", $"/users/{ann}/blocked", $"{{\"user_ids\":[\"{bob}\"]}}")).ShouldBeJson("""{"user_ids":[]}""");
        ShouldSee(
            await SeenAsync(bob, ann),
            static r => r.StartsWith("true online 1", StringComparison.Ordinal),
            isOnline: true,
            hasExactTime: true);
        (await CallAsync(ann, "GET", $"/users/{ann}/visibility"))
            .ShouldBeJson($"{{\"user_id\":{Json(ann)},\"online\":\"followers-approved\",\"last_seen\":\"exact\"}}");
        (await CallAsync(ann, "DELETE", $"/users/{ann}/approved", $"{{\"user_ids\":[\"{bob}\"]}}")).Status.ShouldBe(200);
        ShouldSee(await SeenAsync(bob, ann), static r => r == "false offline null ", isOnline: false, hasExactTime: false);
    }

    [Fact]
    public async Task Who_waits_for_approval_is_listed_to_who_approves()
    {
        var ann = await ArriveAsync("ann");
        var followers = new List<string>();
        foreach (var prefix in (string[])["bob", "eve", "kim"])
        {
            followers.Add(await ArriveAsync(prefix));
            (await CallAsync(followers[^1], "POST", $"/users/{followers[^1]}/subscriptions", $"{{\"user_ids\":[\"{ann}\"]}}"))
                .Status.ShouldBe(200);
        }

        var path = $"/users/{ann}/waiting";
        async Task<string> WaitingAsync() => string.Join(' ', (await CallAsync(ann, "GET", path)).Json["user_ids"]!.AsArray());
        (await CallAsync(ann, "GET", path)).ShouldBeJson("""{"user_ids":[],"next":null}""");
        await ShowAsync(ann, """{"online":"followers-approved"}""");
        (await WaitingAsync()).ShouldBe(string.Join(' ', followers));
        (await _server.CallAsync(shared.Keys["users"], "GET", path)).Json["user_ids"]!.AsArray().Count.ShouldBe(3);

        var first = (await CallAsync(ann, "GET", $"{path}?limit=2")).Json;
        first["user_ids"]!.AsArray().Count.ShouldBe(2);
        (await CallAsync(ann, "GET", $"{path}?limit=2&cursor={first["next"]!.GetValue<string>()}"))
            .ShouldBeJson($"{{\"user_ids\":[\"{followers[2]}\"],\"next\":null}}");
        (await CallAsync(ann, "GET", $"{path}?cursor=here")).ShouldBeProblem(400, "cursor");
        (await CallAsync(ann, "GET", $"{path}?limit=0")).ShouldBeProblem(400, "limit");

        await CallAsync(ann, "POST", $"/users/{ann}/approved", $"{{\"user_ids\":[\"{followers[0]}\"]}}");
        await CallAsync(ann, "POST", $"/users/{ann}/blocked", $"{{\"user_ids\":[\"{followers[1]}\"]}}");
        (await WaitingAsync()).ShouldBe(followers[2]);
        await CallAsync(followers[2], "DELETE", $"/users/{followers[2]}/subscriptions", $"{{\"user_ids\":[\"{ann}\"]}}");
        (await WaitingAsync()).ShouldBeEmpty();
        await CallAsync(ann, "DELETE", $"/users/{ann}/approved", $"{{\"user_ids\":[\"{followers[0]}\"]}}");
        (await WaitingAsync()).ShouldBe(followers[0]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Last_seen_is_exact_or_coarse_or_hidden_apart_from_online(bool isNumber)
    {
        var (ann, bob) = (await ArriveAsync("ann", isNumber), await ArriveAsync("bob"));
        await ShowAsync(ann, """{"last_seen":"coarse"}""");
        ShouldSee(await SeenAsync(bob, ann), static r => r == "true online null recently", isOnline: true, hasExactTime: false);
        await ShowAsync(ann, """{"last_seen":"hidden"}""");
        ShouldSee(await SeenAsync(bob, ann), static r => r == "true online null ", isOnline: true, hasExactTime: false);
        await CallAsync(ann, "POST", "/offline");
        (await CallAsync(bob, "GET", $"/status/{ann}")).Json["last_seen"].ShouldBeNull();
        await ShowAsync(ann, """{"last_seen":"coarse"}""");
        (await CallAsync(bob, "GET", $"/status/{ann}")).Json["last_seen_about"]!.GetValue<string>().ShouldBe("recently");
        (await CallAsync(ann, "PUT", $"/users/{ann}/visibility", """{"last_seen":"vague"}""")).ShouldBeProblem(400, "vague");
        (await CallAsync(ann, "PUT", $"/users/{ann}/visibility", "{}")).ShouldBeProblem(400, "Neither");
        (await CallAsync(bob, "PUT", $"/users/{ann}/visibility", """{"online":"everyone"}""")).ShouldBeProblem(403);
    }

    [Fact]
    public async Task Who_watches_is_told_when_their_sight_changes_and_nothing_of_what_they_do_not_see()
    {
        var (ann, bob, eve) = (await ArriveAsync("ann"), await ArriveAsync("bob"), await ArriveAsync("eve"));
        await using var socket = await _server.OpenSocketAsync(Token.Of(bob));
        async Task WatchAsync(string user) => await socket.SendAsync($"{{\"type\":\"watch\",\"users\":[\"{user}\"]}}");
        await WatchAsync(ann);
        (await socket.ReadPresenceAsync()).ShouldBe($"\"{ann}\":online");
        await ShowAsync(ann, """{"online":"nobody"}""");
        var hidden = await socket.ReadMessageAsync();
        hidden.GetProperty("users")[0].GetRawText().ShouldBe(
            $"{{\"user_id\":\"{ann}\",\"is_online\":false,\"status\":\"offline\",\"last_seen\":null}}");

        // ann leaves, returns, is busy, and hides in another way, and nothing is sent; eve, who is visible, is sent
        await CallAsync(ann, "POST", "/offline");
        await CallAsync(ann, "POST", "/heartbeat");
        await CallAsync(ann, "PUT", $"/users/{ann}/status", """{"status":"busy"}""");
        await ShowAsync(ann, """{"last_seen":"hidden"}""");
        await CallAsync(ann, "POST", $"/users/{ann}/blocked", $"{{\"user_ids\":[\"{bob}\"]}}");
        await Task.Delay(TimeSpan.FromSeconds(1.5));
        await WatchAsync(eve);
        (await socket.ReadPresenceAsync()).ShouldBe($"\"{eve}\":online");

        // when she is visible again, her present status is shown
        await CallAsync(ann, "DELETE", $"/users/{ann}/blocked", $"{{\"user_ids\":[\"{bob}\"]}}");
        await ShowAsync(ann, """{"online":"everyone","last_seen":"exact"}""");
        (await socket.ReadPresenceAsync()).ShouldBe($"\"{ann}\":busy");
    }

    [Fact]
    public async Task It_survives_a_crash_and_goes_with_the_user_and_may_be_reciprocal()
    {
        await using var server = await AglowProcess.StartAsync(
            null, [.. Token.ServerFlags, "--reciprocal-visibility", "--lease-seconds", "600"]);
        Task<Answer> AsAsync(AglowProcess on, string user, string method, string path, string? json = null) =>
            on.CallAsync(Token.Of(user), method, path, json);
        foreach (var user in new[] { "ann", "bob", "eve" })
            await AsAsync(server, user, "POST", "/heartbeat");
        (await AsAsync(server, "ann", "PUT", "/users/ann/visibility", """{"online":"followers-approved","last_seen":"coarse"}"""))
            .Status.ShouldBe(200);
        (await AsAsync(server, "ann", "POST", "/users/ann/approved", """{"user_ids":["bob"]}""")).Status.ShouldBe(200);
        (await AsAsync(server, "ann", "POST", "/users/ann/blocked", """{"user_ids":["eve"]}""")).Status.ShouldBe(200);
        // she is not shown to eve, and she sees bob's last-seen time as coarsely as she shows hers
        (await AsAsync(server, "ann", "GET", "/status/eve")).Json["status"]!.GetValue<string>().ShouldBe("offline");
        (await AsAsync(server, "ann", "GET", "/status/bob")).Json["last_seen_about"]!.GetValue<string>().ShouldBe("recently");
        (await AsAsync(server, "bob", "GET", "/status/ann")).Json["status"]!.GetValue<string>().ShouldBe("online");
        await server.KillAsync();

        await using var again = await AglowProcess.StartAsync(server.Folder, [.. Token.ServerFlags, "--lease-seconds", "600"]);
        (await AsAsync(again, "bob", "GET", "/status/ann")).Json["status"]!.GetValue<string>().ShouldBe("online");
        (await AsAsync(again, "eve", "GET", "/status/ann")).Json["status"]!.GetValue<string>().ShouldBe("offline");
        (await AsAsync(again, "ann", "GET", "/users/ann/approved")).ShouldBeJson("""{"user_ids":["bob"]}""");
        // no longer reciprocal
        (await AsAsync(again, "ann", "GET", "/status/eve")).Json["status"]!.GetValue<string>().ShouldBe("online");
        (await AsAsync(again, "bob", "DELETE", "/users/bob")).Status.ShouldBe(204);
        // other users' settings about an ID outlive its deletion
        (await AsAsync(again, "ann", "GET", "/users/ann/approved")).ShouldBeJson("""{"user_ids":["bob"]}""");
        (await AsAsync(again, "ann", "DELETE", "/users/ann")).Status.ShouldBe(204);
        foreach (var list in new[] { "approved", "blocked" })
        {
            (
                await again.CallAsync(
                    Token.Signed(Token.Claims("ann", static c => c["iat"] = Token.Now + 2), Token.Secret), "GET", $"/users/ann/{list}"))
                .ShouldBeJson("""{"user_ids":[]}""");
        }
    }

    private async Task<long> CountAsync() =>
        (await _server.CallAsync(shared.Keys["read"], "GET", "/online/count")).Json["online"]!.GetValue<long>();
}
