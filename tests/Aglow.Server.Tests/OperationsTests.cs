namespace Aglow.Server.Tests;

/// <summary>Users who are online, probes, metrics and so on. These tests count, so they have their own server.</summary>
public sealed class OperationsTests : IAsyncLifetime
{
    private AglowProcess _server = null!;

    public async Task InitializeAsync() =>
        _server = await AglowProcess.StartAsync(null, "--max-user-number", "2000000", "--lease-seconds", "12", "--heartbeat-seconds", "2");

    public Task DisposeAsync() => _server.DisposeAsync().AsTask();

    [Fact]
    public async Task Who_is_online_is_listed_and_counted_until_the_lease_runs_out()
    {
        (await _server.GetAsync("/online")).ShouldBeJson("""{"users":[],"next":null}""");
        var before = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        await _server.PostAsync("/heartbeat", """{"user_ids":[5,6,"bob"],"active":true}""");
        var heartbeatAt = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var count = await _server.GetAsync("/online/count");
        count.Members.ShouldBe(["online", "as_of"]);
        count.Json["online"]!.GetValue<int>().ShouldBe(3);
        count.Json["as_of"]!.GetValue<long>().ShouldBeInRange(before - 1, DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 1);
        (await _server.GetAsync("/online/count?definition=active")).Json["online"]!.GetValue<int>().ShouldBe(3);
        var listed = await _server.GetAsync("/online?limit=10000");
        listed.Members.ShouldBe(["users", "next"]);
        listed.Json["users"]!.AsArray().Select(static u => u!.ToJsonString()).Order(StringComparer.Ordinal).ShouldBe(["\"bob\"", "5", "6"]);
        listed.Json["next"].ShouldBeNull();

        var paged = new List<string>();
        string? cursor = null;
        do
        {
            var page = await _server.GetAsync($"/online?limit=1{(cursor is null ? "" : $"&cursor={cursor}")}");
            paged.AddRange(page.Json["users"]!.AsArray().Select(static u => u!.ToJsonString()));
            cursor = page.Json["next"]?.GetValue<string>();
        }
        while (cursor is not null);
        paged.Order(StringComparer.Ordinal).ShouldBe(["\"bob\"", "5", "6"]);

        await Eventually.TrueAsync(async () => await _server.StatusOfAsync("5") == "offline", 90, "the lease runs out");
        var record = (await _server.GetAsync("/status/5")).Json;
        record["last_seen"]!.GetValue<long>().ShouldBeInRange(before - 1, heartbeatAt + 1);
        await Eventually.TrueAsync(
            async () => (await _server.GetAsync("/online/count")).Json["online"]!.GetValue<int>() == 0, 90, "the sweep finds it");
        (await _server.GetAsync("/online/count?definition=reachable")).Json["online"]!.GetValue<int>().ShouldBe(3);
    }

    [Fact]
    public async Task The_answer_to_a_heartbeat_tells_the_settings_and_the_budget_holds()
    {
        (await _server.PostAsync("/heartbeat", """{"user_id":2000000}""")).ShouldBeJson(
            """{"status":"success","next_heartbeat_seconds":2,"offline_after_seconds":12}""");
        (await _server.PostAsync("/heartbeat", """{"user_id":2000001}""")).ShouldBeProblem(507, "2000000");
        (await _server.PostAsync("/heartbeat", """{"user_ids":[1,2000001]}""")).ShouldBeProblem(507, "2000000");
        (await _server.PostAsync("/status/update", """{"user_id":2000001,"timestamp":1763763300}""")).ShouldBeProblem(507, "2000000");
        (await _server.PostPackedAsync("/heartbeat", 2_000_000, 2_000_001)).ShouldBeJson("""{"status":"success","accepted":1}""");
        (await _server.GetAsync("/status/2000001")).Json["last_seen"].ShouldBeNull();
    }

    [Fact]
    public async Task Probes_answer()
    {
        (await _server.GetAsync("/health/live")).ShouldBeJson("""{"status":"live"}""");
        (await _server.GetAsync("/health/ready")).ShouldBeJson("""{"status":"ready"}""");
    }

    [Fact]
    public async Task Metrics_are_prometheus_text_and_count()
    {
        async Task<double> ValueAsync(string name)
        {
            var metrics = await _server.GetAsync("/metrics");
            metrics.ContentType.ShouldBe("text/plain; version=0.0.4; charset=utf-8");
            return double.Parse(
                metrics.Text.Split('\n').Single(line => line.StartsWith($"{name} ", StringComparison.Ordinal)).Split(' ')[1]);
        }

        (await ValueAsync("process_resident_memory_bytes")).ShouldBeGreaterThan(10_000_000);
        (await ValueAsync("process_cpu_seconds_total")).ShouldBeGreaterThan(0);
        (await ValueAsync("aglow_pages_budget")).ShouldBeGreaterThan(0);
        var arrivals = await ValueAsync("aglow_heartbeats_arrivals_total");
        await _server.PostAsync("/heartbeat", """{"user_ids":[900,901]}""");
        (await ValueAsync("aglow_heartbeats_arrivals_total")).ShouldBe(arrivals + 2);
        (await ValueAsync("aglow_users_registered")).ShouldBeGreaterThanOrEqualTo(2);
    }

    [Theory]
    [InlineData("GET", "/nope")]
    [InlineData("POST", "/nope")]
    [InlineData("GET", "/status/1/2")]
    [InlineData("GET", "/users/1/2/3")]
    [InlineData("GET", "/favicon.ico")]
    public async Task An_unknown_path_is_a_problem(string method, string path) =>
        (await _server.SendAsync(new HttpMethod(method), path)).ShouldBeProblem(404, "/openapi/v1.json");

    [Fact]
    public async Task Answers_do_not_name_the_server_and_are_not_sniffed()
    {
        foreach (var path in new[] { "/", "/status/1", "/users", "/nope", "/metrics", "/online" })
        {
            var answer = await _server.GetAsync(path);
            answer.Headers.Contains("Server").ShouldBeFalse();
            answer.Headers.GetValues("X-Content-Type-Options").ShouldBe(["nosniff"]);
        }
    }
}
