using Microsoft.Extensions.Logging;

namespace Aglow.AspNetCore.Http;

/// <summary>Owns this library's log events: 8xxx.</summary>
internal static partial class HttpLog
{
    /// <summary>The category of these events.</summary>
    public const string Category = "Aglow.Http";

    [LoggerMessage(8001, LogLevel.Error, "{Method} {Route} failed ({TraceId}).")]
    public static partial void Failed(ILogger logger, string method, string route, string traceId, Exception failure);

    [LoggerMessage(8011, LogLevel.Warning, "The application could not check the sign-in behind a connection; it is asked again at the next tick.")]
    public static partial void SessionNotChecked(ILogger logger, Exception failure);

    [LoggerMessage(8010, LogLevel.Warning, "The limit {Kind} refused {Count} times since it was last said, last of {Address}: {Detail} This is said once a minute at most.")]
    public static partial void LimitBites(ILogger logger, string kind, long count, string address, string detail);
}
