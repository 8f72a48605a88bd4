using System.Diagnostics;

namespace Aglow.Diagnostics;

/// <summary>
/// Where spans come from: calls that are no heartbeat, the reads of the store in them, and checkpoints.
/// </summary>
/// <remarks>
/// Without a listener a span costs a look at one field. Heartbeats, probes and sockets make none even with one: there are too many, and what they do is in the metrics.
/// No span names a user: routes have <c>{user}</c>.
/// </remarks>
public static class AglowTraces
{
    /// <summary>The source's name.</summary>
    public const string SourceName = "Aglow";

    /// <summary>The source.</summary>
    public static ActivitySource Source { get; } = new(SourceName);

    /// <summary>A part of what the current span does; null where nobody is traced here.</summary>
    public static Activity? Within(string name) => Source.HasListeners() && Activity.Current is not null ? Source.StartActivity(name) : null;
}
