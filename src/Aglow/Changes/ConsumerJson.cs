using System.Text.Json.Serialization;

namespace Aglow.Changes;

/// <summary>The places of consumers in an <see cref="IConsumerStore"/> as JSON.</summary>
[JsonSerializable(typeof(string))]
internal sealed partial class ConsumerJson : JsonSerializerContext;
