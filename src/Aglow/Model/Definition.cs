namespace Aglow.Model;

/// <summary>
/// What "online" means to a feature: a heartbeat within a duration, optionally activity within another, and whether a leave ends it.
/// </summary>
/// <remarks>A rule without a clock or a store; the caller passes the words and the moment. Thread-safe, immutable.</remarks>
/// <param name="Name">Lower case, what callers write in <c>?definition=</c>.</param>
/// <param name="PulseSeconds">The greatest age of the last heartbeat.</param>
/// <param name="ActivitySeconds">The greatest age of the person's last reported activity; null: activity does not matter.</param>
/// <param name="EndedByLeave">Whether a leave ends it: at once if all devices left, soon (<see cref="DeviceLeftSeconds"/>) if one device
/// left.</param>
public sealed record Definition(string Name, uint PulseSeconds, uint? ActivitySeconds = null, bool EndedByLeave = true)
{
    /// <summary>The name of the default definition: a heartbeat within the lease, ended by a leave.</summary>
    public const string DefaultName = "chat";

    /// <summary>
    /// How long a user stays online after one device left, in case another device is alive. It is a heartbeat interval, in which the other
    /// device sends its heartbeat, plus <see cref="DeviceLeftMarginSeconds"/>.
    /// </summary>
    public uint DeviceLeftSeconds { get; init; } = PulseSeconds;

    /// <summary>The device kind whose heartbeats count; null: all kinds.</summary>
    public DeviceKind? Kind { get; init; }

    /// <summary>The plane whose words decide.</summary>
    public Plane Plane => Kind is { } kind ? Planes.Of(kind) : Plane.Pulse;

    /// <summary>
    /// How late the other device's heartbeat may be: with several nodes it waits up to a second for its batch, and it travels.
    /// </summary>
    public const uint DeviceLeftMarginSeconds = 2;

    /// <summary>
    /// Whether a user with these words (of <see cref="Plane"/> and of activity) is online under this definition. The sweep does the same
    /// with SIMD instructions.
    /// </summary>
    public bool IsMet(uint pulse, uint activity, Moment at) =>
        (!EndedByLeave || !Pulse.Left(pulse))
        && Pulse.Second(pulse) >= at.Oldest(EndedByLeave && Pulse.DeviceLeft(pulse) ? DeviceLeftSeconds : PulseSeconds)
        && (ActivitySeconds is not { } seconds || Pulse.Second(activity) >= at.Oldest(seconds));
}
