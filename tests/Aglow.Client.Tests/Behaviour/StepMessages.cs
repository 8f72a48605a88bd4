using System.Text.Json.Nodes;

namespace Aglow.Client.Tests.Behaviour;

/// <summary>
/// Compares messages with those that a scenario expects, and keeps the values of its names: text that begins with <c>$</c>.
/// </summary>
internal sealed class StepMessages
{
    private readonly Dictionary<string, JsonNode> _names = [];

    /// <summary>Checks that each expected member is there and equal. A name's first value is kept.</summary>
    public void Compare(JsonObject expected, JsonObject seen)
    {
        foreach (var (name, value) in expected)
        {
            var there = seen[name];
            if (IsName(value, out var called))
            {
                there.ShouldNotBeNull(name);
                if (_names.TryGetValue(called, out var known))
                    there.ToJsonString().ShouldBe(known.ToJsonString(), name);
                else
                    _names[called] = there.DeepClone();
            }
            else if (name is "users" or "user_ids")
            {
                Set(there).ShouldBe(Set(value), name);
            }
            else
            {
                JsonNode.DeepEquals(there, value).ShouldBeTrue($"{name} is {there?.ToJsonString() ?? "missing"} in {seen.ToJsonString()}");
            }
        }

        static string[] Set(JsonNode? list) => [.. list!.AsArray().Select(static u => u!.ToJsonString()).Order(StringComparer.Ordinal)];
    }

    /// <summary>The message with the values of its names.</summary>
    public JsonObject Fill(JsonObject message)
    {
        var filled = message.DeepClone().AsObject();
        foreach (var (name, value) in message)
        {
            if (IsName(value, out var called))
                filled[name] = _names[called].DeepClone();
        }

        return filled;
    }

    /// <summary>The details of a status: text, emoji, end, source, priority.</summary>
    public static StatusDetails? Details(JsonNode? details) => details is null ? null : new StatusDetails
    {
        Text = details["text"]?.GetValue<string>(),
        Emoji = details["emoji"]?.GetValue<string>(),
        Until = details["until"] is { } until ? DateTimeOffset.FromUnixTimeSeconds(until.GetValue<long>()) : null,
        For = details["for_seconds"] is { } seconds ? TimeSpan.FromSeconds(seconds.GetValue<long>()) : null,
        Source = details["source"]?.GetValue<string>(),
        Priority = details["priority"]?.GetValue<int>(),
    };

    private static bool IsName(JsonNode? value, out string name)
    {
        name = value is JsonValue text && text.TryGetValue<string>(out var found) ? found : "";
        return name.StartsWith('$');
    }
}
