namespace Aglow.Server.Tests;

[Collection(Calls.Name)]
public class HeartbeatTests(SharedServer shared)
{
    private const string Success = """{"status":"success","next_heartbeat_seconds":10,"offline_after_seconds":30}""";
    private readonly AglowProcess _server = shared.Server;

    [Fact]
    public async Task A_heartbeat_makes_a_user_online_from_then_on()
    {
        var user = SharedServer.NewUsers();
        (await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user}}}""")).ShouldBeJson(Success);
        (await _server.StatusOfAsync($"{user}")).ShouldBe("online");
        // a renewal gets the same answer
        (await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user}}}""")).ShouldBeJson(Success);
    }

    [Fact]
    public async Task A_list_may_mix_numbers_and_keys()
    {
        var user = SharedServer.NewUsers(2);
        var key = SharedServer.NewKey();
        (await _server.PostAsync("/heartbeat", $$"""{"user_ids":[{{user}},"{{user + 1}}","{{key}}"],"active":true}"""))
            .ShouldBeJson(Success);
        foreach (var one in new[] { $"{user}", $"{user + 1}", key })
            (await _server.StatusOfAsync(one)).ShouldBe("online");
    }

    [Theory]
    [InlineData("""{"user_id":USER,"active":true}""")]
    [InlineData("""{"active":false,"user_id":USER}""")]
    [InlineData("""{"user_id":"USER"}""")]
    [InlineData("""  {  "user_id" : USER , "active" : true }  """)]
    [InlineData("""{"user_ids":[USER]}""")]
    [InlineData("""{"user_ids":[USER,USER,"USER"]}""")]
    [InlineData("""{"\u0075ser_id":USER}""")]
    public async Task Every_form_of_one_user_is_understood(string body)
    {
        var user = SharedServer.NewUsers();
        (await _server.PostAsync("/heartbeat", body.Replace("USER", $"{user}"))).ShouldBeJson(Success);
        (await _server.StatusOfAsync($"{user}")).ShouldBe("online");
    }

    [Fact]
    public async Task An_empty_list_is_nothing_to_do() =>
        (await _server.PostAsync("/heartbeat", """{"user_ids":[]}""")).ShouldBeJson(Success);

    [Fact]
    public async Task Nobody_is_authenticated_in_open_mode()
    {
        (await _server.SendAsync(HttpMethod.Post, "/heartbeat")).ShouldBeProblem(401, "user_id");
        (await _server.SendAsync(HttpMethod.Post, "/heartbeat", [], "application/json")).ShouldBeProblem(401, "user_id");
        (await _server.SendAsync(HttpMethod.Post, "/offline")).ShouldBeProblem(401, "user_id");
        (await _server.PostAsync("/heartbeat", """{"active":true}""")).ShouldBeProblem(401, "user_id");
        (await _server.PostAsync("/heartbeat", """{"device":{"id":"a"}}""")).ShouldBeProblem(401, "user_id");
    }

    public static TheoryData<string> Malformed => new(
        "", // replaced by whitespace below: an empty body is something else
        "{",
        "nonsense",
        "[1]",
        "42",
        "null",
        "{}",
        """{"user_id":null}""",
        """{"user_id":true}""",
        """{"user_id":-1}""",
        """{"user_id":1.5}""",
        """{"user_id":1e3}""",
        """{"user_id":9223372036854775808}""",
        """{"user_id":042}""",
        """{"user_id":99999999999999999999999}""",
        """{"user_id":""}""",
        """{"user_id":"a\nb"}""",
        """{"user_id":"a\u0000b"}""",
        """{"user_id":"a\u0085b"}""",
        """{"user_id":"\ud800"}""",
        """{"user_id":[1]}""",
        """{"user_id":{"user_id":1}}""",
        """{"user_id":1,"user_id":1}""",
        """{"user_id":1,"user_ids":[1]}""",
        """{"user_id":1,"active":"yes"}""",
        """{"user_id":1,"active":1}""",
        """{"user_id":1,"active":null}""",
        """{"user_id":1,}""",
        """{"user_id":1} {"user_id":2}""",
        """{"user_id":1}x""",
        """{"user_ids":1}""",
        """{"user_ids":{}}""",
        """{"user_ids":[1,-2]}""",
        """{"user_ids":[1,[2]]}""",
        """{"user_ids":[1,null]}""",
        """{"user_ids":[1,""]}""",
        """{"user_ids":[1""");

    [Theory]
    [MemberData(nameof(Malformed))]
    public async Task What_is_malformed_is_told_what_to_send(string body)
    {
        foreach (var path in new[] { "/heartbeat", "/offline" })
        {
            if (path == "/offline" && body.Contains("\"active\":null"))
                continue;
            (await _server.PostAsync(path, body.Length == 0 ? " " : body)).ShouldBeProblem(400);
        }
    }

    [Fact]
    public async Task A_text_has_at_most_255_bytes()
    {
        (await _server.PostAsync("/heartbeat", $$"""{"user_id":"{{new string('x', 256)}}"}""")).ShouldBeProblem(400, "255 bytes");
        (await _server.PostAsync("/heartbeat", $$"""{"user_id":"{{new string('é', 128)}}"}""")).ShouldBeProblem(400, "255 bytes");
        (await _server.PostAsync("/heartbeat", $$"""{"user_id":"{{string.Concat(Enumerable.Repeat("\\u00e9", 127))}}x"}"""))
            .ShouldBeJson(Success);
        (await _server.StatusOfAsync(Uri.EscapeDataString(new string('é', 127) + "x"))).ShouldBe("online");
    }

    [Fact]
    public async Task Bytes_that_are_no_text_are_no_user()
    {
        byte[] body = [.. "{\"user_id\":\""u8, 0xC3, 0x28, .. "\"}"u8];
        (await _server.SendAsync(HttpMethod.Post, "/heartbeat", body, "application/json")).ShouldBeProblem(400);
    }

    [Theory]
    [InlineData("text/plain")]
    [InlineData("application/x-www-form-urlencoded")]
    [InlineData("application/xml")]
    [InlineData("application/json; charset=utf-16")]
    [InlineData("application/jsonx")]
    public async Task Other_content_types_are_refused(string type)
    {
        foreach (var path in new[] { "/heartbeat", "/offline", "/status/update", "/status/batch", "/users" })
            (await _server.PostAsync(path, """{"user_id":1}""", type)).ShouldBeProblem(415, "application/json");
    }

    [Theory]
    [InlineData("application/json; charset=utf-8")]
    [InlineData("application/json;charset=UTF-8")]
    [InlineData("Application/JSON")]
    public async Task Json_may_say_its_charset(string type)
    {
        var body = Encoding.UTF8.GetBytes($$"""{"user_id":{{SharedServer.NewUsers()}}}""");
        (await _server.SendAsync(HttpMethod.Post, "/heartbeat", body, type)).ShouldBeJson(Success);
    }

    [Fact]
    public async Task A_list_holds_at_most_10000()
    {
        var first = SharedServer.NewUsers(10_001);
        string List(int count) => $$"""{"user_ids":[{{string.Join(',', Enumerable.Range(0, count).Select(i => first + i))}}]}""";
        (await _server.PostAsync("/heartbeat", List(10_001))).ShouldBeProblem(413, "10000");
        (await _server.StatusOfAsync($"{first}")).ShouldBe("offline");
        (await _server.PostAsync("/heartbeat", List(10_000))).ShouldBeJson(Success);
        (await _server.StatusOfAsync($"{first + 9_999}")).ShouldBe("online");
        (await _server.PostAsync("/offline", List(10_001))).ShouldBeProblem(413, "10000");
        (await _server.PostAsync("/offline", List(10_000))).ShouldBeJson("""{"status":"success"}""");
        (await _server.StatusOfAsync($"{first + 9_999}")).ShouldBe("offline");
    }

    [Fact]
    public async Task A_refused_user_in_a_list_refuses_the_list()
    {
        var user = SharedServer.NewUsers();
        (await _server.PostAsync("/heartbeat", $$"""{"user_ids":[{{user}},9223372036854775808]}"""))
            .ShouldBeProblem(400, "9223372036854775808");
        (await _server.StatusOfAsync($"{user}")).ShouldBe("offline");
    }

    [Theory]
    [InlineData("""{"user_id":USER,"note":"x"}""", "note")]
    [InlineData("""{"note":{"user_id":1},"user_id":USER}""", "note")]
    [InlineData("""{"user_ids":[USER],"user_name":"x"}""", "user_name")]
    [InlineData("""{"user_id":USER,"User_Id":1}""", "User_Id")]
    public async Task A_member_that_the_call_does_not_know_is_named_and_nothing_is_done(string body, string member)
    {
        var user = SharedServer.NewUsers();
        foreach (var path in new[] { "/heartbeat", "/offline" })
            (await _server.PostAsync(path, body.Replace("USER", $"{user}"))).ShouldBeProblem(400, $"\"{member}\"");
        (await _server.StatusOfAsync($"{user}")).ShouldBe("offline");
    }

    [Fact]
    public async Task A_late_heartbeat_never_moves_a_user_back()
    {
        var user = SharedServer.NewUsers();
        const long then = 1_763_763_300;
        (await _server.PostAsync("/status/update", $$"""{"user_id":{{user}},"timestamp":{{then}}}"""))
            .ShouldBeJson("""{"status":"success"}""");
        (await _server.GetAsync($"/status/{user}")).ShouldBeJson(
            $$"""{"user_id":{{user}},"is_online":false,"status":"offline","last_seen":{{then}}}""");
        (await _server.PostAsync("/status/update", $$"""{"timestamp":{{then - 100}},"user_id":"{{user}}"}"""))
            .ShouldBeJson("""{"status":"success"}""");
        (await _server.GetAsync($"/status/{user}")).Json["last_seen"]!.GetValue<long>().ShouldBe(then);
    }

    [Fact]
    public async Task A_heartbeat_from_the_future_is_one_of_now()
    {
        var user = SharedServer.NewUsers();
        var before = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        (await _server.PostAsync("/status/update", $$"""{"user_id":{{user}},"timestamp":9999999999999}"""))
            .ShouldBeJson("""{"status":"success"}""");
        var record = (await _server.GetAsync($"/status/{user}")).Json;
        record["status"]!.GetValue<string>().ShouldBe("online");
        record["last_seen"]!.GetValue<long>().ShouldBeInRange(before - 1, DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 1);
    }

    [Theory]
    [InlineData("""{"user_id":1}""")]
    [InlineData("""{"timestamp":1763763300}""")]
    [InlineData("""{"user_id":1,"timestamp":null}""")]
    [InlineData("""{"user_id":1,"timestamp":"1763763300"}""")]
    [InlineData("""{"user_id":1,"timestamp":1763763300.5}""")]
    [InlineData("""{"user_id":1,"timestamp":1577836799}""")]
    [InlineData("""{"user_id":1,"timestamp":0}""")]
    [InlineData("""{"user_id":1,"timestamp":-5}""")]
    [InlineData("""{"user_id":1,"timestamp":1e30}""")]
    [InlineData("""{"user_id":1,"timestamp":1763763300,"timestamp":1763763301}""")]
    [InlineData("""{"user_id":1,"user_id":2,"timestamp":1763763300}""")]
    [InlineData("""{"user_id":-1,"timestamp":1763763300}""")]
    [InlineData("""{"user_id":1,"timestamp":1763763300,"active":true}""")]
    [InlineData("[]")]
    [InlineData(" ")]
    [InlineData("{")]
    public async Task A_late_heartbeat_needs_a_user_and_whole_seconds_since_2020(string body) =>
        (await _server.PostAsync("/status/update", body)).ShouldBeProblem(400);

    [Fact]
    public async Task Who_leaves_is_offline_at_once_with_that_last_seen()
    {
        var user = SharedServer.NewUsers(3);
        var before = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        await _server.PostAsync("/heartbeat", $$"""{"user_ids":[{{user}},{{user + 1}},{{user + 2}}]}""");
        (await _server.PostAsync("/offline", $$"""{"user_id":{{user}}}""")).ShouldBeJson("""{"status":"success"}""");
        (await _server.PostAsync("/offline", $$"""{"user_ids":["{{user + 1}}"]}""")).ShouldBeJson("""{"status":"success"}""");
        (await _server.PostPackedAsync("/offline", user + 2)).ShouldBeJson("""{"status":"success"}""");
        for (var i = 0u; i < 3; i++)
        {
            var record = (await _server.GetAsync($"/status/{user + i}")).Json;
            record["status"]!.GetValue<string>().ShouldBe("offline");
            record["last_seen"]!.GetValue<long>()
                .ShouldBeInRange(before - 1, DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 1);
        }

        // online again with the next heartbeat
        await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user}}}""");
        (await _server.StatusOfAsync($"{user}")).ShouldBe("online");
    }

    [Fact]
    public async Task Leaving_and_reading_register_nobody()
    {
        var key = SharedServer.NewKey();
        (await _server.PostAsync("/offline", $$"""{"user_id":"{{key}}"}""")).ShouldBeJson("""{"status":"success"}""");
        await _server.GetAsync($"/status/{key}");
        await _server.PostAsync("/status/batch", $$"""[{"user_id":"{{key}}"}]""");
        (await _server.GetAsync($"/users/{key}")).ShouldBeProblem(404);
    }

    [Theory]
    [InlineData("GET", "/heartbeat", "POST")]
    [InlineData("PUT", "/heartbeat", "POST")]
    [InlineData("GET", "/offline", "POST")]
    [InlineData("POST", "/status/1", "GET, HEAD")]
    [InlineData("DELETE", "/status/update", "GET, HEAD")]
    [InlineData("GET", "/status/batch", "POST")]
    [InlineData("POST", "/status/users", "GET, HEAD")]
    [InlineData("POST", "/status/1/explain", "GET, HEAD")]
    [InlineData("OPTIONS", "/users", "POST, GET, HEAD, PUT, PATCH, DELETE")]
    [InlineData("POST", "/users/1", "PUT, PATCH, GET, HEAD, DELETE")]
    [InlineData("DELETE", "/users/batch", "POST")]
    [InlineData("GET", "/users/1/revoke", "POST")]
    [InlineData("GET", "/users/1/access", "PUT")]
    [InlineData("POST", "/status", "GET, HEAD")]
    [InlineData("POST", "/users/1/status", "GET, HEAD, PUT, DELETE")]
    [InlineData("PUT", "/users/1/subscriptions", "GET, HEAD, POST, DELETE")]
    [InlineData("POST", "/online", "GET, HEAD")]
    [InlineData("POST", "/online/count", "GET, HEAD")]
    [InlineData("POST", "/metrics", "GET, HEAD")]
    [InlineData("POST", "/health/live", "GET, HEAD")]
    [InlineData("POST", "/health/ready", "GET, HEAD")]
    public async Task Another_method_is_answered_with_those_allowed(string method, string path, string allow)
    {
        var answer = (await _server.SendAsync(new HttpMethod(method), path)).ShouldBeProblem(405);
        string.Join(", ", answer.ContentHeaders.Allow).ShouldBe(allow);
    }
}
