using System.Text;
using System.Text.Json.Serialization;

namespace Aglow.Client;

/// <summary>What kind of device a client runs on.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<DeviceKind>))]
public enum DeviceKind
{
    /// <summary>Anything else.</summary>
    [JsonStringEnumMemberName("other")]
    Other,

    /// <summary>A desktop application.</summary>
    [JsonStringEnumMemberName("desktop")]
    Desktop,

    /// <summary>A phone or tablet.</summary>
    [JsonStringEnumMemberName("mobile")]
    Mobile,

    /// <summary>A browser.</summary>
    [JsonStringEnumMemberName("web")]
    Web,
}

/// <summary>A set of kinds of devices. A kind that this client does not know is not in it.</summary>
[Flags]
public enum DeviceKinds
{
    /// <summary>None is known.</summary>
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
/// The device that a client runs on. A leave names it, so it never takes the person offline on their other devices. An application that is started again keeps its ID.
/// </summary>
public sealed record ClientDevice
{
    private const int MaxIdBytes = 64;

    /// <summary>A device.</summary>
    /// <param name="id">The application's own: 1 to 64 bytes of printable text, such as a UUID.</param>
    /// <param name="kind">What kind it is.</param>
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

    /// <summary>What kind it is.</summary>
    public DeviceKind Kind { get; }

    internal string KindText => Kind switch
    {
        DeviceKind.Desktop => "desktop",
        DeviceKind.Mobile => "mobile",
        DeviceKind.Web => "web",
        _ => "other",
    };
}
