using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;

namespace Aglow.Swarm.Tests;

/// <summary>
/// A proxy in front of a server. It replaces the bytes that say that one user is online by "offline". The new bytes have the same length,
/// so that they fit into answers and frames.
/// </summary>
internal sealed class LyingProxy : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly Uri _server;
    private readonly Regex _truth;

    public LyingProxy(Uri server, uint about)
    {
        _server = server;
        _truth = new Regex(
            $"(?<user>\"user_id\":{about}),\"is_online\":true,\"status\":\"(online|away)\",\"last_seen\":[0-9]+",
            RegexOptions.ExplicitCapture,
            TimeSpan.FromMinutes(1));
        _listener.Start();
        _ = AcceptAsync();
    }

    public string Url => string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}");

    public void Dispose() => _listener.Dispose();

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
                _ = PassAsync(await _listener.AcceptTcpClientAsync());
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // over
        }
    }

    private async Task PassAsync(TcpClient client)
    {
        using (client)
        using (var server = new TcpClient())
        {
            try
            {
                await server.ConnectAsync(_server.Host, _server.Port);
                await Task.WhenAny(
                    CopyAsync(client.GetStream(), server.GetStream(), lie: false),
                    CopyAsync(server.GetStream(), client.GetStream(), lie: true));
            }
            catch (SocketException)
            {
                // the client sees it
            }
        }
    }

    private async Task CopyAsync(NetworkStream from, NetworkStream to, bool lie)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (await from.ReadAsync(buffer) is > 0 and var count)
            {
                if (lie)
                    Encoding.Latin1.GetBytes(_truth.Replace(Encoding.Latin1.GetString(buffer, 0, count), Lie)).CopyTo(buffer, 0);
                await to.WriteAsync(buffer.AsMemory(0, count));
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // one side is gone
        }
    }

    private static string Lie(Match truth) =>
        $"{truth.Groups["user"].Value},\"is_online\":false,\"status\":\"offline\",\"last_seen\":null".PadRight(truth.Length);
}
