using System.Diagnostics;

namespace Aglow.Benchmarks;

/// <summary><c>./aglow serve</c> with default settings, on a free port; it ends with the measurement.</summary>
internal sealed class ServeProcess(Child child, int port) : IDisposable
{
    public int Port => port;

    public int Process => child.Process.Id;

    /// <summary>Starts a server on these cores and waits until it is ready. No lease expires, unless the flags set one.</summary>
    public static async Task<ServeProcess> StartAsync(int cores, string folder, params IEnumerable<string> flags)
    {
        var port = Programs.FreePort();
        string[] lease = flags.Contains("--lease-seconds") ? [] : ["--lease-seconds", "86400"];
        var url = $"http://127.0.0.1:{port}";
        var child = Child.Start(
            Path.Combine(Machine.Root(), "aglow"), cores, ["serve", "--data", folder, "--urls", url, .. lease, .. flags]);
        child.DiscardOutput();
        await RestartBenchmark.ReadyAsync(child.Process, url, Stopwatch.GetTimestamp());
        return new ServeProcess(child, port);
    }

    public void Dispose() => child.Dispose();
}
