using System.Text.Json.Serialization;
using Aglow.Changes.Webhooks;

namespace Aglow.Changes;

/// <summary>The documents of an <see cref="IConsumerStore"/> as JSON.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault)]
[JsonSerializable(typeof(string))]
[JsonSerializable(typeof(WebhookSettings))]
[JsonSerializable(typeof(WebhookState))]
internal sealed partial class ConsumerJson : JsonSerializerContext;
