using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Proxies;
using Aglow.Diagnostics;
using Aglow.Postgres;
using Aglow.Redis;
using Aglow.Server.Reference;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.HttpsPolicy;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Aglow.Server;

/// <summary>
/// Runs the server: opens the store, listens, and waits for SIGTERM or SIGINT. Then it answers the pending requests, writes everything to
/// disk and closes the store.
/// </summary>
/// <remarks>
/// A second signal during the stop has no effect: at that time the store makes its last write, which the next start would have to replay
/// after a kill.
/// </remarks>
internal static class ServerProcess
{
    // For pending requests and the store's last write. With the 10 s for sending clients to other nodes, this is within the 30 s that
    // platforms wait before they kill a process.
    private static readonly TimeSpan StopAtMost = TimeSpan.FromSeconds(15);

    public static async Task<int> RunAsync(ServeOptions options)
    {
        using var stop = new CancellationTokenSource();
        using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        await using var app = Build(options);
        var log = Log(app.Services);
        var background = new BackgroundWork(TimeProvider.System, new AglowLog(log));
        TaskScheduler.UnobservedTaskException += (_, unobserved) =>
        {
            unobserved.SetObserved();
            background.Failed("tasks that nobody waits for", unobserved.Exception);
        };
        try
        {
            await StartAsync(app, options, stop.Token);
            LogReady(log, options, app);
            await app.WaitForShutdownAsync(stop.Token);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // stopped before the start was complete
        }

        ServerLog.Stopped(log);
        return CommandLine.Fine;

        void Stop(PosixSignalContext signal)
        {
            signal.Cancel = true;
            stop.Cancel();
        }
    }

    private static async Task StartAsync(WebApplication app, ServeOptions options, CancellationToken stop)
    {
        try
        {
            await app.StartAsync(stop);
        }
        catch (Exception failure) when (options.ListensOnHttps && IsOfCertificate(failure))
        {
            var why = failure.Message.Split('\n')[0].TrimEnd('.', '\r');
            throw new UsageException(
                $"https has no certificate that can be used ({why}). Write {{\"Kestrel\":{{\"Certificates\":"
                + "{\"Default\":{\"Path\":\"/etc/aglow/cert.pem\",\"KeyPath\":\"/etc/aglow/key.pem\"}}}} into a file, with the paths of "
                + "your certificate and key, and name that file with --settings");
        }
    }

    // what the web server throws if no certificate is named, or if its files are missing, damaged or do not belong together
    private static bool IsOfCertificate(Exception failure) =>
        failure is InvalidOperationException or ArgumentException or CryptographicException
            or FileNotFoundException or DirectoryNotFoundException;

    private static WebApplication Build(ServeOptions options)
    {
        options.Presence.OpenMode = !options.Auth.TakesTokens;
        options.Presence.IsBehindGateway = options.Auth.AllowOpen || options.TrustedProxies.Count > 0;
        var builder = WebApplication.CreateEmptyBuilder(
            new WebApplicationOptions { ApplicationName = "Aglow", ContentRootPath = AppContext.BaseDirectory });
        Logging.Configure(builder.Logging, options.LogsJson);
        var drain = TimeSpan.FromSeconds(options.Presence.DrainSeconds ?? PresenceHost.DrainSecondsOfMany);
        builder.Services.Configure<HostOptions>(o => o.ShutdownTimeout = StopAtMost + drain);
        builder.Services.AddRoutingCore();
        var proxies = new TrustedProxies(options.TrustedProxies, options.ReadsProxyProtocol);
        builder.Services.AddSingleton(proxies);
        builder.Services.Configure<HstsOptions>(static hsts => hsts.MaxAge = TimeSpan.FromDays(365));
        if (options.Redis is { } redis)
            builder.Services.AddAglow(options.Presence, (time, logs) => OpenAsync(options, redis, time, logs));
        else
            builder.Services.AddAglow(options.Presence);
        AddAccess(builder.Services, options);
        if (Telemetry.IsRequested(options.Otlp))
        {
            Telemetry.Point(options.Otlp);
            builder.Services.AddHostedService<Telemetry>();
        }

        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => Configure(kestrel, options));

        var app = builder.Build();
        foreach (var url in options.Urls)
            app.Urls.Add(url);
        if (proxies.Any && !proxies.ReadsProxyProtocol)
            proxies.Use(app);
        // HSTS: a browser that came by TLS once uses only TLS for a year; the names of its own machine are exempt
        if (options.ListensOnHttps)
            app.UseHsts();
        var calls = app.MapAglow();
        if (options.HasPage)
        {
            app.MapWebPage();
            calls.MapReference();
        }

        app.MapAglowFallback();
        return app;
    }

    private static void AddAccess(IServiceCollection services, ServeOptions options)
    {
        var auth = options.Auth;
        services.AddSingleton(new AccessOptions
        {
            CallsPerUser = options.CallsPerUser ?? (auth.TakesTokens ? 50 : 0),
            CallsPerKey = options.CallsPerKey ?? (auth.TakesTokens ? 20_000 : 0),
            CallsPerAddress = options.CallsPerAddress ?? (auth.TakesTokens ? 20_000 : 0),
            RegistrationsPerKey = options.RegistrationsPerKey ?? 10_000,
        });
        if (!auth.TakesTokens)
            return;
        services.AddSingleton(
            s => new KeysInForce(new ApiKeys(options.Presence.DataDirectory), s.GetRequiredService<TimeProvider>(), Log(s)));
        if (auth.Authority is { } authority)
            services.AddSingleton(s => new IssuerKeys(authority, auth.Issuer, s.GetRequiredService<TimeProvider>(), Log(s)));
        services.AddSingleton(s => new PeopleTokens(auth, s.GetService<IssuerKeys>(), s.GetRequiredService<TimeProvider>()));
        services.AddSingleton<CredentialCheck>(s =>
        {
            var (keys, people) = (s.GetRequiredService<KeysInForce>(), s.GetRequiredService<PeopleTokens>());
            return credential => credential.StartsWith(ApiKeys.Prefix, StringComparison.Ordinal)
                ? new(keys.Check(credential))
                : people.CheckAsync(credential);
        });
    }

    private static ILogger Log(IServiceProvider services) => services.GetRequiredService<ILoggerFactory>().CreateLogger("Aglow.Server");

    // Opens the presence of a node that shares a Redis, with the directory if there is one.
    private static async Task<IOpenPresence> OpenAsync(
        ServeOptions options, StackExchange.Redis.ConfigurationOptions redis, TimeProvider time, ILoggerFactory logs)
    {
        var directory = options.Postgres is null ? null : await PostgresUserDirectory.OpenAsync(options.Postgres, time, logs);
        try
        {
            return await RedisPresence.OpenAsync(options.Presence, redis, time, logs, directory, options.RedisStore);
        }
        catch
        {
            if (directory is not null)
                await directory.DisposeAsync();
            throw;
        }
    }

    private static void Configure(KestrelServerOptions kestrel, ServeOptions options)
    {
        kestrel.Configure(options.Files.GetSection("Kestrel"));
        kestrel.AddServerHeader = false;
        kestrel.ConfigureEndpointDefaults(static endpoint => endpoint.UseAglowSockets(isFirst: true));
        kestrel.Limits.MaxRequestBodySize = Limits.BodyBytes;
        // room for the method and the version; each call has its own limit (414)
        kestrel.Limits.MaxRequestLineSize = kestrel.Limits.Http2.MaxRequestHeaderFieldSize = Limits.ListTargetBytes + 1024;
        kestrel.Limits.MaxConcurrentConnections = kestrel.Limits.MaxConcurrentUpgradedConnections =
            options.MaxConnections ?? DefaultMaxConnections();
        kestrel.Limits.RequestHeadersTimeout = Limits.FirstHeadWithin;
        // Kestrel's default, explicit because docs/security.md promises it
        kestrel.Limits.MinRequestBodyDataRate = new MinDataRate(bytesPerSecond: 240, gracePeriod: TimeSpan.FromSeconds(5));
        // a client with a heartbeat every 10 s keeps its connection; the connection of one that is gone costs 6 KB for two minutes
        kestrel.Limits.KeepAliveTimeout = TimeSpan.FromMinutes(2);
    }

    // Without a free descriptor, Kestrel's accept loop spins and .NET cannot load its own parts. So 512 descriptors are left for files and
    // stores.
    private static long? DefaultMaxConnections()
    {
        const string Limits = "/proc/self/limits", Files = "Max open files";
        var line = File.Exists(Limits)
            ? File.ReadLines(Limits).FirstOrDefault(static l => l.StartsWith(Files, StringComparison.Ordinal))
            : null;
        var soft = line?[Files.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0];
        return long.TryParse(soft, out var files) ? Math.Max(files - 512, 16) : null;
    }

    private static void LogReady(ILogger log, ServeOptions options, WebApplication app)
    {
        foreach (var warning in options.Warnings)
            ServerLog.Warn(log, warning);
        foreach (var url in options.ListensOn.Where(u => !options.Auth.TakesTokens && !Addresses.IsLoopback(u)))
            ServerLog.Open(log, url);
        if (options.Auth.TakesTokens)
        {
            var keys = app.Services.GetRequiredService<KeysInForce>().Count;
            var path = new ApiKeys(options.Presence.DataDirectory).FilePath;
            if (options.Auth is { Authority: null, Secret: null })
                ServerLog.KeysOnly(log, keys, path);
            else
                ServerLog.Tokens(log, options.Auth.Authority?.AbsoluteUri ?? options.Auth.Issuer ?? "the holder of the secret", keys, path);
        }

        ServerLog.Ready(
            log,
            string.Join(", ", app.Urls),
            app.Services.GetRequiredService<PresenceHost>().Where,
            options.Presence.LeaseSeconds,
            options.Presence.HeartbeatSeconds);
    }
}
