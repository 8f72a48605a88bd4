namespace Aglow.AspNetCore.Http;

/// <summary>Owns this library's log events: 8xxx.</summary>
internal static partial class HttpLog
{
    public const string Category = "Aglow.Http";

    [LoggerMessage(8001, LogLevel.Error, "{Method} {Route} failed ({TraceId}).")]
    public static partial void Failed(ILogger logger, string method, string route, string traceId, Exception failure);

    [LoggerMessage(
        8011, LogLevel.Warning,
        "The application could not check the sign-in of a connection; the server tries again at the next tick.")]
    public static partial void SessionNotChecked(ILogger logger, Exception failure);

    [LoggerMessage(
        8010, LogLevel.Warning,
        "The limit {Kind} refused {Count} times since the last line, most recently {Address}: {Detail} Logged at most once a minute.")]
    public static partial void LimitRefused(ILogger logger, string kind, long count, string address, string detail);

    [LoggerMessage(8012, LogLevel.Error, "Changes could not be pushed to {Hub}; the push goes on from the newest.")]
    public static partial void PushFailed(ILogger logger, string hub, Exception failure);

    [LoggerMessage(8101, LogLevel.Error, "A handler of changes failed; it gets the same change again.")]
    public static partial void HandlerFailed(ILogger logger, Exception failure);
}
