using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;

namespace Aglow.Benchmarks.Door;

/// <summary>
/// Whether one caller can harm others: by being mistaken for them on shared connections, or by using up the server's CPU or memory.
/// </summary>
/// <remarks>
/// The server is <c>./aglow serve --auth token</c> with its default limits; the part about callers runs without rate limits. HTTP/2 is used
/// without TLS, as from a balancer.
/// </remarks>
internal sealed class DoorBenchmark : Benchmark
{
    private const int Lanes = 16;

    private readonly byte[] _secret = RandomNumberGenerator.GetBytes(32);
    // Made once: this process shares the two cores with the server, and what it spends on a request is no part of the attack.
    private readonly ConcurrentDictionary<string, byte[]> _bodies = [];
    private readonly ConcurrentDictionary<string, AuthenticationHeaderValue> _tokens = [];
    private int _others;

    public override string Name => "door";

    public override string Measures => "callers taken for others on shared connections, and what one person's token takes of the server";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("parts", "all", "callers, cpu, memory, hidden"),
        new("requests", "1m", "requests of callers, over all ways"),
        new("people", "1000", "different callers"),
        new("connections", "50", "connections that they share"),
        new("seconds", "5", "length of an attack by one token"),
        new("samples", "2000", "guesses about hidden users, of each kind of read"),
    ];

    public override int DefaultPairs => 1;

    public override async Task RunAsync(Run run)
    {
        using var folder = new TemporaryFolder();
        await run.RunPartsAsync(
            ("callers", () => CallersAsync(run, Path.Combine(folder.Path, "callers"))),
            ("cpu", () => CpuAsync(run, Path.Combine(folder.Path, "cpu"))),
            ("memory", () => MemoryAsync(run, Path.Combine(folder.Path, "memory"))),
            ("hidden", () => HiddenAsync(run, Path.Combine(folder.Path, "hidden"))));
    }

    private async Task CallersAsync(Run run, string folder)
    {
        var (http1, http2, proxy) = (Programs.FreePort(), Programs.FreePort(), Programs.FreePort());
        using var server = await StartAsync(
            folder, http1, http2, "--rate-limit", "0", "--rate-limit-key", "0", "--rate-limit-address", "0");
        using var balancer = await BalanceAsync(folder, proxy, http1);
        var callers = new MistakenCallers(_secret, (int)run.Settings.Number("people", least: 2));
        (string Way, int Port, Version Version)[] ways =
            [
                ("HTTP/1.1", http1, HttpVersion.Version11),
                ("HTTP/2", http2, HttpVersion.Version20),
                ("HTTP/1.1 through HAProxy", proxy, HttpVersion.Version11),
            ];
        var requests = (int)(run.Settings.Number("requests") / ways.Length);
        foreach (var (way, port, version) in ways)
        {
            var before = callers.Mistaken;
            await callers.RunAsync(
                new Uri($"http://127.0.0.1:{port}"), version, (int)run.Settings.Number("connections"), requests, seed: port);
            run.Add($"callers taken for others, {way}, of {requests:#,0} requests", "", [callers.Mistaken - before], Goal.Most(0));
        }

        if (callers.First is { } first)
            throw new BenchmarkException(first);
    }

    private async Task CpuAsync(Run run, string folder)
    {
        var (http1, http2) = (Programs.FreePort(), Programs.FreePort());
        using var server = await StartAsync(folder, http1, http2);
        var address = new Uri($"http://127.0.0.1:{http1}");
        var length = TimeSpan.FromSeconds(run.Settings.Number("seconds"));
        var keys = string.Join(',', Enumerable.Range(0, 10_000).Select(static i => $"\"unknown-{i}-{new string('x', 40)}\""));
        var relations = string.Join(',', Enumerable.Range(0, 9_000).Select(static i => $"\"contact-{i}\""));
        using var setUp = new HttpClient { BaseAddress = address };
        await SendAsync(setUp, "mallory", "POST", "/users/mallory/blocked", $"{{\"user_ids\":[{relations}]}}");
        // waits until the budget that the preparations used is refilled
        await Task.Delay(TimeSpan.FromSeconds(15), TimeProvider.System);
        (string Call, string Method, string Path, string? Body)[] attacks =
        [
            ("heartbeats", "POST", "/heartbeat", null),
            ("batches of 10,000 unknown IDs", "POST", "/status/batch", $"{{\"user_ids\":[{keys}]}}"),
            ("searches", "GET", "/users?q=con", null),
            ("lists of 9,000 blocked", "GET", "/users/mallory/blocked", null),
            ("changes of visibility", "PUT", "/users/mallory/visibility", "{\"online\":\"nobody\"}"),
            ("counts", "GET", "/online/count", null),
        ];
        var quiet = await OthersAsync(address, length, static () => Task.CompletedTask);
        run.Progress($"others' heartbeats alone: p99 {quiet:0.0} ms");
        foreach (var (call, method, path, body) in attacks)
        {
            double share = 0;
            var p99 = await OthersAsync(address, length, async () =>
            {
                var before = Cpu.Of(server.Process.Id);
                var began = Stopwatch.GetTimestamp();
                await AttackAsync(address, method, path, body, length);
                share = (Cpu.Of(server.Process.Id) - before) / Stopwatch.GetElapsedTime(began).TotalSeconds;
            });
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
        var (http1, http2) = (Programs.FreePort(), Programs.FreePort());
        using var server = await StartAsync(folder, http1, http2);
        using var handler = new SocketsHttpHandler { ResponseDrainTimeout = TimeSpan.Zero };
        using var http = new HttpClient(handler) { BaseAddress = new Uri($"http://127.0.0.1:{http1}") };
        await SendAsync(http, "mallory", "POST", "/heartbeat", null);
        await ChurnAsync(http);
        var before = Cpu.ResidentBytes(server.Process.Id);
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
        var megabytes = (Cpu.ResidentBytes(server.Process.Id) - before) / 1e6;
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
            await SendAsync(http, $"other {_others++}", "POST", "/status/batch", $"{{\"user_ids\":[\"{string.Join("\",\"", ids)}\"]}}");
        }

        await Task.Delay(TimeSpan.FromSeconds(5), TimeProvider.System);
    }

    private async Task HiddenAsync(Run run, string folder)
    {
        string[] flags = ["--rate-limit", "0", "--rate-limit-key", "0", "--rate-limit-address", "0", "--rate-limit-registrations", "0"];
        var guesses = new HiddenGuesses(_secret, (int)run.Settings.Number("samples", least: 100));
        var (http1, http2) = (Programs.FreePort(), Programs.FreePort());
        run.Progress("users hide");
        using (await StartAsync(folder, http1, http2, flags))
            await guesses.SetUpAsync(new Uri($"http://127.0.0.1:{http1}"));
        using var again = await StartAsync(folder, http1, http2, flags);
        foreach (var (read, percent) in await guesses.GuessAsync(new Uri($"http://127.0.0.1:{http1}")))
            run.Add($"guesses right, whether a hidden user came back, by a first {read}", "%", [percent], Goal.Most(53));
    }

    // the 99th percentile of other users' heartbeats, in milliseconds, while something else runs
    private async Task<double> OthersAsync(Uri address, TimeSpan length, Func<Task> beside)
    {
        using var http = new HttpClient { BaseAddress = address };
        var times = new List<double>();
        var attack = Task.Run(beside);
        var began = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(began) < length)
        {
            var sent = Stopwatch.GetTimestamp();
            await SendAsync(http, $"other-{times.Count % 20}", "POST", "/heartbeat", null);
            times.Add(Stopwatch.GetElapsedTime(sent).TotalMilliseconds);
            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System);
        }

        await attack;
        times.Sort();
        return times[times.Count * 99 / 100];
    }

    private async Task AttackAsync(Uri address, string method, string path, string? body, TimeSpan length)
    {
        using var http = new HttpClient { BaseAddress = address };
        var began = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, Lanes).Select(async _ =>
        {
            while (Stopwatch.GetElapsedTime(began) < length)
                await SendAsync(http, "mallory", method, path, body);
        }));
    }

    private async Task SendAsync(HttpClient http, string user, string method, string path, string? body)
    {
        using var request = new HttpRequestMessage(HttpMethod.Parse(method), path);
        request.Headers.Authorization = Authorization(user);
        if (body is not null)
        {
            request.Content = new ByteArrayContent(_bodies.GetOrAdd(body, Encoding.UTF8.GetBytes));
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        }

        using var answer = await http.SendAsync(request);
        await answer.Content.ReadAsByteArrayAsync();
    }

    private Task<HttpResponseMessage> OpenAsync(HttpClient http, string user, string path)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.Authorization = Authorization(user);
        return http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
    }

    private AuthenticationHeaderValue Authorization(string user) =>
        _tokens.GetOrAdd(user, name => new AuthenticationHeaderValue("Bearer", MistakenCallers.TokenOf(_secret, name)));

    private async Task<Child> StartAsync(string folder, int http1, int http2, params string[] flags)
    {
        Directory.CreateDirectory(folder);
        var settings = Path.Combine(folder, "settings.json");
        string Endpoint(string name, int port, string protocol) =>
            $"\"{name}\":{{\"Url\":\"http://127.0.0.1:{port}\",\"Protocols\":\"{protocol}\"}}";
        await File.WriteAllTextAsync(
            settings, $"{{\"Kestrel\":{{\"Endpoints\":{{{Endpoint("A", http1, "Http1")},{Endpoint("B", http2, "Http2")}}}}}}}");
        var child = Child.Start(
            Path.Combine(Machine.Root(), "aglow"), 0, [
                "serve", "--data", folder, "--settings", settings, "--auth", "token", "--jwt-secret", Convert.ToBase64String(_secret),
                .. flags]);
        child.DiscardOutput();
        await RestartBenchmark.ReadyAsync(child.Process, $"http://127.0.0.1:{http1}", Stopwatch.GetTimestamp());
        return child;
    }

    // starts a balancer before one server; all clients share its connections
    private static async Task<Child> BalanceAsync(string folder, int port, int server)
    {
        var file = Path.Combine(folder, "haproxy.cfg");
        await File.WriteAllTextAsync(file, $"""
            defaults
                mode http
                timeout connect 5s
                timeout client 60s
                timeout server 60s
                http-reuse always
            frontend in
                bind 127.0.0.1:{port}
                default_backend out
            backend out
                server one 127.0.0.1:{server} maxconn 50

            """);
        var child = Child.Start("haproxy", 0, ["-db", "-q", "-f", file]);
        await RestartBenchmark.ReadyAsync(child.Process, $"http://127.0.0.1:{port}", Stopwatch.GetTimestamp());
        return child;
    }
}
