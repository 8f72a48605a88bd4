using System.Net;

namespace Aglow.Server;

/// <summary>Reads addresses and networks from settings.</summary>
internal static class Addresses
{
    /// <summary>Reads URLs, separated by commas or semicolons.</summary>
    public static IReadOnlyList<string> Read(string urls)
    {
        var read = urls.Split([',', ';'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        if (read.Length == 0)
            throw new UsageException("set a URL such as http://127.0.0.1:8080");
        foreach (var url in read)
        {
            if (!IsAddress(url))
                throw new UsageException("set http://ADDRESS:PORT or https://ADDRESS:PORT, such as http://127.0.0.1:8080");
        }

        return read;
    }

    /// <summary>Reads addresses and networks, separated by commas.</summary>
    public static IReadOnlyList<IPNetwork> ReadNetworks(string networks) =>
        [.. networks.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(static one =>
            IPNetwork.TryParse(one, out var network) ? network
            : IPAddress.TryParse(one, out var address) ? new IPNetwork(address, address.GetAddressBytes().Length * 8)
            : throw new UsageException("set networks and addresses such as 10.0.0.0/8,127.0.0.1"))];

    /// <summary>Whether only this machine can reach the URL.</summary>
    public static bool IsLoopback(string url)
    {
        var host = BindingAddress.Parse(url).Host;
        return host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
            || (IPAddress.TryParse(host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));
    }

    private static bool IsAddress(string url)
    {
        try
        {
            var address = BindingAddress.Parse(url);
            return address.Scheme is "http" or "https"
                && address.Port is >= 0 and <= 65_535
                && address.PathBase.Length == 0
                && address.Host.Length > 0
                // a port that is not a number is left in the host
                && (address.IsUnixPipe || address.Host[0] == '[' || !address.Host.Contains(':'));
        }
        catch (FormatException)
        {
            return false;
        }
    }
}
