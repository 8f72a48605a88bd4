using Aglow.Benchmarks.Baselines;
using Aglow.Benchmarks.Stores;

namespace Aglow.Benchmarks.Tests;

/// <summary>
/// The designs that Aglow's figures are held against, each on its real server: a benchmark of something that does not work says nothing.
/// </summary>
public sealed class DesignTests
{
    private static readonly uint[] Everybody = [0, 1, 2, 3, 999];

    [Theory]
    [InlineData(StoreServers.Sqlite, 3)]
    [InlineData(StoreServers.Postgres, 3)]
    [InlineData(StoreServers.Maria, 3)]
    [InlineData(StoreServers.RedisName, 1)]
    [InlineData(StoreServers.Dynamo, 1)]
    [InlineData(StoreServers.AglowName, 1)]
    [InlineData(StoreServers.AglowOnRedis, 1)]
    public async Task Each_design_tells_who_heartbeat_from_who_did_not(string store, int designs)
    {
        await using var servers = new StoreServers();
        var found = await servers.DesignsAsync(store, TimeSpan.FromSeconds(30));
        found.Length.ShouldBe(designs);
        foreach (var design in found)
        {
            await using (design)
                await HoldAsync(design);
        }
    }

    [Fact]
    public async Task The_expiry_job_deletes_who_is_over_the_lease_and_nobody_else()
    {
        await using var servers = new StoreServers();
        await using var table = await servers.TableAsync(StoreServers.Sqlite, ExpiringRow.Schema);
        var design = new ExpiringRow(table, TimeSpan.FromSeconds(30));
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        await table.UpsertAsync(1, now - 60);
        await table.UpsertAsync(2, now);

        (await design.ExpireAsync()).ShouldBe([1u]);

        (await design.CountAsync()).ShouldBe(1);
    }

    [Fact]
    public async Task A_boolean_keeps_everybody_online_however_old_it_is_and_a_timestamp_does_not()
    {
        await using var servers = new StoreServers();
        await using var flags = new BooleanRow(await servers.TableAsync(StoreServers.Sqlite, BooleanRow.Schema));
        await using var rows = await servers.TableAsync(StoreServers.Sqlite, HeartbeatRow.Schema);
        var design = new HeartbeatRow(rows, TimeSpan.FromSeconds(30));
        await flags.HeartbeatAsync(1);
        await rows.UpsertAsync(1, DateTimeOffset.UtcNow.ToUnixTimeSeconds() - 3600);

        (await ReadAsync(flags, 1))[0].IsOnline.ShouldBeTrue();
        (await ReadAsync(design, 1))[0].IsOnline.ShouldBeFalse();
    }

    private static async Task HoldAsync(PresenceDesign design)
    {
        await design.FillAsync(3);
        await design.HeartbeatAsync(3);
        (await ReadAsync(design, Everybody)).Select(s => s.IsOnline).ShouldBe([true, true, true, true, false], design.Name);
        (await design.CountAsync()).ShouldBe(4, design.Name);

        await design.LeaveAsync(1);
        await design.HeartbeatAsync((uint[])[0, 3]);
        var seen = await ReadAsync(design, Everybody);
        seen.Select(s => s.IsOnline).ShouldBe([true, false, true, true, false], design.Name);
        if (design is not BooleanRow)
            seen[3].LastSeen.ShouldBeGreaterThan(DateTimeOffset.UtcNow.ToUnixTimeSeconds() - 30, design.Name);
        (await design.BytesAsync()).ShouldBeGreaterThan(0, design.Name);
        // the kernel counts in hundredths of a second
        for (var i = 0; design.CpuSeconds() == 0; i++)
        {
            i.ShouldBeLessThan(100_000, design.Name);
            await design.HeartbeatAsync(3);
        }
    }

    private static async Task<Seen[]> ReadAsync(PresenceDesign design, params uint[] users)
    {
        var seen = new Seen[users.Length];
        await design.ReadAsync(users, seen);
        return seen;
    }
}
