using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;

namespace Aglow.Benchmarks;

/// <summary>
/// The measured server: Aglow's calls as in <c>./aglow serve</c>, with the journal, and <c>POST /nothing</c>, which does nothing.
/// </summary>
/// <remarks>
/// It is a separate process with a hidden verb. The lease is a day, so every heartbeat after the first round is a renewal. So are nearly
/// all heartbeats of a million people who send one every ten seconds. How long a round takes depends on the compared peers.
/// </remarks>
internal static class HttpHost
{
    /// <summary><c>http-host FOLDER</c>: prints its port, and ends with its input.</summary>
    public const string Verb = "http-host";

    public static async Task<int> RunAsync(string folder)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        builder.Services.AddRoutingCore();
        builder.Services.AddAglow(options =>
        {
            options.OpenMode = true;
            options.DataDirectory = folder;
            options.LeaseSeconds = 86_400;
        });
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.ConfigureEndpointDefaults(static endpoint => endpoint.UseAglowSockets(isFirst: true));
            kestrel.Limits.MaxRequestBodySize = 8 << 20;
            kestrel.Listen(IPAddress.Loopback, 0);
        });

        await using var app = builder.Build();
        app.MapAglow();
        app.MapPost("/nothing", static _ => Task.CompletedTask);
        await app.StartAsync();
        var address = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        Console.WriteLine(new Uri(address).Port);
        await Console.In.ReadToEndAsync();
        await app.StopAsync();
        return 0;
    }
}
