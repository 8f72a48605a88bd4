using Aglow.AspNetCore.Access;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// Maps calls, and answers every other method on their paths with 405, Allow and a problem document.
/// </summary>
/// <remarks>
/// The framework's own 405 and 404 have no body. Rejected alternative: a middleware that adds one, which every request would pass. An
/// endpoint for "any other method" on a path costs the calls of that path nothing.
/// </remarks>
internal static class Calls
{
    public static void MapCalls(this IEndpointRouteBuilder routes, Gate gate, params ReadOnlySpan<Call> calls)
    {
        var services = routes.ServiceProvider;
        var (crossOrigin, app) = (services.GetRequiredService<CrossOrigin>(), services.GetRequiredService<AppGate>());
        var problems = services.GetRequiredService<ProblemAnswers>();
        var methods = new Dictionary<string, List<string>>(StringComparer.Ordinal);
        foreach (var given in calls)
        {
            var call = given.AnswersFailures ? given : given with { Handle = gate.AnswerFailures(given.Handle) };
            if (call.Path.Contains($"{{{Routes.UserParameter}}}/", StringComparison.Ordinal))
                call = call with { Query = [.. call.Query, QueryParameter.UserOfPath] };
            string[] reached = call.Method != HttpMethods.Get ? [call.Method]
                // a WebSocket over HTTP/2 (RFC 8441) is a CONNECT
                : call.Path == Routes.Socket ? [HttpMethods.Get, HttpMethods.Head, HttpMethods.Connect]
                : [HttpMethods.Get, HttpMethods.Head];
            var guarded = gate.Guard(call with { Handle = Strictness.Guard(call, gate, problems) });
            routes.MapMethods(call.Path, reached, HttpTraces.Handle(call, crossOrigin.Guard(call, app.Guard(call, guarded))))
                .WithMetadata(call, gate)
                .WithDisplayName(call.Name);
            if (!methods.TryGetValue(call.Path, out var allowed))
                methods[call.Path] = allowed = [];
            allowed.AddRange(reached);
        }

        foreach (var (path, allowed) in methods)
        {
            // GET /status/update is the status of the user "update", so the path /status/{user} answers other methods
            if (path == Routes.StatusUpdate)
                continue;
            var allow = string.Join(", ", allowed);
            var notAllowed = crossOrigin.Share(gate.Guard(context => NotAllowed(context, allow)));
            routes.Map(path, notAllowed).WithDisplayName($"other methods on {path}");
            crossOrigin.MapPreflight(routes, path, notAllowed);
        }
    }

    private static Task NotAllowed(HttpContext context, string allow)
    {
        context.Response.Headers.Allow = allow;
        return ProblemAnswers.SendAsync(
            context,
            StatusCodes.Status405MethodNotAllowed,
            "Method not allowed",
            $"{Problems.Shorten(context.Request.Method)} is not a call on this path. Use one of: {allow}.");
    }
}
