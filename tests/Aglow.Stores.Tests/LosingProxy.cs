using System.Net;
using System.Net.Sockets;

namespace Aglow.Stores.Tests;

/// <summary>
/// A proxy between a node and a server on loopback. On request it loses an answer: it discards the answer and cuts the connection.
/// </summary>
internal sealed class LosingProxy : Relay
{
    private readonly bool _dropsConnects;
    private readonly List<Socket> _fillers = [];
    private int _armed;
    private int _lost;
    private volatile bool _isHeld;

    /// <param name="port">The server's port.</param>
    /// <param name="dropsConnects">
    /// Whether new connections get no answer while it holds, like packets that a firewall drops. Otherwise they are accepted.
    /// </param>
    public LosingProxy(int port, bool dropsConnects = false)
    {
        _dropsConnects = dropsConnects;
        // the kernel drops new connections when this many wait to be accepted
        Endpoint = new(IPAddress.Loopback, Listen(
            client => ConnectAsync(client, port, default, () => _isHeld, Answer),
            dropsConnects ? 1 : int.MaxValue,
            () => dropsConnects && _isHeld));
    }

    public IPEndPoint Endpoint { get; }

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

    public override ValueTask DisposeAsync()
    {
        foreach (var filler in _fillers)
            filler.Dispose();
        return base.DisposeAsync();
    }

    private ReadOnlyMemory<byte> Answer(ReadOnlyMemory<byte> bytes)
    {
        if (Interlocked.Exchange(ref _armed, 0) == 0)
            return bytes;
        Interlocked.Increment(ref _lost);
        throw new SocketException((int)SocketError.ConnectionReset);
    }
}
