using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Aglow.AspNetCore.Access;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Aglow.AspNetCore.Bodies;

/// <summary>Sends answers, each with its length.</summary>
internal static class Answers
{
    // the most bytes of one write to the connection, so that an answer of megabytes is not copied as a whole
    private const int Piece = 64 * 1024;

    // The connection of a client that reads a large answer more slowly than this is closed. It may ask for fewer users at a time.
    private static readonly TimeSpan ReadWithin = TimeSpan.FromSeconds(60);

    // the web server's default
    private const double LeastBytesPerSecond = 240;
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(5);

    /// <summary>Sends encoded bytes without waiting: they are sent when the request ends. For small answers.</summary>
    public static Task Ready(HttpContext context, ReadOnlySpan<byte> json)
    {
        var response = context.Response;
        response.ContentType = Routes.Json;
        response.ContentLength = json.Length;
        // Starts the response first: otherwise the web server buffers the body apart and copies it behind the header.
        var started = response.StartAsync();
        if (!started.IsCompletedSuccessfully)
            return StartedAsync(started, response, json.ToArray());
        response.BodyWriter.Put(json);
        return Task.CompletedTask;

        static async Task StartedAsync(Task started, HttpResponse response, byte[] json)
        {
            await started;
            response.BodyWriter.Put(json);
        }
    }

    public static Task JsonAsync(HttpContext context, ReadOnlyMemory<byte> json, int status = StatusCodes.Status200OK) =>
        BytesAsync(context, Routes.Json, json, status);

    public static async Task JsonAsync<T>(
        HttpContext context, T document, JsonTypeInfo<T> type, int status = StatusCodes.Status200OK)
    {
        using var answer = new AnswerBuffer();
        await using (var writer = new Utf8JsonWriter(answer, new JsonWriterOptions { Encoder = PresenceJson.Encoder }))
            JsonSerializer.Serialize(writer, document, type);
        await JsonAsync(context, answer.Written, status);
    }

    /// <summary>Sends bytes; they may be reused when this completes.</summary>
    public static async Task BytesAsync(
        HttpContext context, string contentType, ReadOnlyMemory<byte> bytes, int status = StatusCodes.Status200OK)
    {
        var response = context.Response;
        response.StatusCode = status;
        response.ContentType = contentType;
        response.ContentLength = bytes.Length;
        response.Headers.XContentTypeOptions = "nosniff";
        if (bytes.Length <= Piece)
        {
            // sent when the request ends
            response.BodyWriter.Put(bytes.Span);
            return;
        }

        using var held = Gate.Hold(context);
        held.Raise(bytes.Length);
        // limits how long a slow reader can hold the answer; over HTTP/2 the web server has one rate for all
        if (context.Features.Get<IHttpMinResponseDataRateFeature>() is { } rate)
            rate.MinDataRate = new MinDataRate(Math.Max(LeastBytesPerSecond, bytes.Length / ReadWithin.TotalSeconds), Grace);
        // flushes each piece, because the server does not send what is only written once the response has started
        for (; !bytes.IsEmpty; bytes = bytes[Math.Min(Piece, bytes.Length)..])
            await response.BodyWriter.WriteAsync(bytes[..Math.Min(Piece, bytes.Length)], context.RequestAborted);
    }
}
