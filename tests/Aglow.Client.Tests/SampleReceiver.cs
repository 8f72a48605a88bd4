using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Sockets;
using System.Reflection;

namespace Aglow.Client.Tests;

/// <summary>A receiver of <c>samples/webhooks</c> as people run it: a process on a port of its own, ended at the end.</summary>
internal sealed class SampleReceiver : IAsyncDisposable
{
    private const string Ready = "Now listening on: ";

    // long, because a machine that builds at the same time is slow
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly Process _process;
    private readonly ConcurrentQueue<string> _lines = new();

    private SampleReceiver(Process process) => _process = process;

    /// <summary>What it printed.</summary>
    public IReadOnlyList<string> Lines => [.. _lines];

    public static async Task<SampleReceiver> StartAsync(string sample, string secret, int port)
    {
        var samples = Path.Combine(AglowProcess.Root, "samples", "webhooks");
        string[] command = sample == "node"
            ? ["node", Path.Combine(samples, "node", "receiver.js")]
            : ["dotnet", Attribute("WebhookReceiver"), "--urls", $"http://127.0.0.1:{port}"];
        var start = new ProcessStartInfo(command[0], command[1..]) { UseShellExecute = false, RedirectStandardOutput = true };
        (start.Environment["WEBHOOK_SECRET"], start.Environment["PORT"]) = (secret, $"{port}");
        var receiver = new SampleReceiver(Process.Start(start)!);
        receiver._process.OutputDataReceived += (_, line) => receiver._lines.Enqueue(line.Data ?? "");
        receiver._process.BeginOutputReadLine();
        await receiver.UntilAsync(static lines => lines.Any(static line => line.Contains(Ready, StringComparison.Ordinal)));
        return receiver;
    }

    /// <summary>A port that nobody listens on.</summary>
    public static int FreePort()
    {
        using var socket = new TcpListener(IPAddress.Loopback, 0);
        socket.Start();
        return ((IPEndPoint)socket.LocalEndpoint).Port;
    }

    public async Task UntilAsync(Func<IReadOnlyList<string>, bool> holds)
    {
        var began = Stopwatch.GetTimestamp();
        while (!holds(Lines))
        {
            if (Stopwatch.GetElapsedTime(began) > Patience || _process.HasExited)
                throw new TimeoutException($"The receiver printed {string.Join(" | ", Lines)}.");
            await Task.Delay(20);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private static string Attribute(string key) =>
        typeof(SampleReceiver).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == key).Value!;
}
