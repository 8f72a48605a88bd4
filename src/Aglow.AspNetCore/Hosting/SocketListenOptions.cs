using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;

namespace Microsoft.AspNetCore.Hosting;

/// <summary>Lets an endpoint of the web server take sockets before HTTP: less than half of the memory a connection.</summary>
public static class SocketListenOptions
{
    /// <summary>
    /// Takes <c>GET /ws</c> upgrades at the start of a connection; everything else goes on to HTTP. Call it after <c>UseHttps</c> where there is TLS. Without
    /// it sockets work all the same, through the mapped endpoint. For a server whose root is Aglow's: not where calls are mapped under a prefix. Where the application
    /// authenticates, which takes HTTP, nothing is taken.
    /// </summary>
    public static ListenOptions UseAglowSockets(this ListenOptions listen)
    {
        var host = listen.ApplicationServices.GetRequiredService<PresenceHost>();
        var callers = listen.ApplicationServices.GetRequiredService<Callers>();
        var rates = listen.ApplicationServices.GetRequiredService<RateLimits>();
        var timeouts = listen.ApplicationServices.GetRequiredService<HeadTimeouts>();
        listen.Use(listen.ApplicationServices.GetRequiredService<ConnectionLimit>().Guard);
        var takesSockets = callers.IsOpen || callers.Tokens is not null;
        listen.Use(next => new SocketMiddleware(next, () => takesSockets && host.IsOpen ? host.Sockets : null, rates, timeouts).OnConnectionAsync);
        if (callers.Tokens is not null)
            listen.Use(static next => connection => KeepCallerAsync(next, connection));
        return listen;
    }

    /// <summary>
    /// Lets connections come to the web server only when the head of their first request is whole: who sends half of one and waits costs it nothing. Call it after <c>UseKestrel</c>.
    /// </summary>
    public static IWebHostBuilder UseAglowListener(this IWebHostBuilder builder) =>
        builder.ConfigureServices(static services => services.AddSingleton<IConnectionListenerFactory, HeadListenerFactory>());

    private static Task KeepCallerAsync(ConnectionDelegate next, ConnectionContext connection)
    {
        connection.Features.Set(new ConnectionCaller());
        return next(connection);
    }
}
