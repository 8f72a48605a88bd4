using System.CommandLine;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;

namespace Aglow.Server;

/// <summary>A running server that commands call over HTTP, with a key if the server requires one.</summary>
internal sealed class RemoteServer : IDisposable
{
    public const string KeyVariable = "AGLOW_KEY";

    // a long poll takes up to a minute
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(90);

    private readonly HttpClient _http;
    private readonly Uri _address;
    private readonly string _option;

    private RemoteServer(Uri address, string? key, string option)
    {
        _address = address;
        _option = option;
        _http = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false })
        {
            BaseAddress = address,
            Timeout = Timeout
        };
        if (!string.IsNullOrEmpty(key))
            _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
    }

    /// <summary>The options that name the server and the key.</summary>
    public static (Option<string> Url, Option<string> Key) Options() => (
        CommandLine.Text(
            "--server", "URL", "The address of the server; default http://127.0.0.1:8080.", otherwise: "http://127.0.0.1:8080"),
        CommandLine.Text(
            "--key", "KEY", $"The key, if the server requires one. Other users of this machine can see flags, but not {KeyVariable}."));

    /// <summary>The server that the command line names.</summary>
    /// <exception cref="UsageException">The address is not valid.</exception>
    public static RemoteServer Of(ParseResult parsed, (Option<string> Url, Option<string> Key) options)
    {
        var url = parsed.GetValue(options.Url)!;
        if (!Uri.TryCreate(url.TrimEnd('/') + "/", UriKind.Absolute, out var address) || address.Scheme is not ("http" or "https"))
            throw new UsageException($"{options.Url.Name} is \"{url}\": set http://HOST:PORT or https://HOST:PORT");
        var key = parsed.GetValue(options.Key) ?? Environment.GetEnvironmentVariable(KeyVariable);
        if (key?.Any(static c => c is <= ' ' or > '~') == true)
            throw new UsageException(
                $"the key contains a character that no key has, such as a line break: set {options.Key.Name} or {KeyVariable}");
        return new RemoteServer(address, key, options.Url.Name);
    }

    /// <summary>Makes a call and reads its answer; null: the answer is empty.</summary>
    /// <exception cref="UnreachableException">
    /// The server does not answer, or asks to try again later, or it is no Aglow server.
    /// </exception>
    /// <exception cref="UsageException">The server refuses the call.</exception>
    public async Task<T> ReadAsync<T>(
        HttpMethod method, string path, ReadOnlyMemory<byte> json, Func<JsonElement?, T> read, CancellationToken cancel)
    {
        using var answer = await CallAsync(method, path, json, cancel);
        try
        {
            return read(answer?.RootElement);
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException)
        {
            throw new UnreachableException(
                $"{_address} answered {path.Split('?')[0]} as no Aglow server does: name the server with {_option}.", e);
        }
    }

    /// <summary>Makes a call and returns its answer; null if the answer is empty.</summary>
    private async Task<JsonDocument?> CallAsync(HttpMethod method, string path, ReadOnlyMemory<byte> json, CancellationToken cancel)
    {
        try
        {
            using var request = new HttpRequestMessage(method, path);
            if (!json.IsEmpty)
            {
                request.Content = new ReadOnlyMemoryContent(json);
                request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            }

            using var response = await _http.SendAsync(request, cancel);
            var body = await response.Content.ReadAsByteArrayAsync(cancel);
            if (response.IsSuccessStatusCode)
                return body.Length == 0 ? null : JsonDocument.Parse(body);
            var why = response.StatusCode == HttpStatusCode.Unauthorized
                ? $"{_address} requires a key that it knows: set --key or {KeyVariable}"
                : Detail(body)
                    ?? $"{_address} answered {(int)response.StatusCode}, not as an Aglow server does: name the server with {_option}";
            throw (int)response.StatusCode is 429 or 500 or 502 or 503 or 504
                ? new UnreachableException(why) : new UsageException(why.TrimEnd('.'));
        }
        catch (Exception e) when (
            e is HttpRequestException or JsonException || (e is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            var why = e.GetBaseException().Message.TrimEnd('.');
            throw new UnreachableException($"{_address} cannot be reached ({why}): name the server with {_option}.", e);
        }
    }

    public void Dispose() => _http.Dispose();

    private static string? Detail(byte[] body)
    {
        try
        {
            using var problem = JsonDocument.Parse(body);
            return problem.RootElement.ValueKind == JsonValueKind.Object
                && problem.RootElement.TryGetProperty("detail", out var detail)
                && detail.ValueKind == JsonValueKind.String ? detail.GetString() : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>The server could not be reached. The message is one line.</summary>
internal sealed class UnreachableException(string message, Exception? inner = null) : Exception(message, inner);
