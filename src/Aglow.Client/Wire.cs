using System.Text.Json.Serialization;

namespace Aglow.Client;

// The JSON of the protocol: names in snake_case, times in whole seconds (docs/protocol.md). Only this file knows the names.

/// <summary>A presence record on the wire.</summary>
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
    /// <summary>The record for callers. An unknown status word is replaced by the value of <see cref="IsOnline"/>.</summary>
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

/// <summary>Any message of the server on the socket; its type determines which members are present.</summary>
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

/// <summary>A heartbeat or a leave, of one user or many.</summary>
internal sealed record WhoBody(UserId? UserId, IReadOnlyList<UserId>? UserIds, bool? Active, WireDevice? Device = null);

internal sealed record WireDevice(string Id, string Kind)
{
    public static WireDevice Of(ClientDevice device) => new(device.Id, device.KindText);
}

/// <summary>A new token, on the socket.</summary>
internal sealed record TokenMessage(string Type, string Token, long Id);

/// <summary>A status that the application chose: the body of a call, or a message on the socket (then with a type and an ID).</summary>
internal sealed record StatusBody(
    string Status, string? Text, string? Emoji, long? Until, long? ForSeconds, string? Source, int? Priority,
    string? Type = null, long? Id = null)
{
    public static StatusBody Of(string word, StatusDetails? details) => new(
        word, details?.Text, details?.Emoji, details?.Until?.ToUnixTimeSeconds(), (long?)details?.For?.TotalSeconds,
        details?.Source, details?.Priority);
}

internal sealed record HeartbeatDocument(int NextHeartbeatSeconds, int OfflineAfterSeconds);

internal sealed record SuccessDocument(string? Status);

internal sealed record ProblemDocument(string? Type, string? Title, string? Detail);

/// <summary>Source-generated JSON for these types: without reflection, so trimming and ahead-of-time compilation are safe.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ServerMessage))]
[JsonSerializable(typeof(TokenMessage))]
[JsonSerializable(typeof(WhoBody))]
[JsonSerializable(typeof(StatusBody))]
[JsonSerializable(typeof(HeartbeatDocument))]
[JsonSerializable(typeof(SuccessDocument))]
[JsonSerializable(typeof(ProblemDocument))]
[JsonSerializable(typeof(WireRecord[]))]
internal sealed partial class Wire : JsonSerializerContext;
