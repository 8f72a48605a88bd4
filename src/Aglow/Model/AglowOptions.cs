using Aglow.Storage;

namespace Aglow.Model;

/// <summary>Everything an operator may set about presence itself. Typed, checked at start together with their relations.</summary>
public sealed class AglowOptions
{
    /// <summary>Definitions that may be declared: each one in use costs a bit a user.</summary>
    public const int MaxDefinitions = 16;

    /// <summary>How long a heartbeat lasts. 30 s: three heartbeats may be lost before anybody is shown offline.</summary>
    public int LeaseSeconds { get; set; } = 30;

    /// <summary>How often clients are told to heartbeat. 10 s: what a phone's radio and a server of a million can bear.</summary>
    public int HeartbeatSeconds { get; set; } = 10;

    /// <summary>Reported activity older than this shows as away. 10 minutes, what people know from chat apps.</summary>
    public int AwaySeconds { get; set; } = 600;

    /// <summary>The highest number of the application's own users; above it 507. All below 2^31 by default.</summary>
    public uint MaxUserNumber { get; set; } = UserId.FirstDirectoryNumber - 1;

    /// <summary>
    /// Memory for words, in MiB, over all planes; when it is used up, new numbers on new pages are refused with 507. 0: half of the memory
    /// this process may use (a billion users with activity are 8,200).
    /// </summary>
    public int MemoryMegabytes { get; set; }

    /// <summary>Users known by key that this node keeps in memory (about 80 bytes each); others are looked up in the directory.</summary>
    public int KnownKeys { get; set; } = 10_000_000;

    /// <summary>The folder of the embedded store.</summary>
    public string DataDirectory { get; set; } = "data";

    /// <summary>The name of this node in explanations and logs.</summary>
    public string NodeName { get; set; } = Environment.MachineName;

    /// <summary>
    /// What else "online" may mean, by name; <c>chat</c> is always there: a heartbeat within the lease, ended by a goodbye. So are <c>desktop</c>,
    /// <c>mobile</c>, <c>web</c> and <c>other</c>: the same on a device of that kind. At most 16 more.
    /// </summary>
    public Dictionary<string, DefinitionOptions> Definitions { get; } = new(StringComparer.Ordinal)
    {
        ["active"] = new() { ActivitySeconds = 300 },
        ["reachable"] = new() { PulseSeconds = 86_400, EndedByLeave = false },
    };

    /// <summary>Users one user may follow. As many as one connection may watch.</summary>
    public int SubscriptionLimit { get; set; } = 10_000;

    /// <summary>Users one user may approve, and block.</summary>
    public int RelationLimit { get; set; } = 10_000;

    /// <summary>Whether people see of others no more than they show themselves: who hides their last seen sees nobody's.</summary>
    public bool IsVisibilityReciprocal { get; set; }

    /// <summary>Messages a second that are read of one connection; more are dropped with an error.</summary>
    public int MaxMessagesPerSecond { get; set; } = 50;

    /// <summary>Sockets that one user may have at a time on one node: a person's devices and tabs, with room.</summary>
    public int MaxConnectionsPerUser { get; set; } = 20;

    /// <summary>Connections from one address at a time on one node: offices and phone networks share one.</summary>
    public int MaxConnectionsPerAddress { get; set; } = 20_000;

    /// <summary>
    /// Over how long a node that stops sends its clients elsewhere, in seconds: not ready for the first fifth, so that balancers notice, and then client by client. Null: 10 s where nodes share a
    /// store, and at once where there is no other node to go to. Platforms kill what has not stopped after a while, Kubernetes after 30 s.
    /// </summary>
    public int? DrainSeconds { get; set; }

    /// <summary>How long the feed of changes keeps them, in hours. 24 h: a consumer may be down for a night. 0: there is no feed.</summary>
    public int ChangesHours { get; set; } = 24;

    /// <summary>What the feed of changes may take on disk, in MiB; the oldest go first. 256: 20 million changes.</summary>
    public int ChangesMegabytes { get; set; } = 256;

    /// <summary>
    /// Open mode: anyone speaks for anyone, and nobody is asked who they are. For a server on this machine only, and for an application that lets nobody in whom it does not know.
    /// </summary>
    public bool OpenMode { get; set; }

    /// <summary>In open mode: whether a gateway or proxy stands before this. Otherwise what comes to the loopback address must name this machine as its host.</summary>
    public bool IsBehindGateway { get; set; }

    /// <summary>Networks (<c>10.1.0.0/16</c>) that webhooks may go to although they are not public.</summary>
    public IReadOnlyList<string> WebhooksAllow { get; set; } = [];

    /// <summary>Whether webhooks may go to this machine, also by http: only where nothing but this machine reaches the server.</summary>
    public bool WebhooksToLoopback { get; set; }

    /// <summary>Origins (<c>https://chat.example</c>) besides the server's own whose pages may make calls, read answers, and open sockets and event streams.</summary>
    public IReadOnlyList<string> AllowedOrigins { get; set; } = [];

    /// <summary>Named people who come and go by themselves, in memory only, so that a new deployment has somebody in it. 0: nobody.</summary>
    public int DemoPeople { get; set; }

    /// <summary>The lease, as words count it.</summary>
    public uint Lease => (uint)LeaseSeconds;

    /// <summary>What is wrong with these options, a line each, saying what to set instead; empty when all is well.</summary>
    public IReadOnlyList<string> Validate()
    {
        var wrong = new List<string>();
        Check(HeartbeatSeconds is >= 1 and <= 3600, $"heartbeat-seconds is {HeartbeatSeconds}: set it from 1 to 3600.");
        Check(LeaseSeconds is >= 2 and <= 86_400, $"lease-seconds is {LeaseSeconds}: set it from 2 to 86400.");
        Check(
            LeaseSeconds >= 2 * HeartbeatSeconds,
            $"lease-seconds ({LeaseSeconds}) is less than two heartbeat intervals ({HeartbeatSeconds} s each), so one lost heartbeat would show people offline: set at least {2 * HeartbeatSeconds}.");
        Check(AwaySeconds >= HeartbeatSeconds, $"away-seconds ({AwaySeconds}) is shorter than a heartbeat interval ({HeartbeatSeconds} s): set it longer.");
        Check(MaxUserNumber < UserId.FirstDirectoryNumber, $"max-user-number is {MaxUserNumber}: numbers from 2147483648 up are the directory's; set at most 2147483647.");
        Check(MemoryMegabytes >= 0, $"memory-megabytes is {MemoryMegabytes}: set 0 (half of the machine's) or more.");
        Check(KnownKeys >= 1024, $"known-keys is {KnownKeys}: set at least 1024.");
        Check(!string.IsNullOrWhiteSpace(DataDirectory), "data is empty: name a folder.");
        Check(SubscriptionLimit is >= 1 and <= 1_000_000, $"subscription-limit is {SubscriptionLimit}: set it from 1 to 1000000.");
        Check(MaxMessagesPerSecond >= 1, $"max-messages-per-second is {MaxMessagesPerSecond}: set at least 1.");
        Check(MaxConnectionsPerUser >= 1, $"max-connections-per-user is {MaxConnectionsPerUser}: set at least 1.");
        Check(MaxConnectionsPerAddress >= 1, $"max-connections-per-address is {MaxConnectionsPerAddress}: set at least 1.");
        Check(DrainSeconds is null or (>= 0 and <= 600), $"drain-seconds is {DrainSeconds}: set it from 0 to 600.");
        Check(ChangesHours is >= 0 and <= 720, $"changes-hours is {ChangesHours}: set it from 1 to 720, or 0 for no feed.");
        Check(ChangesMegabytes is >= 1 and <= 1_000_000, $"changes-megabytes is {ChangesMegabytes}: set it from 1 to 1000000.");
        Check(DemoPeople is >= 0 and <= Demo.MostPeople, $"demo is {DemoPeople}: set it from 0 (nobody) to {Demo.MostPeople}.");
        foreach (var network in WebhooksAllow)
            Check(System.Net.IPNetwork.TryParse(network, out _), $"webhooks-allow has \"{network}\": set networks such as 10.1.0.0/16.");
        foreach (var origin in AllowedOrigins)
            Check(IsOrigin(origin), $"allowed-origins has \"{origin}\": an origin is a scheme, a host and perhaps a port, such as https://chat.example, and nothing after it.");
        Check(Definitions.Count <= MaxDefinitions, $"{Definitions.Count} definitions: each one in use costs a bit a user; declare at most 16.");
        foreach (var (name, definition) in Definitions)
        {
            Check(IsName(name), $"definition \"{name}\": a name is 1 to 32 lower-case letters, digits, '-' or '_'.");
            Check(name != Definition.DefaultName, $"definition \"{name}\" is the lease itself and cannot be redefined: set lease-seconds, or choose another name.");
            Check(!Enum.GetValues<DeviceKind>().Any(kind => name == Model.Definitions.NameOf(kind)), $"definition \"{name}\" is a kind of device and cannot be redefined: choose another name.");
            Check(definition.PulseSeconds is null or (>= 1 and <= 31_536_000), $"definition \"{name}\": pulse-seconds is {definition.PulseSeconds}: set it from 1 to 31536000.");
            Check(definition.ActivitySeconds is null or (>= 1 and <= 31_536_000), $"definition \"{name}\": activity-seconds is {definition.ActivitySeconds}: set it from 1 to 31536000.");
            Check(
                (definition.PulseSeconds ?? LeaseSeconds) >= 2 * HeartbeatSeconds,
                $"definition \"{name}\": pulse-seconds ({definition.PulseSeconds}) is less than two heartbeat intervals ({HeartbeatSeconds} s each): set at least {2 * HeartbeatSeconds}.");
        }

        return wrong;

        void Check(bool fine, string otherwise)
        {
            if (!fine)
                wrong.Add(otherwise);
        }
    }

    /// <summary>The page budget: <see cref="MemoryMegabytes"/>, or half of what this process may use, in pages.</summary>
    public PageBudget CreateBudget()
    {
        var megabytes = MemoryMegabytes > 0 ? MemoryMegabytes : GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 2 >> 20;
        return new PageBudget((int)Math.Clamp(megabytes * 4, 256, Planes.Count * PageLayout.Pages));
    }

    // also of schemes of apps: capacitor://localhost
    private static bool IsOrigin(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Host.Length > 0 && !url.Host.Contains('*') && text.Length == $"{url.Scheme}://".Length + url.Authority.Length;

    private static bool IsName(string name) =>
        name.Length is >= 1 and <= 32 && name.All(static c => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '-' or '_');
}

/// <summary>A definition as an operator writes it.</summary>
public sealed class DefinitionOptions
{
    /// <summary>The last heartbeat is at most this old; null: the lease.</summary>
    public int? PulseSeconds { get; set; }

    /// <summary>Reported activity is at most this old; null: activity does not matter.</summary>
    public int? ActivitySeconds { get; set; }

    /// <summary>Whether a goodbye ends it at once.</summary>
    public bool EndedByLeave { get; set; } = true;
}
