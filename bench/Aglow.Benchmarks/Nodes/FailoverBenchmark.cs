using System.Diagnostics;
using System.Net.WebSockets;
using Aglow.Model;
using Aglow.Redis.Connections;

namespace Aglow.Benchmarks.Nodes;

/// <summary>
/// How long a service is interrupted when a part of a deployment dies: a Redis primary with a replica, or a node behind HAProxy.
/// </summary>
/// <remarks>
/// <code>
///   primary:  arrivals of its shard, and of the others ──► node ──► three primaries, three replicas        one primary is killed
///   node:     connections, and calls on new ones ──► HAProxy ──► two nodes                                 one is killed or paused
/// </code>
/// Each sample has a new cluster. Calls are repeated until they succeed, so a figure is too long by at most one call (20 ms, or its
/// timeout).
/// </remarks>
internal sealed class FailoverBenchmark : Benchmark
{
    private const int Probes = 6;
    private const int Sockets = 200;
    private static readonly TimeSpan BetweenCalls = TimeSpan.FromMilliseconds(50);

    public override string Name => "failover";

    public override string Measures => "how long the service is interrupted when a Redis primary, or a node behind HAProxy, dies";

    public override int DefaultPairs => 5;

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "primary, killed (a node), still (a node that no longer answers)"),
        new("node-timeouts", "2000,15000", "cluster-node-timeout of Redis, in ms: after how long a primary counts as lost"),
    ];

    public override async Task RunAsync(Run run)
    {
        await run.RunPartsAsync(
            ("primary", () => PrimaryAsync(run)),
            ("killed", () => NodeAsync(run, "killed", static node => node.Kill())),
            ("still", () => NodeAsync(run, "that stands still", static node => node.Pause(true))));
    }

    private static async Task PrimaryAsync(Run run)
    {
        foreach (var timeout in run.Settings.Numbers("node-timeouts", least: 100))
            await PrimaryAsync(run, timeout);
    }

    private static async Task PrimaryAsync(Run run, long timeout)
    {
        List<double> away = [], others = [];
        for (var i = 0; i < run.PairCount; i++)
        {
            await using var cluster = await ClusterServers.StartAsync(hasReplicas: true, "--cluster-node-timeout", $"{timeout}");
            using var node = await ServeProcess.StartAsync(cluster);
            using var http = Http.Client(node.Port);
            http.Timeout = TimeSpan.FromSeconds(10);
            var arrivals = new Arrivals(http);
            // warms up all that the measurement uses
            foreach (var page in Enumerable.Range(0, 64))
                await arrivals.TryAsync(page);
            // the next gossip message reports that a replica has caught up
            await Task.Delay(TimeSpan.FromSeconds(2));
            var isLost = cluster.KillPrimary(0);
            var began = Stopwatch.GetTimestamp();
            var lost = Enumerable.Range(0, 64).Where(page => isLost(RedisKeys.SlotOf(page))).Take(Probes).Select(
                page => SecondsUntilAsync(() => arrivals.TryAsync(page), began)).ToArray();
            var kept = SlowestAsync(
                () => arrivals.TryAsync(Enumerable.Range(0, 64).First(page => !isLost(RedisKeys.SlotOf(page)))), lost);
            away.Add((await Task.WhenAll(lost)).Max());
            others.Add(await kept);
        }

        var title = $"a Redis primary killed, cluster-node-timeout {timeout / 1000.0:0.#} s";
        run.Add($"{title}: until arrivals of its users are taken again", "s", away);
        run.Add($"{title}: the slowest arrival of other users meanwhile", "ms", others);
    }

    private static async Task NodeAsync(Run run, string what, Action<ServeProcess> end)
    {
        List<double> calls = [], connections = [];
        for (var i = 0; i < run.PairCount; i++)
        {
            await using var cluster = await ClusterServers.StartAsync();
            using var first = await ServeProcess.StartAsync(cluster);
            using var second = await ServeProcess.StartAsync(cluster);
            using var balancer = await BalancerProcess.StartAsync(first.Port, second.Port);
            var sockets = await Task.WhenAll(Enumerable.Range(0, Sockets).Select(user => ConnectAsync(balancer.Port, user)));
            end(first);
            var began = Stopwatch.GetTimestamp();
            using var enough = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            var lost = Task.WhenAll(sockets.Select(socket => SecondsUntilCutAsync(socket, began, enough)));
            calls.Add(await LastFailureAsync(balancer.Port, began, TimeSpan.FromSeconds(12)));
            // connections that are not cut by then are at the other node
            await enough.CancelAsync();
            var cut = (await lost).OfType<double>().ToArray();
            if (cut.Length < Sockets / 4)
                throw new BenchmarkException(
                    $"only {cut.Length} of {Sockets} connections were at the node that was lost: no figure of this run counts.");
            connections.Add(cut.Max());
            foreach (var socket in sockets)
                socket.Dispose();
        }

        run.Add($"a node {what}, behind HAProxy: until the last of its connections is cut", "s", connections);
        run.Add($"a node {what}, behind HAProxy: until the last call on a new connection that fails or takes a second", "s", calls);
    }

    private static async Task<double> SecondsUntilAsync(Func<Task<bool>> call, long began)
    {
        await Wait.UntilAsync(call, 120, "a replica to take over");
        return Stopwatch.GetElapsedTime(began).TotalSeconds;
    }

    // Returns the slowest call in ms; a failure counts as infinite.
    private static async Task<double> SlowestAsync(Func<Task<bool>> call, Task[] whilst)
    {
        var slowest = 0.0;
        while (!whilst.All(static task => task.IsCompleted))
        {
            var began = Stopwatch.GetTimestamp();
            var done = await call();
            slowest = Math.Max(slowest, done ? Stopwatch.GetElapsedTime(began).TotalMilliseconds : double.PositiveInfinity);
            await Task.Delay(BetweenCalls);
        }

        return slowest;
    }

    // Sends a call every 50 ms, each on a new connection, whether or not the earlier ones were answered.
    private static async Task<double> LastFailureAsync(int port, long began, TimeSpan length)
    {
        List<Task<double>> calls = [];
        while (Stopwatch.GetElapsedTime(began) < length)
        {
            calls.Add(CallAsync());
            await Task.Delay(BetweenCalls);
        }

        return (await Task.WhenAll(calls)).Max();

        async Task<double> CallAsync()
        {
            using var http = new HttpClient { Timeout = TimeSpan.FromSeconds(1) };
            try
            {
                using var answer = await http.GetAsync(new Uri($"http://127.0.0.1:{port}/status/1"));
                return answer.IsSuccessStatusCode ? 0 : Stopwatch.GetElapsedTime(began).TotalSeconds;
            }
            catch (Exception failure) when (failure is HttpRequestException or OperationCanceledException)
            {
                return Stopwatch.GetElapsedTime(began).TotalSeconds;
            }
        }
    }

    private static async Task<ClientWebSocket> ConnectAsync(int port, int user)
    {
        var socket = new ClientWebSocket();
        await socket.ConnectAsync(new Uri($"ws://127.0.0.1:{port}/ws?user_id={user}"), CancellationToken.None);
        return socket;
    }

    // Returns null if the connection was not cut.
    private static async Task<double?> SecondsUntilCutAsync(ClientWebSocket socket, long began, CancellationTokenSource enough)
    {
        var buffer = new byte[4096];
        try
        {
            while ((await socket.ReceiveAsync(buffer, enough.Token)).MessageType != WebSocketMessageType.Close)
            {
                // reads messages until the cut
            }
        }
        catch (OperationCanceledException)
        {
            return null;
        }
        catch (WebSocketException)
        {
            // the connection was cut
        }

        return Stopwatch.GetElapsedTime(began).TotalSeconds;
    }

    /// <summary>Users who come online for the first time; the node must write them before it answers.</summary>
    private sealed class Arrivals(HttpClient http)
    {
        private int _next;

        public async Task<bool> TryAsync(int page)
        {
            uint[] user = [PageLayout.User(page, Interlocked.Increment(ref _next))];
            using var answer = await Http.PostPackedAsync(http, "/heartbeat", user);
            return answer.IsSuccessStatusCode;
        }
    }
}
