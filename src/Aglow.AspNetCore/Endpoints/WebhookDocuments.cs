using System.Text.Json.Serialization;
using Aglow.AspNetCore.Http;
using Aglow.Changes.Webhooks;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>A webhook.</summary>
internal sealed record WebhookDocument(
    [property: JsonPropertyName(JsonNames.Id)] string Id,
    [property: JsonPropertyName(JsonNames.Url)] string Url,
    [property: JsonPropertyName(JsonNames.Events)] IReadOnlyList<string> Events,
    [property: JsonPropertyName(JsonNames.UsersPrefix), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? UsersPrefix,
    [property: JsonPropertyName(JsonNames.CreatedAt)] long CreatedAt,
    [property: JsonPropertyName("paused")] bool Paused,
    [property: JsonPropertyName("paused_for"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? PausedFor,
    [property: JsonPropertyName("lag_seconds")] long LagSeconds,
    [property: JsonPropertyName("failing_since")] long? FailingSince,
    [property: JsonPropertyName("delivered")] long Delivered,
    [property: JsonPropertyName("failed")] long Failed,
    [property: JsonPropertyName("skipped")] long Skipped,
    [property: JsonPropertyName("gaps")] long Gaps)
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
internal sealed record WebhooksDocument([property: JsonPropertyName("webhooks")] IReadOnlyList<WebhookDocument> Webhooks);

/// <summary>A webhook with its secret, which is sent only once.</summary>
internal sealed record WebhookSecretDocument(
    [property: JsonPropertyName(JsonNames.Id)] string Id,
    [property: JsonPropertyName(JsonNames.Url)] string Url,
    [property: JsonPropertyName(JsonNames.Events)] IReadOnlyList<string> Events,
    [property: JsonPropertyName("secret")] string Secret)
{
    public static WebhookSecretDocument Of(Webhook webhook, string secret) =>
        new(webhook.Id, webhook.Url, WebhookDocument.WordsOf(webhook.Events), secret);
}

/// <summary>Body of a webhook.</summary>
internal sealed record WebhookBody(
    [property: JsonPropertyName(JsonNames.Url)] string Url,
    [property: JsonPropertyName(JsonNames.Events)] IReadOnlyList<string>? Events,
    [property: JsonPropertyName(Routes.DefinitionQuery)] string? Definition,
    [property: JsonPropertyName(JsonNames.UsersPrefix)] string? UsersPrefix);

/// <summary>Body of a rotation of the secret.</summary>
internal sealed record RotateBody([property: JsonPropertyName(JsonNames.OverlapHours)] int? OverlapHours);

/// <summary>One request to a receiver.</summary>
internal sealed record DeliveryDocument(
    [property: JsonPropertyName(JsonNames.At)] long At,
    [property: JsonPropertyName("message_id")] string MessageId,
    [property: JsonPropertyName(JsonNames.Changes)] int Changes,
    [property: JsonPropertyName("acknowledged")] bool Acknowledged,
    [property: JsonPropertyName("http_status")] int? HttpStatus,
    [property: JsonPropertyName("error")] string? Error,
    [property: JsonPropertyName("milliseconds")] int Milliseconds)
{
    public static DeliveryDocument Of(WebhookDelivery d) =>
        new(d.At, d.MessageId, d.Changes, d.IsAcknowledged, d.Status, d.Error, d.Milliseconds);
}

/// <summary>The newest requests to a receiver.</summary>
internal sealed record DeliveriesDocument([property: JsonPropertyName("deliveries")] IReadOnlyList<DeliveryDocument> Deliveries);
