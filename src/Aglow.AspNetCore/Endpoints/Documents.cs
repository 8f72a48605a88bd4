using System.Text.Json.Serialization;
using Aglow.AspNetCore.Http;
using Aglow.Changes;
using Aglow.Model;
using Aglow.Users;

namespace Aglow.AspNetCore.Endpoints;

// The shapes of all bodies and answers. The OpenAPI description uses all of them, and the serializer those that are not read or written by
// hand. Times are seconds since 1970-01-01 UTC.

/// <summary>A presence record.</summary>
internal sealed record PresenceDocument(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName(JsonNames.IsOnline)] bool IsOnline,
    [property: JsonPropertyName(JsonNames.Status)] string Status,
    [property: JsonPropertyName(JsonNames.LastSeen)] long? LastSeen,
    [property: JsonPropertyName(JsonNames.LastSeenAbout), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    string? LastSeenAbout = null,
    [property: JsonPropertyName(JsonNames.Text), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Text = null,
    [property: JsonPropertyName(JsonNames.Emoji), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Emoji = null,
    [property: JsonPropertyName(JsonNames.Until), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Until = null,
    [property: JsonPropertyName(JsonNames.Devices), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    IReadOnlyList<string>? Devices = null,
    [property: JsonPropertyName(JsonNames.ActiveAt), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? ActiveAt = null);

/// <summary>A presence record, and the status that the person chose: the claim of the source "user".</summary>
internal sealed record StatusDocument(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName(JsonNames.IsOnline)] bool IsOnline,
    [property: JsonPropertyName(JsonNames.Status)] string Status,
    [property: JsonPropertyName(JsonNames.LastSeen)] long? LastSeen,
    [property: JsonPropertyName(JsonNames.Manual)] string Manual,
    [property: JsonPropertyName(JsonNames.Text), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Text = null,
    [property: JsonPropertyName(JsonNames.Emoji), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Emoji = null,
    [property: JsonPropertyName(JsonNames.Until), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Until = null,
    [property: JsonPropertyName(JsonNames.Devices), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    IReadOnlyList<string>? Devices = null,
    [property: JsonPropertyName(JsonNames.ActiveAt), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? ActiveAt = null);

/// <summary>What a user shows of themself.</summary>
internal sealed record VisibilityDocument(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName(JsonNames.Online)] string Online,
    [property: JsonPropertyName(JsonNames.LastSeen)] string LastSeen);

/// <summary>Body that sets what a user shows of themself; a missing member does not change.</summary>
internal sealed record VisibilityBody(
    [property: JsonPropertyName(JsonNames.Online)] string? Online,
    [property: JsonPropertyName(JsonNames.LastSeen)] string? LastSeen);

/// <summary>A profile with the fields of the presence record. Without a profile, its names and times are null.</summary>
internal sealed record UserDocument(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName(JsonNames.UserName)] string? UserName,
    [property: JsonPropertyName(JsonNames.DisplayName)] string? DisplayName,
    [property: JsonPropertyName(JsonNames.CreatedAt)] long? CreatedAt,
    [property: JsonPropertyName(JsonNames.UpdatedAt)] long? UpdatedAt,
    [property: JsonPropertyName(JsonNames.IsOnline)] bool IsOnline,
    [property: JsonPropertyName(JsonNames.Status)] string Status,
    [property: JsonPropertyName(JsonNames.LastSeen)] long? LastSeen,
    [property: JsonPropertyName(JsonNames.LastSeenAbout), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    string? LastSeenAbout,
    [property: JsonPropertyName(JsonNames.Manual), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Manual = null,
    [property: JsonPropertyName(JsonNames.Disabled), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] bool? Disabled = null,
    [property: JsonPropertyName(JsonNames.Text), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Text = null,
    [property: JsonPropertyName(JsonNames.Emoji), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Emoji = null,
    [property: JsonPropertyName(JsonNames.Until), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Until = null,
    [property: JsonPropertyName(JsonNames.Devices), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    IReadOnlyList<string>? Devices = null,
    [property: JsonPropertyName(JsonNames.ActiveAt), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? ActiveAt = null)
{
    public static UserDocument Of(UserJson user, Profile? profile, Presence presence) => new(
        user,
        profile?.UserName,
        profile?.DisplayName,
        profile?.CreatedAt,
        profile?.UpdatedAt,
        presence.IsOnline,
        Words.Of(presence.Status),
        Pulse.ToUnix(presence.LastSeen),
        Words.Of(presence.About),
        Text: presence.Said?.Text,
        Emoji: presence.Said?.Emoji,
        Until: Pulse.ToUnix(presence.Said?.Until ?? 0),
        Devices: Words.Of(presence.Devices),
        ActiveAt: Pulse.ToUnix(presence.ActiveAt));
}

/// <summary>A page of a search.</summary>
internal sealed record UsersDocument(
    [property: JsonPropertyName(JsonNames.Users)] IReadOnlyList<UserDocument> Users,
    [property: JsonPropertyName(JsonNames.Next)] string? Next);

/// <summary>Users by ID.</summary>
internal sealed record UserIdsDocument([property: JsonPropertyName(JsonNames.UserIds)] IReadOnlyList<UserJson> UserIds);

/// <summary>A page of the users who wait for approval.</summary>
internal sealed record WaitingDocument(
    [property: JsonPropertyName(JsonNames.UserIds)] IReadOnlyList<UserJson> UserIds,
    [property: JsonPropertyName(JsonNames.Next)] string? Next);

/// <summary>A page of the users who are online.</summary>
internal sealed record OnlineDocument(
    [property: JsonPropertyName(JsonNames.Users)] IReadOnlyList<UserJson> Users,
    [property: JsonPropertyName(JsonNames.Next)] string? Next);

/// <summary>A change of a user.</summary>
internal sealed record ChangeDocument(
    [property: JsonPropertyName(JsonNames.Id)] string Id,
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName(JsonNames.IsOnline)] bool IsOnline,
    [property: JsonPropertyName(JsonNames.Status)] string Status,
    [property: JsonPropertyName(JsonNames.LastSeen)] long? LastSeen,
    [property: JsonPropertyName(JsonNames.Reason)] string Reason,
    [property: JsonPropertyName(JsonNames.At)] long At)
{
    public static ChangeDocument Of(PresenceChange change) => new(
        change.Id,
        UserJson.Of(change.User),
        change.IsOnline,
        Words.Of(change.Status),
        change.LastSeen,
        ChangeWords.Of(change.Reason),
        change.At);
}

/// <summary>A part of the feed of changes.</summary>
internal sealed record ChangesDocument(
    [property: JsonPropertyName(JsonNames.Changes)] IReadOnlyList<ChangeDocument> Changes,
    [property: JsonPropertyName(JsonNames.Next)] string Next,
    [property: JsonPropertyName(JsonNames.Gap)] bool Gap)
{
    public static ChangesDocument Of(ChangePage page) => new([.. page.Changes.Select(ChangeDocument.Of)], page.Next, page.IsGap);
}

/// <summary>How many users are online.</summary>
internal sealed record OnlineCountDocument(
    [property: JsonPropertyName(JsonNames.Online)] long Online,
    [property: JsonPropertyName(JsonNames.AsOf)] long AsOf);

/// <summary>The definition of "online" that the request named.</summary>
internal sealed record DefinitionDocument(
    [property: JsonPropertyName("name")] string Name,
    [property: JsonPropertyName("pulse_seconds")] uint PulseSeconds,
    [property: JsonPropertyName("activity_seconds")] uint? ActivitySeconds,
    [property: JsonPropertyName("ended_by_leave")] bool EndedByLeave);

/// <summary>Why a user is shown as they are.</summary>
internal sealed record ExplanationDocument(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName(JsonNames.IsOnline)] bool IsOnline,
    [property: JsonPropertyName(JsonNames.Status)] string Status,
    [property: JsonPropertyName(JsonNames.LastSeen)] long? LastSeen,
    [property: JsonPropertyName("reason")] string Reason,
    [property: JsonPropertyName("definition")] DefinitionDocument Definition,
    [property: JsonPropertyName("lease_seconds")] int LeaseSeconds,
    [property: JsonPropertyName("last_heartbeat_at")] long? LastHeartbeatAt,
    [property: JsonPropertyName("last_heartbeat_age_seconds")] long? LastHeartbeatAgeSeconds,
    [property: JsonPropertyName("said_goodbye")] bool SaidGoodbye,
    [property: JsonPropertyName("last_activity_at")] long? LastActivityAt,
    [property: JsonPropertyName(JsonNames.Manual)] string Manual,
    [property: JsonPropertyName(JsonNames.Source)] string? Source,
    [property: JsonPropertyName(JsonNames.Text)] string? Text,
    [property: JsonPropertyName(JsonNames.Emoji)] string? Emoji,
    [property: JsonPropertyName(JsonNames.Until)] long? Until,
    [property: JsonPropertyName("believed_online")] bool? BelievedOnline,
    [property: JsonPropertyName("stall_guard_in_force")] bool StallGuardInForce,
    [property: JsonPropertyName("counted_against")] long CountedAgainst,
    [property: JsonPropertyName("now")] long Now,
    [property: JsonPropertyName("node")] string Node,
    [property: JsonPropertyName("store")] string Store);

/// <summary>The answer of a call that succeeded.</summary>
internal sealed record SuccessDocument([property: JsonPropertyName(JsonNames.Status)] string Status);

/// <summary>The answer to a heartbeat, with the time of the next one.</summary>
internal sealed record HeartbeatDocument(
    [property: JsonPropertyName(JsonNames.Status)] string Status,
    [property: JsonPropertyName(JsonNames.NextHeartbeatSeconds)] int NextHeartbeatSeconds,
    [property: JsonPropertyName(JsonNames.OfflineAfterSeconds)] int OfflineAfterSeconds);

/// <summary>The answer to packed heartbeats, with how many were accepted.</summary>
internal sealed record AcceptedDocument(
    [property: JsonPropertyName(JsonNames.Status)] string Status,
    [property: JsonPropertyName(JsonNames.Accepted)] int Accepted);

/// <summary>A probe's answer.</summary>
internal sealed record HealthDocument([property: JsonPropertyName(JsonNames.Status)] string Status);

/// <summary>An error (RFC 9457).</summary>
internal sealed record ProblemDocument(
    [property: JsonPropertyName(JsonNames.Type)] string Type,
    [property: JsonPropertyName(JsonNames.Status)] int Status,
    [property: JsonPropertyName(JsonNames.Title)] string Title,
    [property: JsonPropertyName(JsonNames.Detail)] string Detail);

/// <summary>Body of a heartbeat or leave: one user, or a list.</summary>
internal sealed record HeartbeatBody(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson? UserId,
    [property: JsonPropertyName(JsonNames.UserIds)] IReadOnlyList<UserJson>? UserIds,
    [property: JsonPropertyName(JsonNames.Active)] bool? Active,
    [property: JsonPropertyName(JsonNames.Device)] DeviceBody? Device);

/// <summary>The device that sends the heartbeat or leave.</summary>
internal sealed record DeviceBody([property: JsonPropertyName("id")] string? Id, [property: JsonPropertyName("kind")] string? Kind);

/// <summary>Body of a late heartbeat.</summary>
internal sealed record StatusUpdateBody(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName(JsonNames.Timestamp)] long Timestamp);

/// <summary>One user of a batch.</summary>
internal sealed record UserIdBody([property: JsonPropertyName(JsonNames.UserId)] UserJson UserId);

/// <summary>Body of a claim.</summary>
internal sealed record StatusBody(
    [property: JsonPropertyName(JsonNames.Status)] string Status,
    [property: JsonPropertyName(JsonNames.Text)] string? Text,
    [property: JsonPropertyName(JsonNames.Emoji)] string? Emoji,
    [property: JsonPropertyName(JsonNames.Until)] long? Until,
    [property: JsonPropertyName(JsonNames.ForSeconds)] long? ForSeconds,
    [property: JsonPropertyName(JsonNames.Source)] string? Source,
    [property: JsonPropertyName(JsonNames.Priority)] int? Priority);

/// <summary>A claim.</summary>
internal sealed record ClaimDocument(
    [property: JsonPropertyName(JsonNames.Source)] string Source,
    [property: JsonPropertyName(JsonNames.Status)] string Status,
    [property: JsonPropertyName(JsonNames.Text), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Text,
    [property: JsonPropertyName(JsonNames.Emoji), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Emoji,
    [property: JsonPropertyName(JsonNames.Until), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Until,
    [property: JsonPropertyName(JsonNames.Priority)] int Priority,
    [property: JsonPropertyName("set_at")] long SetAt,
    [property: JsonPropertyName("is_shown")] bool IsShown);

/// <summary>The claims of a user that have not ended.</summary>
internal sealed record ClaimsDocument(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName("claims")] IReadOnlyList<ClaimDocument> Claims);

/// <summary>How to reach a user, for a push-notification service.</summary>
internal sealed record ReachOfUser(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName(JsonNames.Connected)] bool Connected,
    [property: JsonPropertyName(JsonNames.Devices)] IReadOnlyList<string> Devices,
    [property: JsonPropertyName(JsonNames.Active)] bool Active,
    [property: JsonPropertyName(JsonNames.MayBeDisturbed)] bool MayBeDisturbed,
    [property: JsonPropertyName(JsonNames.LastSeen)] long? LastSeen);

/// <summary>How to reach users, in the order of the request.</summary>
internal sealed record ReachDocument([property: JsonPropertyName(JsonNames.Users)] IReadOnlyList<ReachOfUser> Users);

/// <summary>Body of quiet hours.</summary>
internal sealed record QuietHoursBody(
    [property: JsonPropertyName(JsonNames.Days)] IReadOnlyList<string>? Days,
    [property: JsonPropertyName(JsonNames.From)] string From,
    [property: JsonPropertyName(JsonNames.To)] string To,
    [property: JsonPropertyName(JsonNames.TimeZone)] string TimeZone);

/// <summary>A user's quiet hours, and whether it is quiet now.</summary>
internal sealed record QuietHoursDocument(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName(JsonNames.Days)] IReadOnlyList<string> Days,
    [property: JsonPropertyName(JsonNames.From)] string From,
    [property: JsonPropertyName(JsonNames.To)] string To,
    [property: JsonPropertyName(JsonNames.TimeZone)] string TimeZone,
    [property: JsonPropertyName("is_quiet")] bool IsQuiet,
    [property: JsonPropertyName("changes_at")] long ChangesAt);

/// <summary>Body of a new user.</summary>
internal sealed record NewUserBody(
    [property: JsonPropertyName(JsonNames.UserName)] string UserName,
    [property: JsonPropertyName(JsonNames.DisplayName)] string? DisplayName,
    [property: JsonPropertyName(JsonNames.UserId)] UserJson? UserId);

/// <summary>Body of a profile.</summary>
internal sealed record NamesBody(
    [property: JsonPropertyName(JsonNames.UserName)] string? UserName,
    [property: JsonPropertyName(JsonNames.DisplayName)] string? DisplayName);

/// <summary>One profile of an import.</summary>
internal sealed record ImportedUserBody(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName(JsonNames.UserName)] string UserName,
    [property: JsonPropertyName(JsonNames.DisplayName)] string? DisplayName);

/// <summary>Body of an import.</summary>
internal sealed record ImportBody([property: JsonPropertyName(JsonNames.Users)] IReadOnlyList<ImportedUserBody> Users);

/// <summary>The result of an import.</summary>
internal sealed record ImportedDocument(
    [property: JsonPropertyName(JsonNames.Created)] int Created,
    [property: JsonPropertyName(JsonNames.Replaced)] int Replaced);

/// <summary>Body of an account's access.</summary>
internal sealed record AccessBody([property: JsonPropertyName(JsonNames.Disabled)] bool Disabled);

/// <summary>Whether a user is disabled.</summary>
internal sealed record AccessDocument(
    [property: JsonPropertyName(JsonNames.UserId)] UserJson UserId,
    [property: JsonPropertyName(JsonNames.Disabled)] bool Disabled);

/// <summary>The words of the API for the status of a user.</summary>
internal static class Words
{
    public static string Of(PresenceStatus status) => status switch
    {
        PresenceStatus.Online => "online",
        PresenceStatus.Away => "away",
        PresenceStatus.Busy => "busy",
        _ => "offline",
    };

    public static string? Of(LastSeenAbout about) => about switch
    {
        LastSeenAbout.Recently => "recently",
        LastSeenAbout.ThisWeek => "this week",
        LastSeenAbout.ThisMonth => "this month",
        LastSeenAbout.LongAgo => "long ago",
        _ => null,
    };

    public static IReadOnlyList<string>? Of(DeviceKinds devices) => devices == DeviceKinds.None
        ? null
        : [.. Enum.GetValues<DeviceKind>().Where(kind => devices.HasFlag((DeviceKinds)(1 << (int)kind))).Select(Device.NameOf)];
}

/// <summary>Source-generated JSON of the documents.</summary>
[JsonSerializable(typeof(PresenceDocument))]
[JsonSerializable(typeof(IReadOnlyList<PresenceDocument>))]
[JsonSerializable(typeof(IReadOnlyDictionary<string, PresenceDocument>))]
[JsonSerializable(typeof(StatusDocument))]
[JsonSerializable(typeof(ClaimsDocument))]
[JsonSerializable(typeof(QuietHoursDocument))]
[JsonSerializable(typeof(UserDocument))]
[JsonSerializable(typeof(VisibilityDocument))]
[JsonSerializable(typeof(VisibilityBody))]
[JsonSerializable(typeof(UsersDocument))]
[JsonSerializable(typeof(UserIdsDocument))]
[JsonSerializable(typeof(WaitingDocument))]
[JsonSerializable(typeof(OnlineDocument))]
[JsonSerializable(typeof(OnlineCountDocument))]
[JsonSerializable(typeof(ChangesDocument))]
[JsonSerializable(typeof(ChangeDocument))]
[JsonSerializable(typeof(WebhooksDocument))]
[JsonSerializable(typeof(WebhookDocument))]
[JsonSerializable(typeof(WebhookSecretDocument))]
[JsonSerializable(typeof(DeliveryDocument))]
[JsonSerializable(typeof(DeliveriesDocument))]
[JsonSerializable(typeof(ExplanationDocument))]
[JsonSerializable(typeof(SuccessDocument))]
[JsonSerializable(typeof(HeartbeatDocument))]
[JsonSerializable(typeof(AcceptedDocument))]
[JsonSerializable(typeof(HealthDocument))]
[JsonSerializable(typeof(ProblemDocument))]
[JsonSerializable(typeof(HeartbeatBody))]
[JsonSerializable(typeof(StatusUpdateBody))]
[JsonSerializable(typeof(IReadOnlyList<UserIdBody>))]
[JsonSerializable(typeof(StatusBody))]
[JsonSerializable(typeof(QuietHoursBody))]
[JsonSerializable(typeof(NewUserBody))]
[JsonSerializable(typeof(NamesBody))]
[JsonSerializable(typeof(ImportBody))]
[JsonSerializable(typeof(ImportedDocument))]
[JsonSerializable(typeof(AccessBody))]
[JsonSerializable(typeof(AccessDocument))]
[JsonSerializable(typeof(string))]
[JsonSerializable(typeof(int))]
[JsonSerializable(typeof(byte[]))]
internal sealed partial class Documents : JsonSerializerContext
{
    /// <summary>The serializer as answers use it.</summary>
    public static Documents Sent { get; } = new(new System.Text.Json.JsonSerializerOptions { Encoder = PresenceJson.Encoder });
}
