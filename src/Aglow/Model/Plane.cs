using Aglow.Watching;

namespace Aglow.Model;

/// <summary>The two arrays of words that share one structure.</summary>
public enum Plane : byte
{
    /// <summary>The last heartbeat.</summary>
    Pulse = 0,

    /// <summary>The last time the person did something; written only by heartbeats that say <c>active</c>.</summary>
    Activity = 1,
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
