using System.IO.Pipelines;
using Aglow.AspNetCore.Access;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// <c>GET /ws</c> as an HTTP call. It handles upgrades on a connection that was used before, over HTTP/2 (RFC 8441) and over TLS, and
/// answers all refusals.
/// </summary>
internal static class SocketEndpoint
{
    public static CallAccess Access { get; } = CallAccess.People(Scopes.Heartbeat);

    public static async Task HandleAsync(HttpContext context, SocketHost host, Callers callers)
    {
        // First the caller: a client whose handshake failed learns the reason from a plain GET with the same query.
        var hello = SocketHello.Read(context.Request.QueryString.Value ?? "");
        var who = await WhoAsync(context, hello, callers);
        Callers.RequireLive(host.Presence.Accounts.Of(await host.Presence.FindAsync(who)), Callers.Current(context));
        var upgrade = SocketUpgrade.Read(context);
        var client = new Client(
            Callers.Current(context), context.Connection.RemoteIpAddress, hello.Device ?? Device.Unnamed(), callers.SessionOf(context));
        var arrival = await host.ArriveAsync(who, client);
        Stream stream;
        try
        {
            stream = await upgrade.AcceptAsync(context);
        }
        catch
        {
            host.Sockets.Exit(arrival.User);
            throw;
        }

        await using (stream)
        {
            await host.RunAsync(
                PipeReader.Create(stream, new StreamPipeReaderOptions(leaveOpen: true, useZeroByteReads: true)),
                new PipeOutput(PipeWriter.Create(stream, new StreamPipeWriterOptions(leaveOpen: true))),
                arrival);
        }
    }

    /// <summary>
    /// Whether this is a valid handshake from a page, which receives the reason of a refusal on the socket.
    /// </summary>
    /// <remarks>
    /// Programs may send an origin, too. So a request with an origin that is not allowed counts as a page only if a browser sent it.
    /// </remarks>
    public static bool IsOfPage(HttpContext context, SocketHost host, out SocketUpgrade upgrade)
    {
        upgrade = default;
        var headers = context.Request.Headers;
        if (headers.Origin.Count == 0
            || !(IsOfBrowser(headers) || host.Origins.IsAllowed(headers.Origin, headers[Origins.FetchSite], headers.Host)))
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

    // the User-Agent of every browser has begun with "Mozilla/" since 1995
    private static bool IsOfBrowser(IHeaderDictionary headers) =>
        headers.ContainsKey("Sec-Fetch-Mode") || headers.UserAgent.ToString().StartsWith("Mozilla/", StringComparison.Ordinal);

    // The user that the query names, if the caller may speak for them, or else the caller.
    private static async ValueTask<UserId> WhoAsync(HttpContext context, SocketHello hello, Callers callers)
    {
        if (hello.User is { } who)
            await callers.RequireAsync(context, who, Scopes.Heartbeat);
        else
            who = callers.IsOpen ? throw new ProblemException(401, "Who are you?", "Name the user that connects: /ws?user_id=42.")
                : Callers.Current(context) is { User: null } ? throw Problems.SocketUserMissing()
                : callers.Require(context);
        return who;
    }
}
