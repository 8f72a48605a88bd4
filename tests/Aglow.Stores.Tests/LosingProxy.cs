using System.Net;
using System.Net.Sockets;

namespace Aglow.Stores.Tests;

/// <summary>
/// A proxy between a node and a server on loopback. On request it loses an answer: it discards the answer and cuts the connection.
/// </summary>
internal sealed class LosingProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly int _port;
    private readonly Task _accepting;
    private int _armed;
    private int _lost;
    private volatile bool _isHeld;
    private readonly bool _dropsConnects;
    private readonly List<Socket> _fillers = [];

    /// <param name="port">The server's port.</param>
    /// <param name="dropsConnects">
    /// Whether new connections get no answer while it holds, like packets that a firewall drops. Otherwise they are accepted.
    /// </param>
    public LosingProxy(int port, bool dropsConnects = false)
    {
        _port = port;
        _dropsConnects = dropsConnects;
        // the kernel drops new connections when this many wait to be accepted
        _listener.Start(dropsConnects ? 1 : int.MaxValue);
        _accepting = Task.Run(AcceptAsync);
    }

    public IPEndPoint Endpoint => new(IPAddress.Loopback, ((IPEndPoint)_listener.LocalEndpoint).Port);

    /// <summary>The number of lost answers.</summary>
    public int Lost => Volatile.Read(ref _lost);

    /// <summary>Holds all traffic, or passes on what was held and everything after it. Connections stay open.</summary>
    public void Hold(bool isHeld) => _isHeld = isHeld;

    /// <summary>Holds all traffic. Returns when new connections get no answer.</summary>
    public async Task CutAsync()
    {
        Hold(true);
        while (_dropsConnects)
        {
            var filler = new Socket(SocketType.Stream, ProtocolType.Tcp);
            _fillers.Add(filler);
            await Task.WhenAny(filler.ConnectAsync(Endpoint), Task.Delay(500));
            if (!filler.Connected)
                return;
        }
    }

    public void LoseNextAnswer() => Volatile.Write(ref _armed, 1);

    public async ValueTask DisposeAsync()
    {
        _isHeld = false;
        foreach (var filler in _fillers)
            filler.Dispose();
        _listener.Stop();
        await _accepting;
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            Socket client;
            try
            {
                while (_isHeld && _dropsConnects)
                    await Task.Delay(20);
                client = await _listener.AcceptSocketAsync();
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
            {
                return;
            }

            var server = new Socket(SocketType.Stream, ProtocolType.Tcp);
            await server.ConnectAsync(IPAddress.Loopback, _port);
            _ = PassAsync(client, server, answers: false);
            _ = PassAsync(server, client, answers: true);
        }
    }

    private async Task PassAsync(Socket from, Socket to, bool answers)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (true)
            {
                var count = await from.ReceiveAsync(buffer);
                if (count == 0)
                    break;
                if (answers && Interlocked.Exchange(ref _armed, 0) == 1)
                {
                    Interlocked.Increment(ref _lost);
                    break;
                }

                while (_isHeld)
                    await Task.Delay(20);
                for (var sent = 0; sent < count;)
                    sent += await to.SendAsync(buffer.AsMemory(sent, count - sent));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // cut
        }

        from.Dispose();
        to.Dispose();
    }
}
