using System.Text.Json;

namespace Aglow.Swarm;

/// <summary>Parses presence records and packed words in answers of servers.</summary>
internal static class PresenceMessage
{
    private const uint EpochUnixSeconds = 1_577_836_800;

    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        RespectRequiredConstructorParameters = true,
    };

    /// <summary>A packed status: bit 31 is online, the other bits are the second of last seen.</summary>
    public static ServerRecord Word(uint word)
    {
        var (isOnline, second) = (word >> 31 != 0, word & 0x7FFF_FFFF);
        return new ServerRecord(isOnline, isOnline ? "online" : "offline", second == 0 ? null : second + EpochUnixSeconds);
    }

    /// <summary>A presence record.</summary>
    public static ServerRecord Record(JsonElement record) => record.Deserialize<ServerRecord>(Json);
}
