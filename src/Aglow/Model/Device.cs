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

/// <summary>Which of a user's devices speaks.</summary>
/// <param name="Tag">A hash of what tells it from the user's others; 0: it names no device.</param>
/// <param name="Kind">What kind it is; null where it says none.</param>
public readonly record struct Device(uint Tag, DeviceKind? Kind = null)
{
    /// <summary>The device of an ID that the application chose, or the only one of its kind where it chose none.</summary>
    public static Device Of(string? id, DeviceKind kind) => new((uint)HashCode.Combine(id, kind) | 1, kind);

    /// <summary>A device that nobody named, and that is no other.</summary>
    public static Device Unnamed() => new((uint)Random.Shared.Next() | 1);
}
