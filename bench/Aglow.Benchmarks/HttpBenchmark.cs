using System.Diagnostics;
using System.Security.Cryptography;
using Aglow.Benchmarks.Door;
using Aglow.Benchmarks.Sockets;

namespace Aglow.Benchmarks;

/// <summary>
/// The cost of heartbeats and statuses over HTTP for a server, compared with an endpoint that does nothing and with Redis at its best.
/// </summary>
/// <remarks>
/// The server and Redis run on the first core, one at a time; this process, the load generator, runs on the second. Each leg keeps one
/// request pending on each of a few connections. Costs are the server's CPU seconds. "Cores busy" near 1 shows that the server was the
/// limit, not the generator. After every leg the state is read back.
/// </remarks>
internal sealed class HttpBenchmark : Benchmark
{
    public override string Name => "http";

    public override string Measures => "server CPU of heartbeats and statuses over HTTP, compared with an empty endpoint and with Redis";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "single, unpipelined, packed, large, statuses, latency, auth"),
        new("users", "16m", "different users, in random order; 16m for memory-bound claims"),
        new("connections", "16", "connections of the load generator, one request under way on each"),
        new("seconds", "2", "length of a leg"),
        new("warm-up", "10", "seconds before the first pair of each comparison"),
    ];

    public override async Task RunAsync(Run run)
    {
        var parts = run.Settings.Choices("parts", "single", "unpipelined", "packed", "large", "statuses", "latency", "auth");
        Cores.PinThisProcess();
        var people = new People(run.Settings.Number("users", least: 200_000));
        using var server = await Server.StartAsync(Server.Aglow, Cores.Server, leaseSeconds: 86_400);
        using var folder = new TemporaryFolder();
        using var redis = parts.Any(p => p is "unpipelined" or "packed" or "statuses")
            ? await RedisServer.StartAsync(Cores.Server, folder.Path)
            : null;
        var bench = new Bench(run, people, server.Process, server.Port, redis);
        await bench.FillAsync();
        await run.RunPartsAsync(
            ("single", bench.SingleAsync),
            ("unpipelined", bench.UnpipelinedAsync),
            ("packed", bench.PackedAsync),
            ("large", bench.LargeAsync),
            ("statuses", bench.StatusesAsync),
            ("latency", bench.LatencyAsync),
            ("auth", () => bench.AuthenticationAsync(folder.Path)));
    }

    private sealed class Bench(Run run, People people, int server, int port, RedisServer? redis)
    {
        private readonly TimeSpan _leg = TimeSpan.FromSeconds(run.Settings.Number("seconds"));
        private readonly TimeSpan _warmUp = TimeSpan.FromSeconds(run.Settings.Number("warm-up"));
        private readonly Connection[] _http = Connection.Open(port, (int)run.Settings.Number("connections"));
        private readonly Connection[] _redis = redis is null ? [] : Connection.Open(redis.Port, (int)run.Settings.Number("connections"));

        /// <summary>Sends one heartbeat of every user to the server and to Redis.</summary>
        public async Task FillAsync()
        {
            run.Progress($"{people.Count:#,0} users come online");
            new PackedHeartbeats(people, 100_000).Fill(_http, people.Count / 100_000);
            if (redis is null)
                return;
            run.Note(
                $"Redis {redis.Version()} on the server's core: save \"\", appendonly no; SET with EX 3600, so that every SET "
                    + "overwrites, as in steady state");
            new RedisSets(people, 500).Fill(_redis, people.Count / 500);
            // waits until the journal of these arrivals is written and trimmed
            await Task.Delay(TimeSpan.FromSeconds(5));
        }

        public async Task SingleAsync()
        {
            var pairs = await RunAsync(new OneHeartbeat(people, nothing: false), new OneHeartbeat(people, nothing: true), _http, server);
            run.Add("POST /heartbeat of one user: server CPU against POST to nothing", pairs, "request", Goal.Most(1.1));
        }

        /// <summary>The unfavourable comparison: one heartbeat per request, where a binary protocol costs less than HTTP.</summary>
        public async Task UnpipelinedAsync()
        {
            var pairs = await RunAsync(new OneHeartbeat(people, nothing: false), new RedisSets(people, 1), _redis, redis!.Process);
            run.Add("POST /heartbeat of one user: server CPU against Redis SET EX, a request each", pairs, "heartbeat");
        }

        public async Task PackedAsync()
        {
            var packed = new PackedHeartbeats(people, 1000);
            var pairs = await RunAsync(packed, new RedisSets(people, 100), _redis, redis!.Process);
            run.Add("heartbeat, 1,000 packed: server CPU against Redis SET EX x 100", pairs, "heartbeat", Goal.Most(1 / 30.0));
            pairs = await RunAsync(packed, new RedisBitfields(people, 100), _redis, redis.Process);
            run.Add("heartbeat, 1,000 packed: server CPU against Redis BITFIELD x 100", pairs, "heartbeat", Goal.Most(0.1));
        }

        public Task LargeAsync()
        {
            var load = new PackedHeartbeats(people, 100_000);
            for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began) < _warmUp;)
                load.Run(server, _http, _leg);
            var samples = Enumerable.Range(0, (int)run.PairCount).Select(_ => load.Run(server, _http, _leg)).ToArray();
            run.Add("heartbeats, 100,000 packed", "million/CPU s", [.. samples.Select(s => 1000 / s.CpuNanoseconds)], Goal.Least(35));
            run.AddLeg(load.Name, samples, "heartbeat");
            return Task.CompletedTask;
        }

        public async Task StatusesAsync()
        {
            var gets = new RedisGets(people, 100);
            foreach (
                var (form, goal) in (
                    (Statuses.Form, double)[])[(Statuses.Form.List, 0.5), (Statuses.Form.Objects, 0.5), (Statuses.Form.Packed, 0.1)])
            {
                var statuses = new Statuses(people, 1000, form);
                var pairs = await RunAsync(statuses, gets, _redis, redis!.Process);
                run.Add($"status, {statuses.Name[20..]}: server CPU against Redis MGET x 100", pairs, "user", Goal.Most(goal));
            }
        }

        public async Task LatencyAsync()
        {
            Connection[] one = [_http[0]];
            var batch = new OneBatch(people, 20);
            var single = new SingleStatuses(people, 20);
            var medians = new List<double>();
            var late = new List<double>();
            var pairs = await Pairs.RunAsync(
                new Leg(batch.Name, () =>
                {
                    var sample = batch.Run(server, one, _leg / 2);
                    medians.Add(Spread.Quantile(batch.Milliseconds, 0.5));
                    late.Add(Spread.Quantile(batch.Milliseconds, 0.99));
                    return sample;
                }),
                new Leg(single.Name, () => single.Run(server, one, _leg / 2)),
                run.PairCount,
                _warmUp);
            run.Add(
                "20 statuses in one batch: times faster than 20 calls, one connection", pairs, "look", Goal.Least(12), inverse: true,
                cost: s => s.Nanoseconds);
            // leaves the warm-up out
            run.Add("20 statuses in one batch, p50", "ms", [.. medians.TakeLast((int)run.PairCount)], Goal.Most(0.15));
            run.Add("20 statuses in one batch, p99", "ms", [.. late.TakeLast((int)run.PairCount)]);
        }

        /// <summary>
        /// Two servers with default settings on one core: one requires tokens, the other is open. Both get the same heartbeats, with and
        /// without a token.
        /// </summary>
        public async Task AuthenticationAsync(string folder)
        {
            var secret = RandomNumberGenerator.GetBytes(32);
            using var open = await ServeProcess.StartAsync(Cores.Server, Path.Combine(folder, "open"));
            foreach (var (how, more) in ((string, string[])[])[
                ("no rates", ["--rate-limit", "0", "--rate-limit-key", "0", "--rate-limit-address", "0"]),
                ("rates counted", ["--rate-limit", "1000000", "--rate-limit-address", "1000000"])])
            {
                using var guarded = await ServeProcess.StartAsync(
                    Cores.Server, Path.Combine(folder, $"guarded {how}"),
                    ["--auth", "token", "--jwt-secret", Convert.ToBase64String(secret), .. more]);
                var load = new OwnHeartbeat();
                var users = Enumerable.Range(0, _http.Length).Select(static i => (uint)(10_000_000 + i)).ToArray();
                Connection[] with =
                [
                    .. users.Select(user => new Connection(guarded.Port)
                    {
                        User = user,
                        Headers = $"Authorization: Bearer {Callers.TokenOf(secret, $"{user}")}\r\n",
                    }),
                ];
                Connection[] without = [.. users.Select(user => new Connection(open.Port) { User = user })];
                var pairs = await Pairs.RunAsync(
                    new Leg($"{load.Name}, a token each, {how}", () => load.Run(guarded.Process, with, _leg)),
                    new Leg($"{load.Name}, open mode", () => load.Run(open.Process, without, _leg)),
                    run.PairCount,
                    _warmUp);
                run.Add($"POST /heartbeat with a token ({how}): server CPU against open mode", pairs, "heartbeat", Goal.Most(1.1));
                foreach (var connection in with.Concat(without))
                    connection.Dispose();
            }
        }

        private async Task<Pairs> RunAsync(Load a, Load b, Connection[] connectionsOfB, int serverOfB) => await Pairs.RunAsync(
            new Leg(a.Name, () => a.Run(server, _http, _leg)),
            new Leg(b.Name, () => b.Run(serverOfB, connectionsOfB, _leg)),
            run.PairCount,
            _warmUp);
    }
}
