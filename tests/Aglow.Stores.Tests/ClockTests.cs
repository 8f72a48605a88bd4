using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>A production server whose wall clock is stepped while it runs, or between two runs.</summary>
public sealed class ClockTests
{
    private const uint Beating = 1, Silent = 2, Watching = 3;
    private static readonly TimeSpan TenYears = TimeSpan.FromDays(3652);

    // A step is longer than any lease. The stall guard holds for two heartbeats.
    internal static readonly string[] ShortLease = ["--lease-seconds", "10", "--heartbeat-seconds", "3"];

    [Theory]
    [InlineData(2, 0)]
    [InlineData(-2, 0)]
    [InlineData(8, 0)]
    // wrong at the start, then corrected
    [InlineData(-10 * 365 * 24, 10 * 365 * 24)]
    public Task A_clock_that_is_stepped_makes_nobody_offline_who_beats_on_and_last_seen_right(int hours, int hoursAhead) =>
        Fairly.JudgeAsync(() => StepOneAsync(hours, hoursAhead));

    private static async Task StepOneAsync(int hours, int hoursAhead)
    {
        using var clock = new FakeWallClock(TimeSpan.FromHours(hoursAhead));
        await using var server = AglowProcess.Run(null, ShortLease, clock.Environment);
        await server.ReadyAsync();
        await StepAsync(clock, hours, server, server);
        // the server knows that, and logs it
        await Eventually.HoldsAsync(() => server.Output.Contains("s off and is corrected", StringComparison.Ordinal));
        (await MetricAsync(server, "aglow_clock_steps_total")).ShouldBe(1);
    }

    [Fact]
    public async Task After_eight_hours_asleep_who_does_not_come_back_has_the_last_seen_they_had()
    {
        using var clock = new FakeWallClock();
        await using var server = AglowProcess.Run(null, ShortLease, clock.Environment);
        await server.ReadyAsync();
        (await HeartbeatAsync(server, Silent)).EnsureSuccessStatusCode();
        var lastSeen = (await ReadAsync(server, Silent)).LastSeen;
        clock.StepTo(TimeSpan.FromHours(8));
        await using (new Crowd([Beating], TimeSpan.FromSeconds(1), server.Address))
        {
            await Eventually.HoldsAsync(async () => (await ReadAsync(server, Silent)).Status == "offline");
            (await ReadAsync(server, Silent)).LastSeen.ShouldBe(lastSeen);
            (await ReadAsync(server, Beating)).Status.ShouldBe("online");
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_a_run_with_a_clock_ahead_has_left_is_not_in_the_future_for_the_next(bool isKilled)
    {
        var folder = AglowProcess.NewFolder();
        using var clock = new FakeWallClock(TenYears);
        try
        {
            await using (var ahead = AglowProcess.Run(folder, ShortLease, clock.Environment))
            {
                await ahead.ReadyAsync();
                await ahead.Http.PostAsJsonAsync("/heartbeat", new { user_ids = new[] { Beating, Silent }, active = true });
                (await ahead.Http.PostAsJsonAsync("/offline", new { user_id = Silent })).EnsureSuccessStatusCode();
                (await HeartbeatAsync(ahead, 7)).EnsureSuccessStatusCode();
                await ahead.Http.PutAsJsonAsync("/users/7/status", new { status = "offline" });
                (await HeartbeatAsync(ahead, 8)).EnsureSuccessStatusCode();
                (await ahead.Http.DeleteAsync(new Uri("/users/8", UriKind.Relative))).EnsureSuccessStatusCode();
                if (isKilled)
                    await ahead.KillAsync();
                else
                    (await ahead.StopAsync()).ShouldBe(0);
            }

            clock.StepTo(TimeSpan.Zero);
            for (var run = 0; run < 2; run++)
            {
                await using var server = await AglowProcess.StartAsync(folder, ShortLease);
                foreach (var user in (uint[])[Beating, Silent, 7])
                {
                    var record = (await server.Http.GetFromJsonAsync<JsonElement>($"/status/{user}"))!;
                    record.GetProperty("last_seen").GetInt64().ShouldBeInRange((long)clock.Seconds - 300, (long)clock.Seconds);
                    if (record.TryGetProperty("active_at", out var activeAt))
                        activeAt.GetInt64().ShouldBeInRange((long)clock.Seconds - 300, (long)clock.Seconds);
                    if (user != Beating)
                        record.GetProperty("is_online").GetBoolean().ShouldBeFalse();
                }

                // the feed does not withhold what somebody new under a deleted ID does
                (await HeartbeatAsync(server, 8)).EnsureSuccessStatusCode();
                var changes = await server.Http.GetFromJsonAsync<JsonElement>("/changes?limit=1000");
                changes.GetProperty("changes").EnumerateArray().Last(static change => change.GetProperty("user_id").GetInt64() == 8)
                    .GetProperty("is_online").GetBoolean().ShouldBeTrue();
                var sent = clock.Seconds;
                (await HeartbeatAsync(server, Silent)).EnsureSuccessStatusCode();
                var (status, lastSeen) = await ReadAsync(server, Silent);
                status.ShouldBe("online");
                ((double)lastSeen).ShouldBeInRange(sent - 2.5, clock.Seconds + 2.5);
                (await server.Http.PostAsJsonAsync("/offline", new { user_id = Silent })).EnsureSuccessStatusCode();
                (await server.StopAsync()).ShouldBe(0);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>
    /// Steps a clock while a user sends heartbeats to one node and another node is read. Checks for as long as a lease and a stall guard
    /// last: no user is shown offline. Ten seconds later, new words have the time of <paramref name="real"/>, or of the stepped clock if
    /// that is null.
    /// </summary>
    internal static async Task StepAsync(
        FakeWallClock clock, double hours, AglowProcess written, AglowProcess read, Func<double>? real = null)
    {
        await using var crowd = new Crowd([Beating], TimeSpan.FromSeconds(1), written.Address);
        await Eventually.HoldsAsync(async () => (await ReadAsync(read, Beating)).Status == "online");
        await using var watcher = await Watcher.ConnectAsync(read, Watching, Beating);
        await using var socket = await Watcher.ConnectAsync(written, Silent);
        clock.StepTo(clock.Ahead + TimeSpan.FromHours(hours));
        var stepped = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(stepped) < TimeSpan.FromSeconds(18))
        {
            crowd.ShouldBeOnline((await ReadAsync(read, Beating)).Status);
            await Task.Delay(50);
        }

        var sent = real?.Invoke() ?? clock.Seconds;
        await AcceptedAsync(written, Beating);
        // a renewal waits up to a second for a batch if nodes share a store
        await Eventually.HoldsAsync(async () => (await ReadAsync(read, Beating)).LastSeen >= sent - 2);
        var lastSeen = (await ReadAsync(read, Beating)).LastSeen;
        ((double)lastSeen).ShouldBeLessThan((real?.Invoke() ?? clock.Seconds) + 2);
        crowd.NobodyWentOffline([Beating], watcher);
        watcher.Statuses(Beating)[0].ShouldBe("online");
        // connections use the monotonic clock, not the wall clock
        watcher.IsOpen.ShouldBeTrue();
        socket.IsOpen.ShouldBeTrue();
        foreach (var node in (AglowProcess[])[written, read])
            Math.Abs(await ErrorAsync(node)).ShouldBeLessThan(2);
    }

    internal static async Task<(string Status, long LastSeen)> ReadAsync(AglowProcess node, uint user)
    {
        JsonElement record = default;
        // again while a node answers that its store is away, as it may on a busy machine
        await Eventually.HoldsAsync(async () =>
        {
            record = await node.Http.GetFromJsonAsync<JsonElement>($"/status/{user}");
            return true;
        });
        return (
            record.GetProperty("status").GetString()!,
            record.GetProperty("last_seen") is { ValueKind: JsonValueKind.Number } seen ? seen.GetInt64() : 0);
    }

    private static async Task<double> ErrorAsync(AglowProcess node) => double.Parse(
        (await node.Http.GetStringAsync("/metrics"))
            .Split('\n')
            .First(static line => line.StartsWith("aglow_clock_error_seconds ", StringComparison.Ordinal))
            .Split(' ')[1],
        CultureInfo.InvariantCulture);
}

/// <summary>
/// Nodes that share a Redis. Their clocks differ and are stepped while they run, but all of them use the Redis servers' time.
/// </summary>
[Collection(RedisCollection.Name)]
public sealed class NodeClockTests(RedisServers servers)
{
    [Theory]
    [InlineData(2, true)]
    [InlineData(-2, false)]
    [InlineData(8, true)]
    public Task A_node_whose_clock_is_stepped_goes_on_as_the_others_do(int hours, bool isWriter) =>
        Fairly.JudgeAsync(() => StepNodeAsync(hours, isWriter));

    private async Task StepNodeAsync(int hours, bool isWriter)
    {
        await servers.Cluster.FlushAsync();
        using var clock = new FakeWallClock(TimeSpan.FromMinutes(-7));
        await using var stepped = AglowProcess.Run(null, ["--redis", servers.Cluster.Address, .. ClockTests.ShortLease], clock.Environment);
        await stepped.ReadyAsync();
        await using var right = await AglowProcess.StartAsync(null, ["--redis", servers.Cluster.Address, .. ClockTests.ShortLease]);
        var (writer, reader) = isWriter ? (stepped, right) : (right, stepped);
        await ClockTests.StepAsync(
            clock, hours, writer, reader, static () => (TimeProvider.System.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalSeconds);
        (await MetricAsync(stepped, "aglow_clock_steps_total")).ShouldBe(0);
        var ahead = (await stepped.Http.GetStringAsync("/metrics")).Split('\n').First(
            static line => line.StartsWith("aglow_clock_wall_ahead_seconds ", StringComparison.Ordinal));
        double.Parse(ahead.Split(' ')[1], CultureInfo.InvariantCulture).ShouldBe(clock.Ahead.TotalSeconds, 2);
        await Eventually.HoldsAsync(() => stepped.Output.Contains("s off the clock of Redis", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(-2)]
    public Task Where_the_clock_of_redis_is_stepped_every_node_goes_with_it(int hours) => Fairly.JudgeAsync(() => StepRedisAsync(hours));

    private async Task StepRedisAsync(int hours)
    {
        using var clock = new FakeWallClock();
        await servers.Alone.CallAsync("FLUSHALL", "SYNC");
        await using var redis = new SteppedRedis(servers.Alone.Port, clock);
        await using var one = await AglowProcess.StartAsync(null, ["--redis", redis.Address, .. ClockTests.ShortLease]);
        await using var other = await AglowProcess.StartAsync(null, ["--redis", redis.Address, .. ClockTests.ShortLease]);
        await ClockTests.StepAsync(clock, hours, one, other);
        foreach (var node in (AglowProcess[])[one, other])
            (await MetricAsync(node, "aglow_clock_steps_total")).ShouldBe(1);
        // a leave counts at once, and no last-seen time is in the future
        (await one.Http.PostAsJsonAsync("/offline", new { user_id = 1 })).EnsureSuccessStatusCode();
        (await ClockTests.ReadAsync(other, 1)).Status.ShouldBe("offline");
        ((double)(await ClockTests.ReadAsync(other, 1)).LastSeen).ShouldBeLessThan(clock.Seconds + 1);
    }
}
