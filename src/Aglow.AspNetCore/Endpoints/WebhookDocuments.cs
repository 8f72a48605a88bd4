using System.Text.Json.Serialization;
using Aglow.Changes.Webhooks;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>A webhook.</summary>
internal sealed record WebhookDocument(
    string Id, string Url, IReadOnlyList<string> Events,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? UsersPrefix,
    long CreatedAt, bool Paused,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? PausedFor,
    long LagSeconds, long? FailingSince, long Delivered, long Failed, long Skipped, long Gaps)
{
    public static WebhookDocument Of(Webhook w) =>
        new(w.Id, w.Url, WordsOf(w.Events), w.UsersPrefix, w.CreatedAt, w.IsPaused, w.PausedFor, w.LagSeconds, w.FailingSince,
            w.Delivered, w.Failed, w.Skipped, w.Gaps);

    public static string[] WordsOf(WebhookEvents events) =>
    [
        .. (events & WebhookEvents.Online) != WebhookEvents.None ? ["online"] : Array.Empty<string>(),
        .. (events & WebhookEvents.Offline) != WebhookEvents.None ? ["offline"] : Array.Empty<string>(),
        .. (events & WebhookEvents.Status) != WebhookEvents.None ? ["status"] : Array.Empty<string>(),
    ];
}

/// <summary>All webhooks.</summary>
internal sealed record WebhooksDocument(IReadOnlyList<WebhookDocument> Webhooks);

/// <summary>A webhook with its secret, which is sent only once.</summary>
internal sealed record WebhookSecretDocument(string Id, string Url, IReadOnlyList<string> Events, string Secret)
{
    public static WebhookSecretDocument Of(Webhook webhook, string secret) =>
        new(webhook.Id, webhook.Url, WebhookDocument.WordsOf(webhook.Events), secret);
}

/// <summary>Body of a webhook.</summary>
internal sealed record WebhookBody(string Url, IReadOnlyList<string>? Events, string? Definition, string? UsersPrefix);

/// <summary>Body of a rotation of the secret.</summary>
internal sealed record RotateBody(int? OverlapHours);

/// <summary>One request to a receiver.</summary>
internal sealed record DeliveryDocument(
    long At, string MessageId, int Changes, bool Acknowledged, int? HttpStatus, string? Error, int Milliseconds)
{
    public static DeliveryDocument Of(WebhookDelivery d) =>
        new(d.At, d.MessageId, d.Changes, d.IsAcknowledged, d.Status, d.Error, d.Milliseconds);
}

/// <summary>The newest requests to a receiver.</summary>
internal sealed record DeliveriesDocument(IReadOnlyList<DeliveryDocument> Deliveries);
