namespace Aglow.Plan.Tests;

/// <summary>The model, with constants that are easy to reckon with; every expectation is worked out by hand beside it.</summary>
public sealed class CapacityTests
{
    /// <summary>Round numbers, so that a pencil is enough.</summary>
    internal static readonly Constants Round = new Constants(
        "2026-01-01",
        "a machine of round numbers",
        new Dictionary<string, double>(StringComparer.Ordinal)
        {
            ["node_cores"] = 0.06,
            ["telling_cores"] = 0.04,
            ["node_bytes"] = 100e6,
            ["word_bytes"] = 4,
            ["socket_bytes"] = 6000,
            ["socket_kernel_bytes"] = 2000,
            ["watch_bytes"] = 10,
            ["socket_heartbeat_us"] = 20,
            ["http_heartbeat_us"] = 10,
            ["packed_heartbeat_us"] = 0.02,
            ["transition_us"] = 40,
            ["delivery_us"] = 10,
            ["hint_us"] = 5,
            ["sweep_us_per_million"] = 400,
            ["node_redis_word_us"] = 2,
            ["redis_command_us"] = 1,
            ["redis_word_us"] = 0.5,
            ["redis_word_bytes"] = 4,
            ["redis_sweep_us_per_mb"] = 500,
            ["ping_out_bytes"] = 100,
            ["ping_in_bytes"] = 100,
            ["http_out_bytes"] = 300,
            ["http_in_bytes"] = 300,
            ["packed_out_bytes"] = 0.5,
            ["packed_in_bytes"] = 4,
            ["delivery_bytes"] = 200,
            ["redis_in_bytes"] = 40,
            ["redis_read_bytes"] = 12,
            ["hint_bytes"] = 8,
            ["journal_bytes"] = 100e6,
        }.ToDictionary(c => c.Key, c => new Constant(c.Key, c.Value, "", "by hand"), StringComparer.Ordinal));

    // 1,000,000 active of 2,000,000; sessions of 1,000 s; everybody with a socket that watches 50
    private static readonly Demand Million =
        new() { Active = 1e6, Registered = 2e6, HeartbeatSeconds = 10, SessionSeconds = 1000, Watch = 50 };

    [Fact]
    public void What_happens_a_second_follows_from_intervals_and_sessions()
    {
        var plan = new Capacity(Million, Round);

        // 1,000,000 / 10
        plan.Heartbeats.Value.ShouldBe(100_000);
        // each session is one coming and one going: 2 x 1,000,000 / 1,000
        plan.Transitions.Value.ShouldBe(2000);
        // 50 x 1,000,000 / 2,000,000 = 25 connections watch each user: 2,000 x 25
        plan.Deliveries.Value.ShouldBe(50_000);
    }

    [Fact]
    public void Cores_by_the_way_of_arrival_are_heartbeats_times_what_each_costs()
    {
        var plan = new Capacity(Million, Round);

        // 100,000 x 20, 10 and 0.02 us
        Value(plan, "heartbeats by sockets").ShouldBe(2);
        Value(plan, "heartbeats by HTTP, one a request").ShouldBe(1);
        Value(plan, "heartbeats packed, 1,000 a request").ShouldBe(0.002, 1e-9);
    }

    [Fact]
    public void One_node_costs_its_idle_self_and_all_the_work()
    {
        var plan = new Capacity(Million, Round);

        // 0.06 idle + 0.04 for telling anybody + 2 pongs + 2,000 x 40 us = 0.08 + 50,000 x 10 us = 0.5 + a sweep of 2 million = 0.0008
        plan.OneNodeCores.Value.ShouldBe(2.6808, 1e-9);
        // 100 MB + 2,000,000 x 4 = 8 MB + 1,000,000 x (6,000 + 50 x 10) = 6,500 MB
        plan.OneNodeBytes.Value.ShouldBe(6.608, 1e-9);
        plan.FitsOneNode.ShouldBeFalse();
    }

    [Fact]
    public void Few_connections_and_packed_heartbeats_fit_one_node()
    {
        var plan = new Capacity(
            Million with { Arrival = Arrival.Packed, SocketCount = 5000, Watch = 20, Watchers = 20, SessionSeconds = 10_000 }, Round);

        // idle and telling 0.1 + 500 pongs x 20 us = 0.01 + 99,500 x 0.02 us = 0.00199 + 200 x 40 us = 0.008 + 4,000 x 10 us = 0.04 + sweep
        // 0.0008
        plan.OneNodeCores.Value.ShouldBe(0.16079, 1e-9);
        // 100 MB + 8 MB + 5,000 x (6,000 + 20 x 10) = 31 MB
        plan.OneNodeBytes.Value.ShouldBe(0.139, 1e-9);
        plan.FitsOneNode.ShouldBeTrue();
    }

    [Fact]
    public void Sweeping_never_takes_more_than_a_fiftieth_of_a_core()
    {
        // a billion words would be 0.4 of a core a second
        Value(new Capacity(Million with { Registered = 1e9 }, Round), "sweeping, on one node").ShouldBe(0.02);
    }

    [Fact]
    public void Nodes_are_what_the_scarcest_thing_asks_for_and_one_that_may_die()
    {
        // work 2 + 0.08 + 0.5 = 2.58, flushing 100,000 x 2 us = 0.2: 2.78 cores over (2 x 50 % - 0.1) = 0.9 a node: 3.09, so 4
        // connections: 1,000,000 / 100,000 = 10; memory: 1,000,000 x 8,500 B over (4 GB - 100 MB - 250 KB): 2.18, so 3
        new Capacity(Million, Round).Nodes.Value.ShouldBe(11);
        // with a million connections a node, cores decide
        new Capacity(Million with { NodeSockets = 1e6 }, Round).Nodes.Value.ShouldBe(5);
        // with many cores, memory does
        new Capacity(Million with { NodeSockets = 1e6, NodeCores = 64 }, Round).Nodes.Value.ShouldBe(4);
    }

    [Fact]
    public void Redis_pays_for_words_in_commands_and_for_sweeps()
    {
        var plan = new Capacity(Million, Round);

        // 11 nodes send 100,000 / 11 a second, over 256 pages: 35.51 words a command; 0.5 + 1 / 35.51 us each
        Value(plan, "CPU of a word").ShouldBe(0.5 + (11 * 256 / 100_000.0), 1e-9);
        // 11 x 8 MB every 10 s
        Value(plan, "read by sweeps, in pages").ShouldBe(8.8, 1e-9);
        // 100,000 x 0.52816 us + 8.8 x 500 us
        plan.RedisCores.Value.ShouldBe(0.057216, 1e-9);
        plan.Primaries.Value.ShouldBe(3);
        plan.RedisServers.Value.ShouldBe(6);
    }

    [Fact]
    public void Sweeps_read_words_where_few_of_many_are_watched()
    {
        // 1,000 connections on 2 nodes watch 500 x 10 = 5,000 users each: 2 x 5,000 x 12 B / 10 s, where pages of a million would be 0.8
        // MB/s
        var plan = new Capacity(Million with { Active = 1000, Registered = 1e6, Watch = 10 }, Round);

        plan.Nodes.Value.ShouldBe(2);
        Value(plan, "read by sweeps, word by word").ShouldBe(0.012, 1e-9);
    }

    [Fact]
    public void Primaries_grow_with_what_they_hold()
    {
        // 100 b users would be 400 GB over 8 GB each
        new Capacity(
            Million with { Registered = 100e9, Watch = 0, NodeBytes = 64e9 }, Round).Primaries.Value.ShouldBeGreaterThanOrEqualTo(50);
    }

    [Fact]
    public void Bandwidth_is_pings_and_deliveries()
    {
        // 100,000 x 100 B + 50,000 x 200 B = 20 MB/s
        new Capacity(Million, Round).Egress.Value.ShouldBe(160, 1e-9);
    }

    [Fact]
    public void What_gives_out_first_is_named_first_and_at_the_load_where_it_is_full()
    {
        var chokepoints = Chokepoint.Of(Million, Round);

        chokepoints.Select(c => c.Factor).ShouldBeInOrder();
        // connections: 1,000,000 of 100,000 a node: full at a tenth
        chokepoints[0].Resource.Name.ShouldBe("one node: connections");
        chokepoints[0].Active.ShouldBe(100_000, 1);
        // hints: 2,000 x 5 us = 0.01 of the one core a node may use: full at a hundred times
        chokepoints.Single(c => c.Resource.Name.StartsWith("every node: hearing", StringComparison.Ordinal)).Factor.ShouldBe(100, 1e-6);
        // a node watches 100,000 x 50 users at most: 5,000,000 x 12 B x 8 / 10 s = 48 of 500 Mbit/s, however many people there are
        chokepoints.Single(
            c => c.Resource.Name.StartsWith("every node: reading", StringComparison.Ordinal)).Factor.ShouldBe(double.PositiveInfinity);
        chokepoints.Single(c => c.Resource.Name.StartsWith("numbers", StringComparison.Ordinal)).Registered.ShouldBe(2147483648, 10);
    }

    [Fact]
    public void A_month_costs_machines_and_traffic_or_writes()
    {
        var prices = new Prices(
            "now",
            "USD",
            NodeMonth: 10,
            LoadBalancerMonth: 5,
            RedisNodeMonth: 20,
            ManagedRedisNodeMonth: 30,
            DiskGbMonth: 1,
            EgressGb: 0,
            DynamodbMillionWrites: 0.5,
            DynamodbMillionReads: 0,
            DynamodbGbMonth: 0);
        var demand = Million with { Watch = 0 };
        var plan = new Capacity(demand, Round);

        var choices = Choice.Of(demand, plan, prices);

        // 11 nodes x 10 + 5, and 6 Redis servers x 20 or 30
        choices.Select(c => c.Month.Value).ShouldContain(235);
        choices.Select(c => c.Month.Value).ShouldContain(295);
        // 100,000 a second x 2,628,000 s = 262,800 million writes x 0.50
        choices[^1].Month.Value.ShouldBe(131_400 + 115, 1e-6);
    }

    [Fact]
    public void Arithmetic_says_what_was_computed()
    {
        var plan = new Capacity(Million, Round);

        var line = plan.Lines.Single(l => l.Name == "heartbeats by sockets").Term;

        line.Formula.ShouldBe("heartbeats × socket_heartbeat_us / 1,000,000");
        line.Numbers.ShouldBe("100,000 × 20 / 1,000,000");
        line.Constants.Select(c => c.Name).ShouldBe(["socket_heartbeat_us"]);
    }

    [Fact]
    public void Brackets_are_where_they_change_something()
    {
        Term a = Term.Of("a", 8), b = Term.Of("b", 4), c = Term.Of("c", 2);

        (a / (b / c)).Formula.ShouldBe("a / (b / c)");
        (a * b / c).Formula.ShouldBe("a × b / c");
        (a - (b - c)).Formula.ShouldBe("a - (b - c)");
        ((a + b) * c).Numbers.ShouldBe("(8 + 4) × 2");
        Term.Up(a / Term.Of("d", 3)).Value.ShouldBe(3);
    }

    private static double Value(Capacity plan, string name) => plan.Lines.Single(l => l.Name == name).Term.Value;
}
