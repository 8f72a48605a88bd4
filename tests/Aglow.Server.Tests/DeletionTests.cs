namespace Aglow.Server.Tests;

/// <summary>What is left of a deleted user, and what belongs to the one who comes back under the same ID.</summary>
public sealed class DeletionTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Who_comes_back_in_the_second_of_the_deletion_stays_online_over_restarts(bool isKill)
    {
        var folder = AglowProcess.NewFolder();
        var server = await AglowProcess.StartAsync(folder, "--lease-seconds", "600");
        foreach (var user in new[] { "bob", "amy" })
        {
            await HeartbeatAsync(server, user);
            (await server.DeleteAsync($"/users/{user}")).Status.ShouldBe(204);
        }

        await HeartbeatAsync(server, "bob");
        // an update for a second before the deletion is acknowledged, too
        var before = DateTimeOffset.UtcNow.ToUnixTimeSeconds() - 5;
        (await server.PostAsync("/status/update", $$"""{"user_id":"amy","timestamp":{{before}}}""")).Status.ShouldBe(200);
        for (var restart = 0; restart < 2; restart++)
        {
            if (isKill)
                await server.KillAsync();
            else
                (await server.StopAsync()).ShouldBe(0);
            await server.DisposeAsync();
            server = await AglowProcess.StartAsync(folder, "--lease-seconds", "600");
            (await server.GetAsync("/status/bob")).Text.ShouldContain("\"is_online\":true");
            (await server.GetAsync("/status/amy")).Json["last_seen"].ShouldNotBeNull();
            (await ReasonsAsync(server, "bob"))[^2..].ShouldBe(["deleted", "heartbeat"]);
        }

        await server.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_deletion_is_reported_once_and_not_again_for_somebody_new_who_sets_something()
    {
        await using var server = await AglowProcess.StartAsync();
        await HeartbeatAsync(server, "ann");
        (await server.DeleteAsync("/users/ann")).Status.ShouldBe(204);
        (await server.PostAsync("/users", """{"user_name":"ann"}""")).Status.ShouldBe(201);
        (await server.PutAsync("/users/ann/status", """{"status":"busy"}""")).Status.ShouldBe(200);
        (await server.PutAsync("/users/ann/access", """{"disabled":true}""")).Status.ShouldBe(200);
        (await server.PutAsync("/users/ann/access", """{"disabled":false}""")).Status.ShouldBe(200);
        (await server.DeleteAsync("/users/ann/status")).Status.ShouldBe(204);
        await HeartbeatAsync(server, "ann");
        (await ReasonsAsync(server, "ann")).Count(static reason => reason == "deleted").ShouldBe(1);
    }

    [Fact]
    public async Task Records_from_before_a_deletion_stay_withheld_after_a_sign_out()
    {
        await using var server = await AglowProcess.StartAsync();
        await HeartbeatAsync(server, "old");
        (await server.PostAsync("/offline", """{"user_id":"old"}""")).Status.ShouldBe(200);
        // the server returns records of the deletion's own second, because they may be of somebody new
        await Task.Delay(1100);
        (await server.DeleteAsync("/users/old")).Status.ShouldBe(204);
        (await ReasonsAsync(server, "old")).ShouldBe(["deleted"]);
        (await server.PostAsync("/users/old/revoke", "")).Status.ShouldBe(204);
        (await ReasonsAsync(server, "old")).ShouldBe(["deleted"]);
    }

    [Fact]
    public async Task Who_is_enabled_again_is_not_away_and_was_not_seen_earlier_than_before()
    {
        await using var server = await AglowProcess.StartAsync(null, "--away-seconds", "2", "--heartbeat-seconds", "1");
        (await server.PostAsync("/heartbeat", """{"user_id":"ann","active":true}""")).Status.ShouldBe(200);
        while (!(await server.GetAsync("/status/ann")).Text.Contains("\"status\":\"away\"", StringComparison.Ordinal))
        {
            await HeartbeatAsync(server, "ann");
            await Task.Delay(100);
        }

        await SetDisabledAsync(server, true);
        await SetDisabledAsync(server, false);
        (await server.GetAsync("/status/ann")).Json["status"]!.GetValue<string>().ShouldBe("online");

        // a user who is online has this second as last seen, also when they are disabled
        await Task.Delay(1100);
        await SetDisabledAsync(server, true);
        var seen = (await server.GetAsync("/status/ann")).Json["last_seen"]!.GetValue<long>();
        (await server.PutAsync("/users/ann/status", """{"status":"offline"}""")).Status.ShouldBe(200);
        await SetDisabledAsync(server, false);
        (await server.GetAsync("/status/ann")).Json["last_seen"]!.GetValue<long>().ShouldBe(seen);
    }

    private static async Task HeartbeatAsync(AglowProcess server, string user) =>
        (await server.PostAsync("/heartbeat", $$"""{"user_id":"{{user}}"}""")).Status.ShouldBe(200);

    private static async Task SetDisabledAsync(AglowProcess server, bool disabled) =>
        (await server.PutAsync("/users/ann/access", $$"""{"disabled":{{(disabled ? "true" : "false")}}}""")).Status.ShouldBe(200);

    private static async Task<string[]> ReasonsAsync(AglowProcess server, string user) =>
    [
        .. (await server.GetAsync("/changes?limit=1000")).Json["changes"]!.AsArray()
            .Where(change => change!["user_id"]!.ToString() == user)
            .Select(static change => change!["reason"]!.GetValue<string>()),
    ];
}
