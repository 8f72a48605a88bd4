using System.Text.Json;

namespace Aglow.Swarm;

/// <summary>Reads answers of servers.</summary>
internal static class PresenceMessage
{
    private const uint EpochUnixSeconds = 1_577_836_800;

    /// <summary>A packed status: bit 31 is online, the other bits are the second of last seen.</summary>
    public static Told Word(uint word)
    {
        var (isOnline, second) = (word >> 31 != 0, word & 0x7FFF_FFFF);
        return new Told(isOnline, isOnline ? "online" : "offline", second == 0 ? null : second + EpochUnixSeconds);
    }

    /// <summary>The number of seconds in a <c>reconnect</c> message.</summary>
    public static double ReconnectAfter(ReadOnlyMemory<byte> message)
    {
        using var json = JsonDocument.Parse(message);
        return json.RootElement.GetProperty("after_ms").GetDouble() / 1000;
    }

    /// <summary>A presence record.</summary>
    public static Told Record(JsonElement record)
    {
        var lastSeen = record.GetProperty("last_seen");
        return new Told(
            record.GetProperty("is_online").GetBoolean(),
            record.GetProperty("status").GetString() ?? "",
            lastSeen.ValueKind == JsonValueKind.Null ? null : lastSeen.GetInt64())
        {
            Text = record.TryGetProperty("text", out var text) ? text.GetString() : null,
            Emoji = record.TryGetProperty("emoji", out var emoji) ? emoji.GetString() : null,
            Until = Second(record, "until"),
            Devices = record.TryGetProperty("devices", out var devices)
                ? [.. devices.EnumerateArray().Select(static d => d.GetString()!)] : null,
            ActiveAt = Second(record, "active_at"),
        };
    }

    /// <summary>A record as the JavaScript client has it; null: it says that nothing is known.</summary>
    public static Told? OfClient(JsonElement record) => record.GetProperty("status").GetString() == "unknown" ? null : Record(record);

    private static long? Second(JsonElement record, string name) =>
        record.TryGetProperty(name, out var second) && second.ValueKind == JsonValueKind.Number ? second.GetInt64() : null;
}
