using Aglow.AspNetCore;
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
        if (listen.ApplicationServices.GetRequiredService<Callers>().IsOpen)
            listen.Use(next => new SocketMiddleware(next, () => host.IsOpen ? host.Sockets : null).OnConnectionAsync);
        return listen;
    }
}
