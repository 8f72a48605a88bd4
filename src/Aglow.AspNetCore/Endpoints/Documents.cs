using System.Text.Json;
using System.Text.Json.Serialization;
using Aglow.Changes;
using Aglow.Users;

namespace Aglow.AspNetCore.Endpoints;

// The shapes of all bodies and answers. The OpenAPI description uses all of them, and the serializer those that are not read or written by
// hand. Times are seconds since 1970-01-01 UTC.

/// <summary>A presence record.</summary>
internal sealed record PresenceDocument(
    UserJson UserId, bool IsOnline, string Status, long? LastSeen,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? LastSeenAbout = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Text = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Emoji = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Until = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] IReadOnlyList<string>? Devices = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? ActiveAt = null);

/// <summary>A presence record, and the status that the person chose: the claim of the source "user".</summary>
internal sealed record StatusDocument(
    UserJson UserId, bool IsOnline, string Status, long? LastSeen, string Manual,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? LastSeenAbout = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Text = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Emoji = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Until = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] IReadOnlyList<string>? Devices = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? ActiveAt = null);

/// <summary>What a user shows of themself.</summary>
internal sealed record VisibilityDocument(UserJson UserId, string Online, string LastSeen);

/// <summary>Body that sets what a user shows of themself; a missing member does not change.</summary>
internal sealed record VisibilityBody(string? Online, string? LastSeen);

/// <summary>A profile with the fields of the presence record. Without a profile, its names and times are null.</summary>
internal sealed record UserDocument(
    UserJson UserId, string? UserName, string? DisplayName, long? CreatedAt, long? UpdatedAt, bool IsOnline, string Status, long? LastSeen,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? LastSeenAbout,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Manual = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] bool? Disabled = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Text = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Emoji = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Until = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] IReadOnlyList<string>? Devices = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? ActiveAt = null)
{
    public static UserDocument Of(UserJson user, Profile? profile, Presence presence) => new(
        user,
        profile?.UserName,
        profile?.DisplayName,
        profile?.CreatedAt,
        profile?.UpdatedAt,
        presence.IsOnline,
        ChangeWords.Of(presence.Status),
        Pulse.ToUnix(presence.LastSeen),
        Words.Of(presence.About),
        Text: presence.Details?.Text,
        Emoji: presence.Details?.Emoji,
        Until: Pulse.ToUnix(presence.Details?.Until ?? 0),
        Devices: Words.Of(presence.Devices),
        ActiveAt: Pulse.ToUnix(presence.ActiveAt));
}

/// <summary>A page of a search.</summary>
internal sealed record UsersDocument(IReadOnlyList<UserDocument> Users, string? Next);

/// <summary>Users by ID.</summary>
internal sealed record UserIdsDocument(IReadOnlyList<UserJson> UserIds);

/// <summary>A page of the users who wait for approval.</summary>
internal sealed record WaitingDocument(IReadOnlyList<UserJson> UserIds, string? Next);

/// <summary>A page of the users who are online.</summary>
internal sealed record OnlineDocument(IReadOnlyList<UserJson> Users, string? Next);

/// <summary>A change of a user.</summary>
internal sealed record ChangeDocument(string Id, UserJson UserId, bool IsOnline, string Status, long? LastSeen, string Reason, long At)
{
    public static ChangeDocument Of(PresenceChange change) => new(
        change.Id,
        UserJson.Of(change.User),
        change.IsOnline,
        ChangeWords.Of(change.Status),
        change.LastSeen,
        ChangeWords.Of(change.Reason),
        change.At);
}

/// <summary>A part of the feed of changes.</summary>
internal sealed record ChangesDocument(IReadOnlyList<ChangeDocument> Changes, string Next, bool Gap)
{
    public static ChangesDocument Of(ChangePage page) => new([.. page.Changes.Select(ChangeDocument.Of)], page.Next, page.IsGap);
}

/// <summary>How many users are online.</summary>
internal sealed record OnlineCountDocument(long Online, long AsOf);

/// <summary>The definition of "online" that the request named.</summary>
internal sealed record DefinitionDocument(string Name, uint PulseSeconds, uint? ActivitySeconds, bool EndedByLeave);

/// <summary>Why a user is shown as they are.</summary>
internal sealed record ExplanationDocument(
    UserJson UserId, bool IsOnline, string Status, long? LastSeen, string Reason, DefinitionDocument Definition, int LeaseSeconds,
    long? LastHeartbeatAt, long? LastHeartbeatAgeSeconds, bool SaidGoodbye, long? LastActivityAt, string Manual, string? Source,
    string? Text, string? Emoji, long? Until, bool? BelievedOnline, bool StallGuardInForce, long CountedAgainst, long Now, string Node,
    string Store);

/// <summary>The answer of a call that succeeded.</summary>
internal sealed record SuccessDocument(string Status);

/// <summary>The answer to a heartbeat, with the time of the next one, and the users of a list who are disabled.</summary>
internal sealed record HeartbeatDocument(
    string Status,
    int NextHeartbeatSeconds,
    int OfflineAfterSeconds,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] IReadOnlyList<UserJson>? Disabled = null);

/// <summary>The answer to packed heartbeats, with how many were accepted.</summary>
internal sealed record AcceptedDocument(string Status, int Accepted);

/// <summary>A probe's answer.</summary>
internal sealed record HealthDocument(string Status);

/// <summary>An error (RFC 9457).</summary>
internal sealed record ProblemDocument(string Type, int Status, string Title, string Detail);

/// <summary>Body of a heartbeat or leave: one user, or a list.</summary>
internal sealed record HeartbeatBody(UserJson? UserId, IReadOnlyList<UserJson>? UserIds, bool? Active, DeviceBody? Device);

/// <summary>The device that sends the heartbeat or leave.</summary>
internal sealed record DeviceBody(string? Id, string? Kind);

/// <summary>Body of a late heartbeat.</summary>
internal sealed record StatusUpdateBody(UserJson UserId, long Timestamp);

/// <summary>One user of a batch.</summary>
internal sealed record UserIdBody(UserJson UserId);

/// <summary>Body of a claim.</summary>
internal sealed record StatusBody(
    string Status, string? Text, string? Emoji, long? Until, long? ForSeconds, string? Source, int? Priority);

/// <summary>A claim.</summary>
internal sealed record ClaimDocument(
    string Source, string Status,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Text,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Emoji,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Until,
    int Priority, long SetAt, bool IsShown);

/// <summary>The claims of a user that have not ended.</summary>
internal sealed record ClaimsDocument(UserJson UserId, IReadOnlyList<ClaimDocument> Claims);

/// <summary>How to reach a user, for a push-notification service.</summary>
internal sealed record ReachOfUser(
    UserJson UserId, bool Connected, IReadOnlyList<string> Devices, bool Active, bool MayBeDisturbed, long? LastSeen);

/// <summary>How to reach users, in the order of the request.</summary>
internal sealed record ReachDocument(IReadOnlyList<ReachOfUser> Users);

/// <summary>Body of quiet hours.</summary>
internal sealed record QuietHoursBody(IReadOnlyList<string>? Days, string From, string To, string TimeZone);

/// <summary>A user's quiet hours, and whether it is quiet now.</summary>
internal sealed record QuietHoursDocument(
    UserJson UserId, IReadOnlyList<string> Days, string From, string To, string TimeZone, bool IsQuiet, long ChangesAt);

/// <summary>Body of a new user.</summary>
internal sealed record NewUserBody(string UserName, string? DisplayName, UserJson? UserId);

/// <summary>Body of a profile.</summary>
internal sealed record NamesBody(string? UserName, string? DisplayName);

/// <summary>One profile of an import.</summary>
internal sealed record ImportedUserBody(UserJson UserId, string UserName, string? DisplayName);

/// <summary>Body of an import.</summary>
internal sealed record ImportBody(IReadOnlyList<ImportedUserBody> Users);

/// <summary>The result of an import.</summary>
internal sealed record ImportedDocument(int Created, int Replaced);

/// <summary>Body of an account's access.</summary>
internal sealed record AccessBody(bool Disabled);

/// <summary>Whether a user is disabled.</summary>
internal sealed record AccessDocument(UserJson UserId, bool Disabled);

/// <summary>The words of the API for what a user shows.</summary>
internal static class Words
{
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

/// <summary>Source-generated JSON of the documents. Names of members are those of the properties in snake case.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(IReadOnlyList<PresenceDocument>))]
[JsonSerializable(typeof(IReadOnlyDictionary<string, PresenceDocument>))]
[JsonSerializable(typeof(StatusDocument))]
[JsonSerializable(typeof(ClaimsDocument))]
[JsonSerializable(typeof(QuietHoursDocument))]
[JsonSerializable(typeof(VisibilityDocument))]
[JsonSerializable(typeof(VisibilityBody))]
[JsonSerializable(typeof(UsersDocument))]
[JsonSerializable(typeof(UserIdsDocument))]
[JsonSerializable(typeof(WaitingDocument))]
[JsonSerializable(typeof(OnlineDocument))]
[JsonSerializable(typeof(OnlineCountDocument))]
[JsonSerializable(typeof(ChangesDocument))]
[JsonSerializable(typeof(WebhooksDocument))]
[JsonSerializable(typeof(WebhookSecretDocument))]
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
[JsonSerializable(typeof(ReachDocument))]
[JsonSerializable(typeof(WebhookBody))]
[JsonSerializable(typeof(RotateBody))]
internal sealed partial class Documents : JsonSerializerContext
{
    /// <summary>The serializer as answers use it.</summary>
    public static Documents Sent { get; } = new(new JsonSerializerOptions
    {
        Encoder = PresenceJson.Encoder,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
    });
}
