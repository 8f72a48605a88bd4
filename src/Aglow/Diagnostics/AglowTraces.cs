using System.Diagnostics;

namespace Aglow.Diagnostics;

/// <summary>
/// The source of spans for calls other than heartbeats, reads of the store within them, and checkpoints.
/// </summary>
/// <remarks>
/// Without a listener a span costs the read of one field. Heartbeats, probes and sockets never have spans: there are too many, and metrics
/// cover them. No span names a user: routes have <c>{user}</c>.
/// </remarks>
public static class AglowTraces
{
    /// <summary>The source's name.</summary>
    public const string SourceName = "Aglow";

    /// <summary>The source.</summary>
    public static ActivitySource Source { get; } = new(SourceName);

    /// <summary>Starts a span for a part of the current one; null if the current call is not traced.</summary>
    public static Activity? Within(string name) =>
        Source.HasListeners() && Activity.Current is not null ? Source.StartActivity(name) : null;
}
