using System.Text.Json.Serialization;

namespace Aglow.Changes.Webhooks;

/// <summary>The kinds of changes that a webhook receives.</summary>
[Flags]
public enum WebhookEvents : byte
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>A user comes online.</summary>
    Online = 1,

    /// <summary>A user goes offline, or is deleted.</summary>
    Offline = 2,

    /// <summary>The status of an online user changes.</summary>
    Status = 4,

    /// <summary>All of them.</summary>
    All = Online | Offline | Status,
}

/// <summary>A webhook as it is stored: the target, and which changes it receives.</summary>
internal sealed record WebhookSettings(string Id, string Url, WebhookEvents Events, long CreatedAt)
{
    /// <summary>The order of creation: increases with each webhook.</summary>
    public long Order { get; init; }

    /// <summary>Only users whose ID has this prefix; null: all.</summary>
    public string? UsersPrefix { get; init; }

    /// <summary>The secrets, newest first.</summary>
    public IReadOnlyList<WebhookSecret> Secrets { get; init; } = [];

    /// <summary>Whether nothing is sent until it is resumed.</summary>
    public bool IsPaused { get; init; }

    /// <summary>Why the server paused it automatically; null: a call paused it.</summary>
    public string? PausedFor { get; init; }

    public bool Takes(PresenceChange change)
    {
        var kind = KindOf(change);
        return (Events & kind) != WebhookEvents.None
            && (UsersPrefix is null || change.User.ToString().StartsWith(UsersPrefix, StringComparison.Ordinal));
    }

    /// <summary>The kind of a change. A deletion counts as going offline, even if the user was offline.</summary>
    public static WebhookEvents KindOf(PresenceChange change) =>
        change.Reason == ChangeReason.Deleted ? WebhookEvents.Offline
        : !change.IsTransition ? WebhookEvents.Status
        : change.IsOnline ? WebhookEvents.Online
        : WebhookEvents.Offline;
}

/// <summary>A secret that messages are signed with.</summary>
/// <param name="Secret"><c>whsec_</c> and base64.</param>
/// <param name="Until">Until when it signs, in seconds since 1970-01-01 UTC; null: it is the newest.</param>
internal sealed record WebhookSecret(string Secret, long? Until);

/// <summary>The progress of a webhook.</summary>
internal sealed record WebhookState(string After)
{
    /// <summary>Changes that the receiver acknowledged.</summary>
    public long Delivered { get; init; }

    /// <summary>Requests that failed.</summary>
    public long Failed { get; init; }

    /// <summary>Changes that were skipped after 24 hours.</summary>
    public long Skipped { get; init; }

    /// <summary>How often changes were lost because the feed no longer stored them.</summary>
    public long Gaps { get; init; }

    /// <summary>Whether the receiver has not been notified of a gap yet.</summary>
    public bool OwesGap { get; init; }

    /// <summary>
    /// When the current series of failed requests began, in seconds since 1970-01-01 UTC; null: the last request succeeded.
    /// </summary>
    public long? FailingSince { get; init; }

    /// <summary>
    /// When the oldest change in delivery was recorded, in seconds since 1970-01-01 UTC; 0: none is in delivery.
    /// </summary>
    public long PendingSince { get; init; }

    /// <summary>The newest requests, newest last.</summary>
    public IReadOnlyList<WebhookDelivery> Log { get; init; } = [];
}

/// <summary>One request to a receiver.</summary>
/// <param name="At">When it was sent, in seconds since 1970-01-01 UTC.</param>
/// <param name="MessageId">Its <c>webhook-id</c>.</param>
/// <param name="Changes">The number of changes in it.</param>
/// <param name="Status">The HTTP status; null: there was no answer.</param>
/// <param name="Error">The error; null: the request was acknowledged.</param>
/// <param name="Milliseconds">Its duration.</param>
public sealed record WebhookDelivery(long At, string MessageId, int Changes, int? Status, string? Error, int Milliseconds)
{
    /// <summary>Whether the receiver acknowledged it.</summary>
    public bool IsAcknowledged => Error is null;
}

/// <summary>A webhook as callers see it: without its secrets.</summary>
/// <param name="Id">Its ID.</param>
/// <param name="Url">The target of its requests.</param>
/// <param name="Events">The kinds of changes that it receives.</param>
/// <param name="UsersPrefix">The prefix of the IDs of its users; null: all users.</param>
/// <param name="CreatedAt">When it was added, in seconds since 1970-01-01 UTC.</param>
/// <param name="IsPaused">Whether nothing is sent until it is resumed.</param>
/// <param name="PausedFor">Why the server paused it automatically.</param>
/// <param name="LagSeconds">The age of the oldest change in delivery; 0: none is in delivery.</param>
/// <param name="FailingSince">
/// When the current series of failed requests began, in seconds since 1970-01-01 UTC; null: the last request succeeded.
/// </param>
/// <param name="Delivered">Changes that the receiver acknowledged.</param>
/// <param name="Failed">Requests that failed.</param>
/// <param name="Skipped">Changes that were skipped after 24 hours.</param>
/// <param name="Gaps">How often changes were lost because the feed no longer stored them.</param>
public sealed record Webhook(
    string Id, string Url, WebhookEvents Events, string? UsersPrefix, long CreatedAt, bool IsPaused, string? PausedFor, long LagSeconds,
        long? FailingSince, long Delivered, long Failed, long Skipped, long Gaps);

/// <summary>The documents of webhooks in an <see cref="IConsumerStore"/> as JSON.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault)]
[JsonSerializable(typeof(WebhookSettings))]
[JsonSerializable(typeof(WebhookState))]
internal sealed partial class WebhookJson : JsonSerializerContext;
