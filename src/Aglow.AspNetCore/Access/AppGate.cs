using Microsoft.AspNetCore.Authorization;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// Applies <see cref="CallAccess"/> in an application that authenticates its callers. Calls for people need a signed-in caller; calls for
/// backends need the policy <see cref="AglowPolicies.Backend"/>.
/// </summary>
/// <remarks>
/// In a server that takes tokens, <see cref="Gate"/> applies it instead. <c>AllowAnonymous()</c> on the mapped calls opens the calls for
/// people to everybody. It does not change which users a caller may speak for.
/// </remarks>
internal sealed class AppGate(Callers callers, ProblemAnswers problems)
{
    /// <summary>Wraps a call, and refuses callers who may not make it.</summary>
    public RequestDelegate Guard(Call call, RequestDelegate next)
    {
        if (callers.IsOpen || callers.Tokens is not null || call.Access.Scope == Scopes.None)
            return next;
        return context =>
        {
            var check = call.Access.ByPeople && IsLetIn(context)
                ? callers.RequireLiveSignInAsync(context)
                : callers.RequireBackendAsync(context, call.Access.Scope);
            return check.IsCompletedSuccessfully ? next(context) : PassAsync(context, call, check, next);
        };
    }

    private async Task PassAsync(HttpContext context, Call call, ValueTask check, RequestDelegate next)
    {
        try
        {
            await check;
        }
        catch (ProblemException refused)
        {
            var problem = call.Access.ByPeople || refused.Status != StatusCodes.Status403Forbidden
                ? refused
                : Problems.ForBackends(AglowPolicies.Backend);
            await call.AnswerAsync(problems, context, problem);
            return;
        }

        await next(context);
    }

    private static bool IsLetIn(HttpContext context) =>
        context.User.Identity is { IsAuthenticated: true } || context.GetEndpoint()?.Metadata.GetMetadata<IAllowAnonymous>() is not null;
}
