using System.Buffers;
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
internal sealed class SocketMiddleware(ConnectionDelegate next, Func<SocketHost?> host)
{
    // as long as the web server waits for the head of a request
    private static readonly TimeSpan HeadTimeout = TimeSpan.FromSeconds(30);

    public async Task OnConnectionAsync(ConnectionContext connection)
    {
        if (host() is { } sockets && await TakeAsync(connection, sockets) is { } taken)
            await sockets.RunAsync(connection.Transport.Input, taken.Output, taken.Who, taken.User);
        else
            await next(connection);
    }

    // The user of a socket, its handshake answered; null: nothing was consumed.
    private static async ValueTask<(SocketOutput Output, UserId Who, uint User)?> TakeAsync(ConnectionContext connection, SocketHost host)
    {
        var input = connection.Transport.Input;
        CancellationTokenSource? patience = null;
        long examined = 0;
        try
        {
            while (true)
            {
                var result = await input.ReadAsync(patience?.Token ?? CancellationToken.None);
                var buffer = result.Buffer;
                var verdict = RawUpgrade.Read(buffer, out var upgrade);
                if (verdict == RawUpgrade.Verdict.Incomplete && !result.IsCompleted)
                {
                    input.AdvanceTo(buffer.Start, buffer.End);
                    examined = buffer.Length;
                    patience ??= new CancellationTokenSource(HeadTimeout, host.Presence.Clock.Time);
                    continue;
                }

                if (verdict == RawUpgrade.Verdict.Upgrade && await ArriveAsync(upgrade!, host) is { } arrived)
                {
                    input.AdvanceTo(buffer.GetPosition(upgrade!.Length));
                    var output = SocketOutput.Of(connection);
                    output.Send(SocketHandshake.Answer(upgrade.Key));
                    return (output, arrived.Who, arrived.User);
                }

                // what was looked at stays looked at; there is more behind it, so the web server's first read is answered at once
                input.AdvanceTo(buffer.Start, buffer.GetPosition(examined));
                return null;
            }
        }
        catch (OperationCanceledException)
        {
            // half a request for too long: the web server's own time-out ends it
            return null;
        }
        finally
        {
            patience?.Dispose();
        }
    }

    private static async ValueTask<(UserId Who, uint User)?> ArriveAsync(RawUpgrade upgrade, SocketHost host)
    {
        if (!SocketHandshake.IsAllowed(upgrade.Origin, upgrade.Host, host.AllowedOrigins)
            || !SocketCaller.TryRead(upgrade.Query, out var who))
        {
            return null;
        }

        try
        {
            var (user, admission) = await host.ArriveAsync(who);
            return admission == Admission.Accepted ? (who, user) : null;
        }
        catch (Exception e) when (e is StoreUnavailableException or NotSupportedException)
        {
            return null;
        }
    }
}
