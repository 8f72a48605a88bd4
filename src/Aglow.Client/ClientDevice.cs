using System.Text;

namespace Aglow.Client;

/// <summary>The kind of device that a client runs on.</summary>
public enum DeviceKind
{
    /// <summary>Anything else.</summary>
    Other,

    /// <summary>A desktop application.</summary>
    Desktop,

    /// <summary>A phone or tablet.</summary>
    Mobile,

    /// <summary>A browser.</summary>
    Web,
}

/// <summary>A set of device kinds. Kinds that this client does not know are left out.</summary>
[Flags]
public enum DeviceKinds
{
    /// <summary>No kind is known.</summary>
    None = 0,

    /// <summary>A desktop application.</summary>
    Desktop = 1,

    /// <summary>A phone or tablet.</summary>
    Mobile = 2,

    /// <summary>A browser.</summary>
    Web = 4,

    /// <summary>Anything else.</summary>
    Other = 8,
}

/// <summary>
/// The device that a client runs on. A leave names it, so it never takes the person offline on their other devices. A restarted application
/// should keep its ID.
/// </summary>
public sealed record ClientDevice
{
    private const int MaxIdBytes = 64;

    /// <summary>Creates a device.</summary>
    /// <param name="id">The application's own ID: 1 to 64 bytes of printable text, such as a UUID.</param>
    /// <param name="kind">The kind of device.</param>
    /// <exception cref="ArgumentException">The ID is empty, too long, or has control characters.</exception>
    public ClientDevice(string id, DeviceKind kind)
    {
        ArgumentException.ThrowIfNullOrEmpty(id);
        if (Encoding.UTF8.GetByteCount(id) > MaxIdBytes || id.Any(char.IsControl))
            throw new ArgumentException($"A device's ID is 1 to {MaxIdBytes} bytes of printable text: use a UUID.", nameof(id));
        Id = id;
        Kind = kind;
    }

    /// <summary>The application's own ID of the device.</summary>
    public string Id { get; }

    /// <summary>The kind of device.</summary>
    public DeviceKind Kind { get; }

    internal string KindText => Kind switch
    {
        DeviceKind.Desktop => "desktop",
        DeviceKind.Mobile => "mobile",
        DeviceKind.Web => "web",
        _ => "other",
    };
}
