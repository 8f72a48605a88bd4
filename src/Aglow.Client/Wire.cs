using System.Text.Json.Serialization;

namespace Aglow.Client;

// What goes over the wire: JSON in snake_case, times in whole seconds (docs/protocol.md). The one owner of its names.

/// <summary>A presence record as it is sent.</summary>
internal sealed record WireRecord(
    UserId UserId,
    bool IsOnline,
    string Status,
    long? LastSeen,
    string? LastSeenAbout = null,
    string? Text = null,
    string? Emoji = null,
    long? Until = null,
    IReadOnlyList<string>? Devices = null,
    long? ActiveAt = null)
{
    /// <summary>As callers have it. A word that this client does not know yet is judged by <see cref="IsOnline"/>.</summary>
    public PresenceRecord ToRecord() => new(
        UserId,
        Status switch
        {
            "online" => PresenceStatus.Online,
            "away" => PresenceStatus.Away,
            "busy" => PresenceStatus.Busy,
            "offline" => PresenceStatus.Offline,
            _ => IsOnline ? PresenceStatus.Online : PresenceStatus.Offline,
        },
        LastSeen is { } seconds ? DateTimeOffset.FromUnixTimeSeconds(seconds) : null)
    {
        LastSeenAbout = LastSeenAbout,
        Text = Text,
        Emoji = Emoji,
        Until = Until is { } end ? DateTimeOffset.FromUnixTimeSeconds(end) : null,
        Devices = KindsOf(Devices),
        ActiveAt = ActiveAt is { } active ? DateTimeOffset.FromUnixTimeSeconds(active) : null,
    };

    private static DeviceKinds KindsOf(IReadOnlyList<string>? names)
    {
        var kinds = DeviceKinds.None;
        foreach (var name in names ?? [])
        {
            kinds |= name switch
            {
                "desktop" => DeviceKinds.Desktop,
                "mobile" => DeviceKinds.Mobile,
                "web" => DeviceKinds.Web,
                "other" => DeviceKinds.Other,
                _ => DeviceKinds.None,
            };
        }

        return kinds;
    }
}

/// <summary>Any message of the server's on the socket; its type says which members are there.</summary>
internal sealed record ServerMessage(
    string? Type,
    long? Id,
    int? TickSeconds,
    IReadOnlyList<WireRecord>? Users,
    string? Definition,
    int? AfterMs,
    long? ExpiresInSeconds,
    int? Status,
    string? Title,
    string? Detail);

/// <summary>A heartbeat or a goodbye: one user or many.</summary>
internal sealed record WhoBody(UserId? UserId, IReadOnlyList<UserId>? UserIds, bool? Active, ClientDevice? Device = null);

/// <summary>A newer token, on the socket.</summary>
internal sealed record TokenMessage(string Type, string Token, long Id);

/// <summary>A status that the application chose: the body of a call, and with a type and an id the message on the socket.</summary>
internal sealed record StatusBody(
    string Status, string? Text, string? Emoji, long? Until, long? ForSeconds, string? Source, int? Priority, string? Type = null, long? Id = null)
{
    public static StatusBody Of(string word, StatusDetails? details) => new(
        word, details?.Text, details?.Emoji, details?.Until?.ToUnixTimeSeconds(), (long?)details?.For?.TotalSeconds, details?.Source, details?.Priority);
}

/// <summary>The answer to a heartbeat.</summary>
internal sealed record HeartbeatDocument(int NextHeartbeatSeconds, int OfflineAfterSeconds);

/// <summary>The answer to a goodbye.</summary>
internal sealed record SuccessDocument(string? Status);

/// <summary>An error (RFC 9457).</summary>
internal sealed record ProblemDocument(string? Type, string? Title, string? Detail);

/// <summary>Source-generated JSON of all of them: no reflection, so trimming and ahead-of-time compiling are safe.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ServerMessage))]
[JsonSerializable(typeof(TokenMessage))]
[JsonSerializable(typeof(WhoBody))]
[JsonSerializable(typeof(StatusBody))]
[JsonSerializable(typeof(HeartbeatDocument))]
[JsonSerializable(typeof(SuccessDocument))]
[JsonSerializable(typeof(ProblemDocument))]
[JsonSerializable(typeof(WireRecord[]))]
internal sealed partial class Wire : JsonSerializerContext;
