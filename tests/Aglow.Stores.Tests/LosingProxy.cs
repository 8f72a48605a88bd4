using System.Net;
using System.Net.Sockets;

namespace Aglow.Stores.Tests;

/// <summary>
/// Stands between a node and a server on loopback, passes everything on, and loses an answer when told: it is thrown away, and the
/// connection cut.
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

    /// <param name="port">The server's.</param>
    /// <param name="dropsConnects">
    /// Whether new connections get no answer at all while it holds, as packets that a firewall drops; otherwise they are made.
    /// </param>
    public LosingProxy(int port, bool dropsConnects = false)
    {
        _port = port;
        _dropsConnects = dropsConnects;
        // the kernel drops what comes when so many wait to be accepted
        _listener.Start(dropsConnects ? 1 : int.MaxValue);
        _accepting = Task.Run(AcceptAsync);
    }

    public IPEndPoint Endpoint => new(IPAddress.Loopback, ((IPEndPoint)_listener.LocalEndpoint).Port);

    /// <summary>Answers that were lost.</summary>
    public int Lost => Volatile.Read(ref _lost);

    /// <summary>Passes nothing on, or what came meanwhile and all that follows: packets are dropped, and the connections stay.</summary>
    public void Hold(bool isHeld) => _isHeld = isHeld;

    /// <summary>Holds, and returns when new connections get no answer.</summary>
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
