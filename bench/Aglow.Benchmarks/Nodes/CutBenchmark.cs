using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using Aglow.Benchmarks.Baselines;

namespace Aglow.Benchmarks.Nodes;

/// <summary>How long a heartbeat waits for its answer while PostgreSQL is cut off from a node.</summary>
/// <remarks>
/// <code>
///   heartbeats of known IDs, one after another ──┐
///   heartbeats of new IDs                        ├──► node ──► proxy that holds, or PostgreSQL that is stopped (SIGSTOP)
///   writes and reads of the directory ───────────┘
/// </code>
/// A figure is the longest answer of a caller that sends one call after another, so a node that hangs shows in it. The time before
/// the cut, under the same load, says what the machine itself adds.
/// </remarks>
internal sealed class CutBenchmark : Benchmark
{
    private const int Writers = 3;
    private static readonly TimeSpan Warmup = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan BetweenCalls = TimeSpan.FromMilliseconds(5);

    public override string Name => "cut";

    public override string Measures => "how long a heartbeat waits for its answer while PostgreSQL is cut off";

    public override int DefaultPairs => 3;

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "held (a proxy passes nothing on), stopped (PostgreSQL gets SIGSTOP)"),
        new("seconds", "15", "length of a cut; calls to PostgreSQL time out after 10 s"),
    ];

    public override async Task RunAsync(Run run)
    {
        foreach (var part in run.Settings.Choices("parts", "held", "stopped"))
        {
            List<double> before = [], known = [], after = [], fresh = [];
            for (var i = 0; i < run.PairCount; i++)
            {
                await using var postgres = await PostgresServer.StartAsync(0);
                using var proxy = new HoldingProxy(postgres.Port);
                await using var cluster = await ClusterServers.StartAsync();
                using var node = await ServeProcess.StartAsync(
                    cluster, ["--postgres", $"Host=127.0.0.1;Port={proxy.Port};Username=aglow;Database=postgres"]);
                using var load = new CutLoad(node.Port);
                // the node's first calls are compiled
                await load.RunAsync(Warmup);
                before.Add((await load.RunAsync(Warmup)).Known);
                Cut(true);
                var cut = await load.RunAsync(TimeSpan.FromSeconds(run.Settings.Number("seconds")));
                Cut(false);
                after.Add((await load.RunAsync(Warmup)).Known);
                known.Add(cut.Known);
                fresh.Add(cut.New);

                void Cut(bool cut)
                {
                    if (part == "held")
                        proxy.Hold(cut);
                    else
                        postgres.Pause(cut);
                }
            }

            run.Add($"{part}: longest heartbeat of known users before the cut", "ms", before);
            run.Add($"{part}: longest heartbeat of known users while cut off", "ms", known, Goal.Most(200));
            run.Add($"{part}: longest heartbeat of known users after the cut", "ms", after);
            run.Add($"{part}: longest heartbeat of new users while cut off, until its 503", "ms", fresh);
        }
    }

    /// <summary>Callers that send one call after another, and measure the longest answer.</summary>
    private sealed class CutLoad(int port) : IDisposable
    {
        private readonly HttpClient _http = new() { BaseAddress = Http.Local(port), Timeout = TimeSpan.FromMinutes(1) };
        private int _made;

        public async Task<(double Known, double New)> RunAsync(TimeSpan during)
        {
            var began = Stopwatch.GetTimestamp();
            var known = Task.WhenAll(((object[])[42, "alice"]).Select(user => RepeatAsync(() => HeartbeatAsync(user))));
            var fresh = Task.WhenAll(Enumerable.Range(0, 2).Select(_ => RepeatAsync(() => HeartbeatAsync($"new-{Made()}"))));
            var others = Task.WhenAll(Enumerable.Range(0, Writers).SelectMany(_ => (Task<double>[])
            [
                RepeatAsync(() => _http.PutAsJsonAsync("/users/42/status", new { status = "busy", text = $"{Made()}" })),
                RepeatAsync(() => _http.GetAsync($"/status/nobody-{Made()}")),
            ]));
            await others;
            return ((await known).Max(), (await fresh).Max());

            // A call that is still pending at the end counts with its time until then, because its answer comes after the cut.
            async Task<double> RepeatAsync(Func<Task<HttpResponseMessage>> call)
            {
                var longest = 0.0;
                for (var left = during; left > TimeSpan.Zero; left = during - Stopwatch.GetElapsedTime(began))
                {
                    var at = Stopwatch.GetTimestamp();
                    var answer = call();
                    await Task.WhenAny(answer, Task.Delay(left));
                    longest = Math.Max(longest, Stopwatch.GetElapsedTime(at).TotalMilliseconds);
                    if (!answer.IsCompleted)
                        break;
                    (await answer).Dispose();
                    await Task.Delay(BetweenCalls);
                }

                return longest;
            }
        }

        public void Dispose() => _http.Dispose();

        // sends Content-Length, as clients do
        private async Task<HttpResponseMessage> HeartbeatAsync(object user)
        {
            using var body = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(new { user_id = user }));
            body.Headers.ContentType = new("application/json");
            return await _http.PostAsync("/heartbeat", body);
        }

        private int Made() => Interlocked.Increment(ref _made);
    }
}
