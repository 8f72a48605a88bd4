using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// Refuses query parameters that a call does not have, and a body for a call that takes none, so that nothing is ignored silently. An empty
/// object is no body. For a request without them, this costs two comparisons.
/// </summary>
internal static class Strictness
{
    /// <summary>Wraps the handler of a call with these checks.</summary>
    public static RequestDelegate Guard(Call call, Gate gate, ProblemAnswers problems)
    {
        string[] known = [.. call.Query.Select(static parameter => parameter.Name)];
        var handle = GuardBody(call, gate);
        return context =>
        {
            var query = context.Request.QueryString;
            if (!query.HasValue || RequestParameters.Unknown(query.Value!, known) is not { } problem)
                return handle(context);
            return call.AnswerAsync(problems, context, problem);
        };
    }

    private static RequestDelegate GuardBody(Call call, Gate gate)
    {
        var handle = call.Handle;
        // the handshake of a socket has rules of its own
        if (call.Bodies.Count > 0 || call.Path == Routes.Socket)
            return handle;
        // a page of another origin may send an empty form, so its content type is checked; on a read it does no harm
        var isRead = call.Method == HttpMethods.Get;
        var checkedFirst = gate.AnswerFailures(async context =>
        {
            await RequestBodies.RequireNothingAsync(context);
            await handle(context);
        });
        return context => RequestBodies.IsEmpty(context.Request) && (isRead || context.Request.ContentType is null)
            ? handle(context)
            : checkedFirst(context);
    }
}
