using System.IO.Pipelines;

namespace Aglow.AspNetCore.Http;

/// <summary>Flushes a pipe without waiting, and tells the caller whether there is room for more.</summary>
internal static class PipePush
{
    /// <summary>
    /// Flushes a pipe. False: either it is full until <paramref name="resume"/> is called with <paramref name="state"/>, or its reader has
    /// ended. In the second case the read loop of the connection ends, too.
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
    /// Writes bytes to an answer. Unlike the framework's Write, it asks for at least one byte of room. After the client has disconnected,
    /// Kestrel returns an empty buffer if no size is asked for. Write would then throw, and log a failure.
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
            // the connection was aborted; its read loop or its request ends for the same reason
        }
    }
}
