using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Aglow.Benchmarks;

/// <summary>
/// Connections that never get to the point: half of a request and then nothing, or a byte of it a second. Those that the server closes are opened anew.
/// </summary>
/// <remarks>In a process of its own under a hidden verb. A few connections each millisecond.</remarks>
internal static class SlowClients
{
    /// <summary><c>slow-clients PORT COUNT KIND</c>: says how many are open when all are, and ends when its input does.</summary>
    public const string Verb = "slow-clients";

    /// <summary>What ends the name of a kind whose connections have had an answer before.</summary>
    public const string Again = "-again";

    private static readonly byte[] First = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"u8.ToArray();

    private static readonly byte[][] Requests =
    [
        Encoding.ASCII.GetBytes("GET /ws?user_id=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nX-Never: " + new string('e', 4000)),
        Encoding.ASCII.GetBytes("GET /status/1 HTTP/1.1\r\nHost: localhost\r\nX-Never: " + new string('e', 4000)),
        Encoding.ASCII.GetBytes("POST /heartbeat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{\"user_ids\":[" + new string(' ', 4000)),
    ];

    public static async Task<int> RunAsync(ReadOnlyMemory<string> args)
    {
        var (port, count, drips, again) = (int.Parse(args.Span[0]), int.Parse(args.Span[1]), args.Span[2].StartsWith("drip", StringComparison.Ordinal), args.Span[2].EndsWith(Again, StringComparison.Ordinal));
        var clients = new (Socket Socket, int Sent)[count];
        for (var i = 0; i < count; i++)
            clients[i] = Open(port, i, again);
        Console.WriteLine(count);
        using var ended = new CancellationTokenSource();
        _ = Child.ParentEndsAsync().ContinueWith(_ => ended.Cancel(), TaskScheduler.Default);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(1));
        var next = 0;
        try
        {
            while (await timer.WaitForNextTickAsync(ended.Token))
            {
                // each once a second
                for (var i = 0; i < Math.Max(1, count / 1000); i++, next = (next + 1) % count)
                    Visit(port, next, ref clients[next], drips, again);
            }
        }
        catch (OperationCanceledException)
        {
            // nobody is measured any more
        }

        foreach (var (socket, _) in clients)
            socket.Dispose();
        return 0;
    }

    private static void Visit(int port, int number, ref (Socket Socket, int Sent) client, bool drips, bool again)
    {
        try
        {
            var isClosed = client.Socket.Poll(0, SelectMode.SelectRead);
            var request = Requests[number % Requests.Length];
            if (!isClosed && drips && client.Sent < request.Length)
                client.Socket.Send(request.AsSpan(client.Sent++, 1));
            if (!isClosed)
                return;
        }
        catch (SocketException)
        {
            // closed as well
        }

        client.Socket.Dispose();
        client = Open(port, number, again);
    }

    private static (Socket Socket, int Sent) Open(int port, int number, bool again)
    {
        // 127.0.0.1 to 127.0.0.16: each address has so many ports
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.Bind(new IPEndPoint(new IPAddress([127, 0, 0, (byte)(1 + (number % 16))]), 0));
        socket.Connect(IPAddress.Loopback, port);
        if (again)
        {
            socket.Send(First);
            // an answer of a hundred bytes comes as a whole
            Span<byte> answer = stackalloc byte[4096];
            _ = socket.Receive(answer);
        }

        var sent = 40 + (number % 60);
        socket.Send(Requests[number % Requests.Length].AsSpan(0, sent));
        return (socket, sent);
    }
}
