using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Aglow.Benchmarks.Sockets;

namespace Aglow.Benchmarks;

/// <summary>
/// The cost of half-open connections: the server's memory for each, and whether it still answers a heartbeat on a new connection.
/// </summary>
/// <remarks>Each kind gets a new server, because a process does not give memory back. This process runs the clients.</remarks>
internal sealed class AttackBenchmark : Benchmark
{
    private const int HeartbeatsMeanwhile = 20;

    // the server closes a head after 15 s and a body after 5 s, so this opens as many connections as it can before that
    private static readonly (string Kind, string Sends, int Seconds, Goal? Goal)[] Kinds =
    [
        ("silent", "", 13, Goal.Most(12)),
        ("upgrade", "GET /ws?user_id=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nX-Never: e", 13, Goal.Most(12)),
        ("request", "GET /status/1 HTTP/1.1\r\nHost: localhost\r\nX-Never: e", 13, Goal.Most(12)),
        (
            "body",
            "POST /heartbeat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{\"user_ids\":[",
            4,
            null),
    ];

    public override string Name => "attack";

    public override string Measures =>
        "the server's memory for a half-open connection, and whether it answers a heartbeat during ten thousand of them";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("clients", "10k", "half-open connections; at most 18,000"),
    ];

    public override int DefaultPairs => 1;

    public override async Task RunAsync(Run run)
    {
        var count = (int)run.Settings.Number("clients");
        foreach (var (kind, sends, seconds, goal) in Kinds)
        {
            var (kilobytes, milliseconds) = (new List<double>(), new List<double>());
            for (var i = 0; i < run.PairCount; i++)
            {
                var (memory, opened, times) = await MeasureAsync(count, Encoding.ASCII.GetBytes(sends), TimeSpan.FromSeconds(seconds));
                kilobytes.Add(memory);
                milliseconds.AddRange(times);
                run.Progress(
                    $"{kind}: {memory:0.0} KB for each of {opened:#,0} connections, {times.Count} of {HeartbeatsMeanwhile} heartbeats "
                        + "answered");
            }

            run.Add($"{kind}: the server's memory for a connection", "KB", kilobytes, goal);
            run.Add("  a heartbeat on a new connection meanwhile", "ms", milliseconds);
        }
    }

    private static async Task<(double Kilobytes, int Opened, List<double> Milliseconds)> MeasureAsync(
        int count, byte[] sends, TimeSpan openWithin)
    {
        using var server = await Server.StartAsync(Server.Aglow, leaseSeconds: 86_400);
        var clients = new List<Socket>();
        // warms up: memory that the server needs for its first calls is not part of a connection's cost
        for (var i = 0; i < 1000; i++)
            Heartbeat(server.Port);
        var before = Cpu.ResidentBytes(server.Process);
        var began = Stopwatch.GetTimestamp();
        while (clients.Count < count && Stopwatch.GetElapsedTime(began) < openWithin)
            clients.Add(await OpenAsync(server.Port, clients.Count, sends));
        // when a later connection is answered, the server has accepted all earlier ones
        var times = new List<double>();
        for (var i = 0; i < HeartbeatsMeanwhile; i++)
            times.Add(Heartbeat(server.Port));
        var memory = (Cpu.ResidentBytes(server.Process) - before) / 1024.0 / clients.Count;
        var closed = clients.Count(static client => client.Poll(0, SelectMode.SelectRead));
        clients.ForEach(static client => client.Dispose());
        return closed == 0
            ? (memory, clients.Count, times)
            : throw new BenchmarkException(
                $"{closed} of {clients.Count} connections ended before they were measured: use fewer --clients.");
    }

    /// <summary>Opens a connection that sends these bytes. The number chooses its address.</summary>
    internal static async Task<Socket> OpenAsync(int port, int number, byte[] sends)
    {
        // 127.0.0.1 to 127.0.0.16, because the number of ports per address is limited
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.Bind(new IPEndPoint(new IPAddress([127, 0, 0, (byte)(1 + (number % 16))]), 0));
        await socket.ConnectAsync(IPAddress.Loopback, port);
        if (sends.Length > 0)
            await socket.SendAsync(sends);
        return socket;
    }

    // the milliseconds of a heartbeat on a new connection
    private static double Heartbeat(int port)
    {
        var began = Stopwatch.GetTimestamp();
        using var connection = new Connection(port);
        var length = connection.Head("POST", "/heartbeat", "application/json", 13);
        "{\"user_id\":1}"u8.CopyTo(connection.Request.AsSpan(connection.BodyAt));
        connection.Send(length);
        connection.ReceiveHttp();
        return Stopwatch.GetElapsedTime(began).TotalMilliseconds;
    }
}
