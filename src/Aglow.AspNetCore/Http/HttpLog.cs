using Microsoft.Extensions.Logging;

namespace Aglow.AspNetCore.Http;

/// <summary>Owns this library's log events: 8xxx.</summary>
internal static partial class HttpLog
{
    /// <summary>The category of these events.</summary>
    public const string Category = "Aglow.Http";

    [LoggerMessage(8001, LogLevel.Error, "{Method} {Route} failed ({TraceId}).")]
    public static partial void Failed(ILogger logger, string method, string route, string traceId, Exception failure);
}
