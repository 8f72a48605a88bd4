using System.Buffers;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Aglow.Model;

namespace Aglow.Changes.Webhooks;

/// <summary>Changes as a batch of CloudEvents 1.0 in JSON.</summary>
internal static class CloudEvents
{
    /// <summary>The content type of a batch.</summary>
    public const string ContentType = "application/cloudevents-batch+json";

    private const string Source = "urn:aglow:changes";
    private const string TypePrefix = "aglow.presence.";

    // programs read it, and its content type says so, so HTML characters need no escapes
    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>A batch of changes. If changes were lost, an event that says so comes first.</summary>
    public static byte[] Write(IReadOnlyList<PresenceChange> changes, bool isGap, long now) => Write(writer =>
    {
        if (isGap)
            WriteBare(writer, "gap", $"gap-{(changes.Count > 0 ? changes[0].Id : now.ToString(CultureInfo.InvariantCulture))}", now);
        foreach (var change in changes)
            Write(writer, change);
    });

    /// <summary>A batch of one test event without a user.</summary>
    public static byte[] WriteTest(string id, long now) => Write(writer => WriteBare(writer, "test", id, now));

    private static byte[] Write(Action<Utf8JsonWriter> events)
    {
        var buffer = new ArrayBufferWriter<byte>(4096);
        using var writer = new Utf8JsonWriter(buffer, Options);
        writer.WriteStartArray();
        events(writer);
        writer.WriteEndArray();
        writer.Flush();
        return buffer.WrittenSpan.ToArray();
    }

    private static void Write(Utf8JsonWriter writer, PresenceChange change)
    {
        Begin(writer, NameOf(WebhookSettings.KindOf(change)), change.Id, change.At);
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

    private static void WriteBare(Utf8JsonWriter writer, string name, string id, long at)
    {
        Begin(writer, name, id, at);
        writer.WriteEndObject();
    }

    private static void Begin(Utf8JsonWriter writer, string name, string id, long at)
    {
        writer.WriteStartObject();
        writer.WriteString("specversion"u8, "1.0"u8);
        writer.WriteString("id"u8, id);
        writer.WriteString("source"u8, Source);
        writer.WriteString("type"u8, TypePrefix + name);
        writer.WriteString("time"u8,
            DateTimeOffset.FromUnixTimeSeconds(at).UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture));
    }

    private static string NameOf(WebhookEvents kind) => kind switch
    {
        WebhookEvents.Online => "online",
        WebhookEvents.Offline => "offline",
        _ => "status",
    };
}
