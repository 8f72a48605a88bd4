using System.Net;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// Decides which pages may write here and open sockets. A browser sends cookies, and reaches this machine's own ports, for any page that it
/// shows, so the server checks the origin of the page.
/// </summary>
/// <remarks>
/// <code>
///   Host            for a page, in open mode on the loopback address without TLS: must be a name of this machine
///                   (any other name that resolves to it belongs to an attacker)
///   Sec-Fetch-Site  same-origin, none: allowed; a page cannot set this header
///   Origin          none: not a page; on the list: allowed; else it must be the origin of the request itself
/// </code>
/// A rule on text; HTTP and the connection middleware use it. Threading: any thread; it allocates only for an origin that is not on the
/// list.
/// </remarks>
internal sealed class Origins
{
    /// <summary>The header in which a browser states how the page relates to the server that it calls (W3C Fetch Metadata).</summary>
    public const string FetchSite = "Sec-Fetch-Site";

    private const string SameOrigin = "same-origin";
    private const string UserInitiated = "none";

    private readonly string[] _allowed;
    private readonly string[] _allowedHosts;
    private readonly bool _checksHost;

    public Origins(AglowOptions options)
    {
        _allowed = [.. options.AllowedOrigins];
        _allowedHosts = [.. _allowed.Select(static origin => Uri.TryCreate(origin, UriKind.Absolute, out var url) ? url.Host : "")];
        _checksHost = options is { OpenMode: true, IsBehindGateway: false };
    }

    /// <summary>Refuses a write or an upgrade from a page of another origin that is not allowed.</summary>
    /// <exception cref="ProblemException">The page may not do this (403).</exception>
    public void Require(HttpContext context)
    {
        var headers = context.Request.Headers;
        Require(headers.Origin, headers[FetchSite], headers.Host, context.Request.IsHttps ? null : context.Connection.LocalIpAddress);
    }

    /// <summary>The same for a head that was read before HTTP.</summary>
    public void Require(string? origin, string? fetchSite, string? host, IPAddress? local)
    {
        var isOfPage = !string.IsNullOrEmpty(origin) || !string.IsNullOrEmpty(fetchSite);
        if (isOfPage && _checksHost && local is not null && IPAddress.IsLoopback(local) && !IsThisMachine(HostOf(host)))
            throw Problems.HostNotKnown(host);
        if (!IsAllowed(origin, fetchSite, host))
            throw Problems.OriginNotAllowed(origin);
    }

    /// <summary>Whether a page of this origin may write.</summary>
    public bool IsAllowed(string? origin, string? fetchSite, string? host)
    {
        if (string.IsNullOrEmpty(origin))
            return string.IsNullOrEmpty(fetchSite) || fetchSite is SameOrigin or UserInitiated;
        if (fetchSite is SameOrigin)
            return true;
        foreach (var one in _allowed)
        {
            if (string.Equals(one, origin, StringComparison.OrdinalIgnoreCase))
                return true;
        }

        // Sec-Fetch-Site decides if the browser sends it; older browsers send only Origin
        return string.IsNullOrEmpty(fetchSite) && IsOwn(origin, host);
    }

    private static bool IsOwn(string origin, string? host) =>
        Uri.TryCreate(origin, UriKind.Absolute, out var from)
        && from.Scheme is "http" or "https"
        && string.Equals(
            from.IsDefaultPort ? from.Host : from.Authority, WithoutDefaultPort(host, from.Scheme), StringComparison.OrdinalIgnoreCase);

    private static string? WithoutDefaultPort(string? host, string scheme)
    {
        var suffix = scheme == "https" ? ":443" : ":80";
        return host is not null && host.EndsWith(suffix, StringComparison.Ordinal) ? host[..^suffix.Length] : host;
    }

    private static ReadOnlySpan<char> HostOf(ReadOnlySpan<char> host)
    {
        var port = host.LastIndexOf(':');
        // the colons of an IPv6 address are inside brackets
        return port > host.LastIndexOf(']') ? host[..port] : host;
    }

    private bool IsThisMachine(ReadOnlySpan<char> host)
    {
        if (host is "127.0.0.1"
            || host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
            || host.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase))
            return true;
        if (IPAddress.TryParse(host.Trim("[]"), out var address))
            return IPAddress.IsLoopback(address);
        foreach (var allowed in _allowedHosts)
        {
            if (host.Equals(allowed, StringComparison.OrdinalIgnoreCase))
                return true;
        }

        return false;
    }
}
