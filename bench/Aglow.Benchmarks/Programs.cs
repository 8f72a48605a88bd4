using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Aglow.Benchmarks;

/// <summary>Other programs that a benchmark starts: finds them, reports missing ones, waits until they are ready.</summary>
internal static class Programs
{
    private static readonly TimeSpan StartsWithin = TimeSpan.FromMinutes(3);

    /// <summary>Finds a program in these folders, or on the path.</summary>
    public static string Find(string name, string package, IEnumerable<string>? folders = null)
    {
        string[] path = [.. folders ?? [], .. (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':'), "/usr/sbin"];
        return path.Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists)
            ?? throw new BenchmarkException($"{name} is not installed: apt install {package}.");
    }

    /// <summary>A port that is free now.</summary>
    public static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    /// <summary>Runs a program to its end. Shows its output only if it fails.</summary>
    public static async Task RunAsync(params string[] command)
    {
        using var process = Process.Start(new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            WorkingDirectory = "/",
        })!;
        var said = process.StandardOutput.ReadToEndAsync();
        var complained = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (process.ExitCode != 0)
            throw new BenchmarkException($"{Path.GetFileName(command[0])} failed: {(await complained + await said).Trim()}");
    }

    /// <summary>Waits until a server answers.</summary>
    public static Task UntilAsync(string name, Child server, Action ask) => UntilAsync(name, server, () =>
    {
        ask();
        return Task.CompletedTask;
    });

    /// <inheritdoc cref="UntilAsync(string, Child, Action)"/>
    public static async Task UntilAsync(string name, Child server, Func<Task> ask)
    {
        for (var began = Stopwatch.GetTimestamp(); ;)
        {
            try
            {
                await ask();
                return;
            }
            catch (Exception failure)
            {
                if (server.Process.HasExited || Stopwatch.GetElapsedTime(began) > StartsWithin)
                {
                    server.Dispose();
                    throw new BenchmarkException($"{name} did not start: {failure.Message}");
                }

                await Task.Delay(50);
            }
        }
    }
}
