using System.Security.Claims;
using System.Text;
using Aglow.AspNetCore.Endpoints;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Http;
using Aglow.Model;
using Aglow.Queries;
using Aglow.Users;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Aglow.AspNetCore.Access;

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
///   the server takes tokens (CredentialCheck)     a person speaks for themself; a key by its scopes; who has neither is refused before they come here (Gate)
///   the application authenticates (AddAuthentication)   a caller speaks for themself; nobody for who is not signed in; a backend for all
///   open mode, where it is asked for by name      anyone speaks for anyone
/// </code>
/// In an application the user is the caller's name identifier (<see cref="ClaimTypes.NameIdentifier"/>, or <c>sub</c>), or else their name. Who may make a call at all is decided before
/// (<see cref="AppGate"/>).
/// </remarks>
internal sealed class Callers(PresenceHost host, KnownCallers? tokens, bool isOpen)
{
    /// <summary>Whether anyone speaks for anyone.</summary>
    public bool IsOpen => isOpen;

    /// <summary>Those whose tokens were checked; null where none are taken.</summary>
    public KnownCallers? Tokens => tokens;

    /// <summary>The user that a request is authenticated as; null for nobody, and for a backend.</summary>
    public UserId? Of(HttpContext context)
    {
        if (tokens is not null)
            return Current(context)?.User;
        return Of(context.User);
    }

    /// <summary>The user that somebody is who signed in to the application; null for nobody.</summary>
    public static UserId? Of(ClaimsPrincipal? principal)
    {
        if (principal?.Identity is not { IsAuthenticated: true } identity)
            return null;
        var text = principal.FindFirstValue(ClaimTypes.NameIdentifier) ?? principal.FindFirstValue("sub") ?? identity.Name;
        return UserId.TryParse(text, out var user) ? user : null;
    }

    /// <summary>Whose token came with a request; null for nobody's, and where none are taken.</summary>
    public static Caller? Current(HttpContext context) => context.Features.Get<Caller>();

    /// <summary>How long the application's sign-in behind this request may last; null: there is none, or it is not the application's.</summary>
    public Func<TimeSpan>? SessionOf(HttpContext context) =>
        !isOpen && tokens is null && AppSession.Of(context, host.Presence.Clock.Time) is { } session ? session.Left : null;

    /// <summary>The user that a request is authenticated as, or the problem that there is none.</summary>
    public UserId Require(HttpContext context) =>
        Of(context) ?? throw (isOpen ? Problems.WhoIsMissing() : Current(context) is not null ? Problems.UserMissing() : Problems.NotAuthenticated());

    /// <summary>
    /// The usual heartbeat, without waiting: whether this caller may surely speak for this number. False: ask <see cref="RequireAsync(HttpContext, UserId, Scopes)"/>.
    /// </summary>
    public bool MaySurelyHeartbeat(HttpContext context, uint user) =>
        isOpen || (tokens is not null && Current(context) is { } caller && (TryFind(caller, out var self) ? self == user : (caller.Scopes & Scopes.Heartbeat) != Scopes.None));

    /// <summary>The number of the person who calls, where a token says it and no directory need be asked.</summary>
    public bool TryFindSelf(HttpContext context, out uint number)
    {
        number = UserId.Nobody;
        return tokens is not null && Current(context) is { } caller && TryFind(caller, out number);
    }

    private bool TryFind(Caller caller, out uint number)
    {
        number = caller.Index;
        if (number != UserId.Nobody)
            return true;
        if (caller.Key.Length == 0 || !host.Presence.TryFindKnown(caller.Key, out number))
            return false;
        caller.Index = number;
        return true;
    }

    /// <summary>
    /// Refuses a person whose token was revoked (401) or who is disabled (403). Costs the comparison of two integers while no account changes.
    /// </summary>
    public ValueTask RequireLiveAsync(Caller? caller)
    {
        var version = host.Presence.Accounts.Version;
        return caller is null || caller.IsCheckedAt(version) ? default : CheckAsync(caller, version);
    }

    private async ValueTask CheckAsync(Caller caller, int version)
    {
        if (caller.User is { } user)
            RequireLive(host.Presence.Accounts.Of(await host.Presence.FindAsync(user)), caller);
        caller.CheckedAt(version);
    }

    /// <summary>The same for an account that is known; without a token, only for one that is disabled.</summary>
    public static void RequireLive(Account account, Caller? caller)
    {
        if (account.IsDisabled)
            throw Problems.UserDisabled();
        if (caller?.User is not null && account.Revokes(caller.IssuedAt))
            throw Problems.TokenRevoked();
    }

    /// <summary>Refuses who may not speak for this user.</summary>
    public async ValueTask RequireAsync(HttpContext context, UserId user, Scopes scope)
    {
        if (isOpen || Of(context) == user || await IsBackendAsync(context, scope))
            return;
        throw Refusal(context, scope);
    }

    /// <summary>Refuses who may not speak for all of these users.</summary>
    public async ValueTask RequireAsync(HttpContext context, UserBatch users, Scopes scope)
    {
        if (isOpen || AreAll(context, users) || await IsBackendAsync(context, scope))
            return;
        throw Refusal(context, scope);
    }

    /// <summary>Refuses who may not speak for all users.</summary>
    public async ValueTask RequireBackendAsync(HttpContext context, Scopes scope)
    {
        if (!isOpen && !await IsBackendAsync(context, scope))
            throw Refusal(context, scope);
    }

    /// <summary>Whether what only a user themself (or a backend) is shown is shown to this caller.</summary>
    public async ValueTask<bool> MaySeeAllOfAsync(HttpContext context, UserId user) =>
        isOpen || Of(context) == user || await IsBackendAsync(context, Scopes.Users);

    /// <summary>
    /// Presence as this caller may see it: a person with their own eyes; a backend, and anyone in open mode, with those of the user it names in <c>?viewer=</c>, or else a stranger's.
    /// </summary>
    public async ValueTask<PresenceView> ViewAsync(HttpContext context)
    {
        // nearly always nobody hides anything, and then it does not matter who looks
        var named = Asked.Text(context, Routes.ViewerQuery);
        if (named is null && host.Presence.Visibilities.IsEmpty)
            return host.Presence.As(UserId.Nobody);
        return host.Presence.As(await ViewerAsync(context, named));
    }

    /// <summary>Who looks, also while nobody hides anything yet: for what stays open.</summary>
    public ValueTask<uint> ViewerAsync(HttpContext context) => ViewerAsync(context, Asked.Text(context, Routes.ViewerQuery));

    private async ValueTask<uint> ViewerAsync(HttpContext context, string? named)
    {
        if (named is null)
            return Of(context) is { } self ? await host.Presence.FindAsync(self) : UserId.Nobody;
        if (!UserId.TryParse(named, out var viewer))
            throw Problems.Malformed($"viewer is \"{Problems.Shorten(named)}\", which is not a user: {Problems.AUser}.");
        await RequireAsync(context, viewer, Scopes.Read);
        return await host.Presence.FindAsync(viewer);
    }

    // By their IDs, which asks no directory: a refusal takes as long for somebody whom this node knows as for anybody else.
    private bool AreAll(HttpContext context, UserBatch users)
    {
        if (Of(context) is not { } caller)
            return false;
        ReadOnlySpan<byte> key = caller.Key is { } text ? Encoding.UTF8.GetBytes(text) : [];
        for (var i = 0; i < users.Count; i++)
        {
            if (caller.Key is null ? users.Numbers.Span[i] != caller.Number : !users.Text(i).SequenceEqual(key))
                return false;
        }

        return true;
    }

    private async ValueTask<bool> IsBackendAsync(HttpContext context, Scopes scope)
    {
        if (tokens is not null)
            return Current(context) is { } caller && (caller.Scopes & scope) == scope;
        var services = context.RequestServices;
        return services.GetService<IAuthorizationPolicyProvider>() is { } policies
            && await policies.GetPolicyAsync(AglowPolicies.Backend) is { } policy
            && (await services.GetRequiredService<IAuthorizationService>().AuthorizeAsync(context.User, policy)).Succeeded;
    }

    private ProblemException Refusal(HttpContext context, Scopes scope) => Current(context) switch
    {
        { User: null } => Problems.ScopeMissing(scope),
        not null => Problems.NotYours(),
        null when tokens is not null => Problems.TokenMissing(),
        null => context.User.Identity is { IsAuthenticated: true } ? Problems.NotYours() : Problems.NotAuthenticated(),
    };
}
