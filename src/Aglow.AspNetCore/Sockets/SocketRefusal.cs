using System.Buffers;
using System.IO.Pipelines;
using Aglow.Storage;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// Tells a page why the server refuses its handshake. A browser hides the HTTP answer of a refused handshake from the page. So the server
/// accepts the handshake, and closes with 4000 + the status and a reason.
/// </summary>
/// <remarks>
/// Only for browsers. A refused connection does not count as one of the user's, and ends within a second.
/// </remarks>
internal static class SocketRefusal
{
    private static readonly TimeSpan CloseWithin = TimeSpan.FromSeconds(1);

    /// <summary>The problem of a failure that a page may learn; null for any other failure.</summary>
    public static ProblemException? Of(Exception failure) => failure switch
    {
        ProblemException problem => problem,
        StoreUnavailableException => Problems.StoreAway(),
        NotInThisDeploymentException missing => Problems.NotInThisDeployment(missing.Message),
        _ => null,
    };

    /// <summary>Accepts the upgrade, closes it with the reason, and waits for the page's own close.</summary>
    public static async Task CloseAsync(HttpContext context, SocketUpgrade upgrade, ProblemException problem, TimeProvider time)
    {
        await using var stream = await upgrade.AcceptAsync(context);
        var frame = new ArrayBufferWriter<byte>();
        SocketFrame.Write(
            frame, SocketOpcode.Close, SocketClose.Payload(SocketClose.OfStatus(problem.Status), $"{problem.Title}: {problem.Message}"));
        using var limit = new CancellationTokenSource(CloseWithin, time);
        try
        {
            await stream.WriteAsync(frame.WrittenMemory, limit.Token);
            await stream.FlushAsync(limit.Token);
            await ReadUntilCloseAsync(PipeReader.Create(stream, new StreamPipeReaderOptions(leaveOpen: true)), limit.Token);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // the page disconnected, or did not close in time
        }
    }

    // Reads and drops what the page sent before it received the close frame. Closing with unread bytes would reset the connection, and the
    // page would lose the reason.
    private static async Task ReadUntilCloseAsync(PipeReader input, CancellationToken limit)
    {
        while (true)
        {
            var result = await input.ReadAsync(limit);
            var buffer = result.Buffer;
            SocketFrame? frame;
            do
            {
                if (SocketFrame.Read(ref buffer, out frame) != 0 || frame?.Opcode == SocketOpcode.Close)
                    return;
            }
            while (frame is not null);

            input.AdvanceTo(buffer.Start, buffer.End);
            if (result.IsCompleted)
                return;
        }
    }
}
