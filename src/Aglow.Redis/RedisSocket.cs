using System.Net.Security;
using System.Net.Sockets;
using System.Text;

namespace Aglow.Redis;

/// <summary>A server refuses to be used: a wrong password, too old. Trying again changes nothing until somebody changes a setting.</summary>
internal sealed class RedisRefusalException(string message) : Exception(message);

/// <summary>
/// A TCP or TLS connection on which both sides speak RESP3, logged in. Whoever has it reads whole replies and writes bytes; one reader, one writer.
/// </summary>
internal sealed class RedisSocket : IDisposable
{
    private const string ClientName = "aglow";

    private readonly Socket _socket;
    private readonly Stream _stream;
    private byte[] _received = new byte[16 * 1024];
    private int _start;
    private int _end;

    private RedisSocket(Socket socket, Stream stream)
    {
        _socket = socket;
        _stream = stream;
    }

    /// <summary>The server's version: 7.0.15.</summary>
    public Version Version { get; private set; } = new(0, 0);

    /// <summary>Whether the server is part of a cluster.</summary>
    public bool IsCluster { get; private set; }

    /// <summary>Connects and logs in, within the options' time-out.</summary>
    /// <exception cref="RedisRefusalException">The server does not take us.</exception>
    /// <exception cref="IOException">It cannot be reached.</exception>
    public static async Task<RedisSocket> ConnectAsync(RedisEndpoint endpoint, RedisOptions options, TimeProvider time, CancellationToken stop)
    {
        using var limit = new CancellationTokenSource(options.Timeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, stop);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(endpoint.Host, endpoint.Port, either.Token);
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            Stream stream = new NetworkStream(socket, ownsSocket: true);
            if (options.Tls)
            {
                var tls = new SslStream(stream);
                stream = tls;
                await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = endpoint.Host }, either.Token);
            }

            var connected = new RedisSocket(socket, stream);
            await connected.GreetAsync(options, either.Token);
            return connected;
        }
        catch (Exception failure)
        {
            socket.Dispose();
            throw failure switch
            {
                OperationCanceledException when limit.IsCancellationRequested => new IOException($"no answer within {options.Timeout.TotalSeconds:0.#} s", failure),
                System.Security.Authentication.AuthenticationException => new RedisRefusalException($"its TLS certificate is not accepted: {failure.Message}"),
                SocketException => new IOException(failure.Message, failure),
                _ => failure,
            };
        }
    }

    /// <summary>Sends bytes.</summary>
    public ValueTask SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken stop = default) => _stream.WriteAsync(bytes, stop);

    /// <summary>Waits for more; returns after at least one more byte. Then <see cref="TryRead"/> until it has nothing.</summary>
    public async ValueTask ReceiveAsync(CancellationToken stop = default)
    {
        if (_start == _end)
        {
            (_start, _end) = (0, 0);
        }
        else if (_end == _received.Length)
        {
            if (_start == 0)
                Array.Resize(ref _received, _received.Length * 2);
            else
                _received.AsSpan(_start, _end - _start).CopyTo(_received);
            (_start, _end) = (0, _end - _start);
        }

        var count = await _stream.ReadAsync(_received.AsMemory(_end), stop);
        if (count == 0)
            throw new IOException("the server closed the connection");
        _end += count;
    }

    /// <summary>The next reply, if it has come whole; valid until the next <see cref="ReceiveAsync"/>.</summary>
    public bool TryRead(out ReadOnlySpan<byte> frame)
    {
        var length = RespFrame.Measure(_received.AsSpan(_start, _end - _start));
        frame = _received.AsSpan(_start, length);
        _start += length;
        return length > 0;
    }

    /// <summary>Sends one command and waits for its answer; for connections that nobody else uses meanwhile.</summary>
    /// <exception cref="RedisRefusalException">The answer is an error.</exception>
    public async Task<object?> CallAsync(CancellationToken stop, params string[] parts)
    {
        var writer = new RespWriter();
        writer.Command(parts.Length);
        foreach (var part in parts)
            writer.Part(part);
        await SendAsync(writer.Written, stop);
        while (true)
        {
            if (TryAnswer(out var answer))
                return answer;
            await ReceiveAsync(stop);
        }
    }

    /// <summary>Ends the connection: who reads or writes is told at once.</summary>
    public void Dispose()
    {
        _socket.Dispose();
        _stream.Dispose();
    }

    private bool TryAnswer(out object? answer)
    {
        answer = null;
        if (!TryRead(out var frame))
            return false;
        var reader = new RespReader(frame);
        var isError = reader.IsError;
        answer = reader.ReadAny();
        return isError ? throw new RedisRefusalException((string)answer!) : true;
    }

    private async Task GreetAsync(RedisOptions options, CancellationToken stop)
    {
        string[] login = options.Password is { } password ? ["AUTH", options.User ?? "default", password] : [];
        object? hello;
        try
        {
            hello = await CallAsync(stop, ["HELLO", "3", .. login, "SETNAME", ClientName]);
        }
        catch (RedisRefusalException refusal)
        {
            throw new RedisRefusalException(refusal.Message.Split(' ')[0] switch
            {
                "-NOAUTH" or "NOAUTH" => "it wants a password: set --redis-user and --redis-password",
                "-WRONGPASS" or "WRONGPASS" => "it refuses this user and password",
                "-ERR" or "ERR" when refusal.Message.Contains("unknown command", StringComparison.Ordinal) => "it is older than Redis 6: use 7 or newer",
                _ => $"it answers \"{refusal.Message}\"",
            });
        }

        var said = Members(hello);
        Version = Version.TryParse(said.GetValueOrDefault("version") as string, out var version) ? version : new Version(6, 0);
        IsCluster = said.GetValueOrDefault("mode") as string == "cluster";
    }

    /// <summary>A map's members by name.</summary>
    internal static Dictionary<string, object?> Members(object? map)
    {
        var members = new Dictionary<string, object?>(StringComparer.Ordinal);
        if (map is object?[] items)
        {
            for (var i = 0; i + 1 < items.Length; i += 2)
            {
                if (items[i] is string name)
                    members[name] = items[i + 1];
            }
        }

        return members;
    }
}
