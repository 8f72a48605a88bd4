using System.IO.Pipelines;

namespace Aglow.AspNetCore.Sockets;

/// <summary>Sends by pushing: flushes a pipe without waiting, and tells the caller whether there is room for more.</summary>
internal static class PipePush
{
    /// <summary>
    /// Flushes a pipe. False: it is full until <paramref name="resume"/> is called with <paramref name="state"/>, or its reader is gone.
    /// The reader of the connection notices the latter.
    /// </summary>
    public static bool Push<T>(this PipeWriter pipe, T state, Action<T> resume)
    {
        var flush = pipe.FlushAsync();
        if (flush.IsCompletedSuccessfully)
            return !flush.Result.IsCompleted;
        _ = ResumeAsync(flush, state, resume);
        return false;
    }

    /// <summary>
    /// Writes bytes to an answer. Unlike the framework's Write it asks for room by size. If the client is gone, the web server gives no
    /// room when no size is asked for. That would throw, and log a failure, each time a client closes its connection at the wrong moment.
    /// </summary>
    public static void Put(this PipeWriter pipe, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var room = pipe.GetSpan(1);
            var some = bytes[..Math.Min(bytes.Length, room.Length)];
            some.CopyTo(room);
            pipe.Advance(some.Length);
            bytes = bytes[some.Length..];
        }
    }

    private static async Task ResumeAsync<T>(ValueTask<FlushResult> flush, T state, Action<T> resume)
    {
        try
        {
            if (!(await flush).IsCompleted)
                resume(state);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or InvalidOperationException)
        {
            // the connection is aborted: its read loop, or its request, ends for the same reason
        }
    }
}
