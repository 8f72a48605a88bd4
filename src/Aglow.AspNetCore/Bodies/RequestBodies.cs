using System.Buffers;
using System.IO.Pipelines;
using System.Numerics;
using System.Runtime.InteropServices;
using Aglow.AspNetCore.Access;

namespace Aglow.AspNetCore.Bodies;

internal enum BodyKind
{
    Empty,
    Json,
    Packed,
}

/// <summary>Reads request bodies: JSON as one span, packed numbers as they arrive.</summary>
/// <remarks>
/// Bytes come from the connection's buffers (<see cref="PipeReader"/>) and are copied once, into a borrowed array, because buffers may
/// split JSON anywhere and numbers between bytes. Kestrel ends a body that arrives too slowly (<c>MinRequestBodyDataRate</c>).
/// </remarks>
internal static class RequestBodies
{
    /// <summary>How many packed numbers are handled at a time: three arrays of 64 KiB fit into a core's own cache.</summary>
    public const int ChunkUsers = 16 * 1024;

    /// <summary>The byte order mark that some editors and languages put before UTF-8. It is skipped.</summary>
    public static ReadOnlySpan<byte> Utf8Mark => [0xEF, 0xBB, 0xBF];

    private const int ChunkBytes = ChunkUsers * sizeof(uint);

    // Beyond this size, memory is borrowed as bytes arrive, not as the header announces. Otherwise ten thousand clients that announce the
    // largest body, and send one byte, would take 80 GB.
    private const int MostReservedBytes = 4096;

    /// <summary>
    /// Reads the content type. Refuses with 415 all but JSON and, if <paramref name="packed"/> is true, packed numbers.
    /// </summary>
    public static BodyKind Kind(HttpContext context, bool packed)
    {
        var request = context.Request;
        var type = request.ContentType;
        // a page of another origin can send a form, even an empty one, without asking the server first
        if (IsEmpty(request) && (type is null || IsJson(type) || (packed && IsMediaType(type, Routes.Packed, out _))))
            return BodyKind.Empty;
        if (request.Headers.ContentEncoding.Count > 0 && request.Headers.ContentEncoding is not ["identity"])
            throw Problems.OtherContentType($"{type} as {request.Headers.ContentEncoding}", packed);
        if (IsJson(type))
            return BodyKind.Json;
        if (packed && IsMediaType(type, Routes.Packed, out _))
            return BodyKind.Packed;
        throw Problems.OtherContentType(type, packed);
    }

    /// <summary>Whether a request surely has no body.</summary>
    public static bool IsEmpty(HttpRequest request) =>
        request.ContentLength == 0
        || (request.ContentLength is null
            && request.HttpContext.Features.Get<Microsoft.AspNetCore.Http.Features.IHttpRequestBodyDetectionFeature>()
                is { CanHaveBody: false });

    /// <summary>Refuses a body, except an empty object, for calls that take none.</summary>
    public static async ValueTask RequireNothingAsync(HttpContext context)
    {
        // over HTTP/2, only reading shows whether the body is empty
        var isUnannounced = context.Request is { ContentLength: null, ContentType: null };
        if (!isUnannounced && Kind(context, packed: false) == BodyKind.Empty)
            return;
        using var body = await ReadJsonAsync(context);
        if (isUnannounced && !body.Written.IsEmpty)
            Kind(context, packed: false);
        if (!body.Written.IsEmpty && !body.Written.Span.Trim(" \t\r\n"u8).SequenceEqual("{}"u8))
            throw Problems.Malformed("This call takes no body: send none.");
    }

    /// <summary>Whether a content type is JSON in UTF-8.</summary>
    public static bool IsJson(string? type) =>
        type is Routes.Json
        || (IsMediaType(type, Routes.Json, out var parameters)
            && (!parameters.Contains("charset=", StringComparison.OrdinalIgnoreCase)
                || parameters.Contains("charset=utf-8", StringComparison.OrdinalIgnoreCase)
                || parameters.Contains("charset=\"utf-8\"", StringComparison.OrdinalIgnoreCase)));

    public delegate T Reader<out T>(ReadOnlySpan<byte> json);

    /// <summary>Reads a JSON body that must not be empty.</summary>
    public static async ValueTask<T> ReadAsync<T>(HttpContext context, string example, Reader<T> read)
    {
        if (Kind(context, packed: false) == BodyKind.Empty)
            throw Problems.Malformed($"The body is empty. Send {example}.");
        using var body = await ReadJsonAsync(context);
        return read(body.Written.Span);
    }

    public static async ValueTask<AnswerBuffer> ReadJsonAsync(HttpContext context)
    {
        Admit(context.Request.ContentLength, Limits.JsonBytes);
        ChargeAnnounced(context);
        var reader = context.Request.BodyReader;
        var body = new AnswerBuffer(ReservedBytes(context));
        using var held = Gate.Hold(context);
        try
        {
            while (true)
            {
                var read = await ReadAsync(context);
                try
                {
                    held.Raise(body.Written.Length + read.Buffer.Length);
                    foreach (var segment in read.Buffer)
                        body.Add(segment.Span);
                }
                finally
                {
                    // also after a refusal: the web server then reads the rest, so that the client gets the answer
                    reader.AdvanceTo(read.Buffer.End);
                }

                Admit(body.Written.Length, Limits.JsonBytes);
                if (!read.IsCompleted)
                    continue;
                ChargeRead(context, body.Written.Length);
                if (body.Written.Span.StartsWith(Utf8Mark))
                    body.RemoveFirst(Utf8Mark.Length);
                return body;
            }
        }
        catch
        {
            body.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Reads packed numbers in chunks. The memory passed to <paramref name="handle"/> is valid until that completes. Returns their count.
    /// </summary>
    public static async ValueTask<int> ReadPackedAsync(HttpContext context, Func<ReadOnlyMemory<uint>, ValueTask> handle)
    {
        AdmitPacked(context.Request.ContentLength);
        ChargeAnnounced(context);
        var reader = context.Request.BodyReader;
        var chunk = ArrayPool<uint>.Shared.Rent(ReservedBytes(context) / sizeof(uint));
        try
        {
            long total = 0;
            var filled = 0;
            while (true)
            {
                var read = await ReadAsync(context);
                try
                {
                    var buffer = read.Buffer;
                    total += buffer.Length;
                    Admit(total, Limits.PackedBytes);
                    while (!buffer.IsEmpty)
                    {
                        var taken = Math.Min(buffer.Length, ChunkBytes - filled);
                        Reserve(ref chunk, filled, (int)taken);
                        buffer.Slice(0, taken).CopyTo(MemoryMarshal.AsBytes(chunk.AsSpan())[filled..]);
                        buffer = buffer.Slice(taken);
                        filled += (int)taken;
                        if (filled < ChunkBytes)
                            break;
                        Gate.Of(context)?.Charge(context, Cost.PackedUsers(ChunkUsers));
                        await handle(Taken(chunk, ChunkUsers));
                        filled = 0;
                    }
                }
                finally
                {
                    // also after a refusal, as above
                    reader.AdvanceTo(read.Buffer.End);
                }

                if (!read.IsCompleted)
                    continue;
                AdmitPacked(total);
                if (filled > 0)
                    await handle(Taken(chunk, filled / sizeof(uint)));
                return (int)(total / sizeof(uint));
            }
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(chunk);
        }
    }

    /// <summary>Reads all packed numbers of a body into a borrowed array.</summary>
    public static async ValueTask<PackedUsers> ReadPackedAsync(HttpContext context)
    {
        AdmitPacked(context.Request.ContentLength);
        var users = new PackedUsers(ReservedBytes(context) / sizeof(uint));
        using var held = Gate.Hold(context);
        try
        {
            await ReadPackedAsync(context, chunk =>
            {
                users.Add(chunk.Span);
                held.Raise((long)users.Numbers.Length * sizeof(uint));
                return default;
            });
            return users;
        }
        catch
        {
            users.Dispose();
            throw;
        }
    }

    /// <summary>Gets the part of a body that has already arrived, if any. The caller advances the request's reader.</summary>
    /// <exception cref="ProblemException">The body is broken (400).</exception>
    public static bool TryRead(HttpContext context, out ReadResult read)
    {
        try
        {
            return context.Request.BodyReader.TryRead(out read);
        }
        catch (Exception failure) when (IsBroken(failure))
        {
            throw Problems.Malformed(Problems.BrokenBody);
        }
    }

    // A body with an announced length is charged before it is read; any other body after it has arrived, before it is parsed.
    private static void ChargeAnnounced(HttpContext context) =>
        Gate.Of(context)?.Charge(context, Cost.Bytes(context.Request.ContentLength ?? 0));

    private static void ChargeRead(HttpContext context, long bytes)
    {
        if (context.Request.ContentLength is null)
            Gate.Of(context)?.Charge(context, Cost.Bytes(bytes));
    }

    private static async ValueTask<ReadResult> ReadAsync(HttpContext context)
    {
        try
        {
            return await context.Request.BodyReader.ReadAsync(context.RequestAborted);
        }
        catch (Exception failure) when (IsBroken(failure))
        {
            throw Problems.Malformed(Problems.BrokenBody);
        }
    }

    // Kestrel reports these as its own failures, not as bad requests: a chunk length of 2^63, or a trailer that is not text.
    private static bool IsBroken(Exception failure) =>
        failure is InvalidOperationException or (IOException and not BadHttpRequestException);

    private static void Reserve(ref uint[] chunk, int filled, int more)
    {
        if (filled + more <= chunk.Length * sizeof(uint))
            return;
        var larger = ArrayPool<uint>.Shared.Rent(
            Math.Min(ChunkUsers, Math.Max(chunk.Length * 2, (filled + more + sizeof(uint) - 1) / sizeof(uint))));
        MemoryMarshal.AsBytes(chunk.AsSpan())[..filled].CopyTo(MemoryMarshal.AsBytes(larger.AsSpan()));
        ArrayPool<uint>.Shared.Return(chunk);
        chunk = larger;
    }

    private static int ReservedBytes(HttpContext context) => (int)Math.Clamp(context.Request.ContentLength ?? 0, 256, MostReservedBytes);

    private static bool IsMediaType(string? type, string wanted, out ReadOnlySpan<char> parameters)
    {
        var text = type.AsSpan();
        var end = text.IndexOf(';');
        parameters = end < 0 ? default : text[(end + 1)..];
        return (end < 0 ? text : text[..end]).Trim().Equals(wanted, StringComparison.OrdinalIgnoreCase);
    }

    private static void Admit(long? bytes, int most)
    {
        if (bytes > most)
            throw Problems.BodyTooLarge(most);
    }

    private static void AdmitPacked(long? bytes)
    {
        Admit(bytes, Limits.PackedBytes);
        if (bytes % sizeof(uint) is not (null or 0))
        {
            throw Problems.Malformed(
                $"The packed body has {bytes} bytes, which is not a multiple of 4. Send each user as 4 bytes, least significant first.");
        }
    }

    // Packed users are IDs below 2^31. This turns a larger word into an invalid ID, which is refused and never used as an index.
    private static ReadOnlyMemory<uint> Taken(uint[] chunk, int users)
    {
        if (!BitConverter.IsLittleEndian)
            System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(chunk.AsSpan(0, users), chunk);
        var words = MemoryMarshal.Cast<uint, int>(chunk.AsSpan(0, users));
        var vectors = MemoryMarshal.Cast<int, Vector<int>>(words);
        foreach (ref var some in vectors)
            some |= some >> 31;
        foreach (ref var word in words[(vectors.Length * Vector<int>.Count)..])
            word |= word >> 31;
        return chunk.AsMemory(0, users);
    }
}
