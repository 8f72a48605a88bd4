using Aglow.AspNetCore.Endpoints;
using Aglow.AspNetCore.Http;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// The table of calls (<see cref="CallAccess"/>) in an application that authenticates its callers: calls for people take somebody who is
/// signed in, calls for backends take the policy <see cref="AglowPolicies.Backend"/>.
/// </summary>
/// <remarks>
/// A server that takes tokens applies the table itself (<see cref="Gate"/>). <c>AllowAnonymous()</c> on the mapped calls opens those for
/// people; whom a caller may speak for stays as it is.
/// </remarks>
internal sealed class AppGate(Callers callers, ProblemAnswers problems)
{
    /// <summary>A call behind the table.</summary>
    public RequestDelegate Guard(Call call, RequestDelegate next)
    {
        if (callers.IsOpen || callers.Tokens is not null || call.Access.Scope == Scopes.None)
            return next;
        return context => call.Access.ByPeople && IsLetIn(context) ? next(context) : RequireBackendAsync(context, call, next);
    }

    private static bool IsLetIn(HttpContext context) =>
        context.User.Identity is { IsAuthenticated: true } || context.GetEndpoint()?.Metadata.GetMetadata<IAllowAnonymous>() is not null;

    private async Task RequireBackendAsync(HttpContext context, Call call, RequestDelegate next)
    {
        try
        {
            await callers.RequireBackendAsync(context, call.Access.Scope);
        }
        catch (ProblemException refused)
        {
            var problem = call.Access.ByPeople || refused.Status != StatusCodes.Status403Forbidden ? refused : Problems.ForBackends();
            await (call.Refuse is { } refuse ? refuse(context, problem) : problems.AnswerAsync(context, problem));
            return;
        }

        await next(context);
    }
}
