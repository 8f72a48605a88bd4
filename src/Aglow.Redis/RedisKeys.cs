using System.Text;
using Aglow.Model;
using Aglow.Watching;

namespace Aglow.Redis;

/// <summary>
/// The one owner of every name in Redis.
/// </summary>
/// <remarks>
/// <code>
///   {p:PAGE}:pulse       string   the page's words, 4 bytes each, most significant byte first: BITFIELD … u32 #SLOT     up to 255 KiB
///   {p:PAGE}:activity    string   the same for the activity plane, on the same shard; and for each kind of device that was named:
///   {p:PAGE}:desktop, {p:PAGE}:mobile, {p:PAGE}:web, {p:PAGE}:other
///   {p:pages}:pulse      string   a bit a page: those that were ever written (SETBIT before the first word)             up to 8 KiB
///   {p:pages}:activity   string                                                                                        and for each kind
///   {p:pages}:count:RULE string   how many are online on each page under a definition, and when that was counted (RedisPageCounts)   8 bytes a page
///   {p:pages}:settings   string   what all nodes must agree on (Agreement/SharedSettings)
///   {p:PAGE}:copy        string   a page on its way to be as long as it is (PageTightener), within one script
///   {p:PAGE}:probe       string   written to find out whether a shard that was away takes writes again
///   {p:hints}            channel  packed hints (RedisHints)
///   {p:changes}:…                 the feed of changes, its leases and its consumers (RedisChangeLog)
/// </code>
/// What is in braces decides the shard (CRC-16 of it, modulo 16,384), so a page's planes are together and the pages spread.
/// </remarks>
internal static class RedisKeys
{
    /// <summary>Slots of a cluster.</summary>
    public const int Slots = 16_384;

    private static readonly ushort[] SlotsOfPages = [.. Enumerable.Range(0, PageLayout.Pages).Select(static page => Slot(Encoding.ASCII.GetBytes($"p:{page}")))];

    /// <summary>The channel of hints.</summary>
    public const string Hints = "{p:hints}";

    /// <summary>The name of the settings that nodes agree on.</summary>
    public const string Settings = "{p:pages}:settings";

    /// <summary>The slot of <see cref="Hints"/>.</summary>
    public static int HintsSlot { get; } = Slot("p:hints"u8);

    /// <summary>The slot of the lists of pages, and of <see cref="Settings"/>.</summary>
    public static int PagesSlot { get; } = Slot("p:pages"u8);

    /// <summary>The slot of the feed of changes.</summary>
    public static int ChangesSlot { get; } = Slot("p:changes"u8);

    /// <summary>How far the feed is.</summary>
    public const string ChangesFeed = "{p:changes}:feed";

    /// <summary>The feed's records.</summary>
    public const string ChangesLog = "{p:changes}:log";

    /// <summary>What the feed told of users besides who is online.</summary>
    public const string ToldFacts = "{p:changes}:facts";

    /// <summary>Who of a page the feed told online.</summary>
    public static string Told(int page) => $"{{p:changes}}:told:{page}";

    /// <summary>Who does a work that one node at a time does.</summary>
    public static string Lease(string name) => $"{{p:changes}}:lease:{name}";

    /// <summary>Documents of consumers of the feed, by what stands before the colon of their keys.</summary>
    public static string Consumers(string kind) => $"{{p:changes}}:consumers:{kind}";

    /// <summary>The slot of a page.</summary>
    public static int SlotOf(int page) => SlotsOfPages[page];

    /// <summary>The name of the list of a plane's pages.</summary>
    public static string Pages(Plane plane) => $"{{p:pages}}:{NameOf(plane)}";

    /// <summary>The name of the counts of pages under a definition: by what it means, which nodes that are being given other settings may call differently.</summary>
    public static string Counts(Definition definition) =>
        $"{{p:pages}}:count:{definition.PulseSeconds}{(definition.ActivitySeconds is { } seconds ? $"-active-{seconds}" : "")}{(definition.EndedByLeave ? "" : "-left-or-not")}{(definition.Kind is null ? "" : $"-{NameOf(definition.Plane)}")}";

    /// <summary>The name of a page on a plane.</summary>
    public static string Page(Plane plane, int page) => $"{{p:{page}}}:{NameOf(plane)}";

    /// <summary>Where a page is copied to before it takes its own place.</summary>
    public static string Copy(int page) => $"{{p:{page}}}:copy";

    /// <summary>What is written to find out whether the shard of a page takes writes.</summary>
    public static string Probe(int page) => $"{{p:{page}}}:probe";

    private static string NameOf(Plane plane) => plane switch
    {
        Plane.Pulse => "pulse",
        Plane.Activity => "activity",
        Plane.Desktop => "desktop",
        Plane.Mobile => "mobile",
        Plane.Web => "web",
        _ => "other",
    };

    // CRC-16/XMODEM, as the cluster specification has it
    private static ushort Slot(ReadOnlySpan<byte> tag)
    {
        var crc = 0;
        foreach (var b in tag)
        {
            crc ^= b << 8;
            for (var bit = 0; bit < 8; bit++)
                crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
        }

        return (ushort)(crc & (Slots - 1));
    }
}
