using Microsoft.Extensions.Logging;

namespace Aglow.AspNetCore;

/// <summary>The one owner of this library's log events: 8xxx.</summary>
internal static partial class HttpLog
{
    [LoggerMessage(8001, LogLevel.Error, "{Method} {Route} failed ({TraceId}).")]
    public static partial void Failed(ILogger logger, string method, string route, string traceId, Exception failure);
}
