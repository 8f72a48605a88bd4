using Microsoft.Extensions.Logging;

namespace Aglow.AspNetCore.Http;

/// <summary>The one owner of this library's log events: 8xxx.</summary>
internal static partial class HttpLog
{
    /// <summary>The category that they are logged under.</summary>
    public const string Category = "Aglow.Http";

    [LoggerMessage(8001, LogLevel.Error, "{Method} {Route} failed ({TraceId}).")]
    public static partial void Failed(ILogger logger, string method, string route, string traceId, Exception failure);

    [LoggerMessage(8002, LogLevel.Warning,
        "There are descriptors for {Most} connections, and no more. For each new one the oldest that has not sent a whole request is closed; where there is none, the new one. Raise the limit of open files (ulimit -n, LimitNOFILE).")]
    public static partial void NoRoom(ILogger logger, int most);
}
