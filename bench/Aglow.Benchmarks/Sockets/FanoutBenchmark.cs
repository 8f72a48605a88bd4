namespace Aglow.Benchmarks.Sockets;

/// <summary>
/// Deliveries to watchers: Aglow compared with a bare Node <c>ws</c> server and a SignalR hub, with the same job in the same run.
/// </summary>
/// <remarks>
/// <code>
///   load generator ── heartbeats, leaves (in lists, every 10 ms) ──► server ── records ──► 5,000 sockets of the load generator
/// </code>
/// Changes enter each server by its cheapest way: Aglow by packed <c>POST /heartbeat</c> and <c>/offline</c> with its journal on, the peers
/// by messages over one socket. A delivery is one record to one watcher that changes what the watcher knew. Aglow delays leaves by a second
/// by design (a person may have another device), so lags are those of arrivals. For CPU, the server runs on one core and the load on
/// another. For lags, both run on both cores.
/// </remarks>
internal sealed class FanoutBenchmark : Benchmark
{
    private const double WorstLag = 1000;
    private const int QuietRate = 10;

    public override string Name => "fanout";

    public override string Measures =>
        "deliveries to watchers: lag, CPU per delivery, the highest rate; compared with ws and SignalR";

    public override int DefaultPairs => 7;

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "cost, lag, saturated, shares, one, offline"),
        new("peers", "all", "ws, signalr, before: the peers for the comparison of cost"),
        new("sockets", "5000", "watchers"),
        new("watching", "20", "users that each watcher watches; each user is watched by 20"),
        new("rate", "1000", "changes a second, half of them arrivals and half goodbyes"),
        new("seconds", "10", "length of a leg"),
        new("saturated-watching", "400", "users that each watcher watches at the highest rate: enough that each change changes a state"),
        new("most", "50000", "changes a second that count as the highest rate, for lags at shares of it"),
        new("saturated-peers", "ws", "the peers for the comparison of the highest rate, likewise"),
        new("before", "", "the folder of an earlier build of this program, which is compared with this one"),
        new("ping", "10", "seconds between two pings of an Aglow socket"),
        new("online", "5m", "users who stay online while the leases of others expire"),
        new("quick", "no", "shorter legs and fewer of them: to see that it works"),
    ];

    public override async Task RunAsync(Run run)
    {
        Server.BeforeFolder = run.Settings.Text("before");
        Server.PingSeconds = (int)run.Settings.Number("ping");
        await run.RunPartsAsync(
            ("cost", () => MeasureCostAsync(run)),
            ("lag", () => MeasureLagAsync(run)),
            ("saturated", () => MeasureSaturatedAsync(run)),
            ("shares", () => MeasureSharesAsync(run)),
            ("one", () => MeasureFlipsAsync(run)),
            ("offline", () => MeasureOfflineAsync(run)));
    }

    // ---- CPU seconds per delivery, in pairs -----------------------------------------------------------------------------------

    private static async Task MeasureCostAsync(Run run)
    {
        var sockets = (int)run.Settings.Number("sockets");
        var watching = (int)run.Settings.Number("watching");
        using var aglow = await Side.StartAsync(Server.Aglow, pinned: true, sockets, watching);
        foreach (var name in run.Settings.Choices("peers", Peers))
        {
            using var peer = await Side.StartAsync(name, pinned: true, sockets, watching);
            aglow.Legs.Clear();
            run.Progress($"{sockets:#,0} sockets watch {watching} users each at both servers");
            var pairs = await Pairs.RunAsync(
                new Leg($"Aglow, beside {Server.Title(name)}", () => RunLegAsync(run, aglow)),
                new Leg(Server.Title(name), () => RunLegAsync(run, peer)),
                run.PairCount,
                TimeSpan.FromSeconds(IsQuick(run) ? 1 : 40));
            var goal = name switch { Server.Ws => Goal.Least(1.3), Server.SignalR => Goal.Least(1.8), _ => null };
            run.Add(
                $"{Rate(run):#,0} changes/s: deliveries per server CPU second, times those of {Server.Title(name)}", pairs, "delivery",
                goal, inverse: true);
            foreach (var side in new[] { aglow, peer })
                Add(run, side.Legs.TakeLast((int)run.PairCount), $"  {Server.Title(side.Name)}, server on one core");
        }
    }

    private static async Task<Sample> RunLegAsync(Run run, Side side)
    {
        var leg = await side.RunAsync(Rate(run), Seconds(run));
        return new Sample(leg.Deliveries, leg.Seconds, leg.ServerCpu);
    }

    // ---- lags, both cores shared with the clients -----------------------------------------------------------------------------

    private static async Task MeasureLagAsync(Run run)
    {
        foreach (var name in Ours)
        {
            using var side = await Side.StartAsync(
                name, pinned: false, (int)run.Settings.Number("sockets"), (int)run.Settings.Number("watching"));
            for (var i = 0; i < (IsQuick(run) ? 1 : 3); i++)
                await side.RunAsync(Rate(run), Seconds(run), quantum: 0);
            foreach (var (rate, p50, p99) in new[] { (QuietRate, 2, 5), (Rate(run), 8, 25) })
            {
                side.Legs.Clear();
                for (var i = 0; i < run.PairCount; i++)
                    await side.RunAsync(rate, Seconds(run), quantum: 0);
                var title = $"{Server.Title(name)}, {rate:#,0} changes/s, 2 cores shared with the clients";
                Add(run, side.Legs, title, Goal.Most(p50), Goal.Most(p99));
            }
        }
    }

    // ---- the highest rate -----------------------------------------------------------------------------------------------------

    private static async Task MeasureSaturatedAsync(Run run)
    {
        var sockets = (int)run.Settings.Number("sockets");
        var watching = (int)run.Settings.Number("saturated-watching");
        using var aglow = await Side.StartAsync(Server.Aglow, pinned: true, sockets, watching);
        var aglowRate = 12_000;
        foreach (var name in run.Settings.Choices("saturated-peers", Peers))
        {
            using var peer = await Side.StartAsync(name, pinned: true, sockets, watching);
            var peerRate = 2_500;
            List<FanoutLeg> best = [];
            List<FanoutLeg> peerBest = [];
            for (var i = 0; i < (IsQuick(run) ? 1 : Math.Min(5, run.PairCount)); i++)
            {
                if (i % 2 == 0)
                    best.Add(await SaturateAsync(run, aglow, aglowRate));
                peerBest.Add(await SaturateAsync(run, peer, peerRate));
                if (i % 2 == 1)
                    best.Add(await SaturateAsync(run, aglow, aglowRate));
                aglowRate = (int)(best[^1].Offered * 0.8);
                peerRate = (int)(peerBest[^1].Offered * 0.8);
            }

            var goal = name switch { Server.Ws => Goal.Least(5), Server.Before => Goal.Least(1), _ => null };
            run.Add(
                $"saturated, p99 under 1 s: deliveries/s, times those of {Server.Title(name)}", "ratio",
                [.. best.Zip(peerBest, (a, b) => a.DeliveriesPerSecond / b.DeliveriesPerSecond)], goal);
            Add(run, best, $"  {Server.Title(Server.Aglow)}, saturated");
            Add(run, peerBest, $"  {Server.Title(name)}, saturated");
            run.Note($"for lags at shares of the highest rate: --parts shares --most {best.Max(l => l.Offered):0}");
        }
    }

    // Lags at shares of the highest rate, with an earlier build in turn if there is one.
    private static async Task MeasureSharesAsync(Run run)
    {
        var sides = new List<Side>();
        try
        {
            foreach (var name in Ours)
                sides.Add(await Side.StartAsync(
                    name, pinned: true, (int)run.Settings.Number("sockets"), (int)run.Settings.Number("saturated-watching")));
            // until the code of both is compiled
            for (var i = 0; i < 3 * sides.Count; i++)
                await sides[i % sides.Count].RunAsync((int)(run.Settings.Number("most") / 2), IsQuick(run) ? 3 : 6);
            foreach (var (share, goal) in new[] { (0.25, 60.0), (0.5, 80), (0.8, 120) })
            {
                var rate = (int)(share * run.Settings.Number("most"));
                foreach (var side in sides)
                    side.Legs.Clear();
                for (var i = 0; i < sides.Count * (IsQuick(run) ? 1 : Math.Min(5, run.PairCount)); i++)
                    await sides[i % sides.Count].RunAsync(rate, IsQuick(run) ? 3 : 6);
                foreach (var side in sides)
                    Add(
                        run, side.Legs, $"{Server.Title(side.Name)}, {rate:#,0} changes/s, {100 * share:0} % of the highest rate",
                        p99: Goal.Most(goal));
            }
        }
        finally
        {
            sides.ForEach(static side => side.Dispose());
        }
    }

    private static void Add(Run run, IEnumerable<FanoutLeg> legs, string title, Goal? p50 = null, Goal? p99 = null)
    {
        Each("lag p50", "ms", static leg => leg.ArrivalP50, p50);
        Each("lag p99", "ms", static leg => leg.ArrivalP99, p99);
        Each("lag p99.9", "ms", static leg => leg.ArrivalP999);
        Each("lag, longest", "ms", static leg => leg.ArrivalMax);
        Each("deliveries", "deliveries/s", static leg => leg.DeliveriesPerSecond);
        Each("records a frame", "records", static leg => (double)leg.Deliveries / leg.Frames);
        Each("server CPU", "% of a core", static leg => 100 * leg.ServerCpu / leg.Seconds);
        Each("server CPU", "ns/delivery", static leg => leg.ServerCpu * 1e9 / leg.Deliveries);
        Each("load generator", "% of a core", static leg => 100 * leg.LoadCpu / leg.Seconds);

        void Each(string what, string unit, Func<FanoutLeg, double> value, Goal? goal = null) =>
            run.Add($"{title}: {what}", unit, [.. legs.Select(value)], goal);
    }

    // Raises the rate by a fifth at a time until deliveries are late; returns the last leg in time.
    private static async Task<FanoutLeg> SaturateAsync(Run run, Side side, int rate)
    {
        FanoutLeg? best = null;
        for (double offered = rate; ; offered *= best is null ? 0.7 : 1.2)
        {
            var leg = await side.RunAsync((int)offered, IsQuick(run) ? 3 : 6);
            var bears = leg.Missing == 0 && leg.ArrivalP99 <= WorstLag;
            run.Progress(
                $"{Server.Title(side.Name)}, {leg.Offered:#,0} changes/s: {leg.DeliveriesPerSecond:#,0} deliveries/s, p99 "
                    + $"{leg.ArrivalP99:0} ms, server {100 * leg.ServerCpu / leg.Seconds:0} %, load "
                    + $"{100 * leg.LoadCpu / leg.Seconds:0} %{(bears ? "" : ": too much")}");
            if (bears)
                best = leg;
            else if (best is not null)
                return best;
            else if (offered < 100)
                throw new BenchmarkException($"{Server.Title(side.Name)} cannot handle a hundred changes a second.");
        }
    }

    // ---- one user with many watchers ------------------------------------------------------------------------------------------

    private static async Task MeasureFlipsAsync(Run run)
    {
        const string what = "10,000 watchers of one user: until the last is told";
        var rounds = IsQuick(run) ? 3 : 15;
        foreach (var name in new[] { Server.Aglow, Server.Ws })
        {
            using var side = await Side.StartAsync(name, pinned: false, sockets: 10_000, watching: 1, users: 1);
            await side.Load.SendAsync("flip 3");
            var leg = await side.Load.SendAsync<FlipLeg>($"flip {rounds}");
            run.Add($"{what}, {Server.Title(name)}", "ms", leg.Arrivals, name == Server.Aglow ? Goal.Most(300) : null);
            run.Add($"  the longest of {rounds}, {Server.Title(name)}", "ms", [leg.Arrivals.Max()]);
        }
    }

    // ---- users who vanish -----------------------------------------------------------------------------------------------------

    private static async Task MeasureOfflineAsync(Run run)
    {
        var online = run.Settings.Number("online");
        using var side = await Side.StartAsync(Server.Aglow, pinned: false, sockets: 100, watching: 20, users: 2000);
        List<LapseLeg> legs = [];
        for (var i = 0; i < (IsQuick(run) ? 1 : 3); i++)
        {
            run.Progress($"{online:#,0} users online, 2,000 of the watched go silent");
            legs.Add(await side.Load.SendAsync<LapseLeg>($"lapse {online} 30"));
        }

        if (legs.Sum(l => l.Wrong) is > 0 and var wrong)
            throw new BenchmarkException($"{wrong} watchers missed a user who went offline.");
        var title = $"{online:#,0} online: offline notice";
        run.Add($"{title} after the lease ran out, p50", "ms", [.. legs.Select(l => l.P50)]);
        run.Add($"{title} after the lease ran out, p99", "ms", [.. legs.Select(l => l.P99)], Goal.Most(1500));
        run.Add($"{title} after the lease ran out, longest", "ms", [.. legs.Select(l => l.Max)]);
    }

    private static string[] Peers =>
        [Server.Ws, Server.SignalR, .. Server.BeforeFolder.Length > 0 ? [Server.Before] : Array.Empty<string>()];

    private static string[] Ours => Server.BeforeFolder.Length > 0 ? [Server.Aglow, Server.Before] : [Server.Aglow];

    private static bool IsQuick(Run run) => run.Settings.Text("quick") != "no";

    private static int Rate(Run run) => (int)run.Settings.Number("rate");

    private static int Seconds(Run run) => IsQuick(run) ? 3 : (int)run.Settings.Number("seconds");

    /// <summary>A server, and the load generator whose sockets watch there.</summary>
    private sealed class Side(Server server, SocketLoad load) : IDisposable
    {
        public string Name => server.Name;

        public SocketLoad Load => load;

        /// <summary>All legs of this side.</summary>
        public List<FanoutLeg> Legs { get; } = [];

        public static async Task<Side> StartAsync(string name, bool pinned, int sockets, int watching, int? users = null)
        {
            var server = await Server.StartAsync(name, pinned ? Cores.Server : 0);
            var side = new Side(server, SocketLoad.Start(server, pinned ? Cores.Load : 0));
            // twenty sockets watch each user
            await side.Load.SendAsync($"connect {sockets} {watching} {users ?? sockets * watching / 20} 1");
            return side;
        }

        public async Task<FanoutLeg> RunAsync(int rate, int seconds, int quantum = 10)
        {
            var leg = await load.SendAsync<FanoutLeg>($"run {rate} {seconds} {quantum}");
            Legs.Add(leg);
            if (leg.Lost > 0)
                throw new BenchmarkException($"{Server.Title(Name)} lost {leg.Lost} connections: no figure of this run counts.");
            return leg;
        }

        public void Dispose()
        {
            load.Dispose();
            server.Dispose();
        }
    }
}
