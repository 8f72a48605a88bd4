using System.Net;
using System.Net.Sockets;

namespace Aglow.Benchmarks.Nodes;

/// <summary>
/// A proxy between a node and a server on loopback. While it holds, it passes nothing on and closes nothing, like a network that drops
/// packets. New connections are accepted and get no answer.
/// </summary>
/// <remarks>Nobody awaits the tasks of connections: an error ends its connection, and no more.</remarks>
internal sealed class HoldingProxy : IDisposable
{
    private static readonly TimeSpan Checks = TimeSpan.FromMilliseconds(10);

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly int _port;
    private volatile bool _holds;

    /// <param name="port">The server's port.</param>
    public HoldingProxy(int port)
    {
        _port = port;
        _listener.Start();
        _ = AcceptAsync();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Holds everything, or passes on what was held and all that follows.</summary>
    public void Hold(bool holds) => _holds = holds;

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Dispose();
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (true)
            _ = ServeAsync(await _listener.AcceptSocketAsync(_stop.Token));
    }

    private async Task ServeAsync(Socket client)
    {
        using var near = client;
        using var far = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        near.NoDelay = true;
        await far.ConnectAsync(IPAddress.Loopback, _port, _stop.Token);
        await Task.WhenAny(PassAsync(near, far), PassAsync(far, near));
    }

    private async Task PassAsync(Socket from, Socket to)
    {
        var buffer = new byte[64 * 1024];
        for (int count; (count = await from.ReceiveAsync(buffer, _stop.Token)) > 0;)
        {
            while (_holds)
                await Task.Delay(Checks, _stop.Token);
            for (var sent = 0; sent < count;)
                sent += await to.SendAsync(buffer.AsMemory(sent, count - sent), _stop.Token);
        }
    }
}
