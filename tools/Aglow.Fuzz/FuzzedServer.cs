using Aglow.AspNetCore.Access;
using Aglow.Model;
using Aglow.Watching;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Aglow.Fuzz;

/// <summary>
/// The server inside this process: Kestrel, the connection middleware, all calls, a journal and a directory on disk, as in <c>./aglow
/// serve</c>. Only the kernel's sockets are replaced.
/// </summary>
internal sealed class FuzzedServer(
    WebApplication app, MemoryTransport network, FuzzedServer.ErrorLog errors, Victims victims, bool takesTokens) : IAsyncDisposable
{
    public MemoryTransport Network => network;

    /// <summary>Whether it takes tokens (<see cref="FuzzTokens"/>); else it is open.</summary>
    public bool TakesTokens => takesTokens;

    /// <summary>Users whom no input must reach.</summary>
    public Victims Victims => victims;

    /// <summary>The errors that the server has logged since the last call. There must be none, whatever the inputs are.</summary>
    public string? TakeError() => errors.Take();

    /// <summary>The paths of all calls.</summary>
    public IEnumerable<string> Calls => app.Services.GetRequiredService<EndpointDataSource>()
        .Endpoints.OfType<RouteEndpoint>()
        .Where(static endpoint => endpoint.Metadata.GetMetadata<Call>() is not null)
        .Select(static endpoint => endpoint.RoutePattern.RawText!);

    private WatchHub Hub => app.Services.GetRequiredService<PresenceService>().Watchers;

    /// <summary>What the server keeps for clients; all are 0 when every client is gone.</summary>
    public (int Connections, int Watchers, long Watches) Held => (network.Open, Hub.Connections, Hub.Watches);

    /// <summary>Starts a server on this folder.</summary>
    public static async Task<FuzzedServer> StartAsync(string folder, bool takesTokens = false)
    {
        // memory for sixteen million users: higher IDs get 507, as when an operator's budget is used up
        var options = new AglowOptions
        {
            OpenMode = !takesTokens,
            DataDirectory = folder,
            MemoryMegabytes = 64,
            KnownKeys = 4096,
            SubscriptionLimit = 16,
            MaxMessagesPerSecond = 20
        };
        var errors = new ErrorLog();
        var network = new MemoryTransport();
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "Aglow" });
        builder.Logging.AddProvider(errors);
        builder.Services.AddRoutingCore();
        if (takesTokens)
            builder.Services.AddSingleton<CredentialCheck>(FuzzTokens.CheckAsync);
        builder.Services.AddAglow(options, async (time, logs) => await BoundedPresence.OpenAsync(options, time, logs));
        builder.WebHost.UseKestrelCore().ConfigureKestrel(static kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = Aglow.AspNetCore.Http.Limits.BodyBytes;
            kestrel.ListenLocalhost(1, static endpoint => endpoint.UseAglowSockets());
        });
        builder.Services.AddSingleton<IConnectionListenerFactory>(network);
        builder.Services.AddSingleton<IHostLifetime, UntilDisposed>();
        var app = builder.Build();
        app.MapAglow();
        app.MapAglowFallback();
        await app.StartAsync();
        var victims = await Victims.RegisterAsync(app.Services.GetRequiredService<PresenceService>());
        return new FuzzedServer(app, network, errors, victims, takesTokens);
    }

    public async ValueTask DisposeAsync()
    {
        await app.StopAsync();
        await app.DisposeAsync();
        errors.Dispose();
    }

    /// <summary>
    /// Ignores signals, because the run handles them. A server that stopped by itself would answer later inputs with 503.
    /// </summary>
    private sealed class UntilDisposed : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>Keeps the first logged error.</summary>
    internal sealed class ErrorLog : ILoggerProvider, ILogger
    {
        // Logged by the web server for an unread chunked body with trailers that are not text. It has answered, and closes the connection.
        private const string NotDrained = "automatic draining of the request body failed";

        private string? _first;

        public string? Take() => Interlocked.Exchange(ref _first, null);

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel) && formatter(state, exception) is var said && !said.Contains(NotDrained, StringComparison.Ordinal))
                Interlocked.CompareExchange(ref _first, $"{said} {exception}", null);
        }

        public void Dispose()
        {
        }
    }
}
