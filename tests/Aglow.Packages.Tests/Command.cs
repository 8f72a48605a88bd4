using System.Diagnostics;
using System.Text;

namespace Aglow.Packages.Tests;

/// <summary>Programs that people type into a terminal, in a folder of their own.</summary>
internal static class Command
{
    // generous, because the machine may be building at the same time; this is not a measured figure
    private static readonly TimeSpan EndsWithin = TimeSpan.FromMinutes(5);

    /// <summary>Runs a program to its end, which must be a success, and returns what it wrote.</summary>
    public static async Task<string> RunAsync(string folder, IReadOnlyDictionary<string, string> environment, params string[] words)
    {
        using var process = Start(folder, environment, words);
        using var limit = new CancellationTokenSource(EndsWithin);
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(limit.Token), process.StandardError.ReadToEndAsync(limit.Token));
        await process.WaitForExitAsync(limit.Token);
        process.ExitCode.ShouldBe(0, $"{string.Join(' ', words)}: {await output}{await errors}");
        return await output;
    }

    /// <summary>Starts a program.</summary>
    public static Process Start(string folder, IReadOnlyDictionary<string, string> environment, params string[] words)
    {
        var start = new ProcessStartInfo(words[0], words[1..])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (var name in start.Environment.Keys.Where(static n => n.StartsWith("AGLOW_", StringComparison.Ordinal)).ToArray())
            start.Environment.Remove(name);
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        return Process.Start(start)!;
    }
}

/// <summary>A program that goes on until it is disposed. It has said on which address it listens.</summary>
internal sealed class Listening : IAsyncDisposable
{
    private readonly Process _process;

    private Listening(Process process) => _process = process;

    public Uri Address { get; private set; } = null!;

    /// <summary>Starts a program and waits until it has written its address after one of these words.</summary>
    public static async Task<Listening> StartAsync(
        string folder, IReadOnlyDictionary<string, string> environment, string after, params string[] words)
    {
        var listening = new Listening(Command.Start(folder, environment, words));
        try
        {
            await listening.ReadAsync(after);
            return listening;
        }
        catch
        {
            await listening.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        // dotnet run has a child
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private async Task ReadAsync(string after)
    {
        var said = new StringBuilder();
        _process.ErrorDataReceived += (_, line) => said.AppendLine(line.Data);
        _process.BeginErrorReadLine();
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        while (await _process.StandardOutput.ReadLineAsync(limit.Token) is { } line)
        {
            said.AppendLine(line);
            if (line.IndexOf(after, StringComparison.Ordinal) is var at and >= 0)
            {
                Address = new Uri(line[(at + after.Length)..].Split(' ', ':', ',') is [var scheme, var host, var port, ..]
                    ? $"{scheme}:{host}:{port}" : line);
                // what else it says is read away
                _ = _process.StandardOutput.BaseStream.CopyToAsync(Stream.Null, CancellationToken.None);
                return;
            }
        }

        throw new InvalidOperationException($"It did not start: {said}");
    }
}
