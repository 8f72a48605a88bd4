namespace Aglow.Model;

/// <summary>All settings of the presence service. Types, ranges and relations are checked at start.</summary>
public sealed class AglowOptions
{
    /// <summary>The most definitions that an operator may declare: each one in use costs a bit a user.</summary>
    public const int MaxDefinitions = 16;

    /// <summary>How long a heartbeat lasts. 30 s: a user is shown offline after three lost heartbeats.</summary>
    public int LeaseSeconds { get; set; } = 30;

    /// <summary>
    /// The interval at which clients send heartbeats. 10 s: bearable for a phone's radio and for a server with a million users.
    /// </summary>
    public int HeartbeatSeconds { get; set; } = 10;

    /// <summary>
    /// The interval at which the server pings sockets, whose pongs are heartbeats. 0: <see cref="HeartbeatSeconds"/>. With a longer lease,
    /// a longer interval saves CPU; proxies often close connections that are silent for 60 s.
    /// </summary>
    public int SocketPingSeconds { get; set; }

    /// <summary>A user whose last activity is older than this is shown as away. 10 minutes, as in common chat apps.</summary>
    public int AwaySeconds { get; set; } = 600;

    /// <summary>
    /// The highest integer ID of the application's users; higher ones get 507. By default every integer below 2^31 is allowed.
    /// </summary>
    public uint MaxUserNumber { get; set; } = UserId.FirstDirectoryNumber - 1;

    /// <summary>
    /// Memory for words, in MiB, over all planes. When it is used up, IDs that need a new page get 507. 0: half of the memory that this
    /// process may use. A billion users with activity need 8,200.
    /// </summary>
    public int MemoryMegabytes { get; set; }

    /// <summary>
    /// How many users with IDs in the directory this node keeps in memory (about 80 bytes each). It looks up others in the directory.
    /// </summary>
    public int KnownKeys { get; set; } = 10_000_000;

    /// <summary>The folder of the embedded store.</summary>
    public string DataDirectory { get; set; } = "data";

    /// <summary>The name of this node in explanations and logs.</summary>
    public string NodeName { get; set; } = Environment.MachineName;

    /// <summary>
    /// Further definitions of "online", by name; at most 16. <c>chat</c> always exists: a heartbeat within the lease, ended by a leave. So
    /// do <c>desktop</c>, <c>mobile</c>, <c>web</c> and <c>other</c>: the same for a device of that kind.
    /// </summary>
    public Dictionary<string, DefinitionOptions> Definitions { get; } = new(StringComparer.Ordinal)
    {
        ["active"] = new() { ActivitySeconds = 300 },
        ["reachable"] = new() { PulseSeconds = 86_400, EndedByLeave = false },
    };

    /// <summary>How many users one user may follow. As many as one connection may watch.</summary>
    public int SubscriptionLimit { get; set; } = 10_000;

    /// <summary>How many users one user may approve, and how many block.</summary>
    public int RelationLimit { get; set; } = 10_000;

    /// <summary>
    /// Whether users see no more of others than they show themselves. A user who hides their last seen, for example, sees no last seen of
    /// others.
    /// </summary>
    public bool IsVisibilityReciprocal { get; set; }

    /// <summary>Messages a second that the server reads from one connection. It drops further messages and sends an error.</summary>
    public int MaxMessagesPerSecond { get; set; } = 50;

    /// <summary>Sockets that one user may have open on one node: enough for a person's devices and tabs, with room.</summary>
    public int MaxConnectionsPerUser { get; set; } = 20;

    /// <summary>Connections from one address at a time on one node. High, because offices and phone networks share one address.</summary>
    public int MaxConnectionsPerAddress { get; set; } = 20_000;

    /// <summary>
    /// How long a node that stops takes to send its clients to other nodes, in seconds. For the first fifth it only reports "not ready", so
    /// that load balancers notice; then it closes client by client. Null: 10 s if nodes share a store, 0 if there is no other node.
    /// Platforms kill a process that does not stop in time, Kubernetes after 30 s.
    /// </summary>
    public int? DrainSeconds { get; set; }

    /// <summary>How long the feed keeps changes, in hours. 24 h: a consumer may be down for a night. 0: there is no feed.</summary>
    public int ChangesHours { get; set; } = 24;

    /// <summary>
    /// Disk space for the feed of changes, in MiB; the oldest changes are deleted first. 256 MiB hold 20 million changes.
    /// </summary>
    public int ChangesMegabytes { get; set; } = 256;

    /// <summary>
    /// Open mode: any caller may act for any user, without authentication. Use it only on a server that this machine alone reaches, or
    /// behind an application that authenticates its users.
    /// </summary>
    public bool OpenMode { get; set; }

    /// <summary>
    /// In open mode: whether a gateway or proxy stands in front. If not, calls to the loopback address must name this machine in the Host
    /// header.
    /// </summary>
    public bool IsBehindGateway { get; set; }

    /// <summary>Networks (<c>10.1.0.0/16</c>) that webhooks may call although they are not public.</summary>
    public IReadOnlyList<string> WebhooksAllow { get; set; } = [];

    /// <summary>Whether webhooks may call this machine, also by http. Allow it only if no other machine reaches the server.</summary>
    public bool WebhooksToLoopback { get; set; }

    /// <summary>
    /// Origins (<c>https://chat.example</c>), besides the server's own, whose pages may make calls, read answers, and open sockets and
    /// event streams.
    /// </summary>
    public IReadOnlyList<string> AllowedOrigins { get; set; } = [];

    /// <summary>The most demo users: their loop stays well below a millisecond a second, and no name is used twice.</summary>
    public const int MaxDemoPeople = 5_000;

    /// <summary>
    /// How many demo users come online and go offline by themselves, in memory only, so that a new deployment is not empty. 0: none.
    /// </summary>
    public int DemoPeople { get; set; }

    /// <summary>The lease in the type of words.</summary>
    public uint Lease => (uint)LeaseSeconds;

    /// <summary>The interval of pings that is in force.</summary>
    public int PingSeconds => SocketPingSeconds == 0 ? HeartbeatSeconds : SocketPingSeconds;

    /// <summary>The longest time between two heartbeats of a user whose connection works.</summary>
    public int LongestIntervalSeconds => Math.Max(HeartbeatSeconds, PingSeconds);

    /// <summary>The errors in these options, one line each, with the value to set instead; empty if all are valid.</summary>
    public IReadOnlyList<string> Validate()
    {
        var wrong = new List<string>();
        Check(HeartbeatSeconds is >= 1 and <= 3600, $"heartbeat-seconds is {HeartbeatSeconds}: set it from 1 to 3600.");
        Check(LeaseSeconds is >= 2 and <= 86_400, $"lease-seconds is {LeaseSeconds}: set it from 2 to 86400.");
        Check(
            LeaseSeconds >= 2 * HeartbeatSeconds,
            $"lease-seconds ({LeaseSeconds}) is less than two heartbeat intervals ({HeartbeatSeconds} s each), so one lost "
            + $"heartbeat would show people offline: set at least {2 * HeartbeatSeconds}.");
        Check(SocketPingSeconds is >= 0 and <= 3600, $"socket-ping-seconds is {SocketPingSeconds}: set it from 1 to 3600.");
        Check(
            LeaseSeconds >= 2 * PingSeconds,
            $"socket-ping-seconds ({SocketPingSeconds}) is more than half of lease-seconds ({LeaseSeconds}), so one lost pong would show "
            + $"people offline: set at most {LeaseSeconds / 2}.");
        Check(
            AwaySeconds >= HeartbeatSeconds,
            $"away-seconds ({AwaySeconds}) is shorter than a heartbeat interval ({HeartbeatSeconds} s): set it longer.");
        Check(
            MaxUserNumber < UserId.FirstDirectoryNumber,
            $"max-user-number is {MaxUserNumber}: numbers from 2147483648 up are the directory's; set at most 2147483647.");
        Check(MemoryMegabytes >= 0, $"memory-megabytes is {MemoryMegabytes}: set 0 (half of the memory that the process may use) or more.");
        Check(KnownKeys >= 1024, $"known-keys is {KnownKeys}: set at least 1024.");
        Check(!string.IsNullOrWhiteSpace(DataDirectory), "data is empty: name a folder.");
        Check(SubscriptionLimit is >= 1 and <= 1_000_000, $"subscription-limit is {SubscriptionLimit}: set it from 1 to 1000000.");
        Check(RelationLimit is >= 1 and <= 1_000_000, $"relation-limit is {RelationLimit}: set it from 1 to 1000000.");
        Check(MaxMessagesPerSecond >= 1, $"max-messages-per-second is {MaxMessagesPerSecond}: set at least 1.");
        Check(MaxConnectionsPerUser >= 1, $"max-connections-per-user is {MaxConnectionsPerUser}: set at least 1.");
        Check(MaxConnectionsPerAddress >= 1, $"max-connections-per-address is {MaxConnectionsPerAddress}: set at least 1.");
        Check(DrainSeconds is null or (>= 0 and <= 600), $"drain-seconds is {DrainSeconds}: set it from 0 to 600.");
        Check(ChangesHours is >= 0 and <= 720, $"changes-hours is {ChangesHours}: set it from 1 to 720, or 0 for no feed.");
        Check(ChangesMegabytes is >= 1 and <= 1_000_000, $"changes-megabytes is {ChangesMegabytes}: set it from 1 to 1000000.");
        Check(DemoPeople is >= 0 and <= MaxDemoPeople, $"demo is {DemoPeople}: set it from 0 (nobody) to {MaxDemoPeople}.");
        foreach (var network in WebhooksAllow)
            Check(System.Net.IPNetwork.TryParse(network, out _), $"webhooks-allow has \"{network}\": set networks such as 10.1.0.0/16.");
        foreach (var origin in AllowedOrigins)
            Check(
                IsOrigin(origin),
                $"allowed-origins has \"{origin}\": an origin is a scheme, a host and perhaps a port, "
                + "such as https://chat.example, and nothing after it.");
        Check(
            Definitions.Count <= MaxDefinitions,
            $"{Definitions.Count} definitions: each one in use costs a bit a user; declare at most 16.");
        foreach (var (name, definition) in Definitions)
        {
            Check(IsName(name), $"definition \"{name}\": a name is 1 to 32 lower-case letters, digits, '-' or '_'.");
            Check(
                name != Definition.DefaultName,
                $"definition \"{name}\" is the lease itself and cannot be redefined: set lease-seconds, or choose another name.");
            Check(
                !Enum.GetValues<DeviceKind>().Any(kind => name == Device.NameOf(kind)),
                $"definition \"{name}\" is a kind of device and cannot be redefined: choose another name.");
            Check(
                definition.PulseSeconds is null or (>= 1 and <= 31_536_000),
                $"definition \"{name}\": pulse-seconds is {definition.PulseSeconds}: set it from 1 to 31536000.");
            Check(
                definition.ActivitySeconds is null or (>= 1 and <= 31_536_000),
                $"definition \"{name}\": activity-seconds is {definition.ActivitySeconds}: set it from 1 to 31536000.");
            Check(
                (definition.PulseSeconds ?? LeaseSeconds) >= 2 * LongestIntervalSeconds,
                $"definition \"{name}\": pulse-seconds ({definition.PulseSeconds}) is less than two heartbeat intervals "
                + $"({LongestIntervalSeconds} s each): set at least {2 * LongestIntervalSeconds}.");
        }

        return wrong;

        void Check(bool fine, string otherwise)
        {
            if (!fine)
                wrong.Add(otherwise);
        }
    }

    // app schemes are valid too: capacitor://localhost
    private static bool IsOrigin(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var url)
        && url.Host.Length > 0
        && !url.Host.Contains('*')
        && text.Length == $"{url.Scheme}://".Length + url.Authority.Length;

    private static bool IsName(string name) =>
        name.Length is >= 1 and <= 32 && name.All(static c => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '-' or '_');
}

/// <summary>A definition as an operator writes it.</summary>
public sealed class DefinitionOptions
{
    /// <summary>The greatest age of the last heartbeat; null: the lease.</summary>
    public int? PulseSeconds { get; set; }

    /// <summary>The greatest age of the last reported activity; null: activity does not matter.</summary>
    public int? ActivitySeconds { get; set; }

    /// <summary>Whether a leave ends it at once.</summary>
    public bool EndedByLeave { get; set; } = true;
}
