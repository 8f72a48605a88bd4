namespace Aglow.Server.Tests;

[Collection(Calls.Name)]
public class StatusTests(SharedServer shared)
{
    private readonly AglowProcess _server = shared.Server;

    [Fact]
    public async Task Who_was_never_seen_is_offline_and_no_404()
    {
        (await _server.GetAsync("/status/2147483000")).ShouldBeJson(
            """{"user_id":2147483000,"is_online":false,"status":"offline","last_seen":null}""");
        (await _server.GetAsync("/status/4294967290")).ShouldBeJson(
            """{"user_id":"4294967290","is_online":false,"status":"offline","last_seen":null}""");
        var key = SharedServer.NewKey();
        (await _server.GetAsync($"/status/{key}")).ShouldBeJson(
            $$"""{"user_id":"{{key}}","is_online":false,"status":"offline","last_seen":null}""");
    }

    [Fact]
    public async Task A_record_is_exactly_this()
    {
        var user = SharedServer.NewUsers();
        var before = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user}}}""");
        var after = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var answer = await _server.GetAsync($"/status/{user}");
        answer.Members.ShouldBe(["user_id", "is_online", "status", "last_seen"]);
        var lastSeen = answer.Json["last_seen"]!.GetValue<long>();
        lastSeen.ShouldBeInRange(before - 1, after + 1);
        answer.ShouldBeJson($$"""{"user_id":{{user}},"is_online":true,"status":"online","last_seen":{{lastSeen}}}""");
    }

    [Fact]
    public async Task Users_are_echoed_in_the_form_they_came()
    {
        var user = SharedServer.NewUsers();
        var answer = await _server.PostAsync(
            "/status/batch", $$"""[{"user_id":"{{user}}"},{"user_id":{{user}}},{"user_id":"0{{user}}"}]""");
        answer.Json.AsArray().Select(static r => r!["user_id"]!.ToJsonString()).ShouldBe([$"\"{user}\"", $"{user}", $"\"0{user}\""]);
    }

    [Fact]
    public async Task Ids_answer_an_object_by_id()
    {
        var user = SharedServer.NewUsers();
        var key = SharedServer.NewKey("b,o b");
        await _server.PostAsync("/heartbeat", $$"""{"user_ids":[{{user}},"{{key}}"]}""");
        var answer = await _server.GetAsync($"/status/users?ids={user},7,{Uri.EscapeDataString(key)},{user},042");
        answer.Members.ShouldBe([$"{user}", "7", key, "042"]);
        answer.Json["7"]!.ToJsonString().ShouldBe("""{"user_id":7,"is_online":false,"status":"offline","last_seen":null}""");
        answer.Json[key]!["user_id"]!.GetValue<string>().ShouldBe(key);
        answer.Json[key]!["is_online"]!.GetValue<bool>().ShouldBeTrue();
        answer.Json[$"{user}"]!["status"]!.GetValue<string>().ShouldBe("online");
        answer.Json["042"]!["user_id"]!.GetValue<string>().ShouldBe("042");
    }

    [Fact]
    public async Task A_thousand_ids_are_the_most()
    {
        var keys = Enumerable.Range(0, 1000).Select(static i => $"{new string('é', 60)}{i:0000}").ToArray();
        var query = string.Join(',', keys.Select(Uri.EscapeDataString));
        (await _server.GetAsync($"/status/users?ids={query}")).Members.ShouldBe(keys);
        (await _server.GetAsync($"/status/users?ids={string.Join(',', Enumerable.Range(0, 1001))}")).ShouldBeProblem(413, "1000");
    }

    [Theory]
    [InlineData("")]
    [InlineData("?ids=")]
    [InlineData("?ids=1,,2")]
    [InlineData("?ids=1,")]
    [InlineData("?ids=%")]
    [InlineData("?ids=%zz")]
    [InlineData("?ids=%ff")]
    [InlineData("?ids=a%0Ab")]
    [InlineData("?ids=1&definition=nope")]
    [InlineData("?ids=1&definition=chat&definition=chat")]
    public async Task Ids_that_are_none_are_refused(string query) => (await _server.GetAsync($"/status/users{query}")).ShouldBeProblem(400);

    [Theory]
    [InlineData("/status")]
    [InlineData("/status/")]
    [InlineData("/status?user=")]
    [InlineData("/status?user=1&user=2")]
    public async Task A_status_of_nobody_is_refused(string path) => (await _server.GetAsync(path)).ShouldBeProblem(400, "user");

    [Fact]
    public async Task A_batch_answers_in_order_whatever_its_form()
    {
        var user = SharedServer.NewUsers(3);
        await _server.PostAsync("/heartbeat", $$"""{"user_ids":[{{user}},{{user + 2}}]}""");
        var objects = await _server.PostAsync(
            "/status/batch", $$"""[{"user_id":{{user + 2}}},{"user_id":{{user + 1}}},{"user_id":{{user}}},{"user_id":{{user}}}]""");
        objects.Json.AsArray().Select(static r => r!["is_online"]!.GetValue<bool>()).ShouldBe([true, false, true, true]);
        var list = await _server.PostAsync("/status/batch", $$"""{"user_ids":[{{user + 2}},{{user + 1}},{{user}},{{user}}]}""");
        list.Text.ShouldBe(objects.Text);
        (await _server.PostAsync("/status/batch", "[]")).ShouldBeJson("[]");
    }

    [Fact]
    public async Task A_batch_holds_at_most_10000()
    {
        string Objects(int count) => $"[{string.Join(',', Enumerable.Range(0, count).Select(static i => $$"""{"user_id":{{i}}}"""))}]";
        string List(int count) =>
            $$"""{"user_ids":[{{string.Join(',', Enumerable.Range(0, count).Select(static i => $"\"{new string('k', 120)}{i}\""))}}]}""";
        (await _server.PostAsync("/status/batch", Objects(10_000))).Json.AsArray().Count.ShouldBe(10_000);
        (await _server.PostAsync("/status/batch", List(10_000))).Json.AsArray().Count.ShouldBe(10_000);
        (await _server.PostAsync("/status/batch", Objects(10_001))).ShouldBeProblem(413, "10000");
        (await _server.PostAsync("/status/batch", List(10_001))).ShouldBeProblem(413, "10000");
    }

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("[1]")]
    [InlineData("[[]]")]
    [InlineData("[{}]")]
    [InlineData("[null]")]
    [InlineData("""{"user_id":1}""")]
    [InlineData("""[{"user_id":1,"user_id":2}]""")]
    [InlineData("""[{"user_id":null}]""")]
    [InlineData("""[{"user_id":-1}]""")]
    [InlineData("""[{"user_id":1}""")]
    [InlineData("""[{"user_id":1,"x":1}]""")]
    [InlineData("""{"user_ids":[1],"x":1}""")]
    [InlineData("""{"user_ids":[9223372036854775808]}""")]
    [InlineData("""[{"user_id":1}] []""")]
    [InlineData("""{"user_ids":[1],"user_ids":[1]}""")]
    [InlineData("""{"user_ids":"1"}""")]
    public async Task A_batch_that_is_none_is_refused(string body) => (await _server.PostAsync("/status/batch", body)).ShouldBeProblem(400);

    [Theory]
    [InlineData("/status/1?definition=nope")]
    [InlineData("/status/1?definition=")]
    [InlineData("/status/1/explain?definition=nope")]
    [InlineData("/online?definition=nope")]
    [InlineData("/online/count?definition=nope")]
    public async Task An_unknown_definition_is_told_which_there_are(string path) =>
        (await _server.GetAsync(path)).ShouldBeProblem(400, "chat, active, reachable");

    [Fact]
    public async Task A_batch_under_an_unknown_definition_is_refused()
    {
        (await _server.PostAsync("/status/batch?definition=nope", "[]")).ShouldBeProblem(400, "reachable");
        (await _server.SendAsync(HttpMethod.Post, "/status/batch?definition=nope", new byte[4], Calling.Packed))
            .ShouldBeProblem(400, "reachable");
    }

    [Fact]
    public async Task Definitions_differ()
    {
        var user = SharedServer.NewUsers(2);
        await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user}}}""");
        await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user + 1}},"active":true}""");
        await _server.PostAsync("/offline", $$"""{"user_id":{{user}}}""");
        async Task<string> StatusAsync(uint who, string definition) =>
            (await _server.GetAsync($"/status/{who}?definition={definition}")).Json["status"]!.GetValue<string>();
        (await StatusAsync(user, "chat")).ShouldBe("offline");
        (await StatusAsync(user, "reachable")).ShouldBe("online");
        (await StatusAsync(user, "active")).ShouldBe("offline");
        (await StatusAsync(user + 1, "active")).ShouldBe("online");
        var batch = await _server.PostAsync("/status/batch?definition=reachable", $$"""{"user_ids":[{{user}}]}""");
        batch.Json[0]!["is_online"]!.GetValue<bool>().ShouldBeTrue();
    }

    public static TheoryData<string> OddKeys => new(
        "a/b", "a%2Fb", "a%2fb", "100%", "%41", "?", "#", "a?b#c", "a&b=c", "a+b", "a b", ",", "a,b", ";", ":", "@", "!$'()*", "[x]", "{y}",
        "|", "\\", "\"", "a\"b\\c", "<script>",
        "~", "^", "`", "é", "Åsa 🌞", "日本語", "\u2028", "\ufeffbom", "-", "_", "042", "+42", "-1", "4294967296", "1.5", "...", "users",
        "batch", "update", "explain", "a/../b", "/", "//", "x/",
        "550e8400-e29b-41d4-a716-446655440000", "me@example.org", "urn:x:1", ".", "..", "9223372036854775808", new string('z', 255));

    [Theory]
    [MemberData(nameof(OddKeys))]
    public async Task A_key_may_hold_anything_but_control_characters(string key)
    {
        var json = JsonSerializer.Serialize(key);
        (await _server.PostAsync("/heartbeat", $$"""{"user_id":{{json}}}""")).Status.ShouldBe(200);
        void ShouldBeOnline(JsonNode? record)
        {
            record!["user_id"]!.GetValue<string>().ShouldBe(key);
            record["is_online"]!.GetValue<bool>().ShouldBeTrue();
        }

        var encoded = Uri.EscapeDataString(key);
        ShouldBeOnline((await _server.GetAsync($"/status?user={encoded}")).Json);
        ShouldBeOnline((await _server.GetAsync($"/users?user={encoded}")).Json);
        // words of the API, and dots, cannot be an ID in a path
        if (key is not ("users" or "batch" or "." or ".."))
        {
            ShouldBeOnline((await _server.GetAsync($"/status/{encoded}")).Json);
            ShouldBeOnline((await _server.GetAsync($"/users/{encoded}")).Json);
        }

        if (key is not ("." or ".."))
            ShouldBeOnline((await _server.GetAsync($"/status/{encoded}/explain")).Json);
        ShouldBeOnline((await _server.GetAsync($"/status/users?ids=1,{encoded}")).Json[key]);
        ShouldBeOnline((await _server.PostAsync("/status/batch", $$"""[{"user_id":{{json}}}]""")).Json[0]);
        // a user given in two spellings counts once
        (await _server.GetAsync($"/status/users?ids={encoded},{encoded}")).Members.ShouldBe([key]);
    }

    [Theory]
    [InlineData("/status/a%0Ab")]
    [InlineData("/status/%7F")]
    [InlineData("/status/%C3%28")]
    [InlineData("/status/%zz")]
    [InlineData("/status/%")]
    [InlineData("/status/%ff%2F")]
    public async Task A_path_that_names_nobody_is_refused(string path) => (await _server.GetAsync(path)).Status.ShouldBe(400);

    [Fact]
    public async Task A_text_in_a_path_has_at_most_255_bytes() =>
        (await _server.GetAsync($"/status/{new string('x', 256)}")).ShouldBeProblem(400, "255");

    [Fact]
    public async Task An_explanation_holds_the_record_and_why()
    {
        var user = SharedServer.NewUsers();
        JsonNode why = null!;
        // on a busy machine the server may have stalled, and holds leases back for some seconds
        await Eventually.TrueAsync(
            async () =>
            {
                await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user}},"active":true}""");
                var answer = await _server.GetAsync($"/status/{user}/explain?definition=active");
                answer.Status.ShouldBe(200);
                why = answer.Json;
                return !why["stall_guard_in_force"]!.GetValue<bool>();
            },
            120,
            "no stall is made up for");
        why["user_id"]!.GetValue<uint>().ShouldBe(user);
        why["is_online"]!.GetValue<bool>().ShouldBeTrue();
        why["status"]!.GetValue<string>().ShouldBe("online");
        why["last_seen"]!.GetValue<long>().ShouldBe(why["last_heartbeat_at"]!.GetValue<long>());
        why["last_heartbeat_age_seconds"]!.GetValue<long>().ShouldBeInRange(0, 10);
        why["lease_seconds"]!.GetValue<int>().ShouldBe(30);
        why["definition"]!.ToJsonString().ShouldBe("""{"name":"active","pulse_seconds":30,"activity_seconds":300,"ended_by_leave":true}""");
        why["manual"]!.GetValue<string>().ShouldBe("auto");
        why["store"]!.GetValue<string>().ShouldBe("embedded");
        why["node"]!.GetValue<string>().ShouldNotBeEmpty();
        why["reason"]!.GetValue<string>().ShouldNotBeEmpty();
        (await _server.GetAsync($"/status/{SharedServer.NewKey()}/explain")).Json["number"].ShouldBeNull();
    }

    [Fact]
    public async Task Head_is_answered_like_get_without_a_body()
    {
        var answer = await _server.SendAsync(HttpMethod.Head, "/status/1");
        answer.Status.ShouldBe(200);
        answer.Bytes.ShouldBeEmpty();
    }
}
