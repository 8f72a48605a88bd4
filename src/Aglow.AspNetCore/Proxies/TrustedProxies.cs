using System.Net;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.HttpOverrides;
using IPNetwork = System.Net.IPNetwork;

namespace Aglow.AspNetCore.Proxies;

/// <summary>
/// The proxies that may name the client of a request or connection: in headers, or by the PROXY protocol.
/// </summary>
/// <remarks>
/// <code>
///   --trusted-proxies 10.0.0.0/8                    X-Forwarded-For, X-Forwarded-Proto, Forwarded ─► the framework's forwarded headers
///   --trusted-proxies 10.0.0.0/8 --proxy-protocol   the first bytes of each connection            ─► <see cref="ProxyProtocol"/>
/// </code>
/// From any other address, such headers are ignored. Rates and limits apply to each client; a trusted proxy itself may have any number of
/// connections. Without this option, a request passes none of this code.
/// </remarks>
internal sealed class TrustedProxies(IReadOnlyList<IPNetwork> networks, bool readsProxyProtocol)
{
    private const string ForwardedFor = "X-Forwarded-For";
    private const string Forwarded = "Forwarded";

    public bool Any => networks.Count > 0;

    /// <summary>Whether their connections begin with a PROXY header.</summary>
    public bool ReadsProxyProtocol => readsProxyProtocol;

    public bool Holds(IPAddress address)
    {
        var own = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        foreach (var network in networks)
        {
            if (network.Contains(own))
                return true;
        }

        return false;
    }

    /// <summary>Whether this connection comes from a trusted proxy.</summary>
    public bool Holds(ConnectionContext connection) =>
        networks.Count > 0 && (connection.RemoteEndPoint as IPEndPoint)?.Address is { } address && Holds(address);

    /// <summary>
    /// The client of a connection whose handshake was read before HTTP, by the framework's rule: the first address from the right that is
    /// not a trusted proxy's, or else the last readable one.
    /// </summary>
    public IPAddress? ClientOf(ConnectionContext connection, string? forwardedFor)
    {
        var client = (connection.RemoteEndPoint as IPEndPoint)?.Address;
        if (networks.Count == 0 || readsProxyProtocol || forwardedFor is null)
            return client;
        foreach (var entry in forwardedFor.Split(',').Reverse())
        {
            if (client is null || !Holds(client) || !IPEndPoint.TryParse(entry.Trim(), out var from))
                break;
            client = from.Address;
        }

        return client;
    }

    /// <summary>Puts the framework's forwarded headers before everything else.</summary>
    public void Use(IApplicationBuilder app)
    {
        var options = new ForwardedHeadersOptions
        {
            ForwardedHeaders = ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto,
            ForwardLimit = null
        };
        options.KnownIPNetworks.Clear();
        options.KnownProxies.Clear();
        foreach (var network in networks)
            options.KnownIPNetworks.Add(network);
        app.Use((context, next) =>
        {
            Translate(context.Request.Headers);
            return next(context);
        });
        app.UseForwardedHeaders(options);
    }

    // The framework reads X-Forwarded-For only, so this translates Forwarded (RFC 7239). If a proxy sends both, X-Forwarded-For counts.
    private static void Translate(IHeaderDictionary headers)
    {
        if (headers[Forwarded].Count == 0 || headers[ForwardedFor].Count > 0)
            return;
        var addresses = new List<string>();
        foreach (var element in headers[Forwarded].SelectMany(static line => (line ?? "").Split(',')))
        {
            foreach (var pair in element.Split(';'))
            {
                var equals = pair.IndexOf('=', StringComparison.Ordinal);
                if (equals > 0 && pair.AsSpan(0, equals).Trim().Equals("for", StringComparison.OrdinalIgnoreCase))
                    addresses.Add(pair[(equals + 1)..].Trim().Trim('"'));
            }
        }

        headers[ForwardedFor] = string.Join(", ", addresses);
    }
}
