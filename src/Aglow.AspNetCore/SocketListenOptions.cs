using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Proxies;
using Microsoft.AspNetCore.Authorization;
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
    /// Without this call, sockets work through the mapped endpoint. It takes no sockets if the application authenticates, or if the mapped
    /// calls have a prefix, a host or an authorization, because all of these need HTTP.
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
        // the endpoints are known when the application has started
        var isMappedPlainly = new Lazy<bool>(() => IsMappedPlainly(services.GetService<EndpointDataSource>()?.Endpoints ?? []));
        listen.Use(next => new SocketMiddleware(
            next,
            () => takesSockets && host.IsOpen && isMappedPlainly.Value ? host.Sockets : null,
            gate,
            proxies,
            time,
            isFirst).OnConnectionAsync);
        return listen;
    }

    // Elsewhere, /ws at the root belongs to the application. False also if the group of calls has rules that hold for HTTP only.
    private static bool IsMappedPlainly(IReadOnlyList<Endpoint> endpoints) =>
        endpoints.OfType<RouteEndpoint>()
            .Where(static one => one.Metadata.GetMetadata<Call>()?.Path == Routes.Socket)
            .All(
                static one => one.RoutePattern.RawText?.Trim('/') == Routes.Socket.Trim('/')
                    && one.Metadata.GetMetadata<IHostMetadata>() is null
                    && one.Metadata.GetMetadata<IAuthorizeData>() is null);
}
