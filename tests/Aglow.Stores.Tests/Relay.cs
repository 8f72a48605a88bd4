using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Aglow.Stores.Tests;

/// <summary>
/// Listens on loopback and passes bytes on, or holds them like a broken network: connections stay open, and held bytes arrive later.
/// </summary>
internal abstract class Relay : IAsyncDisposable
{
    private readonly List<(TcpListener Listener, Task Accepting)> _listeners = [];
    private readonly CancellationTokenSource _stop = new();

    public virtual async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var (listener, accepting) in _listeners)
        {
            listener.Stop();
            await accepting;
        }

        _stop.Dispose();
    }

    /// <summary>Listens on a free port, and returns it. Accepts nothing while it is deaf.</summary>
    protected int Listen(Func<Socket, Task> serve, int backlog = int.MaxValue, Func<bool>? isDeaf = null)
    {
        var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start(backlog);
        _listeners.Add((listener, Task.Run(async () =>
        {
            try
            {
                while (true)
                {
                    await WhileAsync(isDeaf ?? (static () => false));
                    _ = ServeAsync(await listener.AcceptSocketAsync(_stop.Token), serve);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
            {
                // stopped
            }
        })));
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>
    /// Connects to a port and passes bytes in both directions. <paramref name="first"/> was already read; <paramref name="change"/> changes
    /// answers, or cuts the connection by a <see cref="SocketException"/>.
    /// </summary>
    protected async Task ConnectAsync(
        Socket client,
        int port,
        ReadOnlyMemory<byte> first,
        Func<bool> isCut,
        Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>>? change = null)
    {
        using var server = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await WhileAsync(isCut);
        await server.ConnectAsync(IPAddress.Loopback, port, _stop.Token);
        for (var sent = 0; sent < first.Length;)
            sent += await server.SendAsync(first[sent..], _stop.Token);
        await Task.WhenAny(PassAsync(client, server, isCut), PassAsync(server, client, isCut, change));
    }

    private static async Task ServeAsync(Socket client, Func<Socket, Task> serve)
    {
        try
        {
            client.NoDelay = true;
            await serve(client);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // cut
        }

        client.Dispose();
    }

    private async Task PassAsync(
        Socket from, Socket to, Func<bool> isCut, Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>>? change = null)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            for (int count; (count = await from.ReceiveAsync(buffer, _stop.Token)) > 0;)
            {
                await WhileAsync(isCut);
                var bytes = change?.Invoke(buffer.AsMemory(0, count)) ?? buffer.AsMemory(0, count);
                for (var sent = 0; sent < bytes.Length;)
                    sent += await to.SendAsync(bytes[sent..], _stop.Token);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // cut
        }
    }

    private async Task WhileAsync(Func<bool> isCut)
    {
        while (isCut())
            await Task.Delay(20, _stop.Token);
    }
}

/// <summary>One node's path to all Redis servers: an HTTP tunnel that a connection string of StackExchange.Redis names.</summary>
internal sealed class NodeTunnel : Relay
{
    private readonly int _port;
    private volatile Predicate<int> _isCut = static _ => false;

    public NodeTunnel() => _port = Listen(ServeAsync);

    /// <summary>The Redis connection string for the node.</summary>
    public string Address(string servers) => $"{servers},tunnel=http:127.0.0.1:{_port}";

    /// <summary>Drops traffic to and from these ports.</summary>
    public void Cut(Predicate<int> ports) => _isCut = ports;

    // CONNECT 127.0.0.1:7000 HTTP/1.1
    private async Task ServeAsync(Socket client)
    {
        var head = new StringBuilder();
        for (var one = new byte[1]; !$"{head}".EndsWith("\r\n\r\n", StringComparison.Ordinal);)
        {
            if (await client.ReceiveAsync(one) == 0)
                return;
            head.Append((char)one[0]);
        }

        var target = $"{head}".Split(' ')[1];
        var port = int.Parse(target.AsSpan(target.LastIndexOf(':') + 1));
        await client.SendAsync("HTTP/1.1 200 OK\r\n\r\n"u8.ToArray());
        await ConnectAsync(client, port, default, () => _isCut(port));
    }
}

/// <summary>A gate in front of one server of a cluster. The server announces the gate's ports, so the servers can be separated.</summary>
internal sealed class ServerGate : Relay
{
    // In a message between servers, the sender's ID follows the header's numbers.
    private const int SenderAt = 40, SenderLength = 40;

    private volatile Predicate<string> _isBusCut = static _ => false;
    private volatile bool _isReplicationCut;

    public ServerGate()
    {
        Port = Listen(ServeClientAsync);
        BusPort = Listen(ServeBusAsync);
    }

    /// <summary>The port that clients and replicas use.</summary>
    public int Port { get; }

    /// <summary>The port that other servers use.</summary>
    public int BusPort { get; }

    /// <summary>The server behind it.</summary>
    public RedisProcess? Server { get; set; }

    /// <summary>Drops messages to this server from servers with these IDs, and optionally replication from this server.</summary>
    public void Cut(Predicate<string> senders, bool replication)
    {
        _isBusCut = senders;
        _isReplicationCut = replication;
    }

    private async Task ServeBusAsync(Socket client)
    {
        var first = new byte[SenderAt + SenderLength];
        for (var read = 0; read < first.Length;)
        {
            if (await client.ReceiveAsync(first.AsMemory(read)) is not (> 0 and var count))
                return;
            read += count;
        }

        var sender = Encoding.ASCII.GetString(first, SenderAt, SenderLength);
        await ConnectAsync(client, Server!.BusPort, first, () => _isBusCut(sender));
    }

    private async Task ServeClientAsync(Socket client)
    {
        var first = new byte[64 * 1024];
        var read = await client.ReceiveAsync(first);
        if (read == 0)
            return;
        // a replica begins with a bare PING; clients send more
        var isReplica = Encoding.ASCII.GetString(first, 0, read) == "*1\r\n$4\r\nPING\r\n";
        await ConnectAsync(client, Server!.Port, first.AsMemory(0, read), () => isReplica && _isReplicationCut);
    }
}
