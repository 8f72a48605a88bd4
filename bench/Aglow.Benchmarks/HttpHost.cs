using Aglow.Benchmarks.Sockets;
using Microsoft.AspNetCore.Builder;

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
        var port = Programs.FreePort();
        await using var app = AglowServer.Build(port, options =>
        {
            options.DataDirectory = folder;
            options.LeaseSeconds = 86_400;
        });
        app.MapPost("/nothing", static _ => Task.CompletedTask);
        await app.StartAsync();
        Console.WriteLine(port);
        await Console.In.ReadToEndAsync();
        await app.StopAsync();
        return 0;
    }
}
