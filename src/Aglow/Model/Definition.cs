namespace Aglow.Model;

/// <summary>
/// What "online" means to a feature: a heartbeat within a duration, optionally activity within another, and whether a goodbye ends it.
/// </summary>
/// <remarks>A rule: no clock and no store inside; the caller passes the words and the moment. Thread-safe, immutable.</remarks>
/// <param name="Name">Lower case, what callers write in <c>?definition=</c>.</param>
/// <param name="PulseSeconds">The last heartbeat is at most this old.</param>
/// <param name="ActivitySeconds">The person's last reported activity is at most this old; null: activity does not matter.</param>
/// <param name="EndedByLeave">Whether a goodbye ends it at once.</param>
public sealed record Definition(string Name, uint PulseSeconds, uint? ActivitySeconds = null, bool EndedByLeave = true)
{
    /// <summary>The name of the default definition: a heartbeat within the lease, ended by a goodbye.</summary>
    public const string DefaultName = "chat";

    /// <summary>Whether a user with these words is online under this definition. Two compares; the sweep does the same in SIMD.</summary>
    public bool IsMet(uint pulse, uint activity, Moment at) =>
        (!EndedByLeave || !Pulse.Left(pulse))
        && Pulse.Second(pulse) >= at.Oldest(PulseSeconds)
        && (ActivitySeconds is not { } seconds || Pulse.Second(activity) >= at.Oldest(seconds));
}
