using System.Collections.Concurrent;
using System.Diagnostics;

namespace Aglow.Packages.Tests;

/// <summary>Programs that people type into a terminal, in a folder of their own.</summary>
internal static class Command
{
    // generous, because the machine may be building at the same time; this is not a measured figure
    private static readonly TimeSpan EndsWithin = TimeSpan.FromMinutes(10);

    /// <summary>Runs a program to its end, which must be a success, and returns what it wrote.</summary>
    public static async Task<string> RunAsync(string folder, IReadOnlyDictionary<string, string> environment, params string[] words)
    {
        using var process = Start(folder, environment, words);
        using var limit = new CancellationTokenSource(EndsWithin);
        try
        {
            var (output, errors) = (process.StandardOutput.ReadToEndAsync(limit.Token), process.StandardError.ReadToEndAsync(limit.Token));
            await process.WaitForExitAsync(limit.Token);
            process.ExitCode.ShouldBe(0, $"{string.Join(' ', words)}: {await output}{await errors}");
            return await output;
        }
        finally
        {
            process.Kill(entireProcessTree: true);
        }
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

/// <summary>A program that runs until it is disposed. It has printed the address on which it listens.</summary>
internal sealed class Listening : IAsyncDisposable
{
    // generous, as above
    private static readonly TimeSpan StartsWithin = TimeSpan.FromMinutes(3);

    private readonly Process _process;
    private readonly ConcurrentQueue<string> _lines = new();
    private readonly TaskCompletionSource<Uri> _address = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private Listening(Process process, string after)
    {
        _process = process;
        process.OutputDataReceived += (_, line) => Hear(line.Data ?? "", after);
        process.ErrorDataReceived += (_, line) => _lines.Enqueue(line.Data ?? "");
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    public Uri Address => _address.Task.Result;

    /// <summary>What it printed.</summary>
    public IReadOnlyList<string> Lines => [.. _lines];

    /// <summary>Starts a program and waits until it has written its address after one of these words.</summary>
    public static async Task<Listening> StartAsync(
        string folder, IReadOnlyDictionary<string, string> environment, string after, params string[] words)
    {
        var listening = new Listening(Command.Start(folder, environment, words), after);
        var started = listening._address.Task;
        if (await Task.WhenAny(started, listening._process.WaitForExitAsync(), Task.Delay(StartsWithin)) == started)
            return listening;
        await listening.DisposeAsync();
        throw new InvalidOperationException($"It did not start: {string.Join('\n', listening.Lines)}");
    }

    public async ValueTask DisposeAsync()
    {
        // dotnet run has a child
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private void Hear(string line, string after)
    {
        _lines.Enqueue(line);
        if (line.IndexOf(after, StringComparison.Ordinal) is var at and >= 0
            && line[(at + after.Length)..].Split(' ', ':', ',') is [var scheme, var host, var port, ..])
            _address.TrySetResult(new Uri($"{scheme}:{host}:{port}"));
    }
}
