using System.Buffers;
using System.Net;
using Microsoft.AspNetCore.Connections;

namespace Aglow.AspNetCore;

/// <summary>
/// Takes WebSocket upgrades at the start of a connection, before the web server makes its objects for it, and passes everything else on untouched.
/// </summary>
/// <remarks>
/// On the web server's own endpoint: same port, and inside TLS where it is added after that. A socket taken here costs about 6 KB (aglow bench sockets), without the objects of
/// one that came through HTTP. Only flawless handshakes are taken (<see cref="RawUpgrade"/>); refusals are the mapped endpoint's to say.
/// Threading: one loop a connection.
/// </remarks>
internal sealed class SocketMiddleware(ConnectionDelegate next, Func<SocketHost?> host, RateLimits rates)
{
    // as long as the web server waits for the head of a request
    private static readonly TimeSpan HeadTimeout = TimeSpan.FromSeconds(30);

    public async Task OnConnectionAsync(ConnectionContext connection)
    {
        if (host() is { } sockets && await TakeAsync(connection, sockets) is { } taken)
            await sockets.RunAsync(connection.Transport.Input, taken.Output, taken.Who, taken.User, taken.Caller);
        else
            await next(connection);
    }

    // The user of a socket, its handshake answered; null: nothing was consumed.
    private async ValueTask<(SocketOutput Output, UserId Who, uint User, Caller? Caller)?> TakeAsync(ConnectionContext connection, SocketHost host)
    {
        var input = connection.Transport.Input;
        // also for who sends nothing at all
        using var patience = new CancellationTokenSource(HeadTimeout, host.Presence.Clock.Time);
        long examined = 0;
        try
        {
            while (true)
            {
                var result = await input.ReadAsync(patience.Token);
                var buffer = result.Buffer;
                var verdict = RawUpgrade.Read(buffer, out var upgrade);
                if (verdict == RawUpgrade.Verdict.Incomplete && !result.IsCompleted)
                {
                    input.AdvanceTo(buffer.Start, buffer.End);
                    examined = buffer.Length;
                    continue;
                }

                if (verdict == RawUpgrade.Verdict.Upgrade && await ArriveAsync(upgrade!, connection, host) is { } arrived)
                {
                    input.AdvanceTo(buffer.GetPosition(upgrade!.Length));
                    var output = SocketOutput.Of(connection);
                    output.Send(SocketHandshake.Answer(upgrade.Key, Credentials.Answer(upgrade.Protocols)));
                    return (output, arrived.Who, arrived.User, arrived.Caller);
                }

                // what was looked at stays looked at; there is more behind it, so the web server's first read is answered at once
                input.AdvanceTo(buffer.Start, buffer.GetPosition(examined));
                return null;
            }
        }
        catch (OperationCanceledException)
        {
            // nothing, or half a request, for too long: the web server's own time-outs end it
            return null;
        }
    }

    private async ValueTask<(UserId Who, uint User, Caller? Caller)?> ArriveAsync(RawUpgrade upgrade, ConnectionContext connection, SocketHost host)
    {
        if (!SocketHandshake.IsAllowed(upgrade.Origin, upgrade.Host, host.AllowedOrigins) || !rates.MayCall((connection.RemoteEndPoint as IPEndPoint)?.Address))
            return null;
        try
        {
            var caller = await CheckAsync(upgrade, host);
            if (caller is null && host.Tokens is not null)
                return null;
            var isNamed = SocketCaller.TryRead(upgrade.Query, out var who);
            if (caller?.User is { } person ? isNamed && who != person : !isNamed || caller?.Scopes.HasFlag(Scopes.Heartbeat) == false)
                return null;
            who = caller?.User ?? who;
            var (user, admission) = await host.ArriveAsync(who);
            return admission == Admission.Accepted ? (who, user, caller) : null;
        }
        catch (Exception e) when (e is StoreUnavailableException or NotSupportedException or ProblemException)
        {
            return null;
        }
    }

    private static async ValueTask<Caller?> CheckAsync(RawUpgrade upgrade, SocketHost host)
    {
        var credential = Credentials.OfHeader(upgrade.Authorization) ?? Credentials.OfQuery(upgrade.Query) ?? Credentials.OfProtocols(upgrade.Protocols);
        return host.Tokens is { } tokens && credential is not null ? await tokens.CheckAsync(credential) : null;
    }
}
