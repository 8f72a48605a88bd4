using System.Diagnostics;
using System.Security.Cryptography;

namespace Aglow.Benchmarks.Door;

/// <summary>Whether one caller can harm others: by using up the server's CPU or memory, or by guessing who came back.</summary>
/// <remarks>The server is <c>./aglow serve --auth token</c> with its default limits; the guesses run without rate limits.</remarks>
internal sealed class DoorBenchmark : Benchmark
{
    private const int Lanes = 16;

    private static readonly byte[] Secret = RandomNumberGenerator.GetBytes(32);

    private readonly Callers _callers = new(Secret);
    private int _others;

    public override string Name => "door";

    public override string Measures => "what one person's token takes of the server, and guesses about hidden users";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "cpu, memory, hidden"),
        new("seconds", "5", "length of an attack by one token"),
        new("samples", "2000", "guesses about hidden users, of each kind of read"),
    ];

    public override int DefaultPairs => 1;

    public override async Task RunAsync(Run run)
    {
        using var folder = new TemporaryFolder();
        await run.RunPartsAsync(
            ("cpu", () => CpuAsync(run, Path.Combine(folder.Path, "cpu"))),
            ("memory", () => MemoryAsync(run, Path.Combine(folder.Path, "memory"))),
            ("hidden", () => HiddenAsync(run, Path.Combine(folder.Path, "hidden"))));
    }

    private async Task CpuAsync(Run run, string folder)
    {
        using var server = await StartAsync(folder);
        var length = TimeSpan.FromSeconds(run.Settings.Number("seconds"));
        var keys = string.Join(',', Enumerable.Range(0, 10_000).Select(static i => $"\"unknown-{i}-{new string('x', 40)}\""));
        var relations = string.Join(',', Enumerable.Range(0, 9_000).Select(static i => $"\"contact-{i}\""));
        using var setUp = Http.Client(server.Port);
        await SendAsync(setUp, "mallory", HttpMethod.Post, "/users/mallory/blocked", $"{{\"user_ids\":[{relations}]}}");
        // waits until the budget that the preparations used is refilled
        await Task.Delay(TimeSpan.FromSeconds(15), TimeProvider.System);
        (string Call, HttpMethod Method, string Path, string? Body)[] attacks =
        [
            ("heartbeats", HttpMethod.Post, "/heartbeat", null),
            ("batches of 10,000 unknown IDs", HttpMethod.Post, "/status/batch", $"{{\"user_ids\":[{keys}]}}"),
            ("searches", HttpMethod.Get, "/users?q=con", null),
            ("lists of 9,000 blocked", HttpMethod.Get, "/users/mallory/blocked", null),
            ("changes of visibility", HttpMethod.Put, "/users/mallory/visibility", "{\"online\":\"nobody\"}"),
            ("counts", HttpMethod.Get, "/online/count", null),
        ];
        var quiet = await OthersAsync(server.Port, length, static () => Task.CompletedTask);
        run.Progress($"others' heartbeats alone: p99 {quiet:0.0} ms");
        foreach (var (call, method, path, body) in attacks)
        {
            double share = 0;
            var p99 = await OthersAsync(server.Port, length, async () => share = (await Sample.OfAsync(
                () => Cpu.Of(server.Process), () => AttackAsync(server.Port, method, path, body, length))).CoresBusy);
            run.Add($"CPU that one token takes by {call}", "cores", [share], Goal.Most(0.25));
            run.Add("  others' p99, over its usual", "", [p99 / quiet], Goal.Most(2));
            await Task.Delay(TimeSpan.FromSeconds(3), TimeProvider.System);
        }
    }

    // each on a new server, because a later attack would reuse memory that an earlier one freed
    private async Task MemoryAsync(Run run, string folder)
    {
        await MemoryAsync(run, $"{folder}-1", "numbers", static i => $"{i}");
        await MemoryAsync(run, $"{folder}-2", "unknown IDs of 36 characters", LongId);
        await MemoryAsync(run, $"{folder}-3", "unknown IDs of 5 characters", static i => $"i{i:x4}");
    }

    private async Task MemoryAsync(Run run, string folder, string kind, Func<int, string> id)
    {
        using var server = await StartAsync(folder);
        using var handler = new SocketsHttpHandler { ResponseDrainTimeout = TimeSpan.Zero };
        using var http = new HttpClient(handler) { BaseAddress = Http.Local(server.Port) };
        await SendAsync(http, "mallory", HttpMethod.Post, "/heartbeat");
        await ChurnAsync(http);
        var before = Cpu.ResidentBytes(server.Process);
        var open = new List<HttpResponseMessage>();
        var watches = 10_000;
        // halves the number of watches when the server refuses them as too many
        while (open.Count < 20 && watches >= 500)
        {
            var ids = string.Join(',', Enumerable.Range(open.Count * 10_000, watches).Select(id));
            var answer = await OpenAsync(http, "mallory", $"/watch?users={ids}");
            if (answer.IsSuccessStatusCode)
                open.Add(answer);
            else if ((await answer.Content.ReadAsStringAsync()).Contains("too-much-held", StringComparison.Ordinal))
                watches /= 2;
            await Task.Delay(TimeSpan.FromMilliseconds(answer.IsSuccessStatusCode ? 100 : 1_000), TimeProvider.System);
        }

        await ChurnAsync(http);
        var megabytes = (Cpu.ResidentBytes(server.Process) - before) / 1e6;
        run.Add($"memory that one token holds by {open.Count} event streams of {kind}", "MB", [megabytes], Goal.Most(32));
        open.ForEach(static answer => answer.Dispose());
    }

    private static string LongId(int i) => $"{i:x8}-0000-4000-8000-000000000000";

    // Calls of others, before and after the attack, so that compiled code, pools and uncollected memory do not count for the attacker.
    private async Task ChurnAsync(HttpClient http)
    {
        var ids = Enumerable.Range(5_000_000, 10_000).Select(LongId).ToArray();
        for (var i = 0; i < 30; i++)
        {
            (await OpenAsync(http, $"other {_others}", $"/watch?users={string.Join(',', ids)}")).Dispose();
            await SendAsync(
                http, $"other {_others++}", HttpMethod.Post, "/status/batch", $"{{\"user_ids\":[\"{string.Join("\",\"", ids)}\"]}}");
        }

        await Task.Delay(TimeSpan.FromSeconds(5), TimeProvider.System);
    }

    private async Task HiddenAsync(Run run, string folder)
    {
        string[] flags = ["--rate-limit", "0", "--rate-limit-key", "0", "--rate-limit-address", "0", "--rate-limit-registrations", "0"];
        var guesses = new HiddenGuesses(Secret, (int)run.Settings.Number("samples", least: 100));
        run.Progress("users hide");
        using (var before = await StartAsync(folder, flags))
            await guesses.SetUpAsync(before.Port);
        using var again = await StartAsync(folder, flags);
        foreach (var (read, percent) in await guesses.GuessAsync(again.Port))
            run.Add($"guesses right, whether a hidden user came back, by a first {read}", "%", [percent], Goal.Most(53));
    }

    // the 99th percentile of other users' heartbeats, in milliseconds, while something else runs
    private async Task<double> OthersAsync(int port, TimeSpan length, Func<Task> beside)
    {
        using var http = Http.Client(port);
        var times = new List<double>();
        var attack = Task.Run(beside);
        var began = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(began) < length)
        {
            var sent = Stopwatch.GetTimestamp();
            await SendAsync(http, $"other-{times.Count % 20}", HttpMethod.Post, "/heartbeat");
            times.Add(Stopwatch.GetElapsedTime(sent).TotalMilliseconds);
            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System);
        }

        await attack;
        return Spread.Quantile(times, 0.99);
    }

    private async Task AttackAsync(int port, HttpMethod method, string path, string? body, TimeSpan length)
    {
        using var http = Http.Client(port);
        var began = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, Lanes).Select(async _ =>
        {
            while (Stopwatch.GetElapsedTime(began) < length)
                await SendAsync(http, "mallory", method, path, body);
        }));
    }

    private async Task SendAsync(HttpClient http, string user, HttpMethod method, string path, string? body = null) =>
        (await _callers.SendAsync(http, user, method, path, body)).Dispose();

    private Task<HttpResponseMessage> OpenAsync(HttpClient http, string user, string path) =>
        _callers.SendAsync(http, user, HttpMethod.Get, path, until: HttpCompletionOption.ResponseHeadersRead);

    private static Task<ServeProcess> StartAsync(string folder, params string[] flags) => ServeProcess.StartAsync(
        0, folder, ["--lease-seconds", "30", "--auth", "token", "--jwt-secret", Convert.ToBase64String(Secret), .. flags]);
}
