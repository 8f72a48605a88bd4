using System.Net;
using System.Net.Sockets;

namespace Aglow.Changes.Webhooks;

/// <summary>
/// Decides which addresses a webhook may use. Public addresses need https. Private and link-local addresses need the operator's permission
/// for their network. Loopback addresses are allowed if the server itself listens on no others. Otherwise they need the operator's
/// permission too.
/// </summary>
/// <remarks>
/// A name is resolved for each connection, and the connection goes to exactly the address that was checked. So an attacker gains nothing
/// with a name that resolves differently the second time.
/// </remarks>
internal sealed class WebhookTargets(
    IReadOnlyList<IPNetwork> allowed, bool toLoopback, Func<string, CancellationToken, Task<IPAddress[]>>? resolve = null)
{
    private static readonly IPNetwork[] NotPublic =
    [
        .. new[]
        {
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
                "192.88.99.0/24", "192.168.0.0/16",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10",
                "fec0::/10", "ff00::/8",
        }.Select(IPNetwork.Parse),
    ];

    /// <summary>
    /// What is wrong with a URL, and what to set instead; null: nothing, as far as is known without resolving its name.
    /// </summary>
    public string? Refusal(string text, out Uri? url)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out url) || url.Scheme is not ("https" or "http") || url.Host.Length == 0)
            return "url is not an https:// URL";
        if (url.UserInfo.Length > 0 || url.Fragment.Length > 0)
            return "url has a user name or a fragment: leave them out, messages are signed";
        var isLoopback = url.IsLoopback;
        if (url.Scheme == "http" && !(isLoopback && toLoopback))
            return "url is not https: http is for this machine alone, where the server itself listens on the loopback address alone";
        if (isLoopback && !toLoopback && !IPAddress.TryParse(url.DnsSafeHost, out _))
            return Refused;
        return IPAddress.TryParse(url.DnsSafeHost, out var address) && !IsAllowed(address, url.Scheme) ? Refused : null;
    }

    /// <summary>Connects to an allowed address of the host.</summary>
    /// <exception cref="HttpRequestException">The host has no allowed address.</exception>
    public async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        var scheme = context.InitialRequestMessage.RequestUri!.Scheme;
        var addresses = await (resolve ?? Dns.GetHostAddressesAsync)(context.DnsEndPoint.Host, cancel);
        var may = Array.FindAll(addresses, address => IsAllowed(address, scheme));
        if (may.Length == 0)
            throw new HttpRequestException(addresses.Length == 0 ? "the name has no address" : Refused);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(may, context.DnsEndPoint.Port, cancel);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    internal bool IsAllowed(IPAddress address, string scheme)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        if (IPAddress.IsLoopback(address))
            return toLoopback || (scheme == "https" && Contains(allowed, address));
        return scheme == "https" && (Contains(allowed, address) || !Contains(NotPublic, address));
    }

    private const string Refused =
        $"url leads to a private network or to this machine: allow its network with {OptionNames.WebhooksAllow}";

    // false for an address of the other family
    private static bool Contains(IEnumerable<IPNetwork> networks, IPAddress address) => networks.Any(network => network.Contains(address));
}
