using Microsoft.Extensions.Logging;

namespace Aglow.Redis.Connections;

/// <summary>The single owner of this library's log events: 6xxx.</summary>
internal sealed partial class RedisLog(ILogger logger)
{
    [LoggerMessage(6001, LogLevel.Information, "Redis {Version} at {Servers}: {Primaries} primaries.")]
    internal partial void Connected(string version, string servers, int primaries);

    [LoggerMessage(6002, LogLevel.Error,
        "Redis at {Server} is away ({Reason}). Renewals wait in memory, arrivals and reads get 503 after {Seconds:0} s; "
        + "the node tries again until it is back.")]
    internal partial void Away(string server, string reason, double seconds);

    [LoggerMessage(6003, LogLevel.Warning, "Redis at {Server} is back after {Seconds:0.0} s.")]
    internal partial void Back(string server, double seconds);

    [LoggerMessage(6004, LogLevel.Warning,
        "The shard of {Before} moved to {After}. It took no writes for {Seconds:0.0} s, so expired leases on it are held back for "
        + "two heartbeat intervals.")]
    internal partial void FailedOver(string before, string after, double seconds);

    [LoggerMessage(6005, LogLevel.Information, "The cluster's slots are served by {Servers} now.")]
    internal partial void MapChanged(string servers);

    [LoggerMessage(6006, LogLevel.Warning,
        "This machine's clock is {Seconds:0.0} s off the clock of Redis, which all nodes use: correct it.")]
    internal partial void Skewed(double seconds);

    [LoggerMessage(6007, LogLevel.Warning,
        "Hints of other nodes are not received ({Reason}); meanwhile, sweeps find changes within their interval.")]
    internal partial void HintsLost(string reason);

    [LoggerMessage(6008, LogLevel.Information, "Hints of other nodes are received again.")]
    internal partial void HintsHeard();

    [LoggerMessage(6010, LogLevel.Error,
        "Redis at {Server} refuses writes ({Reason}). Renewals wait in memory, users who come online get 503, and "
        + "expired leases are held back; reads go on.")]
    internal partial void RefusesWrites(string server, string reason);

    [LoggerMessage(6018, LogLevel.Warning, "{Count} hints were not sent to other nodes ({Reason}); they find these changes within 10 s.")]
    internal partial void HintsDropped(long count, string reason);

    [LoggerMessage(6009, LogLevel.Warning, "No server of the cluster said which server has which slots ({Reason}); the node asks again.")]
    internal partial void MapUnknown(string reason);

    [LoggerMessage(6020, LogLevel.Warning,
        "Redis cannot keep a feed of changes ({Reason}): it needs streams and scripts. GET /changes and webhooks answer 501.")]
    internal partial void KeepsNoFeed(string reason);

    [LoggerMessage(6021, LogLevel.Warning,
        "The user directory is older than the words in Redis, by up to {Count} users. These users are unknown now, and nobody who "
        + "registers gets their words.")]
    internal partial void DirectoryOlder(uint count);

    [LoggerMessage(6011, LogLevel.Warning,
        "Changed for all nodes that share this Redis: {Before} is {Now} now. Restart the other nodes with it.")]
    internal partial void SettingsChanged(string before, string now);

    [LoggerMessage(6012, LogLevel.Error,
        "Other nodes that share this Redis have {Theirs}, and this node has {Mine}: they show users differently. "
        + "Restart this node with their settings.")]
    internal partial void SettingsDiffer(string theirs, string mine);

    [LoggerMessage(6013, LogLevel.Information, "Other nodes that share this Redis have the settings of this node again.")]
    internal partial void SettingsAgree();

    [LoggerMessage(6014, LogLevel.Error,
        "Redis deletes online users when its memory is full: set maxmemory-policy noeviction at {Servers}.")]
    internal partial void Evicts(string servers);

    [LoggerMessage(6015, LogLevel.Information, "No Redis server deletes users when its memory is full.")]
    internal partial void EvictsNoMore();

    [LoggerMessage(6016, LogLevel.Warning,
        "Redis at {Server} has no replica in step: it acknowledges leaves alone, and its failure may undo some of them.")]
    internal partial void NoReplica(string server);

    [LoggerMessage(6017, LogLevel.Information, "Redis at {Server} has a replica in step: leaves wait for it.")]
    internal partial void Replica(string server);
}
