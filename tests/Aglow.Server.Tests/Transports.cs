using System.Net.WebSockets;

namespace Aglow.Server.Tests;

/// <summary>The five transports that stay open: three kinds of sockets, and two of event streams.</summary>
public enum Transport
{
    RawSocket,
    SocketOverHttp1,
    SocketOverHttp2,
    StreamOverHttp1,
    StreamOverHttp2,
}

/// <summary>Opens a transport on a server of <see cref="BothVersions"/> with a credential, and waits for its end.</summary>
internal sealed class Open : IAsyncDisposable
{
    private readonly Func<Task> _untilEnd;
    private readonly List<IDisposable> _parts = [];

    private Open(Func<Task> untilEnd, params IDisposable[] parts)
    {
        _untilEnd = untilEnd;
        _parts.AddRange(parts);
    }

    /// <summary>Completes when the server has closed the transport.</summary>
    public Task Ended { get; private set; } = null!;

    /// <summary>Opens a transport, as <paramref name="user"/> if the credential is a key.</summary>
    /// <returns>The open transport and 0, or null and the status of the refusal.</returns>
    public static async Task<(Open? Opened, int Refused)> TryAsync(
        Transport transport, Uri http1, Uri http2, string token, string? user = null)
    {
        var (opened, refused) = transport switch
        {
            Transport.RawSocket or Transport.SocketOverHttp1 =>
                await SocketAsync(http1, token, user, isFirst: transport == Transport.RawSocket),
            Transport.SocketOverHttp2 => await SocketOverHttp2Async(http2, token, user),
            Transport.StreamOverHttp1 => await StreamAsync(http1, HttpVersion.Version11, token),
            _ => await StreamAsync(http2, HttpVersion.Version20, token),
        };
        if (opened is not null)
            opened.Ended = opened._untilEnd();
        return (opened, refused);
    }

    public async ValueTask DisposeAsync()
    {
        _parts.ForEach(static part => part.Dispose());
        await Ended.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private static string Path(string? user) => user is null ? "/ws" : $"/ws?user_id={user}";

    private static async Task<(Open?, int)> SocketAsync(Uri address, string token, string? user, bool isFirst)
    {
        var socket = await RawSocket.ConnectAsync(address);
        if (!isFirst)
        {
            // after a first request the connection belongs to HTTP
            await socket.WriteAsync("GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n");
            await socket.ReadBodyAsync(await socket.ReadHeadAsync());
        }

        await socket.WriteAsync(RawSocket.Handshake(Path(user), $"Authorization: Bearer {token}\r\n"));
        var head = await socket.ReadHeadAsync();
        if (!head.StartsWith("HTTP/1.1 101 ", StringComparison.Ordinal))
        {
            socket.Abort();
            return (null, int.Parse(head.AsSpan(9, 3), System.Globalization.CultureInfo.InvariantCulture));
        }

        return (new Open(() => socket.StayAsync(static _ => { }, CancellationToken.None), socket.Tcp), 0);
    }

    private static async Task<(Open?, int)> SocketOverHttp2Async(Uri address, string token, string? user)
    {
        var invoker = new HttpMessageInvoker(new SocketsHttpHandler());
        var socket = new ClientWebSocket();
        socket.Options.HttpVersion = HttpVersion.Version20;
        socket.Options.HttpVersionPolicy = HttpVersionPolicy.RequestVersionExact;
        socket.Options.CollectHttpResponseDetails = true;
        socket.Options.SetRequestHeader("Authorization", $"Bearer {token}");
        try
        {
            await socket.ConnectAsync(new Uri($"ws://127.0.0.1:{address.Port}{Path(user)}"), invoker, CancellationToken.None);
        }
        catch (WebSocketException)
        {
            return (null, (int)socket.HttpStatusCode);
        }

        return (new Open(ReadAsync, socket, invoker), 0);

        async Task ReadAsync()
        {
            var buffer = new byte[4096];
            try
            {
                while ((await socket.ReceiveAsync(buffer, CancellationToken.None)).MessageType != WebSocketMessageType.Close)
                {
                    // the library answers pings
                }
            }
            catch (Exception e) when (e is WebSocketException or OperationCanceledException or ObjectDisposedException or IOException)
            {
                // ended without a close
            }
        }
    }

    private static async Task<(Open?, int)> StreamAsync(Uri address, Version version, string token)
    {
        var http = new HttpClient(new SocketsHttpHandler { ResponseDrainTimeout = TimeSpan.Zero });
        var answer = await http.SendAsync(
            BothVersions.Request(version, address, "GET", "/watch?users=1", token), HttpCompletionOption.ResponseHeadersRead);
        if (answer.StatusCode != HttpStatusCode.OK)
        {
            http.Dispose();
            return (null, (int)answer.StatusCode);
        }

        return (new Open(ReadAsync, answer, http), 0);

        async Task ReadAsync()
        {
            try
            {
                using var reader = new StreamReader(await answer.Content.ReadAsStreamAsync(), Encoding.UTF8);
                while (await reader.ReadLineAsync() is not null)
                {
                    // until the end
                }
            }
            catch (Exception e) when (e is IOException or HttpRequestException or ObjectDisposedException or OperationCanceledException)
            {
                // ended in the middle
            }
        }
    }
}
