namespace Aglow.Model;

/// <summary>What kind of device a heartbeat or a connection is from.</summary>
public enum DeviceKind : byte
{
    /// <summary>A desktop application.</summary>
    Desktop = 0,

    /// <summary>A phone or tablet.</summary>
    Mobile = 1,

    /// <summary>A browser.</summary>
    Web = 2,

    /// <summary>Anything else.</summary>
    Other = 3,
}

/// <summary>A set of kinds, a bit each.</summary>
[Flags]
public enum DeviceKinds : byte
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>A desktop application.</summary>
    Desktop = 1 << DeviceKind.Desktop,

    /// <summary>A phone or tablet.</summary>
    Mobile = 1 << DeviceKind.Mobile,

    /// <summary>A browser.</summary>
    Web = 1 << DeviceKind.Web,

    /// <summary>Anything else.</summary>
    Other = 1 << DeviceKind.Other,
}

/// <summary>One of a user's devices.</summary>
/// <param name="Tag">A hash that differs from those of the user's other devices; 0: the message names no device.</param>
/// <param name="Kind">The kind; null if the message names none.</param>
public readonly record struct Device(uint Tag, DeviceKind? Kind = null)
{
    /// <summary>The device with this ID, which the application chose. Without an ID: the user's only device of this kind.</summary>
    public static Device Of(string? id, DeviceKind kind) => new((uint)HashCode.Combine(id, kind) | 1, kind);

    /// <summary>The name of a device kind, and of its definition.</summary>
    public static string NameOf(DeviceKind kind) => kind switch
    {
        DeviceKind.Desktop => "desktop",
        DeviceKind.Mobile => "mobile",
        DeviceKind.Web => "web",
        _ => "other",
    };

    /// <summary>A device without a name, different from all others.</summary>
    public static Device Unnamed() => new((uint)Random.Shared.Next() | 1);
}
