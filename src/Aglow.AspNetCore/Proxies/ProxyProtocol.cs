using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Aglow.AspNetCore.Proxies;

/// <summary>
/// Takes the PROXY header from the start of a trusted proxy's connection, before TLS, and gives the connection its client's address. Other
/// connections pass untouched.
/// </summary>
/// <remarks>
/// A trusted proxy's connection without a header is closed. Otherwise, behind a proxy that sends no header, a client could send its own.
/// Bytes behind the header stay in the pipe. Threading: one loop a connection.
/// </remarks>
internal sealed class ProxyProtocol(ConnectionDelegate next, TrustedProxies proxies, LimitReports limits, TimeProvider time)
{
    public async Task OnConnectionAsync(ConnectionContext connection)
    {
        if (proxies.Holds(connection) && !await TakeHeaderAsync(connection))
        {
            connection.Abort();
            return;
        }

        await next(connection);
    }

    private async Task<bool> TakeHeaderAsync(ConnectionContext connection)
    {
        using var patience = new CancellationTokenSource(Limits.FirstHeadWithin, time);
        // when the server stops, it does not wait for silent connections
        var closing = connection.Features.Get<IConnectionLifetimeNotificationFeature>()?.ConnectionClosedRequested ?? default;
        using var stopping = closing.UnsafeRegister(static patience => ((CancellationTokenSource)patience!).Cancel(), patience);
        try
        {
            while (true)
            {
                var result = await connection.Transport.Input.ReadAsync(patience.Token);
                var header = ProxyHeader.Read(result.Buffer);
                if (header.Kind == ProxyHeaderKind.Unfinished && !result.IsCompleted)
                {
                    connection.Transport.Input.AdvanceTo(result.Buffer.Start, result.Buffer.End);
                    continue;
                }

                var isTaken = header.Kind is ProxyHeaderKind.Own or ProxyHeaderKind.Client;
                connection.Transport.Input.AdvanceTo(result.Buffer.GetPosition(isTaken ? header.Length : 0));
                if (header.Client is { } client)
                    connection.RemoteEndPoint = client;
                if (!isTaken && !result.Buffer.IsEmpty)
                    limits.Report(
                        LimitReports.NoProxyHeader,
                        connection.RemoteEndPoint,
                        "A trusted proxy's connection has no PROXY header. Let the proxy send one (send-proxy-v2), or start without "
                            + "--proxy-protocol.");
                return isTaken;
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // reset, the header did not come in time, or the server stops
            return false;
        }
    }
}
