using Microsoft.Extensions.Logging;

namespace Aglow.Postgres;

/// <summary>The one owner of this library's log events: 7xxx.</summary>
internal sealed partial class PostgresLog(ILogger logger)
{
    [LoggerMessage(7001, LogLevel.Information, "PostgreSQL {Version} at {Where}: {Users} IDs have an index.")]
    internal partial void Connected(string version, string where, long users);

    [LoggerMessage(7002, LogLevel.Information, "The directory in {Where} was brought to version {Version}.")]
    internal partial void Migrated(string where, int version);

    [LoggerMessage(7003, LogLevel.Error, "{Reason} Users this node knows go on; calls that need the directory get 503, and it is tried again every second.")]
    internal partial void Away(string reason);

    [LoggerMessage(7004, LogLevel.Warning, "PostgreSQL at {Where} is back after {Seconds:0.0} s.")]
    internal partial void Back(string where, double seconds);

    [LoggerMessage(7005, LogLevel.Warning, "What other nodes change is not heard at once ({Reason}); it is read every 10 s until it is.")]
    internal partial void NotHeard(string reason);

    [LoggerMessage(7006, LogLevel.Information, "What other nodes change is heard at once again.")]
    internal partial void HeardAgain();
}
