using Microsoft.Extensions.Logging;

namespace Aglow.Server;

/// <summary>The one owner of the server's log events: 9xxx.</summary>
internal static partial class ServerLog
{
    [LoggerMessage(9001, LogLevel.Information, "Ready on {Urls}: data in {Where}, lease {LeaseSeconds} s, a heartbeat every {HeartbeatSeconds} s.")]
    public static partial void Ready(ILogger logger, string urls, string where, int leaseSeconds, int heartbeatSeconds);

    [LoggerMessage(9002, LogLevel.Warning, "OPEN TO THE NETWORK: {Url} is reachable from other machines, and in open mode anyone who reaches it may speak for anyone. Listen on 127.0.0.1, or put a gateway that authenticates before it.")]
    public static partial void Open(ILogger logger, string url);

    [LoggerMessage(9003, LogLevel.Warning, "{Warning}")]
    public static partial void Warn(ILogger logger, string warning);

    [LoggerMessage(9004, LogLevel.Information, "Stopped; everything is written.")]
    public static partial void Stopped(ILogger logger);
}
