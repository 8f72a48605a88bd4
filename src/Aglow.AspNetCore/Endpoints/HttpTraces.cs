using System.Diagnostics;
using Aglow.AspNetCore.Access;
using Aglow.Diagnostics;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// Makes a span for each call, by OpenTelemetry's conventions for HTTP servers. Heartbeats, probes and streams have none.
/// </summary>
/// <remarks>
/// Rejected: the framework's own spans. They exist for all requests or none, and contain the path, which contains the user.
/// </remarks>
internal static class HttpTraces
{
    /// <summary>Wraps the handler of a call in a span, if the call has one.</summary>
    public static RequestDelegate Handle(Call call, RequestDelegate handle) =>
        call.Path is Routes.Heartbeat or Routes.StatusUpdate or Routes.Watch or Routes.Socket or Routes.Live or Routes.Ready
            or Routes.Metrics
            ? handle
            : context => AglowTraces.Source.HasListeners() ? HandleAsync(call, handle, context) : handle(context);

    private static async Task HandleAsync(Call call, RequestDelegate handle, HttpContext context)
    {
        var headers = context.Request.Headers;
        _ = ActivityContext.TryParse(headers.TraceParent, headers.TraceState, isRemote: true, out var caller);
        using var span = AglowTraces.Source.StartActivity($"{call.Method} {call.Path}", ActivityKind.Server, caller);
        await handle(context);
        if (span is null)
            return;
        var status = context.Response.StatusCode;
        span.SetTag("http.request.method", call.Method);
        span.SetTag("http.route", call.Path);
        span.SetTag("http.response.status_code", status);
        if (status >= StatusCodes.Status500InternalServerError)
            span.SetStatus(ActivityStatusCode.Error);
    }
}
