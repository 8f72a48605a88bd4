using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Proxies;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Microsoft.AspNetCore.Hosting;

/// <summary>Lets a Kestrel endpoint take sockets before HTTP, which more than halves the memory of each connection.</summary>
public static class SocketListenOptions
{
    /// <summary>
    /// Takes <c>GET /ws</c> upgrades at the start of a connection, and limits how many connections one address may have. All other requests
    /// go on to HTTP.
    /// </summary>
    /// <remarks>
    /// Without this call, sockets work through the mapped endpoint. Use it only if Aglow's calls are mapped at the root. It takes no
    /// sockets if the application authenticates, because that needs HTTP.
    /// </remarks>
    /// <param name="listen">The endpoint.</param>
    /// <param name="isFirst">
    /// True if no connection middleware (such as <c>UseHttps</c> or <c>UseConnectionLogging</c>) was added to this endpoint before this
    /// call. Frames then go directly to the kernel's socket, which costs a third of the CPU. If another middleware was added before, pass
    /// false: frames would bypass it.
    /// </param>
    public static ListenOptions UseAglowSockets(this ListenOptions listen, bool isFirst = false)
    {
        var services = listen.ApplicationServices;
        var host = services.GetRequiredService<PresenceHost>();
        var callers = services.GetRequiredService<Callers>();
        var gate = services.GetRequiredService<Gate>();
        var time = services.GetRequiredService<TimeProvider>();
        var proxies = services.GetRequiredService<TrustedProxies>();
        if (proxies.ReadsProxyProtocol)
            listen.Use(next => new ProxyProtocol(next, proxies, services.GetRequiredService<LimitReports>(), time).OnConnectionAsync);
        listen.Use(services.GetRequiredService<ConnectionLimit>().Guard);
        var takesSockets = callers.IsOpen || callers.Tokens is not null;
        listen.Use(next => new SocketMiddleware(
            next, () => takesSockets && host.IsOpen ? host.Sockets : null, gate, proxies, time, isFirst).OnConnectionAsync);
        return listen;
    }
}
