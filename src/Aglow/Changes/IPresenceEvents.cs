using System.Diagnostics.CodeAnalysis;

namespace Aglow.Changes;

/// <summary>
/// Every change from now on, including leaves and expired leases, as an endless sequence: <c>await foreach (var change in events)</c>.
/// </summary>
/// <remarks>
/// An enumeration begins at the end of the feed. A handler (<see cref="IPresenceChangeHandler"/>) also receives changes from the time while
/// the application was down. Any number of enumerations may run at once, each at its own pace. One that falls behind by more than the feed
/// keeps gets an <see cref="InvalidOperationException"/>.
/// </remarks>
[SuppressMessage("Naming", "CA1710", Justification = "It is what an application asks for, not a collection")]
public interface IPresenceEvents : IAsyncEnumerable<PresenceChange>;

/// <summary>An application's own consumer of the feed. <c>AddAglow().OnChange&lt;MyHandler&gt;()</c> adds it.</summary>
/// <remarks>
/// It receives one change at a time, in order. Its place is stored, so it continues there after a restart and receives every change at
/// least once. If it throws, it gets the same change again, after a second at first and a minute at most.
/// </remarks>
public interface IPresenceChangeHandler
{
    /// <summary>Handles a change. The change counts as handled when the task completes.</summary>
    ValueTask OnChangeAsync(PresenceChange change, CancellationToken stop);

    /// <summary>
    /// Handles a gap: changes were lost because the application was down for longer than the feed keeps them. Read again which users are
    /// online.
    /// </summary>
    ValueTask OnGapAsync(CancellationToken stop) => default;
}
