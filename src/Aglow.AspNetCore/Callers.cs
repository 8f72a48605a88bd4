using System.Security.Claims;
using System.Text;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Aglow.AspNetCore;

/// <summary>Names of authorization policies that an application may declare for Aglow.</summary>
public static class AglowPolicies
{
    /// <summary>
    /// Who meets this one may speak for any user: gateways that heartbeat for many, operators. Where no policy of this name is declared, nobody may.
    /// </summary>
    public const string Backend = "Aglow.Backend";
}

/// <summary>
/// Who calls, and for whom they may speak: the one place that says so.
/// </summary>
/// <remarks>
/// <code>
///   the application has no authentication    open mode: anyone speaks for anyone
///   it has (AddAuthentication)               a caller speaks for themself; nobody for who is not signed in; a backend for all
/// </code>
/// The user is the caller's name identifier (<see cref="ClaimTypes.NameIdentifier"/>, or <c>sub</c>), or else their name. Reading statuses is not restricted here: for that there
/// is <c>RequireAuthorization()</c> on the mapped calls.
/// </remarks>
internal sealed class Callers(PresenceHost host, bool isOpen)
{
    /// <summary>Whether anyone speaks for anyone.</summary>
    public bool IsOpen => isOpen;

    /// <summary>The user that a request is authenticated as; null for nobody.</summary>
    public static UserId? Of(HttpContext context)
    {
        if (context.User.Identity is not { IsAuthenticated: true } identity)
            return null;
        var text = context.User.FindFirstValue(ClaimTypes.NameIdentifier) ?? context.User.FindFirstValue("sub") ?? identity.Name;
        return UserId.TryParse(text, out var user) ? user : null;
    }

    /// <summary>The user that a request is authenticated as, or the problem that there is none.</summary>
    public UserId Require(HttpContext context) => Of(context) ?? throw (isOpen ? Problems.WhoIsMissing() : Problems.NotAuthenticated());

    /// <summary>Refuses who may not speak for this user.</summary>
    public async ValueTask RequireAsync(HttpContext context, UserId user)
    {
        if (isOpen || await IsAsync(context, user) || await IsBackendAsync(context))
            return;
        throw Refusal(context);
    }

    /// <summary>Refuses who may not speak for all of these users.</summary>
    public async ValueTask RequireAsync(HttpContext context, UserBatch users)
    {
        if (isOpen || await AreAsync(context, users) || await IsBackendAsync(context))
            return;
        throw Refusal(context);
    }

    /// <summary>Refuses who may not speak for all users.</summary>
    public async ValueTask RequireBackendAsync(HttpContext context)
    {
        if (!isOpen && !await IsBackendAsync(context))
            throw Refusal(context);
    }

    /// <summary>Whether what only a user themself (or a backend) is shown is shown to this caller.</summary>
    public async ValueTask<bool> MaySeeAllOfAsync(HttpContext context, UserId user) =>
        isOpen || await IsAsync(context, user) || await IsBackendAsync(context);

    private async ValueTask<bool> IsAsync(HttpContext context, UserId user)
    {
        if (Of(context) is not { } caller)
            return false;
        if (caller == user)
            return true;
        var number = await host.Presence.FindAsync(caller);
        return number != UserId.Nobody && number == await host.Presence.FindAsync(user);
    }

    private async ValueTask<bool> AreAsync(HttpContext context, UserBatch users)
    {
        if (Of(context) is not { } caller)
            return false;
        var number = await host.Presence.FindAsync(caller);
        await host.Presence.FindAsync(users);
        var key = Encoding.UTF8.GetBytes(caller.Key ?? "");
        for (var i = 0; i < users.Count; i++)
        {
            var asked = users.Numbers.Span[i];
            // a key that nobody registered yet has no number to go by
            if (asked == UserId.Nobody ? key.Length == 0 || !users.Text(i).SequenceEqual(key) : asked != number)
                return false;
        }

        return true;
    }

    private static async ValueTask<bool> IsBackendAsync(HttpContext context)
    {
        var services = context.RequestServices;
        return services.GetService<IAuthorizationPolicyProvider>() is { } policies
            && await policies.GetPolicyAsync(AglowPolicies.Backend) is { } policy
            && (await services.GetRequiredService<IAuthorizationService>().AuthorizeAsync(context.User, policy)).Succeeded;
    }

    private static ProblemException Refusal(HttpContext context) =>
        context.User.Identity is { IsAuthenticated: true } ? Problems.NotYours() : Problems.NotAuthenticated();
}
