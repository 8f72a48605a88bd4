namespace Aglow.Server;

/// <summary>Owns the server's log events: 9xxx.</summary>
internal static partial class ServerLog
{
    [LoggerMessage(
        9001, LogLevel.Information,
        "Ready on {Urls}: data in {Where}, lease {LeaseSeconds} s, a heartbeat every {HeartbeatSeconds} s.")]
    public static partial void Ready(ILogger logger, string urls, string where, int leaseSeconds, int heartbeatSeconds);

    [LoggerMessage(
        9002, LogLevel.Warning,
        "OPEN TO THE NETWORK: {Url} is reachable from other machines, and in open mode any caller may act for any user. "
            + "--allow-open allows this: use it only behind a gateway that authenticates callers.")]
    public static partial void Open(ILogger logger, string url);

    [LoggerMessage(9003, LogLevel.Warning, "{Warning}")]
    public static partial void Warn(ILogger logger, string warning);

    [LoggerMessage(9005, LogLevel.Warning, "The issuer's keys cannot be read from {Address}: {Why}.")]
    public static partial void IssuerAway(ILogger logger, string address, string why);

    [LoggerMessage(9006, LogLevel.Information, "People sign in with tokens of {Issuer}; {Keys} keys of backends are in {Path}.")]
    public static partial void Tokens(ILogger logger, string issuer, int keys, string path);

    [LoggerMessage(9011, LogLevel.Information, "No people can sign in; {Keys} keys of backends are in {Path}.")]
    public static partial void KeysOnly(ILogger logger, int keys, string path);

    [LoggerMessage(9004, LogLevel.Information, "Stopped; everything is written.")]
    public static partial void Stopped(ILogger logger);

    [LoggerMessage(9007, LogLevel.Information, "Metrics and traces are sent to {Where}.")]
    public static partial void TelemetryIsOn(ILogger logger, string where);

    [LoggerMessage(
        9008, LogLevel.Warning, "Metrics or traces could not be sent, and are lost: {Reason} Logged at most once a minute.")]
    public static partial void TelemetryNotSent(ILogger logger, string reason);

    [LoggerMessage(9010, LogLevel.Warning, "keys.json is not used: {Reason} The {Count} keys that were valid before stay valid.")]
    public static partial void KeysKept(ILogger logger, int count, string reason);

    [LoggerMessage(9009, LogLevel.Warning, "{Count} log lines that requests caused were left out: at most ten a minute are written.")]
    public static partial void Suppressed(ILogger logger, int count);
}
