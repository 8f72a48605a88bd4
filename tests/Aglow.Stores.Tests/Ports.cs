using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Aglow.Stores.Tests;

/// <summary>Ports on loopback for servers that start later, or that are killed and start again on the same port.</summary>
/// <remarks>
/// They are below the range from which the kernel takes ports of outgoing connections and of listeners on port 0. Otherwise any process
/// could get the port while no server listens on it. Each is random, so test processes that run at the same time hardly meet.
/// </remarks>
internal static class Ports
{
    private const int First = 12_000;

    private static readonly int End = FirstOfKernel();
    private static readonly ConcurrentDictionary<int, bool> Given = new();

    /// <summary>A port that is not in use at the moment, and that no other caller gets.</summary>
    public static int Free()
    {
        while (true)
        {
            var port = End - First > 1000 ? Random.Shared.Next(First, End) : 0;
            try
            {
                using var probe = new TcpListener(IPAddress.Loopback, port);
                probe.Start();
                port = ((IPEndPoint)probe.LocalEndpoint).Port;
                if (Given.TryAdd(port, true))
                    return port;
            }
            catch (SocketException)
            {
                // in use
            }
        }
    }

    private static int FirstOfKernel()
    {
        const string range = "/proc/sys/net/ipv4/ip_local_port_range";
        return File.Exists(range) ? int.Parse(File.ReadAllText(range).Split('\t', ' ')[0], CultureInfo.InvariantCulture) : First;
    }
}
