using System.Diagnostics;
using System.Text;

namespace Aglow.Benchmarks.Door;

/// <summary>
/// Guesses whether a hidden user has come back, from the time that a first read takes after a restart. Half of them have.
/// </summary>
/// <remarks>
/// Those who come back do what an app does at its start: a heartbeat, their own profile, their own subscriptions. The attacker is on the
/// same machine, on one kept connection, and asks about each user once. The attacker learns the best threshold from one half of the times,
/// guesses the other half by it, and then swaps the halves; so chance alone gives 50 %.
/// </remarks>
internal sealed class HiddenGuesses(byte[] secret, int samples)
{
    private const int Crowd = 90_000;
    private const int AtOnce = 9_000;
    private const int WarmUps = 1_000;
    private const int Lanes = 64;

    private static readonly (string Name, string Method, string Path, string? Body, int Status)[] Reads =
    [
        ("GET /status/ID", "GET", "/status/ID", null, 200),
        ("POST /status/batch", "POST", "/status/batch", "{\"user_ids\":[\"ID\"]}", 200),
        ("GET /users/ID", "GET", "/users/ID", null, 200),
        ("a heartbeat for them, which is refused", "POST", "/heartbeat", "{\"user_id\":\"ID\"}", 403),
    ];

    private readonly Callers _callers = new(secret);
    private readonly string[] _hidden = [.. Enumerable.Range(0, samples * Reads.Length).Select(static _ => $"{Guid.NewGuid()}")];
    private readonly string[] _others = [.. Enumerable.Range(0, Crowd).Select(static _ => $"{Guid.NewGuid()}")];

    /// <summary>Makes the users, on a server that is new.</summary>
    public async Task SetUpAsync(int port)
    {
        using var http = Http.Client(port);
        string[] all = [.. _hidden, .. _others];
        Random.Shared.Shuffle(all);
        foreach (var (i, some) in all.Chunk(AtOnce).Index())
        {
            var list = string.Join("\",\"", some);
            await SendAsync(http, $"crowd-{i}", HttpMethod.Post, $"/users/crowd-{i}/blocked", $"{{\"user_ids\":[\"{list}\"]}}");
        }

        await EachAsync(_hidden, async user =>
        {
            await SendAsync(http, user, HttpMethod.Put, $"/users/{user}/visibility", "{\"online\":\"nobody\"}");
            await SendAsync(http, user, HttpMethod.Post, "/heartbeat");
        });
    }

    /// <summary>Asks, on a server that has just started again. Returns for each kind of read how many percent were guessed right.</summary>
    public async Task<IReadOnlyList<(string Read, double Percent)>> GuessAsync(int port)
    {
        using var http = Http.Client(port);
        var token = Callers.TokenOf(secret, "attacker");
        using var attacker = new Connection(port) { Headers = $"Authorization: Bearer {token}\r\n" };
        for (var i = 0; i < WarmUps; i++)
        {
            foreach (var read in Reads)
                Time(attacker, read with { Status = read.Path == "/users/ID" ? 404 : read.Status }, _others[i]);
        }

        var back = _hidden.Where(static _ => Random.Shared.Next(2) == 0).ToHashSet(StringComparer.Ordinal);
        await EachAsync(back, async user =>
        {
            await SendAsync(http, user, HttpMethod.Post, "/heartbeat");
            await SendAsync(http, user, HttpMethod.Get, $"/users/{user}");
            await SendAsync(http, user, HttpMethod.Get, $"/users/{user}/subscriptions");
        });
        var times = Reads.Select(static _ => new List<(double Time, bool IsBack)>()).ToArray();
        for (var i = 0; i < _hidden.Length; i++)
        {
            var kind = i % Reads.Length;
            times[kind].Add((Time(attacker, Reads[kind], _hidden[i]), back.Contains(_hidden[i])));
        }

        return [.. Reads.Select((read, kind) => (read.Name, PercentRight(times[kind])))];
    }

    /// <summary>The percentage of right guesses, by thresholds that were learned from the other half.</summary>
    internal static double PercentRight(IReadOnlyList<(double Time, bool IsBack)> times)
    {
        var halves = new[] { times.Where(static (_, i) => i % 2 == 0).ToArray(), times.Where(static (_, i) => i % 2 == 1).ToArray() };
        var right = Right(halves[1], Learn(halves[0])) + Right(halves[0], Learn(halves[1]));
        return 100.0 * right / times.Count;
    }

    private static (double Threshold, bool BackIsFaster) Learn((double Time, bool IsBack)[] times)
    {
        var best = (Right: -1, Threshold: 0.0, BackIsFaster: true);
        var sorted = times.OrderBy(static one => one.Time).ToArray();
        var backBelow = 0;
        var gone = sorted.Count(static one => !one.IsBack);
        for (var below = 0; below < sorted.Length; below++)
        {
            // guesses that users with shorter times came back, and the others did not
            var right = backBelow + gone - (below - backBelow);
            if (right > best.Right)
                best = (right, sorted[below].Time, true);
            if (sorted.Length - right > best.Right)
                best = (sorted.Length - right, sorted[below].Time, false);
            backBelow += sorted[below].IsBack ? 1 : 0;
        }

        return (best.Threshold, best.BackIsFaster);
    }

    private static int Right((double Time, bool IsBack)[] times, (double Threshold, bool BackIsFaster) by) =>
        times.Count(one => one.Time < by.Threshold == by.BackIsFaster == one.IsBack);

    private static double Time(Connection attacker, (string Name, string Method, string Path, string? Body, int Status) read, string user)
    {
        var body = Encoding.ASCII.GetBytes(read.Body?.Replace("ID", user) ?? "");
        var length = attacker.Head(read.Method, read.Path.Replace("ID", user), read.Body is null ? null : "application/json", body.Length);
        body.CopyTo(attacker.Request, attacker.BodyAt);
        var sent = Stopwatch.GetTimestamp();
        attacker.Send(length);
        attacker.ReceiveHttp(read.Status);
        return Stopwatch.GetElapsedTime(sent).TotalMicroseconds;
    }

    private static Task EachAsync(IEnumerable<string> users, Func<string, Task> act) => Parallel.ForEachAsync(
        users, new ParallelOptions { MaxDegreeOfParallelism = Lanes }, async (user, _) => await act(user));

    private async Task SendAsync(HttpClient http, string user, HttpMethod method, string path, string? body = null) =>
        (await _callers.SendAsync(http, user, method, path, body)).EnsureSuccessStatusCode().Dispose();
}
