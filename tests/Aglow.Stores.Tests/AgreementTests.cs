using Aglow.Model;
using Aglow.Redis.Agreement;
using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>Nodes that share a Redis but start with different settings, and a Redis that deletes words.</summary>
public sealed class AgreementTests
{
    private const string Definition = "AGLOW_DEFINITIONS__active__ACTIVITYSECONDS";
    private static readonly string[] Lease = ["--lease-seconds", "8", "--heartbeat-seconds", "3"];

    [Fact]
    public async Task Nodes_with_other_settings_refuse_to_start_in_one_line_that_names_both()
    {
        await using var redis = await RedisProcess.StartAsync();
        await using var first = await NodeAsync(redis);
        foreach (var (flags, environment, theirs, mine) in ((string[] Flags, string? Environment, string Theirs, string Mine)[])
        [
            (["--lease-seconds", "9"], null, "lease-seconds 8", "lease-seconds 9"),
            (["--heartbeat-seconds", "2"], null, "heartbeat-seconds 3", "heartbeat-seconds 2"),
            (["--away-seconds", "700"], null, "away-seconds 600", "away-seconds 700"),
            (["--reciprocal-visibility"], null, "reciprocal-visibility false", "reciprocal-visibility true"),
            ([], "60", "definition active: pulse lease, activity 300", "definition active: pulse lease, activity 60"),
        ])
        {
            var (code, _, errors) = await AglowProcess.RunToEndAsync(
                ["serve", "--urls", "http://127.0.0.1:0", "--redis", $"{redis.Endpoint}", .. Merge(flags)],
                environment is null ? null : new() { [Definition] = environment });
            code.ShouldBe(1, errors);
            errors.ShouldStartWith($"aglow: The nodes that share Redis at {redis.Endpoint} have {theirs}");
            errors.ShouldContain($"this node has {mine}");
            errors.ShouldContain("--adopt");
            errors.Count(static c => c == '\n').ShouldBe(1);
        }

        // the same settings, except one that concerns only one node
        await using var other = await NodeAsync(redis, "--node-name", "other");
        (await MetricAsync(other, "aglow_settings_apart")).ShouldBe(0);
        (await MetricAsync(first, "aglow_settings_apart")).ShouldBe(0);
    }

    [Fact]
    public async Task A_node_that_adopts_changes_the_settings_for_all_and_those_that_run_say_so()
    {
        await using var redis = await RedisProcess.StartAsync();
        await using var first = await NodeAsync(redis);
        await using var second = await NodeAsync(redis, "--lease-seconds", "12", "--adopt");
        second.Output.ShouldContain("Changed for all nodes that share this Redis: lease-seconds 8");
        await Eventually.HoldsAsync(async () => await MetricAsync(first, "aglow_settings_apart") == 1);
        await Eventually.HoldsAsync(() => first.Output.Contains("have lease-seconds 12"));
        (await MetricAsync(second, "aglow_settings_apart")).ShouldBe(0);
        // if Redis loses its data, a node with the newest settings writes them again
        await redis.CallAsync("FLUSHALL");
        await Eventually.HoldsAsync(async () =>
            (string?)await redis.CallAsync("GET", "{p:pages}:settings") is { } text && text.Contains("lease-seconds 12\n"));

        (await first.StopAsync()).ShouldBe(0);
        var (code, _, errors) = await AglowProcess.RunToEndAsync(
            ["serve", "--urls", "http://127.0.0.1:0", "--redis", $"{redis.Endpoint}", .. Lease]);
        (code, errors.Contains("have lease-seconds 12", StringComparison.Ordinal)).ShouldBe((1, true));
        await using var again = await NodeAsync(redis, "--lease-seconds", "12");
    }

    [Fact]
    public async Task Nodes_that_start_at_once_on_an_empty_redis_agree_on_one_of_two_leases()
    {
        await using var redis = await RedisProcess.StartAsync();
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 6).Select(async i =>
        {
            await using var node = AglowProcess.Run(
                null, ["--redis", $"{redis.Endpoint}", "--lease-seconds", $"{30 + (i % 2)}", "--drain-seconds", "0"]);
            try
            {
                await node.ReadyAsync();
                return i % 2;
            }
            catch (InvalidOperationException)
            {
                return -1;
            }
        }));
        outcomes.Count(static outcome => outcome == -1).ShouldBe(3);
        outcomes.Where(static outcome => outcome >= 0).Distinct().Count().ShouldBe(1);
    }

    [Fact]
    public async Task A_redis_that_deletes_words_is_refused_unless_that_is_allowed_and_watched()
    {
        await using var redis = await RedisProcess.StartAsync("--maxmemory-policy", "allkeys-lru");
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--urls", "http://127.0.0.1:0", "--redis", $"{redis.Endpoint}"]);
        code.ShouldBe(1);
        errors.ShouldBe(
            $"aglow: Redis at {redis.Endpoint} has maxmemory-policy allkeys-lru, so it deletes online users when its memory is full: "
            + "set noeviction there, or start this node with --allow-eviction.\n");
        await using (var allowed = await AglowProcess.StartAsync(null, "--redis", $"{redis.Endpoint}", "--allow-eviction"))
            (await MetricAsync(allowed, "aglow_redis_servers_evicting")).ShouldBe(1);

        // words never expire, so these policies delete none of them
        await redis.CallAsync("CONFIG", "SET", "maxmemory-policy", "volatile-lru");
        await using var node = await AglowProcess.StartAsync(null, "--redis", $"{redis.Endpoint}", "--drain-seconds", "0");
        (await MetricAsync(node, "aglow_redis_servers_evicting")).ShouldBe(0);
        await redis.CallAsync("CONFIG", "SET", "maxmemory-policy", "allkeys-random");
        await Eventually.HoldsAsync(async () => await MetricAsync(node, "aglow_redis_servers_evicting") == 1);
        await redis.CallAsync("CONFIG", "SET", "maxmemory-policy", "noeviction");
        await Eventually.HoldsAsync(async () => await MetricAsync(node, "aglow_redis_servers_evicting") == 0);
        await Eventually.HoldsAsync(() => node.Output.Contains("No Redis server deletes users"));
        node.Output.Split('\n').Count(static line => line.Contains("deletes online users")).ShouldBe(1);
    }

    [Fact]
    public void Settings_are_read_as_they_were_written_and_newer_ones_are_no_difference()
    {
        var options = new AglowOptions();
        options.Definitions["a-b_c"] = new() { PulseSeconds = 90, EndedByLeave = false };
        var mine = SharedSettings.Of(options);
        mine.DifferenceFrom(SharedSettings.Parse($"{mine}")).ShouldBeNull();
        mine.DifferenceFrom(SharedSettings.Parse($"{mine}\nof-a-newer-version 7")).ShouldBeNull();
        // settings of an older version lack what is added to them
        mine.AddsTo(mine).ShouldBeFalse();
        mine.AddsTo(SharedSettings.Parse($"{mine}\nof-a-newer-version 7")).ShouldBeFalse();
        mine.AddsTo(SharedSettings.Parse($"{mine}".Replace("user-directory", "of-another"))).ShouldBeTrue();
        mine.DifferenceFrom(SharedSettings.Parse($"{mine}".Replace("contract 2", "contract 1")))
            .ShouldBe(new SettingDifference("contract 2", "contract 1"));
        options.Definitions.Remove("a-b_c");
        SharedSettings.Of(options).DifferenceFrom(mine).ShouldBe(
            new SettingDifference("definition a-b_c: none", "definition a-b_c: pulse 90"));
    }

    [Fact]
    public async Task Without_a_shared_redis_there_is_nothing_to_adopt()
    {
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--adopt"]);
        (code, errors).ShouldBe((2, "aglow: adopt, allow-eviction and wait-for-replica are for --redis: set that, too.\n"));
    }

    private static Task<AglowProcess> NodeAsync(RedisProcess redis, params string[] flags) =>
        AglowProcess.StartAsync(null, ["--redis", $"{redis.Endpoint}", "--drain-seconds", "0", .. Merge(flags)]);

    // a flag that is given twice is refused
    private static string[] Merge(string[] flags) =>
        [.. Lease.Chunk(2).Where(pair => !flags.Contains(pair[0])).SelectMany(static pair => pair), .. flags];
}
