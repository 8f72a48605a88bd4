using System.Text.Json.Serialization;

namespace Aglow.Changes;

/// <summary>The documents of a <see cref="IConsumerStore"/> as JSON.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault)]
[JsonSerializable(typeof(string))]
internal sealed partial class ConsumerJson : JsonSerializerContext;
