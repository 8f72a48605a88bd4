using System.Net.Http.Headers;

namespace Aglow.Changes.Webhooks;

/// <summary>Sends one signed message to a receiver and returns the result. A receiver's behaviour never makes it throw.</summary>
internal sealed class WebhookSender : IDisposable
{
    // a receiver that needs longer should queue the changes and acknowledge them
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    // a change of a name's address is noticed within this time
    private static readonly TimeSpan ConnectionLifetime = TimeSpan.FromMinutes(2);

    private readonly HttpClient _http;
    private readonly TimeProvider _time;

    public WebhookSender(WebhookTargets targets, TimeProvider time)
    {
        _time = time;
        _http = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = targets.ConnectAsync,
            ConnectTimeout = TimeSpan.FromSeconds(5),
            PooledConnectionLifetime = ConnectionLifetime,
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            ActivityHeadersPropagator = null,
            // the body of an answer is not read
            MaxResponseDrainSize = 4096,
            MaxResponseHeadersLength = 16,
        })
        {
            Timeout = System.Threading.Timeout.InfiniteTimeSpan,
        };
        _http.DefaultRequestHeaders.UserAgent.Add(
            new ProductInfoHeaderValue("Aglow", typeof(WebhookSender).Assembly.GetName().Version?.ToString(3)));
    }

    /// <summary>Sends a message, and waits for the head of the answer.</summary>
    public async Task<WebhookResult> SendAsync(
        WebhookSettings webhook, string id, ReadOnlyMemory<byte> body, int changes, CancellationToken stop)
    {
        var (now, began) = (_time.GetUtcNow().ToUnixTimeSeconds(), _time.GetTimestamp());
        using var timeout = new CancellationTokenSource(Patience, _time);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, stop);
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, webhook.Url) { Content = new ReadOnlyMemoryContent(body) };
            request.Content.Headers.ContentType = new MediaTypeHeaderValue(CloudEvents.ContentType, "utf-8");
            request.Headers.Add("webhook-id", id);
            request.Headers.Add("webhook-timestamp", $"{now}");
            request.Headers.Add("webhook-signature", WebhookSignature.Of(webhook.Secrets, id, now, body.Span, now));
            using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, end.Token);
            var status = (int)response.StatusCode;
            var error = response.IsSuccessStatusCode ? null : status is >= 300 and < 400
                ? $"{status}: redirects are not followed" : $"{status}";
            return new WebhookResult(Delivery(status, error), RetryAfter(response, now));
        }
        catch (OperationCanceledException) when (timeout.IsCancellationRequested)
        {
            return new WebhookResult(Delivery(null, $"no answer within {Patience.TotalSeconds:0} s"), null);
        }
        catch (HttpRequestException failure)
        {
            return new WebhookResult(Delivery(null, Short((failure.InnerException ?? failure).Message)), null);
        }

        WebhookDelivery Delivery(int? status, string? error) =>
            new(now, id, changes, status, error, (int)_time.GetElapsedTime(began).TotalMilliseconds);
    }

    public void Dispose() => _http.Dispose();

    private static TimeSpan? RetryAfter(HttpResponseMessage response, long now) => response.Headers.RetryAfter switch
    {
        { Delta: { } delta } => delta,
        { Date: { } date } => TimeSpan.FromSeconds(Math.Max(0, date.ToUnixTimeSeconds() - now)),
        _ => null,
    };

    private static string Short(string text) => text.Length <= 200 ? text : text[..200];
}

/// <summary>The result of sending a message.</summary>
/// <param name="Delivery">The entry for the log.</param>
/// <param name="RetryAfter">The delay that the receiver asks for before a retry.</param>
internal sealed record WebhookResult(WebhookDelivery Delivery, TimeSpan? RetryAfter);
