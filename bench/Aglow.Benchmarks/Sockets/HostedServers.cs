using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;

namespace Aglow.Benchmarks.Sockets;

/// <summary>The servers inside this executable: Aglow, and a SignalR hub.</summary>
internal static class HostedServers
{
    /// <summary>The hidden verb: <c>fanout-host SERVER PORT FOLDER PING_SECONDS</c>.</summary>
    public const string Verb = "fanout-host";

    public static async Task<int> RunAsync(string[] args)
    {
        var (port, pingSeconds) = (int.Parse(args[1]), int.Parse(args[3]));
        await using var app = args[0] != Server.Aglow ? SignalRServer.Build(port) : AglowServer.Build(port, options =>
        {
            options.DataDirectory = args[2];
            options.SocketPingSeconds = pingSeconds;
            options.LeaseSeconds = Math.Max(30, 3 * pingSeconds);
        });
        await app.StartAsync();
        Console.WriteLine("ready");
        while (await Console.In.ReadLineAsync() is { } line)
        {
            if (line == "collect")
                Console.WriteLine(Collect());
        }

        await app.StopAsync();
        return 0;
    }

    /// <summary>A builder that logs only warnings, as a server in production does.</summary>
    public static WebApplicationBuilder NewBuilder(int port)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls($"http://127.0.0.1:{port}");
        // standard output is for the benchmark's answers
        builder.Logging.ClearProviders()
            .AddConsole(static console => console.LogToStandardErrorThreshold = LogLevel.Trace)
            .SetMinimumLevel(LogLevel.Warning);
        return builder;
    }

    private static long Collect()
    {
        for (var i = 0; i < 2; i++)
        {
            GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
        }

        return GC.GetTotalMemory(forceFullCollection: true);
    }
}
