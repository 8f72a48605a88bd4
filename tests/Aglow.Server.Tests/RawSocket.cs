using System.Buffers.Binary;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace Aglow.Server.Tests;

/// <summary>A WebSocket client on a plain TCP connection, which can also break every rule.</summary>
internal sealed class RawSocket : IAsyncDisposable
{
    public const string SampleKey = "dGhlIHNhbXBsZSBub25jZQ==";

    // generous, because the machine may be busy; no test waits so long for what must not come
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    private readonly TcpClient _tcp;
    private readonly NetworkStream _stream;

    private RawSocket(TcpClient tcp)
    {
        _tcp = tcp;
        _stream = tcp.GetStream();
    }

    public Socket Tcp => _tcp.Client;

    /// <summary>Connects, and sends nothing.</summary>
    public static async Task<RawSocket> ConnectAsync(Uri address, int? receiveBuffer = null)
    {
        var tcp = new TcpClient { NoDelay = true };
        if (receiveBuffer is { } bytes)
            tcp.ReceiveBufferSize = bytes;
        await tcp.ConnectAsync(address.Host, address.Port);
        return new RawSocket(tcp);
    }

    /// <summary>Connects, and sends a handshake.</summary>
    public static async Task<RawSocket> HandshakeAsync(
        Uri address, string target, string more = "", string version = "13", string key = SampleKey)
    {
        var socket = await ConnectAsync(address);
        await socket.WriteAsync(Handshake(target, more, version, key));
        return socket;
    }

    /// <summary>Connects, upgrades as this user, and reads the welcome.</summary>
    public static async Task<RawSocket> OpenAsync(Uri address, string user, int? receiveBuffer = null)
    {
        var socket = await ConnectAsync(address, receiveBuffer);
        await socket.WriteAsync(Handshake($"/ws?user_id={Uri.EscapeDataString(user)}"));
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
        (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("welcome");
        return socket;
    }

    public static string Handshake(string target, string more = "", string version = "13", string key = SampleKey) =>
        $"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: "
            + $"{version}\r\nSec-WebSocket-Key: {key}\r\n{more}\r\n";

    public Task WriteAsync(string text) => WriteAsync(Encoding.UTF8.GetBytes(text));

    public Task WriteAsync(byte[] bytes) => _stream.WriteAsync(bytes).AsTask();

    /// <summary>Sends a message in one masked text frame.</summary>
    public Task SendAsync(string json) => WriteAsync(Frame(0x1, Encoding.UTF8.GetBytes(json)));

    public Task SendAsync(byte opcode, byte[] payload, bool final = true) => WriteAsync(Frame(opcode, payload, final));

    public static byte[] Frame(byte opcode, byte[] payload, bool final = true, bool masked = true, byte reserved = 0)
    {
        var frame = new List<byte> { (byte)((final ? 0x80 : 0) | reserved | opcode) };
        var mask = (byte)(masked ? 0x80 : 0);
        if (payload.Length < 126)
        {
            frame.Add((byte)(mask | payload.Length));
        }
        else if (payload.Length <= ushort.MaxValue)
        {
            frame.Add((byte)(mask | 126));
            frame.AddRange([(byte)(payload.Length >> 8), (byte)payload.Length]);
        }
        else
        {
            var length = new byte[8];
            BinaryPrimitives.WriteInt64BigEndian(length, payload.Length);
            frame.Add((byte)(mask | 127));
            frame.AddRange(length);
        }

        if (!masked)
            return [.. frame, .. payload];
        var key = RandomNumberGenerator.GetBytes(4);
        frame.AddRange(key);
        frame.AddRange(payload.Select((b, i) => (byte)(b ^ key[i % 4])));
        return [.. frame];
    }

    /// <summary>The head of an HTTP answer.</summary>
    public async Task<string> ReadHeadAsync()
    {
        var head = new List<byte>();
        while (head.Count < 4 || !head.TakeLast(4).SequenceEqual("\r\n\r\n"u8.ToArray()))
            head.AddRange(await ReadExactlyAsync(1));
        return Encoding.ASCII.GetString([.. head]);
    }

    /// <summary>The next frame of any kind.</summary>
    public async Task<(byte Opcode, byte[] Payload)> ReadFrameAsync()
    {
        var header = await ReadExactlyAsync(2);
        (header[1] & 0x80).ShouldBe(0, "a server's frames are not masked");
        (header[0] & 0xF0).ShouldBe(0x80, "final, nothing reserved");
        long length = header[1];
        if (length == 126)
            length = BinaryPrimitives.ReadUInt16BigEndian(await ReadExactlyAsync(2));
        else if (length == 127)
            length = BinaryPrimitives.ReadInt64BigEndian(await ReadExactlyAsync(8));
        return ((byte)(header[0] & 0xF), await ReadExactlyAsync((int)length));
    }

    /// <summary>The next message except ticks. It answers pings meanwhile.</summary>
    public async Task<JsonElement> ReadMessageAsync(bool answerPings = true)
    {
        while (true)
        {
            var (opcode, payload) = await ReadFrameAsync();
            if (opcode == 0x9 && answerPings)
                await SendAsync(0xA, payload);
            if (opcode == 0x8)
                throw new InvalidOperationException($"closed with {(payload[0] << 8) | payload[1]}");
            if (opcode != 0x1)
                continue;
            var message = JsonDocument.Parse(payload).RootElement;
            if (message.GetProperty("type").GetString() != "tick")
                return message;
        }
    }

    /// <summary>The next presence message, as "id:status" of each user.</summary>
    public async Task<string> ReadPresenceAsync()
    {
        var message = await ReadMessageAsync();
        message.GetProperty("type").GetString().ShouldBe("presence");
        return string.Join(
            ',',
            message.GetProperty("users").EnumerateArray().Select(
                static u => $"{u.GetProperty("user_id").GetRawText()}:{u.GetProperty("status").GetString()}"));
    }

    /// <summary>The next record of a user, with this status if one is given.</summary>
    public async Task<JsonElement> ReadRecordAsync(string user, string? status = null)
    {
        while (true)
        {
            var message = await ReadMessageAsync();
            if (message.GetProperty("type").GetString() != "presence")
                continue;
            foreach (var record in message.GetProperty("users").EnumerateArray())
            {
                if (record.GetProperty("user_id").ToString() == user
                    && (status is null || record.GetProperty("status").GetString() == status))
                    return record;
            }
        }
    }

    /// <summary>Reads until the server closes; returns the code.</summary>
    public async Task<int> ReadCloseAsync(bool answerPings = false) => (await ReadCloseWithReasonAsync(answerPings)).Code;

    /// <summary>Reads until the server closes; returns the code and the reason.</summary>
    public async Task<(int Code, string Reason)> ReadCloseWithReasonAsync(bool answerPings = false)
    {
        while (true)
        {
            var (opcode, payload) = await ReadFrameAsync();
            if (opcode == 0x9 && answerPings)
                await SendAsync(0xA, payload);
            if (opcode == 0x8)
                return ((payload[0] << 8) | payload[1], new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(payload.AsSpan(2)));
        }
    }

    /// <summary>The JSON body of an answer whose head was already read.</summary>
    public async Task<JsonElement> ReadBodyAsync(string head)
    {
        const string Length = "Content-Length: ";
        var from = head.IndexOf(Length, StringComparison.Ordinal) + Length.Length;
        var length = int.Parse(head.AsSpan(from, head.IndexOf('\r', from) - from), System.Globalization.CultureInfo.InvariantCulture);
        return JsonDocument.Parse(await ReadExactlyAsync(length)).RootElement;
    }

    /// <summary>Whether the server has ended the connection. It discards data that still arrives.</summary>
    public async Task<bool> IsEndedAsync()
    {
        using var limit = new CancellationTokenSource(Patience);
        var buffer = new byte[4096];
        try
        {
            while (await _stream.ReadAsync(buffer, limit.Token) > 0)
            {
                // until the end
            }

            return true;
        }
        catch (IOException)
        {
            return true;
        }
    }

    /// <summary>Answers pings until it is stopped, as a browser does.</summary>
    public async Task StayAsync(Action<JsonElement> heard, CancellationToken stop)
    {
        try
        {
            while (!stop.IsCancellationRequested)
            {
                var message = await ReadMessageAsync();
                heard(message);
            }
        }
        catch (Exception e) when (e is IOException or InvalidOperationException or ObjectDisposedException or OperationCanceledException)
        {
            // closed
        }
    }

    /// <summary>Drops the connection without a close.</summary>
    public void Abort()
    {
        _tcp.Client.LingerState = new LingerOption(true, 0);
        _tcp.Close();
    }

    public ValueTask DisposeAsync()
    {
        _tcp.Dispose();
        return default;
    }

    private async Task<byte[]> ReadExactlyAsync(int count)
    {
        using var limit = new CancellationTokenSource(Patience);
        var bytes = new byte[count];
        await _stream.ReadExactlyAsync(bytes, limit.Token);
        return bytes;
    }
}
