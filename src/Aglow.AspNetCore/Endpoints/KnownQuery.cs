using Aglow.AspNetCore.Access;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// Refuses query parameters that a call does not have, so that none is ignored silently. For a request without a query, this costs one
/// comparison.
/// </summary>
internal static class KnownQuery
{
    /// <summary>Wraps the handler of a call with a check of the query.</summary>
    public static RequestDelegate Guard(Call call, ProblemAnswers problems)
    {
        string[] known = [.. call.Query.Select(static parameter => parameter.Name)];
        var handle = call.Handle;
        return context =>
        {
            var query = context.Request.QueryString;
            if (!query.HasValue || Asked.Unknown(query.Value!, known) is not { } problem)
                return handle(context);
            return call.Refuse is { } refuse ? refuse(context, problem) : problems.AnswerAsync(context, problem);
        };
    }
}
