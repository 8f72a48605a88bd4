using System.Collections.Concurrent;
using System.Globalization;
using System.Net.Http.Json;

namespace Aglow.Server.Tests;

/// <summary>kill -9 at random moments under load: everything that was acknowledged is still there.</summary>
/// <remarks><c>AGLOW_TEST_KILLS=200 dotnet test tests/Aglow.Server.Tests --filter CrashTests</c> sets the number of kills.</remarks>
public class CrashTests
{
    private const int Lease = 6;

    private static readonly int Kills = int.Parse(
        Environment.GetEnvironmentVariable("AGLOW_TEST_KILLS") ?? "25", CultureInfo.InvariantCulture);

    [Fact]
    public async Task Nothing_acknowledged_is_lost_to_kills_at_random_moments()
    {
        var folder = AglowProcess.NewFolder();
        var seed = Environment.TickCount;
        var random = new Random(seed);
        var facts = new Facts();
        var server = await StartAsync(folder);
        for (var kill = 0; kill < Kills; kill++)
        {
            using var stop = new CancellationTokenSource();
            var load = Enumerable.Range(0, 4).Select(worker => LoadAsync(server, facts, $"{kill}-{worker}", stop.Token)).ToArray();
            // every other kill waits until this run has acknowledged something, however slow the machine is
            if (kill % 2 == 1)
                await UntilAsync(() => Task.FromResult(facts.UncheckedCount > 8));
            await Task.Delay(random.Next(50, 700));
            await server.KillAsync();
            await stop.CancelAsync();
            await Task.WhenAll(load);
            await server.DisposeAsync();
            server = await StartAsync(folder);
            await facts.CheckAsync(server, random, $"after kill {kill} of seed {seed}");
        }

        facts.Count.ShouldBeGreaterThan(Kills * 4);
        (await server.StopAsync()).ShouldBe(0);
        await server.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task Who_lapsed_before_a_kill_keeps_the_exact_last_seen_and_who_was_online_stays_online()
    {
        var folder = AglowProcess.NewFolder();
        var server = await StartAsync(folder);
        await PostAsync(server, "/heartbeat", "{\"user_ids\":[1,2]}");
        var lapsed = await RecordAsync(server, 1);
        await UntilAsync(async () => !(await RecordAsync(server, 1)).GetProperty("is_online").GetBoolean());
        // once the sweep has found both expired leases, any later durable write covers them
        await UntilAsync(
            async () => (await server.Http.GetStringAsync("/metrics")).Contains("\naglow_sweep_lapses_total 2", StringComparison.Ordinal));
        await PostAsync(server, "/heartbeat", "{\"user_id\":3}");
        await server.KillAsync();
        await server.DisposeAsync();
        server = await StartAsync(folder);
        var after = await RecordAsync(server, 1);
        after.GetProperty("is_online").GetBoolean().ShouldBeFalse();
        after.GetProperty("last_seen").GetInt64().ShouldBe(lapsed.GetProperty("last_seen").GetInt64());
        (await RecordAsync(server, 3)).GetProperty("is_online").GetBoolean().ShouldBeTrue();
        await UntilAsync(async () => !(await RecordAsync(server, 3)).GetProperty("is_online").GetBoolean());
        await server.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }

    private static Task<AglowProcess> StartAsync(string folder) =>
        AglowProcess.StartAsync(folder, "--lease-seconds", "6", "--heartbeat-seconds", "3");

    private static async Task LoadAsync(AglowProcess server, Facts facts, string name, CancellationToken stop)
    {
        using var client = server.Client();
        try
        {
            for (var i = 0; !stop.IsCancellationRequested; i++)
            {
                var user = $"user-{name}-{i}";
                var number = facts.NextNumber();
                await SendAsync(client, HttpMethod.Post, "/users", $"{{\"user_name\":\"{user}\"}}");
                facts.Add(new Fact(FactKind.Created, user));
                await SendAsync(client, HttpMethod.Put, $"/users/{user}/status", "{\"status\":\"busy\"}");
                facts.Add(new Fact(FactKind.Busy, user));
                await SendAsync(client, HttpMethod.Post, $"/users/{user}/subscriptions", $"{{\"user_ids\":[{number}]}}");
                facts.Add(new Fact(FactKind.Follows, user, number));
                var from = Now();
                await SendAsync(client, HttpMethod.Post, "/heartbeat", $"{{\"user_ids\":[\"key-{name}-{i}\",{number}]}}");
                facts.Add(new Fact(FactKind.Created, $"key-{name}-{i}"));
                if (i % 2 == 0)
                {
                    facts.Add(new Fact(FactKind.Seen, "", number) { From = from });
                    continue;
                }

                from = Now();
                await SendAsync(client, HttpMethod.Post, "/offline", $"{{\"user_id\":{number}}}");
                facts.Add(new Fact(FactKind.Left, "", number) { From = from });
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException or TaskCanceledException)
        {
            // killed: calls in flight have no guarantee
        }
    }

    private static async Task SendAsync(HttpClient client, HttpMethod method, string path, string json)
    {
        for (var attempt = 0; ; attempt++)
        {
            using var request = new HttpRequestMessage(method, path)
            {
                Content = new StringContent(json, Encoding.UTF8, "application/json"),
            };
            using var answer = await client.SendAsync(request);
            // a busy disk may take longer than the 2 s after which the server says: send the same again
            if (answer.StatusCode == HttpStatusCode.ServiceUnavailable && attempt < 30)
                continue;
            if (answer.StatusCode != HttpStatusCode.Conflict || attempt == 0)
                answer.IsSuccessStatusCode.ShouldBeTrue($"{method} {path} {json}: {(int)answer.StatusCode}");
            return;
        }
    }

    private static Task PostAsync(AglowProcess server, string path, string json) => SendAsync(server.Http, HttpMethod.Post, path, json);

    private static Task<JsonElement> RecordAsync(AglowProcess server, uint user) =>
        server.Http.GetFromJsonAsync<JsonElement>($"/status/{user}");

    private static async Task UntilAsync(Func<Task<bool>> holds)
    {
        for (var i = 0; i < 1200 && !await holds(); i++)
            await Task.Delay(TimeSpan.FromMilliseconds(100));
        (await holds()).ShouldBeTrue();
    }

    private static long Now() => DateTimeOffset.UtcNow.ToUnixTimeSeconds();

    private enum FactKind
    {
        Created,
        Busy,
        Follows,
        Seen,
        Left,
    }

    private sealed record Fact(FactKind Kind, string User, uint Number = 0)
    {
        /// <summary>When it was sent, by this machine's clock, which the server shares.</summary>
        public long From { get; init; }

        /// <summary>When it was acknowledged.</summary>
        public long At { get; init; }
    }

    private sealed class Facts
    {
        private readonly ConcurrentQueue<Fact> _unchecked = new();
        private readonly List<Fact> _checked = [];
        private uint _number = 1_000_000;

        public int Count => _checked.Count;

        public int UncheckedCount => _unchecked.Count;

        public uint NextNumber() => Interlocked.Increment(ref _number);

        public void Add(Fact fact) => _unchecked.Enqueue(fact with { At = Now() });

        // all facts of this round, and some of earlier rounds
        public async Task CheckAsync(AglowProcess server, Random random, string when)
        {
            var now = Now();
            foreach (var fact in _unchecked.Concat(_checked.Count == 0 ? [] : random.GetItems(_checked.ToArray(), 20)))
                await CheckAsync(server, fact, now, when);
            while (_unchecked.TryDequeue(out var fact))
                _checked.Add(fact);
        }

        private static async Task CheckAsync(AglowProcess server, Fact fact, long now, string when)
        {
            var because = $"{fact} {when}";
            switch (fact.Kind)
            {
                case FactKind.Created:
                    (await server.Http.GetAsync($"/users/{fact.User}")).IsSuccessStatusCode.ShouldBeTrue(because);
                    break;
                case FactKind.Busy:
                    (await server.Http.GetFromJsonAsync<JsonElement>($"/status/{fact.User}/explain"))
                        .GetProperty("manual")
                        .GetString()
                        .ShouldBe("busy", because);
                    break;
                case FactKind.Follows:
                    (await server.Http.GetFromJsonAsync<JsonElement>($"/users/{fact.User}/subscriptions"))
                        .GetProperty("user_ids")[0]
                        .GetUInt32()
                        .ShouldBe(fact.Number, because);
                    break;
                default:
                    var record = await RecordAsync(server, fact.Number);
                    record.GetProperty("last_seen").ValueKind.ShouldBe(JsonValueKind.Number, because);
                    var seen = record.GetProperty("last_seen").GetInt64();
                    if (fact.Kind == FactKind.Left)
                    {
                        record.GetProperty("is_online").GetBoolean().ShouldBeFalse(because);
                        seen.ShouldBeInRange(fact.From - 3, fact.At + 1, because);
                    }
                    else
                    {
                        // within one lease: a user who was online at the kill was last seen when the server was last known to run
                        seen.ShouldBeInRange(fact.From - 3, Math.Min(now, fact.At + Lease + 2), because);
                    }

                    break;
            }
        }
    }
}
