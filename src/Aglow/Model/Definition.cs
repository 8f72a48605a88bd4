namespace Aglow.Model;

/// <summary>
/// What "online" means to a feature: a heartbeat within a duration, optionally activity within another, and whether a goodbye ends it.
/// </summary>
/// <remarks>A rule: no clock and no store inside; the caller passes the words and the moment. Thread-safe, immutable.</remarks>
/// <param name="Name">Lower case, what callers write in <c>?definition=</c>.</param>
/// <param name="PulseSeconds">The last heartbeat is at most this old.</param>
/// <param name="ActivitySeconds">The person's last reported activity is at most this old; null: activity does not matter.</param>
/// <param name="EndedByLeave">Whether a goodbye ends it: that of all devices at once, that of one device soon (<see cref="DeviceLeftSeconds"/>).</param>
public sealed record Definition(string Name, uint PulseSeconds, uint? ActivitySeconds = null, bool EndedByLeave = true)
{
    /// <summary>The name of the default definition: a heartbeat within the lease, ended by a goodbye.</summary>
    public const string DefaultName = "chat";

    /// <summary>
    /// How long it lasts after the goodbye of one device, where another may be alive: a heartbeat interval, within which the other is heard, and
    /// <see cref="DeviceLeftMarginSeconds"/>.
    /// </summary>
    public uint DeviceLeftSeconds { get; init; } = PulseSeconds;

    /// <summary>The kind of device that the heartbeat is of; null: any.</summary>
    public DeviceKind? Kind { get; init; }

    /// <summary>The plane whose words decide.</summary>
    public Plane Plane => Kind is { } kind ? Planes.Of(kind) : Plane.Pulse;

    /// <summary>What the other device's heartbeat may be late by: it waits up to a second for its batch on one of many nodes, and it travels.</summary>
    public const uint DeviceLeftMarginSeconds = 2;

    /// <summary>Whether a user with these words (of its <see cref="Plane"/>, and of activity) is online under this definition. Two compares; the sweep does the same in SIMD.</summary>
    public bool IsMet(uint pulse, uint activity, Moment at) =>
        (!EndedByLeave || !Pulse.Left(pulse))
        && Pulse.Second(pulse) >= at.Oldest(EndedByLeave && Pulse.DeviceLeft(pulse) ? DeviceLeftSeconds : PulseSeconds)
        && (ActivitySeconds is not { } seconds || Pulse.Second(activity) >= at.Oldest(seconds));
}
