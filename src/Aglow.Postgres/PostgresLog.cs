using Microsoft.Extensions.Logging;

namespace Aglow.Postgres;

/// <summary>Owns this library's log events: 7xxx.</summary>
internal sealed partial class PostgresLog(ILogger logger)
{
    [LoggerMessage(7001, LogLevel.Information, "PostgreSQL {Version} at {Where}: {Users} IDs have an index.")]
    internal partial void Connected(string version, string where, long users);

    [LoggerMessage(7002, LogLevel.Information, "The directory in {Where} was upgraded to version {Version}.")]
    internal partial void Migrated(string where, int version);

    [LoggerMessage(7003, LogLevel.Error,
        "{Reason} Presence of users that this node knows goes on. Calls that need the directory get 503. The node retries every second.")]
    internal partial void Away(string reason);

    [LoggerMessage(7004, LogLevel.Warning, "PostgreSQL at {Where} is back after {Seconds:0.0} s.")]
    internal partial void Back(string where, double seconds);

    [LoggerMessage(7005, LogLevel.Warning,
        "Changes of other nodes do not arrive at once ({Reason}). They are read every 10 s meanwhile.")]
    internal partial void NotHeard(string reason);

    [LoggerMessage(7006, LogLevel.Information, "Changes of other nodes arrive at once again.")]
    internal partial void HeardAgain();
}
