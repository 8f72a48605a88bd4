using System.Buffers;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Aglow.Changes.Webhooks;

/// <summary>Changes as a batch of CloudEvents 1.0 in JSON.</summary>
internal static class CloudEvents
{
    public const string ContentType = "application/cloudevents-batch+json";

    private const string Source = "urn:aglow:changes";
    // the size of most events, so that the buffer need not grow
    private const int EventBytes = 320;

    // programs read it, and its content type says so, so HTML characters need no escapes
    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>A batch of changes. If changes were lost, an event that says so comes first.</summary>
    public static ReadOnlyMemory<byte> Write(IReadOnlyList<PresenceChange> changes, bool isGap, long now) => Write(changes.Count, writer =>
    {
        if (isGap)
        {
            var id = changes.Count > 0 ? changes[0].Id : now.ToString(CultureInfo.InvariantCulture);
            WriteBare(writer, "aglow.presence.gap"u8, $"gap-{id}", now);
        }

        foreach (var change in changes)
            Write(writer, change);
    });

    /// <summary>A batch of one test event without a user.</summary>
    public static ReadOnlyMemory<byte> WriteTest(string id, long now) =>
        Write(1, writer => WriteBare(writer, "aglow.presence.test"u8, id, now));

    private static ReadOnlyMemory<byte> Write(int count, Action<Utf8JsonWriter> events)
    {
        var buffer = new ArrayBufferWriter<byte>((count + 1) * EventBytes);
        using var writer = new Utf8JsonWriter(buffer, Options);
        writer.WriteStartArray();
        events(writer);
        writer.WriteEndArray();
        writer.Flush();
        return buffer.WrittenMemory;
    }

    private static void Write(Utf8JsonWriter writer, PresenceChange change)
    {
        Begin(writer, TypeOf(WebhookSettings.KindOf(change)), change.Id, change.At);
        writer.WriteString("subject"u8, change.User.ToString());
        writer.WriteString("datacontenttype"u8, "application/json"u8);
        writer.WriteStartObject("data"u8);
        if (change.User.Key is { } key)
            writer.WriteString("user_id"u8, key);
        else
            writer.WriteNumber("user_id"u8, change.User.Number);
        writer.WriteBoolean("is_online"u8, change.IsOnline);
        writer.WriteString("status"u8, ChangeWords.Of(change.Status));
        if (change.LastSeen is { } lastSeen)
            writer.WriteNumber("last_seen"u8, lastSeen);
        else
            writer.WriteNull("last_seen"u8);
        writer.WriteString("reason"u8, ChangeWords.Of(change.Reason));
        writer.WriteNumber("at"u8, change.At);
        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    private static void WriteBare(Utf8JsonWriter writer, ReadOnlySpan<byte> type, string id, long at)
    {
        Begin(writer, type, id, at);
        writer.WriteEndObject();
    }

    private static void Begin(Utf8JsonWriter writer, ReadOnlySpan<byte> type, string id, long at)
    {
        writer.WriteStartObject();
        writer.WriteString("specversion"u8, "1.0"u8);
        writer.WriteString("id"u8, id);
        writer.WriteString("source"u8, Source);
        writer.WriteString("type"u8, type);
        writer.WriteString("time"u8, DateTimeOffset.FromUnixTimeSeconds(at).UtcDateTime);
    }

    private static ReadOnlySpan<byte> TypeOf(WebhookEvents kind) => kind switch
    {
        WebhookEvents.Online => "aglow.presence.online"u8,
        WebhookEvents.Offline => "aglow.presence.offline"u8,
        _ => "aglow.presence.status"u8,
    };
}
