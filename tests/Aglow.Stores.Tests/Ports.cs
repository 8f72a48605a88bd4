using System.Net;
using System.Net.Sockets;

namespace Aglow.Stores.Tests;

/// <summary>Ports on loopback.</summary>
internal static class Ports
{
    /// <summary>A port that is not in use at the moment.</summary>
    public static int Free()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }
}
