using Aglow.Model;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Aglow.Benchmarks.Sockets;

/// <summary>Aglow as in its own server: sockets handled before HTTP, and the journal on.</summary>
internal static class AglowServer
{
    public static WebApplication Build(int port, Action<AglowOptions> set)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "Aglow" });
        // standard output is for the benchmark's answers
        builder.Logging.AddConsole(static console => console.LogToStandardErrorThreshold = LogLevel.Trace)
            .SetMinimumLevel(LogLevel.Warning);
        builder.Services.AddRoutingCore();
        builder.Services.AddAglow(options =>
        {
            options.OpenMode = true;
            set(options);
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
        app.Urls.Add($"http://127.0.0.1:{port}");
        app.MapAglow();
        return app;
    }
}
