using Aglow.Watching;

namespace Aglow.Model;

/// <summary>The arrays of words that share one structure. Those of kinds are made when a heartbeat first names the kind.</summary>
public enum Plane : byte
{
    /// <summary>The last heartbeat.</summary>
    Pulse = 0,

    /// <summary>The last time the person did something; written only by heartbeats that say <c>active</c>.</summary>
    Activity = 1,

    /// <summary>The last heartbeat of a desktop application.</summary>
    Desktop = 2,

    /// <summary>The last heartbeat of a phone or tablet.</summary>
    Mobile = 3,

    /// <summary>The last heartbeat of a browser.</summary>
    Web = 4,

    /// <summary>The last heartbeat of another device that says so.</summary>
    Other = 5,
}

/// <summary>What there is to say of planes.</summary>
public static class Planes
{
    /// <summary>How many there are.</summary>
    public const int Count = 6;

    /// <summary>Those of kinds of devices.</summary>
    public static ReadOnlySpan<Plane> OfKinds => [Plane.Desktop, Plane.Mobile, Plane.Web, Plane.Other];

    /// <summary>All of them.</summary>
    public static ReadOnlySpan<Plane> All => [Plane.Pulse, Plane.Activity, Plane.Desktop, Plane.Mobile, Plane.Web, Plane.Other];

    /// <summary>The plane of a kind of device.</summary>
    public static Plane Of(DeviceKind kind) => Plane.Desktop + (byte)kind;
}

/// <summary>
/// Where a user's word stands: the number's page, and the slot in it.
/// </summary>
/// <remarks>
/// <code>
///  id   31 ............ 8  7 ... 0
///       +-----------------+-------+     page = (id >> 8) / 65280 &lt;&lt; 8 | (id &amp; 0xFF)
///       |     row         | lane  |     slot = (id >> 8) % 65280
///       +-----------------+-------+
/// </code>
/// Neighbouring ids fall on 256 pages, so the newest (most active) users never share one page, one shard or one cache
/// line. A page of 65,280 words is 255 KiB, so that with a header it just fits an allocator's 256 KiB class (65,536 words
/// were measured to cost 5.0 bytes a user in Redis instead of 4.1).
/// </remarks>
public static class PageLayout
{
    /// <summary>Words a page.</summary>
    public const int Slots = 65_280;

    /// <summary>Pages that all 2^32 numbers fall on.</summary>
    public const int Pages = 66_048;

    /// <summary>Bits of one page in groups of 64.</summary>
    public const int Groups = Slots / 64;

    /// <summary>The page of a number.</summary>
    public static int Page(uint user) => (int)(((user >> 8) / Slots << 8) | (user & 0xFF));

    /// <summary>The slot of a number in its page.</summary>
    public static int Slot(uint user) => (int)((user >> 8) % Slots);

    /// <summary>The number at a page and slot; the inverse of <see cref="Page"/> and <see cref="Slot"/>.</summary>
    public static uint User(int page, int slot) => ((((uint)page >> 8) * Slots) + (uint)slot) << 8 | ((uint)page & 0xFF);
}
