namespace Aglow.Plan;

/// <summary>One line of the plan.</summary>
/// <param name="Group">The group of the line.</param>
/// <param name="Name">The name of the figure.</param>
/// <param name="Unit">The unit of the value.</param>
/// <param name="Term">The value, and its arithmetic.</param>
internal sealed record Line(string Group, string Name, string Unit, Term Term);

/// <summary>A resource that can run out, and its used share.</summary>
/// <param name="Name">The name of the resource.</param>
/// <param name="Share">1 if it is full.</param>
/// <param name="Then">What to do when it is full.</param>
internal sealed record Resource(string Name, Term Share, string Then);

/// <summary>The arithmetic: the demand times the measured constants. This file, from top to bottom, is the whole model.</summary>
/// <remarks>
/// It plans two shapes. <b>One node</b>: everything in one process, with words in its memory. <b>Many nodes</b>: words in Redis; nodes have
/// connections and beliefs. Costs grow in proportion, which is true within the range of the benchmarks (docs/capacity.md compares the plan
/// with a run).
/// </remarks>
internal sealed class Capacity
{
    private const double Million = 1e6;

    // the unit is microseconds of CPU a second, and the result is cores
    private const double MicrosecondsASecond = 1e6;

    // a sweep slows down before it takes more of a core than this; see Sweep.CoreShare
    private const double MostSweepShare = 0.02;

    // how often one of many nodes reads every page; see Sweep
    private const double ClusterSweepSeconds = 10;

    // The minimum number of pages over which users are spread. In a second, a node sends one command per page.
    private const double PageLanes = 256, PageWords = 65_280;

    private readonly List<Line> _lines = [];
    private readonly Constants _measured;

    public Capacity(Demand demand, Constants measured)
    {
        _measured = measured;
        var active = Input("active", demand.Active);
        var registered = Input("registered", demand.Registered);
        var interval = Input("heartbeat seconds", demand.HeartbeatSeconds);
        var session = Input("session seconds", demand.SessionSeconds);
        var watch = Input("watch", demand.Watch);
        var sockets = Input("sockets", demand.Sockets);
        var busy = Input("busy", demand.Busy);

        // ---- events a second
        Heartbeats = Add("load", "heartbeats", "1/s", active / interval).As("heartbeats");
        Transitions = Add("load", "transitions (users who come or go)", "1/s", 2.0 * active / session).As("transitions");
        var watchers = demand.Watchers is { } given
            ? Input("watchers", given)
            : Add("load", "connections on which one user is watched", "", watch * sockets / registered).As("watchers");
        Deliveries = Add("load", "deliveries of a change to a connection", "1/s", Transitions * watchers).As("deliveries");

        // ---- cores, by the way heartbeats arrive
        Add("cores", "heartbeats by sockets", "cores", Heartbeats * Measured("socket_heartbeat_us") / MicrosecondsASecond);
        Add("cores", "heartbeats by HTTP, one a request", "cores", Heartbeats * Measured("http_heartbeat_us") / MicrosecondsASecond);
        Add("cores", "heartbeats packed, 1,000 a request", "cores", Heartbeats * Measured("packed_heartbeat_us") / MicrosecondsASecond);
        var pongs = (sockets / interval).As("pongs");
        var others = (Term.Most(active - sockets, 0.0) / interval).As("other heartbeats");
        var arriving = Add(
            "cores",
            $"heartbeats as planned: {Show(demand.Sockets)} by sockets, "
                + $"{Show(Math.Max(0, demand.Active - demand.Sockets))} {(demand.Arrival == Arrival.Http ? "by HTTP" : "packed")}",
            "cores",
            ((pongs * Measured("socket_heartbeat_us"))
                + (others * Measured(demand.Arrival == Arrival.Http ? "http_heartbeat_us" : "packed_heartbeat_us"))) / MicrosecondsASecond);
        var changing = Add("cores", "transitions", "cores", Transitions * Measured("transition_us") / MicrosecondsASecond);
        var delivering = Add("cores", "deliveries", "cores", Deliveries * Measured("delivery_us") / MicrosecondsASecond);
        var sweeping = Add(
            "cores", "sweeping, on one node", "cores", Term.Least(
                MostSweepShare, registered / Million * Measured("sweep_us_per_million") / MicrosecondsASecond));
        var work = (arriving.As("arriving") + changing.As("changing") + delivering.As("delivering")).As("work");

        // ---- one node
        var anyhow = (Measured("node_cores") + Measured("telling_cores")).As("cores a node takes anyhow");
        OneNodeCores = Add("one node", "CPU", "cores", anyhow + work + sweeping.As("sweeping"));
        OneNodeBytes = Add(
            "one node",
            "memory, resident",
            "GB",
            (Measured("node_bytes") + (registered * Measured("word_bytes")) + (sockets * ConnectionBytes(watch))) / 1e9);
        Add("one node", "memory of the kernel for sockets", "GB", sockets * Measured("socket_kernel_bytes") / 1e9);
        Disk = Add("one node", "disk: images of pages, and the journal", "GB", ((registered * 4.0) + Measured("journal_bytes")) / 1e9);

        // ---- many nodes
        var flushing = (Heartbeats * Measured("node_redis_word_us") / MicrosecondsASecond).As("flushing");
        var nodeMemory = (Input("node bytes", demand.NodeBytes) * busy).As("memory a node may fill");
        // beliefs: one bit per registered user, on every node
        var kept = (Measured("node_bytes") + (registered / 8.0)).As("bytes a node has anyhow");
        Nodes = Add(
            "many nodes",
            "nodes",
            "",
            Term.Most(
                Term.Up(sockets / Input("sockets a node", demand.NodeSockets)),
                Term.Up((work + flushing) / ((Input("cores a node", demand.NodeCores) * busy) - anyhow)),
                Term.Up(sockets * (ConnectionBytes(watch) + Measured("socket_kernel_bytes")) / Term.Most(nodeMemory - kept, 1.0)),
                1.0) + 1.0).As("nodes");
        Add("many nodes", "CPU of a node", "cores", anyhow + ((work + flushing) / Nodes));
        Add("many nodes", "memory of a node, resident", "GB", (kept + (sockets * ConnectionBytes(watch) / Nodes)) / 1e9);

        // ---- the shared Redis
        var gathered = Term.Most(1.0, Heartbeats / (Nodes * Term.Most(PageLanes, registered / PageWords))).As("words a command");
        var wordCost = Add("redis", "CPU of a word", "us", Measured("redis_word_us") + (Measured("redis_command_us") / gathered))
            .As("us a word");
        // a node reads whole pages, or only the watched words if these are fewer
        var watched = Term.Least(registered, sockets * watch / Nodes).As("watched on a node");
        var pages = registered * Measured("redis_word_bytes");
        var words = watched * Measured("redis_read_bytes");
        var readsPages = pages.Value <= words.Value;
        var swept = (readsPages ? pages : words).As(readsPages ? "bytes of all pages" : "bytes of words watched");
        var sweptBytes = Add(
            "redis",
            readsPages ? "read by sweeps, in pages" : "read by sweeps, word by word",
            "MB/s",
            Nodes * swept / ClusterSweepSeconds / Million)
            .As("swept MB/s");
        var sweepCost =
            readsPages ? sweptBytes * Measured("redis_sweep_us_per_mb") : Nodes * watched * Measured("redis_word_us") / ClusterSweepSeconds;
        RedisCores = Add("redis", "CPU", "cores", ((Heartbeats * wordCost) + sweepCost) / MicrosecondsASecond).As("redis cores");
        RedisGigabytes = Add("redis", "memory of the words", "GB", registered * Measured("redis_word_bytes") / 1e9).As("redis GB");
        Primaries = Add(
            "redis",
            "primaries",
            "",
            Term.Most(
                // three, because a majority must remain to promote a replica when one dies
                3.0,
                Term.Up(RedisCores / busy),
                Term.Up(RedisGigabytes * 1e9 / (Input("redis bytes", demand.RedisBytes) * busy)),
                Term.Up(sweptBytes * Million * 8.0 / (Input("link bits", demand.LinkBits) * busy)))).As("primaries");
        RedisServers = Add("redis", "servers, a replica each", "", Primaries * 2.0).As("redis servers");

        // ---- the wire
        Egress = Add(
            "bandwidth", "out to people", "Mbit/s",
            ((pongs * Measured("ping_out_bytes"))
                + (others * Measured(demand.Arrival == Arrival.Http ? "http_out_bytes" : "packed_out_bytes"))
                + (Deliveries * Measured("delivery_bytes"))) * 8.0 / Million).As("out Mbit/s");
        Add(
            "bandwidth", "in from people", "Mbit/s",
            ((pongs * Measured("ping_in_bytes"))
                + (others * Measured(demand.Arrival == Arrival.Http ? "http_in_bytes" : "packed_in_bytes"))) * 8.0 / Million);
        Add("bandwidth", "nodes to Redis: words", "Mbit/s", Heartbeats * Measured("redis_in_bytes") * 8.0 / Million);
        Add("bandwidth", "Redis to nodes: sweeps", "Mbit/s", sweptBytes * 8.0);
        Add("bandwidth", "hints, to each node", "Mbit/s", Transitions * Measured("hint_bytes") * 8.0 / Million);

        FitsOneNode = OneNodeCores.Value <= demand.NodeCores * demand.Busy
            && OneNodeBytes.Value * 1e9 <= demand.NodeBytes * demand.Busy
            && demand.Sockets <= demand.NodeSockets;
        var nodeCores = (Input("cores a node", demand.NodeCores) * busy).As("cores a node may use");
        Resources =
        [
            new("one node: CPU", OneNodeCores.As("one node CPU") / nodeCores, "more nodes on a Redis"),
            new("one node: memory", OneNodeBytes.As("one node GB") * 1e9 / nodeMemory, "a larger machine, or more nodes on a Redis"),
            new("one node: connections", sockets / Input("sockets a node", demand.NodeSockets), "more nodes on a Redis"),
            new(
                "every node: hearing all hints",
                Transitions * Measured("hint_us") / MicrosecondsASecond / nodeCores,
                "nodes that hear and sweep only the page groups which they have watchers in, and sockets placed by who watches whom"),
            new(
                "every node: reading what is watched on it",
                swept * 8.0 / ClusterSweepSeconds / (Input("link bits", demand.LinkBits) * busy),
                "fewer connections a node, or a longer sweep"),
            new("every node: beliefs in memory", kept / nodeMemory, "larger machines"),
            new("Redis: 1,000 primaries, the most that a cluster should have", Primaries / 1000.0, "clusters by region"),
            new("numbers of users: 2^31", registered / 2147483648.0, "64-bit words, or an instance a tenant"),
        ];
    }

    public IReadOnlyList<Line> Lines => _lines;

    public IReadOnlyList<Resource> Resources { get; }

    public Term Heartbeats { get; }

    public Term Transitions { get; }

    public Term Deliveries { get; }

    public Term OneNodeCores { get; }

    /// <summary>In GB.</summary>
    public Term OneNodeBytes { get; }

    /// <summary>In GB.</summary>
    public Term Disk { get; }

    /// <summary>Includes a spare node, because one may die.</summary>
    public Term Nodes { get; }

    public Term RedisCores { get; }

    public Term RedisGigabytes { get; }

    public Term Primaries { get; }

    public Term RedisServers { get; }

    /// <summary>In Mbit/s.</summary>
    public Term Egress { get; }

    /// <summary>Whether one node is enough at the allowed load.</summary>
    public bool FitsOneNode { get; }

    private Term ConnectionBytes(Term watch) => Measured("socket_bytes") + (watch * Measured("watch_bytes"));

    private static Term Input(string name, double value) => Term.Of(name, value);

    private static string Show(double value) => Term.Show(value);

    private Term Measured(string key) => _measured[key];

    private Term Add(string group, string name, string unit, Term term)
    {
        _lines.Add(new Line(group, name, unit, term));
        return term;
    }
}
