using System.Net;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json.Nodes;

namespace Aglow.Client.Tests.Behaviour;

/// <summary>Collects a client's handshakes and HTTP calls until a step answers them, on a network that a step may take away.</summary>
internal sealed class StepServer : HttpMessageHandler
{
    /// <summary>Handshakes that no step has answered.</summary>
    public Queue<Dialed> Dials { get; } = [];

    /// <summary>Calls that no step has answered.</summary>
    public Queue<Called> Calls { get; } = [];

    /// <summary>All handshakes since a step counted them.</summary>
    public int DialCount;

    /// <summary>All calls since a step counted them.</summary>
    public int CallCount;

    /// <summary><c>back</c>; <c>lost</c>: what is tried fails; <c>silent</c>: what is tried has no answer.</summary>
    public string Network { get; set; } = "back";

    public ValueTask<WebSocket> DialAsync(Uri address, string? token, CancellationToken cancellationToken)
    {
        DialCount++;
        var dial = new Dialed(address, token);
        cancellationToken.Register(() => dial.Answer.TrySetCanceled(cancellationToken));
        if (Network == "lost")
            dial.Answer.SetException(new WebSocketException("The network is unreachable."));
        else if (Network == "back")
            Dials.Enqueue(dial);
        return new ValueTask<WebSocket>(dial.Answer.Task);
    }

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var call = new Called(request, request.Content is null ? "{}" : await request.Content.ReadAsStringAsync(cancellationToken));
        CallCount++;
        if (Network == "lost")
            throw new HttpRequestException("The network is unreachable.");
        if (Network == "back")
            Calls.Enqueue(call);
        // the answer of a step goes on at once, on the step's thread
        await using (cancellationToken.Register(() => call.Answer.TrySetCanceled(cancellationToken)).ConfigureAwait(false))
            return await call.Answer.Task.ConfigureAwait(false);
    }

    /// <summary>An answer with this body, or with a page of HTML.</summary>
    public static HttpResponseMessage Answer(int status, JsonNode? body, string type, int? retryAfter)
    {
        var answer = new HttpResponseMessage((HttpStatusCode)status)
        {
            Content = body is null
                ? new StringContent("<html></html>", Encoding.UTF8, "text/html")
                : new StringContent(body.ToJsonString(), Encoding.UTF8, type),
        };
        if (retryAfter is { } seconds)
            answer.Headers.RetryAfter = new(TimeSpan.FromSeconds(seconds));
        return answer;
    }
}

/// <summary>A handshake, and the answer that a step gives.</summary>
internal sealed record Dialed(Uri Address, string? Token)
{
    public TaskCompletionSource<WebSocket> Answer { get; } = new();
}

/// <summary>An HTTP call, and the answer that a step gives.</summary>
internal sealed record Called(HttpRequestMessage Request, string Body)
{
    public TaskCompletionSource<HttpResponseMessage> Answer { get; } = new();
}
