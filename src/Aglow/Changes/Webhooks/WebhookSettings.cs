namespace Aglow.Changes.Webhooks;

/// <summary>What a webhook is told of.</summary>
[Flags]
public enum WebhookEvents : byte
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>A user comes online.</summary>
    Online = 1,

    /// <summary>A user goes offline, or is deleted.</summary>
    Offline = 2,

    /// <summary>An online user has another status.</summary>
    Status = 4,

    /// <summary>All of them.</summary>
    All = Online | Offline | Status,
}

/// <summary>A webhook as it is stored: where changes go, and which.</summary>
internal sealed record WebhookSettings(string Id, string Url, WebhookEvents Events, long CreatedAt)
{
    /// <summary>Which of the webhooks was made first: rises with each.</summary>
    public long Order { get; init; }

    /// <summary>Only users whose ID begins so; null: all.</summary>
    public string? UsersPrefix { get; init; }

    /// <summary>The secrets, the newest first.</summary>
    public IReadOnlyList<WebhookSecret> Secrets { get; init; } = [];

    /// <summary>Whether nothing is sent until it is resumed.</summary>
    public bool IsPaused { get; init; }

    /// <summary>Why the server paused it by itself; null: somebody did.</summary>
    public string? PausedFor { get; init; }

    /// <summary>Whether a change is for this webhook.</summary>
    public bool Takes(PresenceChange change)
    {
        var kind = KindOf(change);
        return (Events & kind) != WebhookEvents.None
            && (UsersPrefix is null || change.User.ToString().StartsWith(UsersPrefix, StringComparison.Ordinal));
    }

    /// <summary>What a change is. A deletion is told as going offline, whatever the user was.</summary>
    public static WebhookEvents KindOf(PresenceChange change) =>
        change.Reason == ChangeReason.Deleted ? WebhookEvents.Offline
        : !change.IsTransition ? WebhookEvents.Status
        : change.IsOnline ? WebhookEvents.Online
        : WebhookEvents.Offline;
}

/// <summary>A secret that messages are signed with.</summary>
/// <param name="Secret"><c>whsec_</c> and base64.</param>
/// <param name="Until">The second until which it still signs, since 1970-01-01 UTC; null: it is the newest.</param>
internal sealed record WebhookSecret(string Secret, long? Until);

/// <summary>How far a webhook is.</summary>
internal sealed record WebhookState(string After)
{
    /// <summary>Changes that the receiver acknowledged.</summary>
    public long Delivered { get; init; }

    /// <summary>Requests that failed.</summary>
    public long Failed { get; init; }

    /// <summary>Changes that were given up after 24 hours.</summary>
    public long Skipped { get; init; }

    /// <summary>Times that changes were lost, since the feed no longer kept them.</summary>
    public long Gaps { get; init; }

    /// <summary>Whether the receiver has yet to be told of a gap.</summary>
    public bool OwesGap { get; init; }

    /// <summary>Since when requests fail, in seconds since 1970-01-01 UTC; null: the last one did not.</summary>
    public long? FailingSince { get; init; }

    /// <summary>When the oldest change was recorded that is being delivered, in seconds since 1970-01-01 UTC; 0: none is.</summary>
    public long PendingSince { get; init; }

    /// <summary>The newest requests, the newest last.</summary>
    public IReadOnlyList<WebhookDelivery> Log { get; init; } = [];
}

/// <summary>One request to a receiver.</summary>
/// <param name="At">When it was sent, in seconds since 1970-01-01 UTC.</param>
/// <param name="MessageId">Its <c>webhook-id</c>.</param>
/// <param name="Changes">Changes in it.</param>
/// <param name="Status">The HTTP status; null where there was no answer.</param>
/// <param name="Error">What went wrong; null where it was acknowledged.</param>
/// <param name="Milliseconds">What it took.</param>
public sealed record WebhookDelivery(long At, string MessageId, int Changes, int? Status, string? Error, int Milliseconds)
{
    /// <summary>Whether the receiver acknowledged it.</summary>
    public bool IsAcknowledged => Error is null;
}

/// <summary>A webhook as it is shown: without its secrets.</summary>
/// <param name="Id">By which it is named.</param>
/// <param name="Url">Where changes go.</param>
/// <param name="Events">Which.</param>
/// <param name="UsersPrefix">Of which users; null: all.</param>
/// <param name="CreatedAt">When it was added, in seconds since 1970-01-01 UTC.</param>
/// <param name="IsPaused">Whether nothing is sent until it is resumed.</param>
/// <param name="PausedFor">Why the server paused it by itself.</param>
/// <param name="LagSeconds">The age of the oldest change that is being delivered; 0: none is.</param>
/// <param name="FailingSince">Since when requests fail, in seconds since 1970-01-01 UTC; null: they do not.</param>
/// <param name="Delivered">Changes that the receiver acknowledged.</param>
/// <param name="Failed">Requests that failed.</param>
/// <param name="Skipped">Changes that were given up after 24 hours.</param>
/// <param name="Gaps">Times that changes were lost, since the feed no longer kept them.</param>
public sealed record Webhook(
    string Id, string Url, WebhookEvents Events, string? UsersPrefix, long CreatedAt, bool IsPaused, string? PausedFor, long LagSeconds,
        long? FailingSince, long Delivered, long Failed, long Skipped, long Gaps);
