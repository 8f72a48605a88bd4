namespace Aglow.Server.Tests;

/// <summary>A status that people and backends set: text, emoji, end and several sources, on every path.</summary>
[Collection(TokenCalls.Name)]
public class ClaimTests(TokenServer shared)
{
    private const string Said = "\"text\":\"In \\\"a\\\" call ü\",\"emoji\":\"👩‍💻\"";

    private readonly AglowProcess _server = shared.Server;

    private Task<Answer> AsAsync(string user, string method, string path, string? json = null) =>
        _server.CallAsync(Token.Of(user), method, path, json);

    private Task<Answer> ByKeyAsync(string method, string path, string? json = null) =>
        _server.CallAsync(shared.Keys["users"], method, path, json);

    private async Task<string> ArriveAsync()
    {
        var user = $"{SharedServer.NewUsers()}";
        (await AsAsync(user, "POST", "/heartbeat")).Status.ShouldBe(200);
        return user;
    }

    private async Task ClaimAsync(string user, string json) =>
        (await ByKeyAsync("PUT", $"/users/{user}/status", json)).Status.ShouldBe(200);

    private async Task<string> SourcesAsync(string user) => string.Join(
        ' ', (await AsAsync(user, "GET", $"/users/{user}/status")).Json["claims"]!.AsArray().Select(static claim => $"{claim!["source"]}"));

    private static string Record(JsonNode record) => $"{record["status"]} {record["text"]} {record["emoji"]} {record["until"]}";

    /// <summary>What every path shows of a user.</summary>
    private async Task<Dictionary<string, string>> SeenAsync(string viewer, string user, string name)
    {
        var seen = new Dictionary<string, string>
        {
            ["status"] = Record((await AsAsync(viewer, "GET", $"/status/{user}")).Json),
            ["by ids"] = Record((await AsAsync(viewer, "GET", $"/status/users?ids={user}")).Json[user]!),
            ["batch"] = Record((await AsAsync(viewer, "POST", "/status/batch", $"{{\"user_ids\":[{user}]}}")).Json[0]!),
            ["user"] = Record((await AsAsync(viewer, "GET", $"/users/{user}")).Json),
            ["search"] = Record((await AsAsync(viewer, "GET", $"/users?q={name}")).Json["users"]![0]!),
            ["explain"] = Record((await _server.CallAsync(shared.Keys["operate"], "GET", $"/status/{user}/explain")).Json),
        };
        await using (var socket = await _server.OpenSocketAsync(Token.Of(viewer)))
        {
            await socket.SendAsync($"{{\"type\":\"watch\",\"users\":[{user}]}}");
            seen["socket"] = Record(JsonNode.Parse((await socket.ReadMessageAsync()).GetProperty("users")[0].GetRawText())!);
        }

        using var stream = new StreamReader(await _server.Http.GetStreamAsync($"/watch?users={user}&access_token={Token.Of(viewer)}"));
        await stream.ReadLineAsync();
        seen["stream"] = Record(JsonNode.Parse((await stream.ReadLineAsync())!["data: ".Length..])!["users"]![0]!);
        return seen;
    }

    [Fact]
    public async Task What_a_claim_says_is_told_on_every_path_and_to_nobody_while_the_user_hides()
    {
        var (user, name) = (await ArriveAsync(), SharedServer.NewKey("claimed"));
        await AsAsync(user, "PUT", $"/users/{user}", $"{{\"user_name\":\"{name}\"}}");
        var until = Token.Now + 1000;
        var answer = await AsAsync(user, "PUT", $"/users/{user}/status", $"{{\"status\":\"busy\",{Said},\"until\":{until}}}");
        answer.Members.ShouldBe(["user_id", "is_online", "status", "last_seen", "manual", "text", "emoji", "until"]);
        var expected = $"busy In \"a\" call ü 👩‍💻 {until}";
        Record(answer.Json).ShouldBe(expected);
        var viewer = await ArriveAsync();
        foreach (var (path, told) in await SeenAsync(viewer, user, name))
            told.ShouldBe(expected, path);

        // another source hides the user, whatever its priority
        await ClaimAsync(user, """{"status":"offline","source":"panic","priority":-5}""");
        foreach (var (path, told) in await SeenAsync(viewer, user, name))
            told.ShouldBe("offline   ", path);
        (await SourcesAsync(user)).ShouldBe("panic user");
        (await ByKeyAsync("DELETE", $"/users/{user}/status?source=panic")).Status.ShouldBe(204);

        // a viewer to whom the user is not shown sees no claim either
        await AsAsync(user, "POST", $"/users/{user}/blocked", $"{{\"user_ids\":[{viewer}]}}");
        (await SeenAsync(viewer, user, name)).Where(static seen => seen.Key != "explain" && seen.Value != "offline   ").ShouldBeEmpty();
        await AsAsync(user, "DELETE", $"/users/{user}/blocked", $"{{\"user_ids\":[{viewer}]}}");

        // and a user who has left shows no claim
        await AsAsync(user, "POST", "/offline");
        foreach (var (path, told) in await SeenAsync(viewer, user, name))
            told.ShouldBe("offline   ", path);
    }

    [Fact]
    public async Task The_highest_priority_is_shown_then_the_newest_and_what_is_beneath_comes_back()
    {
        var user = await ArriveAsync();
        await ClaimAsync(user, """{"status":"away"}""");
        await ClaimAsync(user, """{"status":"busy","text":"meeting","source":"calendar"}""");
        (await _server.CallAsync(Token.Of(user), "GET", $"/status/{user}")).Json["text"]!.ToString().ShouldBe("meeting");
        await ClaimAsync(user, """{"status":"online","text":"on call","source":"rota","priority":5}""");
        await ClaimAsync(user, """{"status":"busy","text":"another meeting","source":"calendar"}""");
        (await SourcesAsync(user)).ShouldBe("rota calendar user");
        await ByKeyAsync("DELETE", $"/users/{user}/status?source=rota");
        (await SourcesAsync(user)).ShouldBe("calendar user");
        var list = (await ByKeyAsync("GET", $"/users/{user}/status")).Json["claims"]!.AsArray();
        list.Select(static claim => (bool)claim!["is_shown"]!).ShouldBe([true, false]);
        Record(list[0]!).ShouldBe("busy another meeting  ");
        // "auto" removes the claim of one source; with a text, only the text remains
        await ClaimAsync(user, """{"status":"auto","source":"calendar"}""");
        (await SourcesAsync(user)).ShouldBe("user");
        await ClaimAsync(user, """{"status":"auto","text":"new here"}""");
        Record((await AsAsync(user, "GET", $"/status/{user}")).Json).ShouldBe("online new here  ");
        (await AsAsync(user, "DELETE", $"/users/{user}/status")).Status.ShouldBe(204);
        (await AsAsync(user, "DELETE", $"/users/{user}/status")).Status.ShouldBe(204);
        (await SourcesAsync(user)).ShouldBe("");
        (await AsAsync(await ArriveAsync(), "GET", $"/users/{user}/status")).ShouldBeProblem(403);
    }

    [Fact]
    public async Task The_end_of_a_claim_is_told_to_who_watches_and_what_was_beneath_shows_again()
    {
        var (user, hidden) = (await ArriveAsync(), await ArriveAsync());
        await ClaimAsync(user, """{"status":"away","text":"beneath"}""");
        await using var watcher = await _server.OpenSocketAsync(Token.Of(await ArriveAsync()));
        await watcher.SendAsync($"{{\"type\":\"watch\",\"users\":[{user},{hidden}]}}");
        await watcher.ReadMessageAsync();
        await ClaimAsync(user, """{"status":"busy","text":"call","source":"call","for_seconds":6}""");
        var told = await watcher.ReadRecordAsync(user);
        told.GetProperty("text").GetString().ShouldBe("call");
        var until = told.GetProperty("until").GetInt64();
        // by itself, without any call
        told = await watcher.ReadRecordAsync(user);
        Token.Now.ShouldBeGreaterThanOrEqualTo(until);
        told.GetProperty("text").GetString().ShouldBe("beneath");
        told.TryGetProperty("until", out _).ShouldBeFalse();
        (await SourcesAsync(user)).ShouldBe("user");

        // the same if the end reveals a user who was hidden
        await ClaimAsync(hidden, """{"status":"offline","for_seconds":6}""");
        (await watcher.ReadRecordAsync(hidden)).GetProperty("status").GetString().ShouldBe("offline");
        (await watcher.ReadRecordAsync(hidden)).GetProperty("status").GetString().ShouldBe("online");
    }

    /// <summary>A socket's status message takes the same members, and returns the same errors.</summary>
    [Fact]
    public async Task A_socket_sets_a_claim_as_a_call_does()
    {
        var user = await ArriveAsync();
        await using var socket = await _server.OpenSocketAsync(Token.Of(user));
        await socket.SendAsync(
            $"{{\"type\":\"status\",\"id\":1,\"status\":\"busy\",{Said},\"for_seconds\":1000,\"source\":\"me\",\"priority\":1}}");
        (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("ok");
        Record((await AsAsync(user, "GET", $"/status/{user}")).Json).ShouldStartWith("busy In \"a\" call ü 👩‍💻 1");
        await socket.SendAsync("{\"type\":\"status\",\"id\":2,\"status\":\"auto\",\"source\":\"me\"}");
        (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("ok");
        (await SourcesAsync(user)).ShouldBe("");
        await socket.SendAsync("{\"type\":\"status\",\"id\":3,\"status\":\"busy\",\"until\":5}");
        var refused = await socket.ReadMessageAsync();
        (refused.GetProperty("id").GetInt32(), refused.GetProperty("status").GetInt32()).ShouldBe((3, 422));
        await socket.SendAsync("{\"type\":\"active\",\"id\":4,\"text\":\"x\"}");
        (await socket.ReadMessageAsync()).GetProperty("detail").GetString()!.ShouldContain("\"text\" is not a member");
    }

    [Theory]
    [InlineData(400, "text is not a string", "\"status\":\"busy\",\"text\":5")]
    [InlineData(400, "emoji is not a string", "\"status\":\"busy\",\"emoji\":{}")]
    [InlineData(400, "text has control", "\"status\":\"busy\",\"text\":\"a\\nb\"")]
    [InlineData(400, "text is not valid text", "\"status\":\"busy\",\"text\":\"\\ud800\"")]
    [InlineData(400, "until is not an integer", "\"status\":\"busy\",\"until\":\"soon\"")]
    [InlineData(400, "until is not an integer", "\"status\":\"busy\",\"until\":1.5")]
    [InlineData(400, "for_seconds is 0", "\"status\":\"busy\",\"for_seconds\":0")]
    [InlineData(400, "both given", "\"status\":\"busy\",\"until\":9999999999,\"for_seconds\":1")]
    [InlineData(400, "priority is not an integer", "\"status\":\"busy\",\"priority\":\"high\"")]
    [InlineData(400, "priority is 2147483648", "\"status\":\"busy\",\"priority\":2147483648")]
    [InlineData(400, "source is not a name", "\"status\":\"busy\",\"source\":\"\"")]
    [InlineData(400, "source is not a name", "\"status\":\"busy\",\"source\":\"a\\u0000\"")]
    [InlineData(400, "no member \"expires_at\"", "\"status\":\"busy\",\"expires_at\":5")]
    [InlineData(400, "text is given twice", "\"status\":\"busy\",\"text\":\"a\",\"text\":\"b\"")]
    [InlineData(400, "status is missing", "\"text\":\"a\"")]
    [InlineData(422, "until is 5", "\"status\":\"busy\",\"until\":5")]
    [InlineData(422, "2088", "\"status\":\"busy\",\"until\":9999999999")]
    [InlineData(422, "2088", "\"status\":\"busy\",\"for_seconds\":9223372036854775807")]
    [InlineData(422, "/quiet-hours", "\"status\":\"busy\",\"source\":\"quiet_hours\"")]
    public async Task A_wrong_member_is_named(int status, string detail, string members)
    {
        var user = await ArriveAsync();
        (await ByKeyAsync("PUT", $"/users/{user}/status", $"{{{members}}}")).ShouldBeProblem(status, detail);
        (await SourcesAsync(user)).ShouldBe("");
    }

    [Theory]
    [InlineData("text", 280)]
    [InlineData("emoji", 64)]
    [InlineData("source", 64)]
    public async Task Limits_are_in_bytes(string member, int most)
    {
        var user = await ArriveAsync();
        await ClaimAsync(user, $"{{\"status\":\"busy\",\"{member}\":\"{new string('ü', most / 2)}\"}}");
        (await ByKeyAsync("PUT", $"/users/{user}/status", $"{{\"status\":\"busy\",\"{member}\":\"{new string('ü', most / 2)}x\"}}"))
            .ShouldBeProblem(400, $"{most}");
    }

    [Fact]
    public async Task A_ninth_source_is_refused_and_one_that_ended_makes_room()
    {
        var user = await ArriveAsync();
        for (var i = 0; i < 7; i++)
            await ClaimAsync(user, $"{{\"status\":\"busy\",\"source\":\"{i}\"}}");
        await ClaimAsync(user, """{"status":"busy","source":"short","for_seconds":6}""");
        const string Ninth = """{"status":"busy","source":"ninth"}""";
        (await ByKeyAsync("PUT", $"/users/{user}/status", Ninth)).ShouldBeProblem(422, "8 other sources");
        // a backend cannot take the place of the person's own choice
        await ClaimAsync(user, """{"status":"offline"}""");
        (await ByKeyAsync("DELETE", $"/users/{user}/status")).Status.ShouldBe(204);
        await ClaimAsync(user, """{"status":"busy","source":"6"}""");
        (await ByKeyAsync("PUT", $"/users/{user}/quiet-hours", """{"from":"22:00","to":"07:00","time_zone":"UTC"}""")).Status.ShouldBe(200);
        await Eventually.TrueAsync(
            async () => (await ByKeyAsync("PUT", $"/users/{user}/status", Ninth)).Status == 200, 60, "there is room");
    }

    // ---- quiet hours ----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Quiet_hours_are_a_claim_that_comes_and_goes_by_itself()
    {
        var user = await ArriveAsync();
        (await AsAsync(user, "GET", $"/users/{user}/quiet-hours")).ShouldBeProblem(404);
        // quiet hours that began an hour ago, at any time of day
        var now = DateTimeOffset.UtcNow;
        var (from, to) = (now.AddHours(-1).ToString("HH:mm"), now.AddHours(1).ToString("HH:mm"));
        var set = await AsAsync(user, "PUT", $"/users/{user}/quiet-hours", $$"""{"from":"{{from}}","to":"{{to}}","time_zone":"UTC"}""");
        set.Members.ShouldBe(["user_id", "days", "from", "to", "time_zone", "is_quiet", "changes_at"]);
        (set.Json["is_quiet"]!.GetValue<bool>(), set.Json["days"]!.AsArray().Count).ShouldBe((true, 7));
        (await AsAsync(user, "GET", $"/users/{user}/quiet-hours")).Text.ShouldBe(set.Text);
        Record((await AsAsync(user, "GET", $"/status/{user}")).Json).ShouldBe($"busy   {set.Json["changes_at"]}");
        (await SourcesAsync(user)).ShouldBe("quiet_hours");
        // a claim set during quiet hours is newer
        await ClaimAsync(user, """{"status":"online"}""");
        (await SourcesAsync(user)).ShouldBe("user quiet_hours");
        (await AsAsync(user, "DELETE", $"/users/{user}/status?source=quiet_hours")).ShouldBeProblem(422);
        (await AsAsync(user, "DELETE", $"/users/{user}/quiet-hours")).Status.ShouldBe(204);
        (await SourcesAsync(user)).ShouldBe("user");
        set = await AsAsync(user, "PUT", $"/users/{user}/quiet-hours", $$"""{"from":"{{to}}","to":"{{from}}","time_zone":"UTC"}""");
        set.Json["is_quiet"]!.GetValue<bool>().ShouldBeFalse();
        (await SourcesAsync(user)).ShouldBe("user");
    }

    [Theory]
    [InlineData(400, "from is missing", "\"to\":\"07:00\",\"time_zone\":\"UTC\"")]
    [InlineData(400, "to is missing", "\"from\":\"07:00\",\"time_zone\":\"UTC\"")]
    [InlineData(400, "time_zone is missing", "\"from\":\"22:00\",\"to\":\"07:00\"")]
    [InlineData(400, "from is \"24:00\"", "\"from\":\"24:00\",\"to\":\"07:00\",\"time_zone\":\"UTC\"")]
    [InlineData(400, "to is not a string", "\"from\":\"22:00\",\"to\":7,\"time_zone\":\"UTC\"")]
    [InlineData(400, "is not a day", "\"days\":[\"monday\"],\"from\":\"22:00\",\"to\":\"07:00\",\"time_zone\":\"UTC\"")]
    [InlineData(400, "days is empty", "\"days\":[],\"from\":\"22:00\",\"to\":\"07:00\",\"time_zone\":\"UTC\"")]
    [InlineData(400, "days is not a list", "\"days\":\"mon\",\"from\":\"22:00\",\"to\":\"07:00\",\"time_zone\":\"UTC\"")]
    [InlineData(400, "no member \"zone\"", "\"from\":\"22:00\",\"to\":\"07:00\",\"zone\":\"UTC\"")]
    [InlineData(422, "same time", "\"from\":\"22:00\",\"to\":\"22:00\",\"time_zone\":\"UTC\"")]
    [InlineData(422, "Mars/Phobos", "\"from\":\"22:00\",\"to\":\"07:00\",\"time_zone\":\"Mars/Phobos\"")]
    [InlineData(422, "../", "\"from\":\"22:00\",\"to\":\"07:00\",\"time_zone\":\"../../../etc/passwd\"")]
    public async Task Wrong_quiet_hours_are_named(int status, string detail, string members) =>
        (await ByKeyAsync("PUT", $"/users/{await ArriveAsync()}/quiet-hours", $"{{{members}}}")).ShouldBeProblem(status, detail);

    // ---- what lasts -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Claims_are_there_after_a_crash()
    {
        var folder = AglowProcess.NewFolder();
        try
        {
            await using (var server = await AglowProcess.StartAsync(folder, "--lease-seconds", "600"))
            {
                await server.PostAsync("/heartbeat", "{\"user_id\":1}");
                await server.PutAsync("/users/1/status", $"{{\"status\":\"busy\",{Said},\"source\":\"call\",\"for_seconds\":1000}}");
                await server.PutAsync("/users/1/status", """{"status":"away","source":"short","for_seconds":1,"priority":1}""");
                await server.PutAsync(
                    "/users/1/quiet-hours", """{"days":["mon"],"from":"22:00","to":"07:00","time_zone":"Europe/Berlin"}""");
                await server.KillAsync();
            }

            await using var again = await AglowProcess.StartAsync(folder, "--lease-seconds", "600");
            await again.PostAsync("/heartbeat", "{\"user_id\":1}");
            await Eventually.TrueAsync(async () => await again.StatusOfAsync("1") == "busy", 60, "the short one ends");
            Record((await again.GetAsync("/status/1")).Json).ShouldStartWith("busy In \"a\" call ü 👩‍💻 1");
            (await again.GetAsync("/users/1/quiet-hours")).Json["time_zone"]!.ToString().ShouldBe("Europe/Berlin");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
