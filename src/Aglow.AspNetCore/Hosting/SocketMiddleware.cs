using System.Buffers;
using System.Net;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Proxies;
using Aglow.AspNetCore.Sockets;
using Aglow.Storage;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Aglow.AspNetCore.Hosting;

/// <summary>
/// Takes WebSocket upgrades at the start of a connection, before Kestrel creates its HTTP objects. Passes all other connections on
/// unchanged.
/// </summary>
/// <remarks>
/// It runs on Kestrel's own endpoint: on the same port, and inside TLS if it is added after TLS. A socket that is taken here costs about
/// 6 KB (aglow bench sockets), less than half of one that comes through HTTP. It takes only valid handshakes (<see cref="RawUpgrade"/>);
/// the mapped endpoint answers all others. A connection waits here until its first head is complete, because Kestrel's HTTP objects cost
/// 3 KB more (aglow bench attack). After that, Kestrel's limits apply (<c>RequestHeadersTimeout</c>, <c>KeepAliveTimeout</c>).
/// Threading: one loop for each connection.
/// </remarks>
internal sealed class SocketMiddleware(
    ConnectionDelegate next, Func<SocketHost?> host, Gate gate, TrustedProxies proxies, TimeProvider time, bool isFirst)
{
    private static readonly byte[] TooSlow = [.. "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"u8];

    // The handshake runs in a method of its own. So an open socket does not keep the head in memory, which may have a long token.
    public async Task OnConnectionAsync(ConnectionContext connection) => await await BeginAsync(connection);

    // Completes when the connection has begun: a socket, or an HTTP connection. The task that it returns is the rest of it.
    private async ValueTask<Task> BeginAsync(ConnectionContext connection)
    {
        if (await FirstBytesAsync(connection) is not { } first)
            return Task.CompletedTask;
        if (host() is { } sockets
            && RawUpgrade.Read(first.Bytes) is { } upgrade
            && await ArriveAsync(upgrade, connection, sockets) is { } arrived)
        {
            connection.Transport.Input.AdvanceTo(first.Bytes.GetPosition(upgrade.Length));
            var output = SocketOutput.Of(connection, isFirst);
            output.Send(SocketHandshake.Answer(upgrade.Key, Credentials.Answer(upgrade.Protocols)));
            return sockets.RunAsync(connection.Transport.Input, output, arrived);
        }

        // A pipe must not mark fewer bytes as examined than before. If more bytes have arrived, Kestrel's first read completes at once.
        connection.Transport.Input.AdvanceTo(first.Bytes.Start, first.Bytes.GetPosition(first.Examined));
        if (host()?.Tokens is not null)
            connection.Features.Set(new LastCaller());
        return next(connection);
    }

    // Reads the first bytes, without advancing the pipe, and returns how many of them earlier reads examined. Null: the connection is over.
    private async ValueTask<(ReadOnlySequence<byte> Bytes, long Examined)?> FirstBytesAsync(ConnectionContext connection)
    {
        var input = connection.Transport.Input;
        using var patience = new CancellationTokenSource(Limits.FirstHeadWithin, time);
        // When the server stops, it does not wait for silent connections.
        var closing = connection.Features.Get<IConnectionLifetimeNotificationFeature>()?.ConnectionClosedRequested ?? default;
        using var stopping = closing.UnsafeRegister(static patience => ((CancellationTokenSource)patience!).Cancel(), patience);
        long examined = 0;
        try
        {
            while (true)
            {
                var result = await input.ReadAsync(patience.Token);
                var buffer = result.Buffer;
                if (!RawUpgrade.IsUnfinished(buffer) || (result.IsCompleted && !buffer.IsEmpty))
                    return (buffer, examined);
                examined = buffer.Length;
                input.AdvanceTo(buffer.Start, buffer.End);
                if (result.IsCompleted)
                    return null;
            }
        }
        catch (OperationCanceledException) when (patience.IsCancellationRequested)
        {
            // If part of a head arrived, tells the client why the connection closes.
            if (examined > 0 && !closing.IsCancellationRequested)
                await connection.Transport.Output.WriteAsync(TooSlow);
            return null;
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The connection was reset or aborted.
            return null;
        }
    }

    // Null: refused; HTTP then handles the same request and answers with the reason.
    private async ValueTask<Arrival?> ArriveAsync(RawUpgrade upgrade, ConnectionContext connection, SocketHost host)
    {
        var address = proxies.ClientOf(connection, upgrade.ForwardedFor);
        try
        {
            host.Origins.Require(
                upgrade.Origin,
                upgrade.FetchSite,
                upgrade.Host,
                connection.Features.Get<ITlsHandshakeFeature>() is null ? (connection.LocalEndPoint as IPEndPoint)?.Address : null);
            var hello = SocketHello.Read(upgrade.Query);
            var credential = Credentials.OfHeader(upgrade.Authorization) ?? hello.Token ?? Credentials.OfProtocols(upgrade.Protocols);
            var caller = await gate.AdmitAsync(address, credential, SocketEndpoint.Access);
            if (caller?.User is { } person ? hello.User is { } named && named != person : hello.User is null)
                return null;
            return await host.ArriveAsync(caller?.User ?? hello.User!.Value, new Client(caller, address, hello.Device ?? Device.Unnamed()));
        }
        catch (Exception e) when (e is StoreUnavailableException or NotInThisDeploymentException or ProblemException)
        {
            return null;
        }
    }
}
