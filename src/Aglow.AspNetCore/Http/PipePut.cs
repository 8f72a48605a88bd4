using System.IO.Pipelines;

namespace Aglow.AspNetCore.Http;

/// <summary>Writes to the body of an answer.</summary>
internal static class PipePut
{
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
}
