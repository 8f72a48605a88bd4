using Aglow.AspNetCore.Access;
using Microsoft.AspNetCore.WebUtilities;

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
            if (!query.HasValue || Unknown(query.Value!, known) is not { } unknown)
                return handle(context);
            var instead = known.Length == 0 ? "Send none" : $"Send any of: {string.Join(", ", known)}";
            var problem = Problems.Malformed($"\"{Problems.Shorten(unknown)}\" is not a query parameter of this call. {instead}.");
            return call.Refuse is { } refuse ? refuse(context, problem) : problems.AnswerAsync(context, problem);
        };
    }

    private static string? Unknown(string query, string[] known)
    {
        foreach (var pair in new QueryStringEnumerable(query))
        {
            var name = pair.DecodeName();
            var isKnown = false;
            foreach (var one in known)
                isKnown |= name.Span.SequenceEqual(one);
            if (!isKnown)
                return name.ToString();
        }

        return null;
    }
}
