using Aglow.Model;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Aglow.Benchmarks.Sockets;

/// <summary>The servers inside this executable: Aglow, and a SignalR hub.</summary>
internal static class HostedServers
{
    /// <summary>The hidden verb: <c>fanout-host SERVER PORT FOLDER PING_SECONDS LEASE_SECONDS</c>.</summary>
    public const string Verb = "fanout-host";

    public static async Task<int> RunAsync(string[] args)
    {
        var (port, ping, lease) = (int.Parse(args[1]), int.Parse(args[3]), int.Parse(args[4]));
        await using var app = args[0] == Server.Aglow ? BuildAglow(args[2], ping, lease) : SignalRServer.Build();
        app.Urls.Add($"http://127.0.0.1:{port}");
        await app.StartAsync();
        Console.WriteLine("ready");
        while (await Console.In.ReadLineAsync() is { } line)
        {
            if (line == "collect")
                Console.WriteLine(Cpu.Collect());
        }

        await app.StopAsync();
        return 0;
    }

    /// <summary>Logs only warnings, as a server in production does.</summary>
    public static void LogWarnings(ILoggingBuilder logging) =>
        // standard output is for the benchmark's answers
        logging.ClearProviders()
            .AddConsole(static console => console.LogToStandardErrorThreshold = LogLevel.Trace)
            .SetMinimumLevel(LogLevel.Warning);

    // Aglow as in its own server: sockets handled before HTTP, and the journal on. POST /nothing does nothing.
    private static WebApplication BuildAglow(string folder, int pingSeconds, int leaseSeconds)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "Aglow" });
        LogWarnings(builder.Logging);
        builder.Services.AddRoutingCore();
        builder.Services.AddAglow(options =>
        {
            options.OpenMode = true;
            options.DataDirectory = folder;
            options.SocketPingSeconds = pingSeconds;
            options.LeaseSeconds = Math.Max(leaseSeconds, 3 * pingSeconds);
        });
        builder.WebHost.UseKestrelCore().ConfigureKestrel(static kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = 8 * 1024 * 1024;
            // the load's connection for calls is idle while the other side is measured
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromHours(1);
            kestrel.ConfigureEndpointDefaults(static endpoint => endpoint.UseAglowSockets(isFirst: true));
        });
        var app = builder.Build();
        app.MapAglow();
        app.MapPost("/nothing", static _ => Task.CompletedTask);
        return app;
    }
}
