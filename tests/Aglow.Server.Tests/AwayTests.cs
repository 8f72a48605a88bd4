namespace Aglow.Server.Tests;

/// <summary>Users who are away, and <c>active_at</c>, on a server where a minute takes seconds.</summary>
public class AwayTests
{
    private static readonly string[] Flags = ["--lease-seconds", "12", "--heartbeat-seconds", "1", "--away-seconds", "3"];

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Who_comes_back_and_reports_no_activity_is_not_away_for_what_they_did_before(bool saysGoodbye)
    {
        await using var server = await AglowProcess.StartAsync(null, Flags);
        await server.PostAsync("/heartbeat", """{"user_id":3,"active":true}""");
        var activeAt = (await server.GetAsync("/status/3")).Json["active_at"]!.GetValue<long>();
        if (saysGoodbye)
            await server.PostAsync("/offline", """{"user_id":3}""");
        else
            await Eventually.TrueAsync(async () => await server.StatusOfAsync("3") == "offline", 60, "offline");
        // idle for long enough by now
        await Eventually.TrueAsync(
            async () => DateTimeOffset.UtcNow.ToUnixTimeSeconds() > activeAt + 4 || await server.StatusOfAsync("3") == "away",
            60,
            "a few seconds");
        for (var beat = 0; beat < 30; beat++)
        {
            await server.PostAsync("/heartbeat", """{"user_id":3}""");
            var record = (await server.GetAsync("/status/3")).Json;
            record["status"]!.GetValue<string>().ShouldBe("online");
            record["active_at"]!.GetValue<long>().ShouldBe(activeAt);
            await Task.Delay(100);
        }

        // a user who was active in this session is away when the activity ends
        await server.PostAsync("/heartbeat", """{"user_id":3,"active":true}""");
        await Eventually.TrueAsync(
            async () =>
            {
                await server.PostAsync("/heartbeat", """{"user_id":3}""");
                return await server.StatusOfAsync("3") == "away";
            },
            60,
            "away");
    }

    [Fact]
    public async Task The_newest_activity_is_on_every_record_of_who_shows_when_they_were_seen()
    {
        await using var server = await AglowProcess.StartAsync(null, Flags);
        await server.PostAsync("/heartbeat", """{"user_ids":[3,"eve"],"active":true}""");
        await server.PostAsync("/heartbeat", """{"user_id":4}""");
        var record = (await server.GetAsync("/status/3")).Json;
        var activeAt = record["active_at"]!.GetValue<long>();
        activeAt.ShouldBe(record["last_seen"]!.GetValue<long>());
        (await server.GetAsync("/status/4")).Members.ShouldNotContain("active_at");
        ActiveAt((await server.PostAsync("/status/batch", """[{"user_id":3},{"user_id":4},{"user_id":"eve"}]""")).Json.AsArray())
            .ShouldBe([activeAt, null, activeAt]);
        (await server.GetAsync("/status/users?ids=3,4")).Json["3"]!["active_at"]!.GetValue<long>().ShouldBe(activeAt);

        await using (var socket = await RawSocket.OpenAsync(server.Address, "9"))
        {
            await socket.SendAsync("""{"type":"watch","users":[3]}""");
            JsonElement message;
            do
                message = await socket.ReadMessageAsync();
            while (message.GetProperty("type").GetString() != "presence");
            message.GetProperty("users")[0].GetProperty("active_at").GetInt64().ShouldBe(activeAt);
        }

        using (var stream = await server.Http.GetStreamAsync(new Uri("/watch?users=3", UriKind.Relative)))
        using (var lines = new StreamReader(stream))
        {
            string? line;
            do
                line = await lines.ReadLineAsync();
            while (line?.Contains("\"user_id\":3", StringComparison.Ordinal) == false);
            line.ShouldNotBeNull().ShouldContain($"\"active_at\":{activeAt}");
        }

        await server.SendAsync(HttpMethod.Put, "/users/3/visibility", """{"last_seen":"hidden"}"""u8.ToArray(), "application/json");
        ActiveAt((await server.PostAsync("/status/batch?viewer=9", """[{"user_id":3},{"user_id":"eve"}]""")).Json.AsArray())
            .ShouldBe([null, activeAt]);
    }

    [Fact]
    public async Task Of_who_appears_offline_no_activity_is_seen_and_back_again_they_are_not_away()
    {
        await using var server = await AglowProcess.StartAsync(null, Flags);
        await server.PostAsync("/heartbeat", """{"user_id":3,"active":true}""");
        var activeAt = (await server.GetAsync("/status/3")).Json["active_at"]!.GetValue<long>();
        await ChooseAsync("offline");
        bool isOver;
        var beat = 0;
        do
        {
            // the last heartbeat is one of both, later than the activity
            isOver = DateTimeOffset.UtcNow.ToUnixTimeSeconds() >= activeAt + 5;
            await server.PostAsync(
                "/heartbeat",
                beat++ % 2 == 0 && !isOver ? """{"user_id":3,"active":true}""" : """{"user_ids":[3,4],"active":true}""");
            var record = (await server.GetAsync("/status/3")).Json;
            record["status"]!.GetValue<string>().ShouldBe("offline");
            record["active_at"]!.GetValue<long>().ShouldBe(activeAt);
            await Task.Delay(100);
        }
        while (!isOver);

        (await server.GetAsync("/status/4")).Json["active_at"]!.GetValue<long>().ShouldBeGreaterThan(activeAt);
        await server.PostAsync("/heartbeat", """{"user_id":3}""");
        await ChooseAsync("auto");
        (await server.StatusOfAsync("3")).ShouldBe("online");

        async Task ChooseAsync(string status) =>
            (await server.SendAsync(
                HttpMethod.Put, "/users/3/status", System.Text.Encoding.UTF8.GetBytes($$"""{"status":"{{status}}"}"""), "application/json"))
                .Status.ShouldBe(200);
    }

    private static long?[] ActiveAt(JsonArray records) => [.. records.Select(static record => record!["active_at"]?.GetValue<long>())];
}
