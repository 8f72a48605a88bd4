using System.Text.Json.Nodes;

namespace Aglow.Client.Tests.Behaviour;

/// <summary>The application's token callback: each call does what its step says, and the last one repeats.</summary>
internal sealed class StepTokens(JsonArray callbacks)
{
    private int _requests;

    /// <summary>Calls since a step counted them.</summary>
    public int Count;

    public ValueTask<string> RequestAsync()
    {
        Count++;
        var what = callbacks[Math.Min(_requests++, callbacks.Count - 1)]!.AsObject();
        if (what.TryGetPropertyValue("gives", out JsonNode? gives))
            return ValueTask.FromResult(gives?.GetValue<string>()!);
        return what["throws"] is { } message
            ? ValueTask.FromException<string>(new InvalidOperationException(message.GetValue<string>()))
            : new ValueTask<string>(new TaskCompletionSource<string>().Task);
    }
}
