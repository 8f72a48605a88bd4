using System.Net;
using System.Text.Json;

namespace Aglow.Client;

/// <summary>
/// The server's last refusal of a call or handshake (401, 403), until it accepts one. For the health check: a client that never connects
/// has no other place for it.
/// </summary>
internal sealed class LastRefusal
{
    private volatile string? _why;

    /// <summary>Why the server refused; null if it accepted the last call.</summary>
    public string? Why => _why;

    /// <summary>Watches the answers of the application's client.</summary>
    public DelegatingHandler Handler() => new Watcher(this);

    private sealed class Watcher(LastRefusal last) : DelegatingHandler
    {
        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var response = await base.SendAsync(request, cancellationToken);
            // the server answers its own health to anybody
            if (request.RequestUri?.AbsolutePath.EndsWith(AglowClientHealthCheck.Path, StringComparison.Ordinal) == true)
                return response;
            if (response.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden)
                last._why = await ReadAsync(response, cancellationToken);
            else if (response.IsSuccessStatusCode || response.StatusCode == HttpStatusCode.SwitchingProtocols)
                last._why = null;
            return response;
        }

        // This buffers the content, so the client can read it again.
        private static async Task<string> ReadAsync(HttpResponseMessage response, CancellationToken cancellationToken)
        {
            var answered = $"it answered {(int)response.StatusCode}.";
            if (response.Content.Headers.ContentType?.MediaType != "application/problem+json")
                return answered;
            try
            {
                using var problem = JsonDocument.Parse(await response.Content.ReadAsByteArrayAsync(cancellationToken));
                return $"{problem.RootElement.GetProperty("title").GetString()}: {problem.RootElement.GetProperty("detail").GetString()}";
            }
            catch (Exception unread) when (unread is JsonException or KeyNotFoundException or InvalidOperationException)
            {
                return answered;
            }
        }
    }
}
