using System.IO.Pipelines;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Http;
using Aglow.Heartbeats;
using Aglow.Model;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// <c>GET /ws</c> as an HTTP call: upgrades on a connection that was used before, over HTTP/2 (RFC 8441), over TLS, and every refusal.
/// </summary>
internal static class SocketEndpoint
{
    public static async Task HandleAsync(HttpContext context, SocketHost host, Callers callers)
    {
        var upgrade = SocketUpgrade.Read(context);
        if (!IsOriginAllowed(context, host))
            throw new ProblemException(403, "Origin not allowed", "A page of this origin may not connect: the operator can allow it with allowed-origins.");
        var hello = SocketHello.Read(context.Request.QueryString.Value ?? "");
        var who = await WhoAsync(context, hello, callers);
        var (user, admission) = await host.ArriveAsync(who, Callers.Current(context));
        if (admission != Admission.Accepted)
            throw Problems.Of(admission, who.ToString(), host.Options);
        Stream stream;
        try
        {
            stream = await upgrade.AcceptAsync(context);
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
                Callers.Current(context),
                hello.Device);
        }
    }

    /// <summary>Whether this is a flawless handshake of a page whose origin may connect: such a page is told on the socket why it is refused.</summary>
    public static bool IsOfPage(HttpContext context, SocketHost host, out SocketUpgrade upgrade)
    {
        upgrade = default;
        if (context.Request.Headers.Origin.Count == 0 || !IsOriginAllowed(context, host))
            return false;
        try
        {
            upgrade = SocketUpgrade.Read(context);
            return true;
        }
        catch (ProblemException)
        {
            return false;
        }
    }

    private static bool IsOriginAllowed(HttpContext context, SocketHost host) =>
        SocketHandshake.IsAllowed(context.Request.Headers.Origin, context.Request.Host.Value, host.AllowedOrigins);

    // The caller, or whoever they may speak for.
    private static async ValueTask<UserId> WhoAsync(HttpContext context, SocketHello hello, Callers callers)
    {
        if (hello.User is { } who)
            await callers.RequireAsync(context, who, Scopes.Heartbeat);
        else
            who = callers.IsOpen ? throw new ProblemException(401, "Who are you?", "Name the user that connects: /ws?user_id=42.") : callers.Require(context);
        return who;
    }
}
