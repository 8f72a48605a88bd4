using System.Diagnostics;
using System.Text.Json;

namespace Aglow.Benchmarks.Sockets;

/// <summary>A <see cref="LoadGenerator"/> in a separate process, which loads one server.</summary>
internal sealed class Load(Process process) : IDisposable
{
    /// <summary>Starts a load. <paramref name="core"/>: the only core it may use.</summary>
    public static Load Start(Server server, int? core = null) => Start(server.Name, server.Port, server.Process, server.Port, core);

    /// <summary>Starts a load that sends changes to another port than that of its sockets.</summary>
    public static Load Start(string server, int port, int process, int callsPort, int? core = null)
    {
        List<string> command = [.. Child.OwnCommand, LoadGenerator.Verb, server, $"{port}", $"{process}", $"{callsPort}"];
        var start = Child.Info(core is { } only ? 1 << only : 0, command[0], command.Skip(1));
        start.Environment["DOTNET_TieredPGO"] = "0";
        return new Load(System.Diagnostics.Process.Start(start)!);
    }

    /// <summary>Sends a command and returns the answer.</summary>
    public async Task<JsonElement> AskAsync(string command)
    {
        await process.StandardInput.WriteLineAsync(command);
        var line = await process.StandardOutput.ReadLineAsync() ?? throw new BenchmarkException("the load generator has ended.");
        var answer = JsonSerializer.Deserialize<JsonElement>(line, LoadGenerator.Json);
        return answer.TryGetProperty("error", out var error) ? throw new BenchmarkException(error.GetString()!) : answer;
    }

    /// <summary>Sends a command and returns the answer as an object.</summary>
    public async Task<T> AskAsync<T>(string command) => (await AskAsync(command)).Deserialize<T>(LoadGenerator.Json)!;

    public void Dispose()
    {
        try
        {
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // the process has already ended, and printed the reason
        }

        if (!process.WaitForExit(5000))
            process.Kill();
        process.Dispose();
    }
}

/// <summary>The results of one leg of changes: counts, CPU seconds, lags in milliseconds.</summary>
internal sealed record FanoutLeg(
    double Offered, long Deliveries, double DeliveriesPerSecond, long Frames, long Missing, double Seconds, double ServerCpu,
    double LoadCpu, double ArrivalP50, double ArrivalP99, double ArrivalP999, double ArrivalMax, double GoodbyeP99, long Lost);

/// <summary>Milliseconds until the last watcher got the arrivals, one value per round.</summary>
internal sealed record FlipLeg(IReadOnlyList<double> Arrivals);

/// <summary>Lags of offline notices in milliseconds: since the word expired, and since the heartbeat and the lease.</summary>
internal sealed record LapseLeg(long Wrong, double LapseP50, double LapseP99, double LapseMax, double ExactP99);
