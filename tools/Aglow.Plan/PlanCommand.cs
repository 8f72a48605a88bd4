using System.CommandLine;
using System.Globalization;

namespace Aglow.Plan;

/// <summary>A wrong command line or file. The message is one line that says what to write instead.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>The output format of the plan.</summary>
internal enum Format
{
    Table,
    Json,
    Markdown,
}

/// <summary>The options of the command line.</summary>
/// <param name="Demand">The load to plan for.</param>
/// <param name="Format">The output format.</param>
/// <param name="Explain">Whether to print the arithmetic.</param>
/// <param name="ConstantsFile">The file with the measured constants.</param>
/// <param name="PricesFile">The file with the prices.</param>
internal sealed record PlanOptions(Demand Demand, Format Format, bool Explain, string ConstantsFile, string PricesFile);

/// <summary>The flags, and their possible values.</summary>
internal sealed class PlanCommand
{
    private readonly Option<string> _active = Text("--active", "N", "users active at any moment, such as 500k or 5m [5m]");
    private readonly Option<string> _registered = Text("--registered", "N", "users ever seen [10m, or as many as are active]");
    private readonly Option<string> _heartbeat = Text("--heartbeat", "TIME", "the time between heartbeats: 10s, 1m [10s]");
    private readonly Option<string> _session = Text("--session", "TIME", "how long a user stays online: 90s, 20m, 8h [20m]");
    private readonly Option<string> _watch = Text("--watch", "N", "users that a connection watches, spread evenly over all [100]");
    private readonly Option<string> _watchers = Text(
        "--watchers", "N", "connections that watch a user, if that is known [from --watch]");
    private readonly Option<string> _arrival = Text("--arrival", "HOW", "how heartbeats arrive: sockets, http, packed [sockets]");
    private readonly Option<string> _sockets = Text("--sockets", "N", "open connections [all active with --arrival sockets, else 0]");
    private readonly Option<string> _nodeCores = Text("--node-cores", "N", "cores of a node [2]");
    private readonly Option<string> _nodeMemory = Text("--node-memory", "BYTES", "memory of a node: 8g [8g]");
    private readonly Option<string> _nodeSockets = Text(
        "--node-sockets", "N", "the most connections of a node, all of which reconnect when it dies [100k]");
    private readonly Option<string> _redisMemory = Text("--redis-memory", "BYTES", "memory of a Redis server [16g]");
    private readonly Option<string> _busy = Text(
        "--busy", "PERCENT", "how full cores, memory and links may be; the rest is for peaks and failures [50]");
    private readonly Option<string> _link = Text("--link", "BITS", "a machine's link, bits a second [1g]");
    private readonly Option<string> _format = Text("--format", "HOW", "table, json, markdown [table]");
    private readonly Option<bool> _explain =
        new("--explain") { Description = "print the arithmetic of each figure, and its measurements" };
    private readonly Option<string> _constants = Text(
        "--constants", "FILE", "measured constants [those of the project; ./aglow bench plan measures yours]");
    private readonly Option<string> _prices = Text(
        "--prices", "FILE", "prices [examples: copy tools/Aglow.Plan/prices.json and edit it]");

    /// <summary>The command, which calls <paramref name="run"/>.</summary>
    public RootCommand Create(Func<PlanOptions, int> run)
    {
        var command = new RootCommand(
            "aglow plan: what a deployment needs and costs, worked out from measured constants. Counts may end in k, m, b; times in s, "
                + "m, h; sizes in m, g.")
        {
            _active, _registered, _heartbeat, _session, _watch, _watchers, _arrival, _sockets, _nodeCores, _nodeMemory, _nodeSockets,
            _redisMemory, _busy, _link, _format, _explain, _constants, _prices,
        };
        command.SetAction(parsed => run(Read(parsed)));
        return command;
    }

    private PlanOptions Read(ParseResult parsed)
    {
        var usual = new Demand();
        var active = Count(parsed, _active, usual.Active, 1);
        var demand = new Demand
        {
            Active = active,
            Registered = Count(parsed, _registered, Math.Max(usual.Registered, active), 1),
            HeartbeatSeconds = Seconds(parsed, _heartbeat, usual.HeartbeatSeconds, 1, 3600),
            SessionSeconds = Seconds(parsed, _session, usual.SessionSeconds, 1, 31_536_000),
            Watch = Count(parsed, _watch, usual.Watch, 0, 10_000),
            Watchers = parsed.GetValue(_watchers) is null ? null : Count(parsed, _watchers, 0, 0),
            Arrival = Choice(parsed, _arrival, usual.Arrival),
            SocketCount = parsed.GetValue(_sockets) is null ? null : Count(parsed, _sockets, 0, 0),
            NodeCores = Count(parsed, _nodeCores, usual.NodeCores, 1, 1024),
            NodeBytes = Count(parsed, _nodeMemory, usual.NodeBytes, 256e6),
            NodeSockets = Count(parsed, _nodeSockets, usual.NodeSockets, 1, 10e6),
            RedisBytes = Count(parsed, _redisMemory, usual.RedisBytes, 256e6),
            Busy = Count(parsed, _busy, 100 * usual.Busy, 5, 95) / 100,
            LinkBits = Count(parsed, _link, usual.LinkBits, 1e6),
        };
        if (demand.Registered < demand.Active)
            throw new UsageException(
                $"--registered {parsed.GetValue(_registered)}: set at least the {Term.Show(demand.Active)} active users, who are all "
                    + "registered.");
        if (demand.SocketCount > demand.Active)
            throw new UsageException(
                $"--sockets {parsed.GetValue(_sockets)}: set at most the {Term.Show(demand.Active)} active users: only they have open "
                    + "connections.");
        if (demand.Arrival == Arrival.Sockets && demand.SocketCount < demand.Active)
            throw new UsageException(
                $"--sockets {parsed.GetValue(_sockets)}: with --arrival sockets every active user has one. If others send heartbeats "
                    + "without one, set --arrival http or packed.");
        if (demand.SessionSeconds < demand.HeartbeatSeconds)
            throw new UsageException(
                $"--session {parsed.GetValue(_session)}: shorter than a heartbeat interval ({Term.Show(demand.HeartbeatSeconds)} s), so "
                    + "no user would send two; plan for longer sessions.");
        return new PlanOptions(
            demand,
            Choice(parsed, _format, Format.Table),
            parsed.GetValue(_explain),
            parsed.GetValue(_constants) ?? Path.Combine(AppContext.BaseDirectory, "constants.json"),
            parsed.GetValue(_prices) ?? Path.Combine(AppContext.BaseDirectory, "prices.json"));
    }

    private static Option<string> Text(string name, string value, string description) =>
        new(name) { Description = description, HelpName = value };

    private static double Count(ParseResult parsed, Option<string> option, double otherwise, double least, double most = 1e15)
    {
        if (parsed.GetValue(option) is not { } text)
            return otherwise;
        return Scaled(text, [("k", 1e3), ("m", 1e6), ("b", 1e9), ("g", 1e9), ("t", 1e12)], least, most)
            ?? throw new UsageException(
                $"{option.Name} {text}: write a number from {Term.Show(least)} to {Term.Show(most)}, such as 500, 20k or 5m.");
    }

    private static double Seconds(ParseResult parsed, Option<string> option, double otherwise, double least, double most)
    {
        if (parsed.GetValue(option) is not { } text)
            return otherwise;
        return Scaled(text, [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)], least, most)
            ?? throw new UsageException(
                $"{option.Name} {text}: write a time from {Term.Show(least)} to {Term.Show(most)} seconds, such as 10s, 20m or 8h.");
    }

    private static double? Scaled(string text, (string Ending, double Scale)[] endings, double least, double most)
    {
        var (ending, scale) = endings.FirstOrDefault(e => text.EndsWith(e.Ending, StringComparison.OrdinalIgnoreCase));
        return double.TryParse(
            ending is null ? text : text[..^ending.Length], NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
            && number * (ending is null ? 1 : scale) is var value && value >= least && value <= most
            ? value
            : null;
    }

    private static T Choice<T>(ParseResult parsed, Option<string> option, T otherwise)
        where T : struct, Enum
    {
        if (parsed.GetValue(option) is not { } text)
            return otherwise;
        return Enum.GetNames<T>().Any(n => n.Equals(text, StringComparison.OrdinalIgnoreCase))
            ? Enum.Parse<T>(text, ignoreCase: true)
            : throw new UsageException(
                $"{option.Name} {text}: choose from {string.Join(", ", Enum.GetNames<T>().Select(n => n.ToLowerInvariant()))}.");
    }
}
