namespace Aglow.Server.Tests;

/// <summary><c>GET /changes</c> and <c>./aglow changes</c>: every transition, in order, through restarts and kills.</summary>
public class ChangesTests
{
    private static readonly string[] Short = ["--lease-seconds", "4", "--heartbeat-seconds", "2"];
    private static readonly string[] Long = ["--lease-seconds", "600"];

    [Fact]
    public async Task Each_transition_is_told_once_with_its_reason_and_the_ID_as_the_application_wrote_it()
    {
        // no lease expires in the middle
        await using var server = await AglowProcess.StartAsync(null, "--lease-seconds", "12", "--heartbeat-seconds", "2");
        var start = (await server.GetAsync("/changes")).Json;
        start.ToJsonString().ShouldBe($"{{\"changes\":[],\"next\":\"{start["next"]!.GetValue<string>()}\",\"gap\":false}}");
        await server.PostAsync("/heartbeat", "{\"user_ids\":[42,\"bob\",\"5216580805\"]}");
        await server.PostAsync("/heartbeat", "{\"user_id\":42}");
        await server.PostAsync("/offline", "{\"user_id\":\"bob\"}");
        await server.PutAsync("/users/42/status", "{\"status\":\"busy\"}");
        await server.PutAsync("/users/42/status", "{\"status\":\"offline\"}");
        await server.PutAsync("/users/42/status", "{\"status\":\"auto\"}");
        await server.DeleteAsync("/users/5216580805");
        // chosen while offline: callers see no change
        await server.PutAsync("/users/bob/status", "{\"status\":\"away\"}");
        await server.PostAsync("/heartbeat", "{\"user_id\":\"bob\"}");
        // hidden while the lease expires
        await server.PutAsync("/users/bob/status", "{\"status\":\"offline\"}");
        var changes = await ReadAsync(
            server, start["next"]!.GetValue<string>(), until: static c =>
            c.Any(static change => change!["reason"]!.GetValue<string>() == "lapse"));
        var told = changes.Select(static c => $"{c!["user_id"]!.ToJsonString()} {c["is_online"]} {c["status"]} {c["reason"]}").ToArray();
        // the deleted user's earlier online change is withheld
        told.Where(static line => line.StartsWith("42 ", StringComparison.Ordinal)).ShouldBe(
            ["42 true online heartbeat", "42 true busy status", "42 false offline status", "42 true online status",
                "42 false offline lapse"]);
        told.Where(static line => line.StartsWith("\"bob\" ", StringComparison.Ordinal)).ShouldBe(
            ["\"bob\" true online heartbeat", "\"bob\" false offline leave", "\"bob\" true away heartbeat",
                "\"bob\" false offline status"]);
        told.Last(static line => line.StartsWith("\"5216580805\" ", StringComparison.Ordinal)).ShouldBe(
            "\"5216580805\" false offline deleted");
        foreach (var change in changes)
        {
            change!.AsObject().Select(static m => m.Key).ShouldBe(["id", "user_id", "is_online", "status", "last_seen", "reason", "at"]);
            var at = change["at"]!.GetValue<long>();
            (Token.Now - at).ShouldBeInRange(-2, 120);
            (change["last_seen"]?.GetValue<long>() ?? at).ShouldBeInRange(at - 60, at + 1);
        }

        // a change's ID is the place after the change
        var third = changes[2]!["id"]!.GetValue<string>();
        (await server.GetAsync($"/changes?limit=1&after={third}")).Json["changes"]![0]!["id"]!.GetValue<string>().ShouldBe(
            changes[3]!["id"]!.GetValue<string>());
        (await server.GetAsync("/changes?after=latest")).Json["changes"]!.AsArray().Count.ShouldBe(0);
    }

    [Fact]
    public async Task A_consumer_that_follows_through_kills_and_stops_ends_in_the_truth_and_hears_nothing_twice()
    {
        var folder = AglowProcess.NewFolder();
        var seed = Environment.TickCount;
        var random = new Random(seed);
        var state = new Dictionary<string, bool>();
        string? after = null;
        for (var run = 0; run < 8; run++)
        {
            await using var server = await AglowProcess.StartAsync(folder, Short);
            for (var i = random.Next(5, 30); i > 0; i--)
            {
                var ids = string.Join(',',
                    Enumerable.Range(0, 5).Select(_ => random.Next(2) == 0 ? $"{random.Next(20)}" : $"\"user-{random.Next(20)}\""));
                (await server.PostAsync(random.Next(3) == 0 ? "/offline" : "/heartbeat", $"{{\"user_ids\":[{ids}]}}")).Status.ShouldBe(200);
            }

            after = await ApplyAsync(server, after, state, $"run {run} of seed {seed}");
            if (run % 3 == 0)
                (await server.StopAsync()).ShouldBe(0);
            else
                await server.KillAsync();
            // after every other run, the server is down for longer than the lease
            if (run % 2 == 0)
                await Task.Delay(TimeSpan.FromSeconds(5));
        }

        await using var last = await AglowProcess.StartAsync(folder, Short);
        await Eventually.TrueAsync(async () => (await AllAsync(last)).All(static user => !user.Value), 60, "all leases expire");
        await ApplyAsync(last, after, state, $"the end of seed {seed}");
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_long_poll_and_a_stream_hear_a_change_when_it_is_there_and_a_stream_resumes_after_its_last_event()
    {
        await using var server = await AglowProcess.StartAsync(null, Long);
        var after = (await server.GetAsync("/changes?after=latest")).Json["next"]!.GetValue<string>();
        var poll = server.GetAsync($"/changes?after={after}&wait=60");
        await server.PostAsync("/heartbeat", "{\"user_id\":1}");
        var page = (await poll).Json;
        page["changes"]![0]!["user_id"]!.GetValue<int>().ShouldBe(1);
        (await StreamAsync(server, after, null, 1)).Single().Data["user_id"]!.GetValue<int>().ShouldBe(1);
        await server.PostAsync("/heartbeat", "{\"user_ids\":[2,3]}");
        var events = await StreamAsync(server, null, page["next"]!.GetValue<string>(), 2);
        events.Select(static e => e.Data["user_id"]!.GetValue<int>()).ShouldBe([2, 3]);
        events.ShouldAllBe(static e => e.Id == e.Data["id"]!.GetValue<string>());
        // a status that ends by itself
        (await server.PutAsync("/users/2/status", "{\"status\":\"busy\",\"for_seconds\":5}")).Status.ShouldBe(200);
        (await StreamAsync(server, events[1].Id, null, 2)).Select(static e => e.Data["status"]!.GetValue<string>()).ShouldBe(
            ["busy", "online"]);
        foreach (var query in new[] { "after=1", "after=AAAAAAAAAAAAAAA", "after=%00", "limit=0", "limit=10001", "wait=61", "wait=-1" })
            (await server.GetAsync($"/changes?{query}")).ShouldBeProblem(
                400, query.StartsWith("after", StringComparison.Ordinal) ? "cursor" : query.Split('=')[0]);
        // a poll without changes answers when its time is up, or when the server stops
        var idle = server.GetAsync("/changes?after=latest&wait=60");
        // the server takes requests in the order in which they arrive, so it has begun by then
        for (var i = 0; i < 20; i++)
            (await server.GetAsync("/health/live")).Status.ShouldBe(200);
        var (stopped, answered) = (server.StopAsync(), await idle);
        answered.Json["changes"]!.AsArray().Count.ShouldBe(0);
        (await stopped).ShouldBe(0);
    }

    [Fact]
    public async Task A_long_poll_whose_key_is_revoked_while_it_waits_ends_at_once()
    {
        await using var server = await AglowProcess.StartAsync(null, Token.ServerFlags);
        var key = await TokenServer.AddKeyAsync(server.Folder, "reader", "read");
        await Eventually.TrueAsync(
            async () => (await server.CallAsync(key, "GET", "/changes")).Status == 200, 60, "the key is taken");
        var after = (await server.CallAsync(key, "GET", "/changes?after=latest")).Json["next"]!.GetValue<string>();
        var poll = server.CallAsync(key, "GET", $"/changes?after={after}&wait=60");
        (await AglowProcess.RunToEndAsync(["keys", "revoke", "--data", server.Folder, "--name", "reader"])).Code.ShouldBe(0);
        // it does not wait for its time, nor for a change
        await Eventually.TrueAsync(() => Task.FromResult(poll.IsCompleted), 45, "the poll ends");
        (await poll).ShouldBeProblem(401, "revoked");
    }

    [Theory]
    [InlineData("limit=foo")]
    [InlineData("limit=10")]
    [InlineData("wait=5")]
    public async Task A_stream_refuses_the_parameters_of_pages(string query)
    {
        await using var server = await AglowProcess.StartAsync();
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/changes?{query}");
        request.Headers.Accept.ParseAdd("text/event-stream");
        using var answer = await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        ((int)answer.StatusCode).ShouldBe(400);
        JsonNode.Parse(await answer.Content.ReadAsStringAsync())!["detail"]!.GetValue<string>()
            .ShouldStartWith($"{query.Split('=')[0]} is for pages");
    }

    [Fact]
    public async Task What_is_no_longer_kept_is_said_as_a_gap()
    {
        var folder = AglowProcess.NewFolder();
        await using var server = await AglowProcess.StartAsync(
            folder, ["--changes-megabytes", "1", "--memory-megabytes", "200", .. Long]);
        await server.PostAsync("/heartbeat", "{\"user_id\":1}");
        var first = (await server.GetAsync("/changes")).Json["next"]!.GetValue<string>();
        // each has 12 bytes: 2.4 MB in total
        await server.PostPackedAsync("/heartbeat", [.. Enumerable.Range(2, 200_000).Select(static i => (uint)i)]);
        // packed heartbeats are recorded within 50 ms after the answer, in one transaction or several
        await Eventually.TrueAsync(
            async () =>
            {
                var metrics = (await server.GetAsync("/metrics")).Text;
                // the feed's size is bounded, apart from what one trim leaves
                return metrics.Contains("\naglow_feed_recorded_total 200001\n", StringComparison.Ordinal)
                    && double.Parse(metrics.Split("\naglow_feed_bytes ")[1].Split('\n')[0]) < 1.2e6
                    && (await server.GetAsync($"/changes?after={first}&limit=1")).Json["gap"]!.GetValue<bool>();
            },
            60,
            "all are recorded, and the oldest are dropped");
        var page = (await server.GetAsync($"/changes?after={first}&limit=1")).Json;
        page["changes"]![0]!["user_id"]!.GetValue<int>().ShouldBeGreaterThan(50_000);
        (await server.GetAsync($"/changes?after={page["next"]}")).Json["gap"]!.GetValue<bool>().ShouldBeFalse();
        (await server.StopAsync()).ShouldBe(0);

        // off, and on again: changes in between were not recorded
        await using (var off = await AglowProcess.StartAsync(folder, "--changes-hours", "0"))
        {
            (await off.GetAsync("/changes")).ShouldBeProblem(501, "Set AglowOptions.ChangesHours (--changes-hours) to 24.");
            (await off.StopAsync()).ShouldBe(0);
        }

        await using var again = await AglowProcess.StartAsync(folder);
        (await again.GetAsync($"/changes?after={page["next"]}")).Json["gap"]!.GetValue<bool>().ShouldBeTrue();
        (await StreamAsync(again, page["next"]!.GetValue<string>(), null, 1))[0].Name.ShouldBe("gap");
        await again.StopAsync();
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task The_command_prints_a_line_a_change_and_follows()
    {
        await using var server = await AglowProcess.StartAsync(null, Long);
        await server.PostAsync("/heartbeat", "{\"user_ids\":[1,\"bob\"]}");
        var url = server.Address.AbsoluteUri;
        var (code, output, _) = await AglowProcess.RunToEndAsync(["changes", "--url", url]);
        code.ShouldBe(0);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        lines.Select(static line => JsonNode.Parse(line)!["user_id"]!.ToJsonString()).ShouldBe(["1", "\"bob\""]);
        await using var follow =
            AglowProcess.Start("changes", "--server", url, "--follow", "--after", JsonNode.Parse(lines[0])!["id"]!.GetValue<string>());
        await server.PostAsync("/offline", "{\"user_id\":1}");
        await Eventually.TrueAsync(() => Task.FromResult(follow.Output.Split('\n').Length > 2), 60, "two lines");
        follow.Output.ShouldContain("\"user_id\":1,\"is_online\":false,\"status\":\"offline\"");
        (code, _, var errors) = await AglowProcess.RunToEndAsync(["changes", "--url", url, "--after", "nowhere"]);
        code.ShouldBe(2);
        errors.ShouldContain("cursor");
        (code, _, errors) = await AglowProcess.RunToEndAsync(["changes", "--url", "http://127.0.0.1:1"]);
        code.ShouldBe(1);
        errors.ShouldContain("cannot be reached");
    }

    private static async Task<JsonArray> ReadAsync(AglowProcess server, string after, Func<List<JsonNode?>, bool> until)
    {
        var all = new List<JsonNode?>();
        await Eventually.TrueAsync(
            async () =>
            {
                var page = (await server.GetAsync($"/changes?after={after}&limit=2&wait=1")).Json;
                page["gap"]!.GetValue<bool>().ShouldBeFalse();
                all.AddRange(page["changes"]!.AsArray().Select(static c => c!.DeepClone()));
                after = page["next"]!.GetValue<string>();
                return until(all) && page["changes"]!.AsArray().Count == 0;
            },
            60,
            "the changes");
        return [.. all];
    }

    // Applies the newest change of each user until the statuses agree with it. No change may repeat the previous one.
    private static async Task<string?> ApplyAsync(AglowProcess server, string? after, Dictionary<string, bool> state, string what)
    {
        await Eventually.TrueAsync(
            async () =>
            {
                var page = (await server.GetAsync($"/changes?limit=100{(after is null ? "" : $"&after={after}")}")).Json;
                page["gap"]!.GetValue<bool>().ShouldBeFalse(what);
                foreach (var change in page["changes"]!.AsArray())
                {
                    var (user, online) = (change!["user_id"]!.ToJsonString(), change["is_online"]!.GetValue<bool>());
                    state.GetValueOrDefault(user).ShouldBe(!online, $"{user} twice in {what}");
                    state[user] = online;
                }

                after = page["next"]!.GetValue<string>();
                return page["changes"]!.AsArray().Count == 0
                    && (await AllAsync(server)).All(user => state.GetValueOrDefault(user.Key) == user.Value);
            },
            60,
            what);
        return after;
    }

    private static async Task<Dictionary<string, bool>> AllAsync(AglowProcess server)
    {
        var all = new Dictionary<string, bool>();
        foreach (var user in Enumerable.Range(0, 20).SelectMany(static i => new[] { $"{i}", $"user-{i}" }))
        {
            var record = (await server.GetAsync($"/status/{user}")).Json;
            all[record["user_id"]!.ToJsonString()] = record["is_online"]!.GetValue<bool>();
        }

        return all;
    }

    private static async Task<List<(string? Id, string Name, JsonNode Data)>> StreamAsync(
        AglowProcess server, string? after, string? lastEventId, int count)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, after is null ? "/changes" : $"/changes?after={after}");
        request.Headers.Accept.ParseAdd("text/event-stream");
        if (lastEventId is not null)
            request.Headers.Add("Last-Event-ID", lastEventId);
        using var response = await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        response.Content.Headers.ContentType!.MediaType.ShouldBe("text/event-stream");
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(), Encoding.UTF8);
        var events = new List<(string?, string, JsonNode)>();
        var (id, name) = ((string?)null, "");
        while (events.Count < count && await reader.ReadLineAsync() is { } line)
        {
            if (line.StartsWith("id: ", StringComparison.Ordinal))
                id = line[4..];
            else if (line.StartsWith("event: ", StringComparison.Ordinal))
                name = line[7..];
            else if (line.StartsWith("data: ", StringComparison.Ordinal))
                events.Add((id, name, JsonNode.Parse(line[6..])!));
        }

        return events;
    }
}
