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
///
/// A proxy sets one of the two headers, and passes on the other one as the client wrote it. If both name a client, and not the same one,
/// nobody knows which one the client wrote. Then neither counts, and the request counts as the proxy's. Rejected alternative: one header
/// always wins. Behind a proxy that sets the other one, each client could choose its address.
/// </remarks>
internal sealed class TrustedProxies(IReadOnlyList<IPNetwork> networks, bool readsProxyProtocol)
{
    private const string ForwardedFor = "X-Forwarded-For";
    private const string ForwardedProto = "X-Forwarded-Proto";
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
        return networks.Count == 0 || readsProxyProtocol || forwardedFor is null ? client : Follow(client, forwardedFor.Split(',')).Client;
    }

    // From the nearest proxy on to the client: also returns the place of the entry that names it, or how many there are if none does.
    private (IPAddress? Client, int Place) Follow(IPAddress? client, IReadOnlyList<string?> entries)
    {
        var place = entries.Count;
        while (place > 0 && client is not null && Holds(client) && IPEndPoint.TryParse((entries[place - 1] ?? "").Trim(), out var from))
            (client, place) = (from.Address, place - 1);
        return (client, place);
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
            Translate(context.Connection.RemoteIpAddress, context.Request.Headers);
            return next(context);
        });
        app.UseForwardedHeaders(options);
    }

    // The framework reads X-Forwarded-For only, so this translates Forwarded (RFC 7239).
    private void Translate(IPAddress? proxy, IHeaderDictionary headers)
    {
        if (headers[Forwarded].Count == 0)
            return;
        var elements = ForwardedElement.Read(headers[Forwarded]);
        if (elements?.TrueForAll(static one => one.For is null) == true)
            return;
        var (client, place) = Follow(proxy, elements?.ConvertAll(static one => one.For) ?? []);
        var others = string.Join(',', headers[ForwardedFor].AsEnumerable()).Split(',');
        if (elements is null || (headers[ForwardedFor].Count > 0 && !IsSame(client, Follow(proxy, others).Client)))
        {
            headers.Remove(ForwardedFor);
            headers.Remove(ForwardedProto);
            return;
        }

        if (place == elements.Count)
            return;
        if (headers[ForwardedFor].Count == 0)
            headers[ForwardedFor] = client!.ToString();
        if (elements[place].Proto is { } scheme && headers[ForwardedProto].Count == 0)
            headers[ForwardedProto] = scheme;
    }

    private static bool IsSame(IPAddress? one, IPAddress? other) => Equals(one?.MapToIPv6(), other?.MapToIPv6());
}
