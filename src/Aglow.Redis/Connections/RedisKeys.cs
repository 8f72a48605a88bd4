using System.Text;
using Aglow.Model;
using Aglow.Watching;

namespace Aglow.Redis.Connections;

/// <summary>The single owner of all key and channel names in Redis.</summary>
/// <remarks>
/// <code>
///   {p:PAGE}:pulse       string   the page's words, 4 bytes each, most significant byte first: BITFIELD … u32 #SLOT     up to 255 KiB
///   {p:PAGE}:activity    string   the same for the activity plane, on the same shard; and for each kind of device in use:
///   {p:PAGE}:desktop, {p:PAGE}:mobile, {p:PAGE}:web, {p:PAGE}:other
///   {p:pages}:pulse      string   a bit for each page that was ever written (SETBIT before the first word)              up to 8 KiB
///   {p:pages}:activity   string                                                                                         and for each kind
///   {p:pages}:count:RULE string   users online on each page under a definition, and when counted (RedisPageCounts)      8 bytes a page
///   {p:pages}:settings   string   what all nodes must agree on (Agreement/SharedSettings)
///   {p:PAGE}:copy        string   a copy of a page that replaces it (PageTightener); exists only within one script
///   {p:PAGE}:probe       string   written to find out whether a shard that was away takes writes again
///   {p:hints}            channel  packed hints (RedisHints)
///   {p:changes}:…                 the feed of changes, its leases and its consumers (RedisChangeLog)
/// </code>
/// The text in braces selects the shard (its CRC-16 modulo 16,384). So a page's planes share a shard, and the pages spread over all shards.
/// </remarks>
internal static class RedisKeys
{
    public const int Slots = 16_384;

    private static readonly ushort[] SlotsOfPages =
        [.. Enumerable.Range(0, PageLayout.Pages).Select(static page => Slot(Encoding.ASCII.GetBytes($"p:{page}")))];

    public const string Hints = "{p:hints}";

    public const string Settings = "{p:pages}:settings";

    public static int HintsSlot { get; } = Slot("p:hints"u8);

    /// <summary>The slot of the lists of pages, and of <see cref="Settings"/>.</summary>
    public static int PagesSlot { get; } = Slot("p:pages"u8);

    public static int ChangesSlot { get; } = Slot("p:changes"u8);

    /// <summary>The state of the feed: generation, last record, and so on.</summary>
    public const string ChangesFeed = "{p:changes}:feed";

    public const string ChangesLog = "{p:changes}:log";

    /// <summary>What the feed has reported of users besides their online state.</summary>
    public const string ReportedFacts = "{p:changes}:facts";

    /// <summary>The users of a page that the feed has reported online.</summary>
    public static string Reported(int page) => $"{{p:changes}}:told:{page}";

    /// <summary>The lease of work that only one node may do at a time.</summary>
    public static string Lease(string name) => $"{{p:changes}}:lease:{name}";

    /// <summary>Documents of the feed's consumers. The kind is the part of their keys before the colon.</summary>
    public static string Consumers(string kind) => $"{{p:changes}}:consumers:{kind}";

    public static int SlotOf(int page) => SlotsOfPages[page];

    /// <summary>The name of the list of a plane's pages.</summary>
    public static string Pages(Plane plane) => $"{{p:pages}}:{NameOf(plane)}";

    /// <summary>
    /// The name of the page counts under a definition. It consists of the rule itself, because nodes that run with different settings
    /// during a restart may give the rule different names.
    /// </summary>
    public static string Counts(Definition definition) =>
        $"{{p:pages}}:count:{definition.PulseSeconds}{(definition.ActivitySeconds is { } seconds ? $"-active-{seconds}" : "")}"
            + $"{(definition.EndedByLeave ? "" : "-left-or-not")}{(definition.Kind is null ? "" : $"-{NameOf(definition.Plane)}")}";

    public static string Page(Plane plane, int page) => $"{{p:{page}}}:{NameOf(plane)}";

    /// <summary>The temporary copy of a page before it replaces the page.</summary>
    public static string Copy(int page) => $"{{p:{page}}}:copy";

    /// <summary>The key that is written to find out whether a page's shard takes writes.</summary>
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

    // CRC-16/XMODEM, as the cluster specification defines it
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
