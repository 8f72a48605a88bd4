using System.Text;
using Aglow.AspNetCore.Access;
using Microsoft.AspNetCore.Http.Features;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// A valid handshake that came through HTTP: over HTTP/1.1 with its key, over HTTP/2 (RFC 8441) without one, or one that only the host can
/// answer, with messages instead of bytes, as the test host does.
/// </summary>
internal readonly record struct SocketUpgrade(bool IsOverHttp2, bool IsOfHost, byte[] Key)
{
    /// <summary>Reads the handshake of a request.</summary>
    /// <exception cref="ProblemException">It is not a WebSocket handshake of version 13.</exception>
    public static SocketUpgrade Read(HttpContext context)
    {
        var request = context.Request;
        var overHttp2 = context.Features.Get<IHttpExtendedConnectFeature>() is { IsExtendedConnect: true, Protocol: "websocket" };
        // RFC 6455 allows GET only; a HEAD reaches every GET, too
        var isGet = HttpMethods.IsGet(request.Method);
        var isUpgradable = isGet && context.Features.Get<IHttpUpgradeFeature>() is { IsUpgradableRequest: true };
        var isOfHost = isGet && !overHttp2 && !isUpgradable && context.WebSockets.IsWebSocketRequest;
        if (!overHttp2 && !isOfHost && (HttpProtocol.IsHttp10(request.Protocol)
            || !isUpgradable
            || !SocketHandshake.Lists(request.Headers.Upgrade, "websocket")))
        {
            // a client that wants a WebSocket sends these headers, too, so only Upgrade was lost
            if (isGet && (request.Headers.SecWebSocketKey.Count > 0 || request.Headers.SecWebSocketVersion.Count > 0))
            {
                throw new ProblemException(
                    400,
                    "Upgrade lost",
                    "This is a WebSocket handshake without its Upgrade header: a proxy on the way dropped it. "
                        + "Let the proxy use HTTP/1.1 and pass Upgrade and Connection on (deploy/nginx.conf of Aglow shows how).");
            }

            throw new ProblemException(
                400,
                "Not a WebSocket",
                "This path is a WebSocket: connect with ws:// or wss://. For plain HTTP there are /watch (server-sent events) and "
                    + "/status.");
        }

        if (request.Headers.SecWebSocketVersion != "13")
        {
            context.Response.Headers.SecWebSocketVersion = "13";
            throw new ProblemException(
                StatusCodes.Status426UpgradeRequired, "WebSocket version not known", "Send Sec-WebSocket-Version: 13.");
        }

        var key = request.Headers.SecWebSocketKey is [{ } one] ? Encoding.ASCII.GetBytes(one) : [];
        if (!overHttp2 && !SocketHandshake.IsKey(key))
            throw Problems.Malformed("Sec-WebSocket-Key is 16 random bytes in base64.");
        return new SocketUpgrade(overHttp2, isOfHost, key);
    }

    /// <summary>Answers the handshake; the stream then carries frames.</summary>
    public async Task<Stream> AcceptAsync(HttpContext context)
    {
        var headers = context.Response.Headers;
        var protocol = Credentials.Answer(context.Request.Headers.SecWebSocketProtocol);
        if (IsOfHost)
            return new MessageStream(await context.WebSockets.AcceptWebSocketAsync(protocol));
        if (protocol is not null)
            headers.SecWebSocketProtocol = protocol;
        if (IsOverHttp2)
            return await context.Features.GetRequiredFeature<IHttpExtendedConnectFeature>().AcceptAsync();
        headers.Upgrade = "websocket";
        headers.SecWebSocketAccept = SocketHandshake.Accept(Key);
        return await context.Features.GetRequiredFeature<IHttpUpgradeFeature>().UpgradeAsync();
    }
}
