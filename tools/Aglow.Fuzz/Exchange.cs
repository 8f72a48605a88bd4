using System.Buffers;
using System.IO.Pipelines;

namespace Aglow.Fuzz;

/// <summary>Sends an input over a new connection, closes this side, and collects the answers.</summary>
internal static class Exchange
{
    /// <summary>If the server has not released a connection after this time, it hangs.</summary>
    public static readonly TimeSpan TimeLimit = TimeSpan.FromSeconds(30);

    private const int MostAnswered = 64 * 1024 * 1024;

    /// <summary>Returns all answers, and whether the server closed the connection before the client did.</summary>
    public static async Task<(byte[] Answer, bool IsWhole)> RunAsync(MemoryTransport network, ReadOnlyMemory<byte> input)
    {
        var connection = network.Connect();
        var receiving = ReceiveAsync(connection);
        await SendAsync(connection.Output, input);
        // some clients disconnect before any answer
        if (Cut.IsGone(input))
            connection.Close();
        try
        {
            return (await receiving.WaitAsync(TimeLimit, TimeProvider.System), !connection.ConnectionClosed.IsCancellationRequested);
        }
        catch (TimeoutException)
        {
            throw new FindingException(
                $"the server hangs: {TimeLimit.TotalSeconds} s after the client has sent all and closed its side, the connection is "
                    + "still open");
        }
    }

    private static async Task SendAsync(PipeWriter output, ReadOnlyMemory<byte> input)
    {
        try
        {
            foreach (var piece in Cut.Pieces(input))
            {
                output.Write(piece.Span);
                if ((await output.FlushAsync()).IsCompleted)
                    break;
                // the reader may read this before the next part arrives
                if (!input.IsEmpty && input.Span[0] != 0)
                    await Task.Yield();
            }
        }
        finally
        {
            await output.CompleteAsync();
        }
    }

    private static async Task<byte[]> ReceiveAsync(MemoryConnection connection)
    {
        var input = connection.Input;
        var received = new ArrayBufferWriter<byte>(1024);
        while (true)
        {
            var result = await input.ReadAsync();
            foreach (var segment in result.Buffer)
                received.Write(segment.Span);
            input.AdvanceTo(result.Buffer.End);
            // an event stream ends when its client disconnects, so the client does that after the first event
            if (received.WrittenSpan.IndexOf("text/event-stream"u8) >= 0 && HasEvent(received.WrittenSpan))
                connection.Close();
            if (received.WrittenCount > MostAnswered)
                throw new FindingException($"more than {MostAnswered} bytes are answered");
            if (result.IsCompleted || result.IsCanceled)
            {
                await input.CompleteAsync();
                return received.WrittenSpan.ToArray();
            }
        }
    }

    // a chunk may end inside one of these words, but not inside both
    private static bool HasEvent(ReadOnlySpan<byte> answer) => answer.IndexOf("event: "u8) >= 0 || answer.IndexOf("data: "u8) >= 0;
}
