using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Runtime.ExceptionServices;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Aglow.Client;

/// <summary>
/// Everything that goes out over HTTP, the socket's handshake included. Whatever is not answered as it should be is an <see cref="AglowException"/>.
/// </summary>
/// <remarks>Threading: any thread.</remarks>
internal sealed class ServerCalls : IDisposable
{
    private const string ProblemJson = "application/problem+json";

    private readonly AglowClientOptions _options;
    private readonly HttpClient _http;
    private readonly HttpMessageInvoker _handshakes;

    public ServerCalls(AglowClientOptions options)
    {
        _options = options;
        // a name may point at another node tomorrow
        _http = options.HttpClient ?? new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(5) });
        _handshakes = new HttpMessageInvoker(new Handshakes(this));
    }

    /// <summary>Sends a body and reads the answer.</summary>
    public async Task<TAnswer> SendAsync<TBody, TAnswer>(
        HttpMethod method, string path, TBody? body, JsonTypeInfo<TBody> bodyShape, JsonTypeInfo<TAnswer> answerShape, CancellationToken cancellationToken)
        where TBody : class
    {
        var address = new Uri(_options.Address, path);
        using var request = new HttpRequestMessage(method, address);
        if (body is not null)
            request.Content = JsonContent.Create(body, bodyShape);
        using var response = await SendAsync(request, HttpCompletionOption.ResponseContentRead, cancellationToken);
        if (!response.IsSuccessStatusCode)
            throw await ReadProblemAsync(response, address, cancellationToken);
        try
        {
            return await response.Content.ReadFromJsonAsync(answerShape, cancellationToken) ?? throw new JsonException("null");
        }
        catch (JsonException wrong)
        {
            throw new AglowException((int)response.StatusCode, "Not understood", $"{address} answered something that is not Aglow's. Check the address.", inner: wrong);
        }
    }

    /// <summary>Opens the socket of these options' user.</summary>
    public async Task<WebSocket> OpenSocketAsync(CancellationToken cancellationToken)
    {
        var user = _options.User is { } one ? $"?user_id={Uri.EscapeDataString(one.ToString())}" : "";
        var address = new UriBuilder(new Uri(_options.Address, $"ws{user}")) { Scheme = _options.Address.Scheme == "https" ? "wss" : "ws" }.Uri;
        if (_options.ConnectSocket is { } connect)
            return await connect(address, cancellationToken);
        var socket = new ClientWebSocket();
        // it is the server that pings, and this side notices silence by its ticks
        socket.Options.KeepAliveInterval = TimeSpan.Zero;
        try
        {
            await socket.ConnectAsync(address, _handshakes, cancellationToken);
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

    public void Dispose()
    {
        _handshakes.Dispose();
        if (_options.HttpClient is null)
            _http.Dispose();
    }

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, HttpCompletionOption completion, CancellationToken cancellationToken)
    {
        if (_options.AccessToken is { } token)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", await token(cancellationToken));
        try
        {
            return await _http.SendAsync(request, completion, cancellationToken);
        }
        catch (Exception failure) when (failure is HttpRequestException || (failure is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw AglowException.NotReached(request.RequestUri!, failure);
        }
    }

    private async Task<AglowException> ReadProblemAsync(HttpResponseMessage response, Uri address, CancellationToken cancellationToken)
    {
        var status = (int)response.StatusCode;
        var retryAfter = response.Headers.RetryAfter switch
        {
            { Delta: { } delta } => delta,
            { Date: { } date } => date - _options.TimeProvider.GetUtcNow() is { Ticks: > 0 } wait ? wait : TimeSpan.Zero,
            _ => (TimeSpan?)null,
        };
        if (response.Content.Headers.ContentType?.MediaType == ProblemJson)
        {
            try
            {
                if (await response.Content.ReadFromJsonAsync(Wire.Default.ProblemDocument, cancellationToken) is { Title: { } title, Detail: { } detail })
                    return new AglowException(status, title, detail, retryAfter);
            }
            catch (JsonException)
            {
                // then the status has to do
            }
        }

        return new AglowException(
            status, $"Answered {status}", $"{address.GetLeftPart(UriPartial.Path)} answered {status} and does not say why. Check that this is an Aglow server's address.", retryAfter);
    }

    /// <summary>Sends handshakes by the same HTTP client, and reads why one was refused, which a WebSocket does not tell.</summary>
    private sealed class Handshakes(ServerCalls calls) : HttpMessageHandler
    {
        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var response = await calls.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            if (response.StatusCode == HttpStatusCode.SwitchingProtocols)
                return response;
            using (response)
                throw await calls.ReadProblemAsync(response, request.RequestUri!, cancellationToken);
        }
    }
}
