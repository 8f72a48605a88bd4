using System.Buffers;
using System.Net;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Http;
using Aglow.AspNetCore.Sockets;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Storage;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Aglow.AspNetCore.Hosting;

/// <summary>
/// Waits for the head of a connection's first request before the web server makes its objects for it, takes WebSocket upgrades, and passes everything else on untouched.
/// </summary>
/// <remarks>
/// On the web server's own endpoint: same port, and inside TLS where it is added after that. A socket taken here costs about 6 KB (aglow bench sockets), without the objects of
/// one that came through HTTP. Only flawless handshakes are taken (<see cref="RawUpgrade"/>); refusals are the mapped endpoint's to say. Behind <see cref="HeadListener"/> a head is
/// whole when it comes here; inside TLS, and without that listener, who never finishes one stays here until it is given up (<see cref="HeadTimeouts"/>): the web server walks over its
/// connections each second, and one that has come to HTTP costs that walk about twice as much.
/// Threading: one loop a connection.
/// </remarks>
internal sealed class SocketMiddleware(ConnectionDelegate next, Func<SocketHost?> host, RateLimits rates, HeadTimeouts timeouts)
{
    public async Task OnConnectionAsync(ConnectionContext connection)
    {
        if (await FirstHeadAsync(connection) is not { } head)
            return;
        if (host() is { } sockets && RawUpgrade.Read(head.Bytes) is { } upgrade && await ArriveAsync(upgrade, connection, sockets) is { } arrived)
        {
            connection.Transport.Input.AdvanceTo(head.Bytes.GetPosition(upgrade.Length));
            var output = SocketOutput.Of(connection);
            output.Send(SocketHandshake.Answer(upgrade.Key, Credentials.Answer(upgrade.Protocols)));
            await sockets.RunAsync(connection.Transport.Input, output, arrived.Who, arrived.User, arrived.Caller);
            return;
        }

        // what was looked at stays looked at; there is more behind it, so the web server's first read is answered at once
        connection.Transport.Input.AdvanceTo(head.Bytes.Start, head.Bytes.GetPosition(head.Examined));
        await next(connection);
    }

    // What was read when the first head was whole, or cannot become whole any more, not given back to the pipe yet, and how much of it was looked at before; null: the connection is over.
    private async ValueTask<(ReadOnlySequence<byte> Bytes, long Examined)?> FirstHeadAsync(ConnectionContext connection)
    {
        var input = connection.Transport.Input;
        using var wait = timeouts.Begin(input);
        using var stopping = CloseWith(connection, wait);
        try
        {
            for (long examined = 0; ;)
            {
                var result = await input.ReadAsync();
                var buffer = result.Buffer;
                var isWhole = !RequestHead.IsUnfinished(buffer) || (result.IsCompleted && !buffer.IsEmpty);
                // who was given up in this very moment is too late: the pipe would cancel somebody else's read
                if (isWhole && wait.TryEnd())
                    return (buffer, examined);
                // nothing at all is no half of a request: it is a connection that is idle, as any between two requests
                if (result.IsCanceled && wait.IsTooLong && buffer.IsEmpty)
                    return (buffer, 0);
                examined = buffer.Length;
                input.AdvanceTo(buffer.Start, buffer.End);
                if (result.IsCompleted)
                    return null;
                if (!result.IsCanceled)
                    continue;
                if (wait.IsTooLong)
                    await connection.Transport.Output.WriteAsync(RequestHead.TooSlow);
                return null;
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // it was reset, or aborted
            return null;
        }
    }

    // a server that stops does not wait for who has not said anything yet
    private static CancellationTokenRegistration CloseWith(ConnectionContext connection, ReadTimeouts.Wait wait) =>
        connection.Features.Get<IConnectionLifetimeNotificationFeature>() is { } lifetime
            ? lifetime.ConnectionClosedRequested.UnsafeRegister(static wait => ((ReadTimeouts.Wait)wait!).Cancel(), wait)
            : default;

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
