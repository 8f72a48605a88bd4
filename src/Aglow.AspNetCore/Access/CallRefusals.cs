using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Authorization.Policy;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// Answers for the application's authorization when it refuses one of Aglow's calls, because of <c>RequireAuthorization()</c> or a fallback
/// policy. Clients get the problem document or the close code that <see cref="AppGate"/> sends, and so learn that the refusal is final.
/// </summary>
/// <remarks>
/// A scheme for cookies would redirect to a page for people, and no client could tell that from a proxy's answer. Every other endpoint of
/// the application is answered by the handler that was there before.
/// </remarks>
internal sealed class CallRefusals(ProblemAnswers problems, CrossOrigin crossOrigin, IAuthorizationMiddlewareResultHandler others)
    : IAuthorizationMiddlewareResultHandler
{
    public Task HandleAsync(
        RequestDelegate next, HttpContext context, AuthorizationPolicy policy, PolicyAuthorizationResult authorizeResult)
    {
        if (authorizeResult.Succeeded || context.GetEndpoint()?.Metadata.GetMetadata<Call>() is not { } call)
            return others.HandleAsync(next, context, policy, authorizeResult);
        var problem = authorizeResult.Challenged ? Problems.NotAuthenticated() : Problems.NotAuthorized();
        return crossOrigin.Share(refused => call.AnswerAsync(problems, refused, problem))(context);
    }
}
