using System.IO.Pipelines;
using System.Text;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Http;
using Aglow.Heartbeats;
using Aglow.Model;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// <c>GET /ws</c> as an HTTP call: upgrades on a connection that was used before, over HTTP/2 (RFC 8441), over TLS, and every refusal.
/// </summary>
internal static class SocketEndpoint
{
    public static async Task HandleAsync(HttpContext context, SocketHost host, Callers callers)
    {
        var upgrade = context.Features.Get<IHttpUpgradeFeature>();
        var extended = context.Features.Get<IHttpExtendedConnectFeature>();
        var overHttp2 = extended is { IsExtendedConnect: true, Protocol: "websocket" };
        var request = context.Request;
        if (!overHttp2 && (HttpProtocol.IsHttp10(request.Protocol) || upgrade is not { IsUpgradableRequest: true } || !Holds(request.Headers.Upgrade, "websocket")))
            throw new ProblemException(400, "Not a WebSocket", "This path is a WebSocket: connect with ws:// or wss://. For plain HTTP there are /watch (server-sent events) and /status.");
        if (request.Headers.SecWebSocketVersion != "13")
        {
            context.Response.Headers.SecWebSocketVersion = "13";
            throw new ProblemException(StatusCodes.Status426UpgradeRequired, "WebSocket version not known", "Send Sec-WebSocket-Version: 13.");
        }

        var key = request.Headers.SecWebSocketKey is [{ } one] ? Encoding.ASCII.GetBytes(one) : [];
        if (!overHttp2 && !SocketHandshake.IsKey(key))
            throw Problems.Malformed("Sec-WebSocket-Key is 16 random bytes in base64.");
        if (!SocketHandshake.IsAllowed(request.Headers.Origin, request.Host.Value, host.AllowedOrigins))
            throw new ProblemException(403, "Origin not allowed", "A page of this origin may not connect: the operator can allow it with allowed-origins.");
        var (who, user) = await ArriveAsync(context, host, callers);
        if (Credentials.Answer(request.Headers.SecWebSocketProtocol) is { } protocol)
            context.Response.Headers.SecWebSocketProtocol = protocol;
        Stream stream;
        try
        {
            if (!overHttp2)
            {
                context.Response.Headers.Upgrade = "websocket";
                context.Response.Headers.SecWebSocketAccept = SocketHandshake.Accept(key);
            }

            stream = overHttp2 ? await extended!.AcceptAsync() : await upgrade!.UpgradeAsync();
        }
        catch
        {
            host.Sockets.Exit(user);
            throw;
        }

        await using (stream)
        {
            await host.RunAsync(
                PipeReader.Create(stream, new StreamPipeReaderOptions(leaveOpen: true, useZeroByteReads: true)),
                new PipeOutput(PipeWriter.Create(stream, new StreamPipeWriterOptions(leaveOpen: true))),
                who,
                user,
                Callers.Current(context));
        }
    }

    private static async ValueTask<(UserId Who, uint User)> ArriveAsync(HttpContext context, SocketHost host, Callers callers)
    {
        // the caller, or whoever they may speak for
        if (SocketCaller.TryRead(context.Request.QueryString.Value ?? "", out var who))
            await callers.RequireAsync(context, who, Scopes.Heartbeat);
        else
            who = callers.IsOpen ? throw new ProblemException(401, "Who are you?", "Name the user that connects: /ws?user_id=42.") : callers.Require(context);
        var (user, admission) = await host.ArriveAsync(who);
        return admission == Admission.Accepted ? (who, user) : throw Problems.Of(admission, who.ToString(), host.Options);
    }

    private static bool Holds(string? header, string token) =>
        header is not null && header.Split(',').Any(part => string.Equals(part.Trim(), token, StringComparison.OrdinalIgnoreCase));
}
