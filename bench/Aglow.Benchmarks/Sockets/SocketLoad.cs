using System.Text.Json;

namespace Aglow.Benchmarks.Sockets;

/// <summary>A <see cref="LoadGenerator"/> in a separate process, which loads one server.</summary>
internal sealed class SocketLoad(Child child) : IDisposable
{
    /// <summary>Starts a load on these cores.</summary>
    public static SocketLoad Start(Server server, int cores = 0) => Start(server.Name, server.Port, server.Process, server.Port, cores);

    /// <summary>Starts a load that sends changes to another port than that of its sockets.</summary>
    public static SocketLoad Start(string server, int port, int process, int callsPort, int cores = 0)
    {
        var start = Child.Info(cores, [.. Child.OwnCommand, LoadGenerator.Verb, server, $"{port}", $"{process}", $"{callsPort}"]);
        start.Environment["DOTNET_TieredPGO"] = "0";
        return new SocketLoad(Child.Start(start));
    }

    /// <summary>Sends a command and returns the answer.</summary>
    public async Task<JsonElement> SendAsync(string command)
    {
        await child.Process.StandardInput.WriteLineAsync(command);
        var answer = JsonSerializer.Deserialize<JsonElement>(await child.ReadLineAsync(), LoadGenerator.Json);
        return answer.TryGetProperty("error", out var error) ? throw new BenchmarkException(error.GetString()!) : answer;
    }

    /// <summary>Sends a command and returns the answer as an object.</summary>
    public async Task<T> SendAsync<T>(string command) => (await SendAsync(command)).Deserialize<T>(LoadGenerator.Json)!;

    /// <summary>
    /// Opens this many sockets and then as many again, for slopes, and measures after each step. Each user is watched by as many sockets as
    /// a socket watches users.
    /// </summary>
    public async Task<(T One, T Two)> StepsAsync<T>(int step, int watching, Func<Task<T>> measure)
    {
        var users = watching == 0 ? 0 : step;
        await SendAsync($"connect {step} {watching} {users} 1");
        var one = await measure();
        await SendAsync($"connect {step} {watching} {users} {step + 1}");
        return (one, await measure());
    }

    public void Dispose() => child.Dispose();
}

/// <summary>The results of one leg of changes: counts, CPU seconds, lags in milliseconds.</summary>
internal sealed record FanoutLeg(
    double Offered, long Deliveries, double DeliveriesPerSecond, long Frames, long Missing, double Seconds, double ServerCpu,
    double LoadCpu, double ArrivalP50, double ArrivalP99, double ArrivalP999, double ArrivalMax, long Lost);

/// <summary>Milliseconds until the last watcher got the arrivals, one value per round.</summary>
internal sealed record FlipLeg(IReadOnlyList<double> Arrivals);

/// <summary>Lags of offline notices in milliseconds, since the word expired.</summary>
internal sealed record LapseLeg(long Wrong, double P50, double P99, double Max);
