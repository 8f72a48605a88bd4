using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;

namespace Aglow.Stores.Tests;

/// <summary>
/// A proxy between nodes and a Redis server on loopback. It replaces answers to TIME with another clock's time, because redis-server does
/// not start under libfaketime.
/// </summary>
internal sealed partial class SteppedRedis : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly int _port;
    private readonly FakeWallClock _clock;
    private readonly Task _accepting;

    public SteppedRedis(int port, FakeWallClock clock)
    {
        _port = port;
        _clock = clock;
        _listener.Start();
        _accepting = Task.Run(AcceptAsync);
    }

    public string Address => $"127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}";

    public async ValueTask DisposeAsync()
    {
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
            while (await from.ReceiveAsync(buffer) is > 0 and var count)
            {
                var bytes = answers ? WithOtherTime(buffer.AsSpan(0, count)) : buffer[..count];
                for (var sent = 0; sent < bytes.Length;)
                    sent += await to.SendAsync(bytes.AsMemory(sent));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // cut
        }

        from.Dispose();
        to.Dispose();
    }

    private byte[] WithOtherTime(ReadOnlySpan<byte> answers) => Encoding.Latin1.GetBytes(TimeAnswer().Replace(
        Encoding.Latin1.GetString(answers),
        time => (long.Parse(time.Value, CultureInfo.InvariantCulture) + (long)_clock.Ahead.TotalSeconds)
            .ToString(CultureInfo.InvariantCulture)));

    // the seconds in an answer to TIME: two strings, of ten digits and of up to six digits
    [GeneratedRegex(@"(?<=\*2\r\n\$10\r\n)\d{10}(?=\r\n\$[1-6]\r\n\d{1,6}\r\n)", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex TimeAnswer();
}
