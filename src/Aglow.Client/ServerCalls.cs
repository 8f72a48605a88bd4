using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Runtime.ExceptionServices;
using System.Runtime.Versioning;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Aglow.Client;

/// <summary>All calls over HTTP, and the handshake of the socket. Every failure is an <see cref="AglowException"/>.</summary>
/// <remarks>Threading: any thread.</remarks>
internal sealed class ServerCalls : IDisposable
{
    private const string ProblemJson = "application/problem+json";

    private readonly AglowClientOptions _options;
    private readonly TokenSource _tokens;
    private readonly HttpClient _http;
    private readonly HttpMessageInvoker _handshakes;
    private readonly Uri[] _addresses;
    private int _used;

    public ServerCalls(AglowClientOptions options, TokenSource tokens)
    {
        _options = options;
        _tokens = tokens;
        _addresses = [options.Address, .. options.OtherAddresses];
        // In a browser, the browser makes the connections. Elsewhere, connections are renewed, because a DNS name may point to another node
        // later.
        _http = options.HttpClient
            ?? (
                OperatingSystem.IsBrowser()
                    ? new HttpClient()
                    : new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(5) }));
        _handshakes = new HttpMessageInvoker(new Handshakes(this));
    }

    public Uri Address => _addresses[Volatile.Read(ref _used)];

    /// <summary>Goes on to the next address, and after the last to the first. Does nothing if this address is no longer in use.</summary>
    public void Leave(Uri address)
    {
        var used = Volatile.Read(ref _used);
        if (_addresses[used] == address)
            Interlocked.CompareExchange(ref _used, (used + 1) % _addresses.Length, used);
    }

    /// <summary>Sends a body and reads the answer: from the address in use, and from the others until one answers.</summary>
    public async Task<TAnswer> SendAsync<TBody, TAnswer>(
        HttpMethod method, string path, TBody body, JsonTypeInfo<TBody> bodyShape, JsonTypeInfo<TAnswer> answerShape,
        CancellationToken cancellationToken)
    {
        var token = await _tokens.GetAsync(cancellationToken);
        for (var left = _addresses.Length; ; left--)
        {
            var address = Address;
            try
            {
                return await SendToAsync(
                    new Uri(address, path), token, method, JsonContent.Create(body, bodyShape), answerShape, cancellationToken);
            }
            catch (AglowException failure) when (left > 1 && failure.MayDifferElsewhere)
            {
                Leave(address);
            }
        }
    }

    private async Task<TAnswer> SendToAsync<TAnswer>(
        Uri address, string? token, HttpMethod method, JsonContent content, JsonTypeInfo<TAnswer> answerShape,
        CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(method, address) { Content = content };
        if (token is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        using var response = await SendAsync(request, HttpCompletionOption.ResponseContentRead, cancellationToken);
        if (!response.IsSuccessStatusCode)
            throw await ReadProblemAsync(response, address, _options.TimeProvider, cancellationToken);
        try
        {
            return await response.Content.ReadFromJsonAsync(answerShape, cancellationToken) ?? throw new JsonException("null");
        }
        catch (JsonException wrong)
        {
            throw new AglowException(
                (int)response.StatusCode,
                "Not understood",
                $"{address} answered something that is not Aglow's. Check the address.",
                inner: wrong);
        }
    }

    /// <summary>Opens a socket at an address with this token, for the user and the device of the options.</summary>
    public async Task<WebSocket> OpenSocketAsync(Uri server, string? token, CancellationToken cancellationToken)
    {
        var device = _options.Device;
        var user = _options.User is { } one ? $"user_id={Uri.EscapeDataString(one.ToString())}&" : "";
        var path = $"ws?{user}device_id={Uri.EscapeDataString(device.Id)}&device_kind={device.KindText}";
        var address = new UriBuilder(new Uri(server, path)) { Scheme = server.Scheme == "https" ? "wss" : "ws" }.Uri;
        if (_options.ConnectSocket is { } connect)
            return await connect(address, token, cancellationToken).AsTask().WaitAsync(cancellationToken);
        var socket = new ClientWebSocket();
        try
        {
            if (OperatingSystem.IsBrowser())
                await ConnectInBrowserAsync(socket, address, token, cancellationToken);
            else
                await ConnectAsync(socket, address, token, cancellationToken);
            return socket;
        }
        catch (Exception failure)
        {
            socket.Dispose();
            if (failure.InnerException is AglowException refusal)
                ExceptionDispatchInfo.Throw(refusal);
            throw;
        }
    }

    [UnsupportedOSPlatform("browser")]
    private Task ConnectAsync(ClientWebSocket socket, Uri address, string? token, CancellationToken cancellationToken)
    {
        // the server pings; this side detects silence by missing ticks
        socket.Options.KeepAliveInterval = TimeSpan.Zero;
        if (token is not null)
            socket.Options.SetRequestHeader("Authorization", $"Bearer {token}");
        return socket.ConnectAsync(address, _handshakes, cancellationToken);
    }

    // A browser cannot set headers, so the token is offered as a subprotocol. The server then sends a page the reason of a refusal on the
    // socket.
    private static Task ConnectInBrowserAsync(ClientWebSocket socket, Uri address, string? token, CancellationToken cancellationToken)
    {
        if (token is not null)
        {
            socket.Options.AddSubProtocol("aglow");
            socket.Options.AddSubProtocol($"aglow.token.{token}");
        }

        return socket.ConnectAsync(address, cancellationToken);
    }

    public void Dispose()
    {
        _handshakes.Dispose();
        if (_options.HttpClient is null)
            _http.Dispose();
    }

    private async Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request, HttpCompletionOption completion, CancellationToken cancellationToken)
    {
        try
        {
            return await _http.SendAsync(request, completion, cancellationToken);
        }
        catch (Exception failure) when (
            failure is HttpRequestException || (failure is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw AglowException.NotConnected(request.RequestUri!, failure);
        }
    }

    /// <summary>The failure, in the server's own words if the server itself answered.</summary>
    internal static async Task<AglowException> ReadProblemAsync(
        HttpResponseMessage response, Uri address, TimeProvider time, CancellationToken cancellationToken)
    {
        var status = (int)response.StatusCode;
        var retryAfter = response.Headers.RetryAfter switch
        {
            { Delta: { } delta } => delta,
            { Date: { } date } => date - time.GetUtcNow() is { Ticks: > 0 } wait ? wait : TimeSpan.Zero,
            _ => (TimeSpan?)null,
        };
        if (response.Content.Headers.ContentType?.MediaType == ProblemJson)
        {
            try
            {
                if (
                    await response.Content.ReadFromJsonAsync(
                        Wire.Default.ProblemDocument, cancellationToken) is { Title: { } title, Detail: { } detail } problem)
                    return new AglowException(status, title, detail, retryAfter) { Type = AglowException.OwnType(problem.Type) };
            }
            catch (JsonException)
            {
                // only the HTTP status is known
            }
        }

        return new AglowException(
            status,
            $"Answered {status}",
            $"{address.GetLeftPart(UriPartial.Path)} answered {status} and does not say why. "
                + "Check that this is an Aglow server's address.",
            retryAfter);
    }

    /// <summary>Sends handshakes with the same HTTP client, and reads the reason of a refusal, which a WebSocket hides.</summary>
    private sealed class Handshakes(ServerCalls calls) : HttpMessageHandler
    {
        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var response = await calls.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            if (response.StatusCode == HttpStatusCode.SwitchingProtocols)
                return response;
            using (response)
                throw await ReadProblemAsync(response, request.RequestUri!, calls._options.TimeProvider, cancellationToken);
        }
    }
}
