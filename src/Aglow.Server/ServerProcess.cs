using System.Runtime.InteropServices;
using Aglow.AspNetCore;
using Aglow.Redis;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Aglow.Server;

/// <summary>
/// The server's life: open the store, listen, wait for SIGTERM or SIGINT, answer what is in flight, close the store with everything on disk.
/// </summary>
/// <remarks>A second signal while it stops changes nothing: what stops is the store's last write, which a killed process would have to replay.</remarks>
internal static class ServerProcess
{
    // within the 30 s that platforms wait before they kill
    private static readonly TimeSpan DrainAtMost = TimeSpan.FromSeconds(20);

    public static async Task<int> RunAsync(ServeOptions options)
    {
        using var stop = new CancellationTokenSource();
        using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        await using var app = Build(options);
        var log = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("Aglow.Server");
        try
        {
            await app.StartAsync(stop.Token);
            SayReady(log, options, app);
            await app.WaitForShutdownAsync(stop.Token);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // told to stop before it had started
        }

        ServerLog.Stopped(log);
        return CommandLine.Fine;

        void Stop(PosixSignalContext signal)
        {
            signal.Cancel = true;
            stop.Cancel();
        }
    }

    private static WebApplication Build(ServeOptions options)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "Aglow", ContentRootPath = AppContext.BaseDirectory });
        Logging.Configure(builder.Logging);
        builder.Services.Configure<HostOptions>(static o => o.ShutdownTimeout = DrainAtMost);
        builder.Services.AddRoutingCore();
        if (options.Redis is { } redis)
            builder.Services.AddAglow(options.Presence, async (time, logs) => await RedisPresence.OpenAsync(options.Presence, redis, time, logs));
        else
            builder.Services.AddAglow(options.Presence);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => Configure(kestrel, options));

        var app = builder.Build();
        foreach (var url in options.Urls)
            app.Urls.Add(url);
        app.MapAglow();
        app.MapWebPage();
        app.MapAglowFallback();
        return app;
    }

    private static void Configure(KestrelServerOptions kestrel, ServeOptions options)
    {
        kestrel.Configure(options.Files.GetSection("Kestrel"));
        kestrel.AddServerHeader = false;
        kestrel.ConfigureEndpointDefaults(static endpoint => endpoint.UseAglowSockets());
        kestrel.Limits.MaxRequestBodySize = Limits.BodyBytes;
        // GET /status/users?ids= takes a thousand of the longest keys, each byte as %XX
        kestrel.Limits.MaxRequestLineSize = 400 * 1024;
        kestrel.Limits.Http2.MaxRequestHeaderFieldSize = 400 * 1024;
        kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(15);
        // a client that heartbeats every 10 s keeps its connection; one that is gone costs 6 KB for two minutes
        kestrel.Limits.KeepAliveTimeout = TimeSpan.FromMinutes(2);
    }

    private static void SayReady(ILogger log, ServeOptions options, WebApplication app)
    {
        foreach (var warning in options.Warnings)
            ServerLog.Warn(log, warning);
        foreach (var url in options.Urls.Where(static u => !Addresses.IsLoopback(u)))
            ServerLog.Open(log, url);
        ServerLog.Ready(
            log,
            string.Join(", ", app.Urls),
            app.Services.GetRequiredService<PresenceHost>().Where,
            options.Presence.LeaseSeconds,
            options.Presence.HeartbeatSeconds);
    }
}
