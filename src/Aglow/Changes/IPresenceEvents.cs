using System.Diagnostics.CodeAnalysis;

namespace Aglow.Changes;

/// <summary>Every change from now on, leaves and expired leases included, as a sequence that does not end: <c>await foreach (var change
/// in events)</c>.</summary>
/// <remarks>
/// It begins at the end of the feed when it is enumerated; a handler (<see cref="IPresenceChangeHandler"/>) also hears what happened
/// while the application was down. Any
/// number may enumerate at once, each at its own pace. One that falls behind by more than the feed keeps gets an <see
/// cref="InvalidOperationException"/>.
/// </remarks>
[SuppressMessage("Naming", "CA1710", Justification = "It is what an application asks for, not a collection")]
public interface IPresenceEvents : IAsyncEnumerable<PresenceChange>;

/// <summary>An application's own consumer of the feed, as <c>AddAglow().OnChange&lt;MyHandler&gt;()</c> adds it.</summary>
/// <remarks>
/// One change at a time, in order. The place is stored, so after a restart the handler goes on where it stopped: it hears every change at
/// least once. A handler that throws
/// gets the same change again, after a second at first and a minute at last.
/// </remarks>
public interface IPresenceChangeHandler
{
    /// <summary>Hears a change. It counts as handled when this completes.</summary>
    ValueTask OnChangeAsync(PresenceChange change, CancellationToken stop);

    /// <summary>Hears that changes were lost, since the application was down for longer than the feed keeps them: read anew who is
    /// online.</summary>
    ValueTask OnGapAsync(CancellationToken stop) => default;
}
