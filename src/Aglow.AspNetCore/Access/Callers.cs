using System.Security.Claims;
using System.Text;
using Aglow.Queries;
using Aglow.Users;
using Microsoft.AspNetCore.Authorization;

namespace Aglow.AspNetCore.Access;

/// <summary>Names of authorization policies that an application may declare for Aglow.</summary>
public static class AglowPolicies
{
    /// <summary>
    /// A caller who meets this policy may speak for any user: gateways that send heartbeats for many users, and operators. If the
    /// application does not declare it, no caller may.
    /// </summary>
    public const string Backend = "Aglow.Backend";
}

/// <summary>
/// Identifies the caller of a request, and decides which users the caller may speak for. No other code decides this.
/// </summary>
/// <remarks>
/// <code>
///   the server takes tokens (CredentialCheck)           a person speaks for themself, a key as its scopes allow;
///                                                       Gate refuses a caller without a token or key before this
///   the application authenticates (AddAuthentication)   a signed-in caller speaks for themself; a backend for all
///   open mode (must be set explicitly)                  anyone speaks for anyone
/// </code>
/// In an application, the user is the caller's name identifier (<see cref="ClaimTypes.NameIdentifier"/>, or <c>sub</c>), or else their
/// name. <see cref="AppGate"/> has already decided whether the caller may make the call at all.
/// </remarks>
internal sealed class Callers(Func<PresenceService> presence, KnownCallers? tokens, bool isOpen)
{
    private PresenceService Presence => presence();

    public bool IsOpen => isOpen;

    /// <summary>The callers whose tokens were checked; null if the server takes no tokens.</summary>
    public KnownCallers? Tokens => tokens;

    /// <summary>The user that a request is authenticated as; null if there is none, and for a backend.</summary>
    public UserId? Of(HttpContext context)
    {
        if (tokens is not null)
            return Current(context)?.User;
        return Of(context.User);
    }

    /// <summary>The user of a principal that signed in to the application; null if nobody signed in.</summary>
    public static UserId? Of(ClaimsPrincipal? principal)
    {
        if (principal?.Identity is not { IsAuthenticated: true } identity)
            return null;
        var text = principal.FindFirstValue(ClaimTypes.NameIdentifier) ?? principal.FindFirstValue("sub") ?? identity.Name;
        return UserId.TryParse(text, out var user) ? user : null;
    }

    /// <summary>The caller whose token came with a request; null if there is no token, or the server takes none.</summary>
    public static Caller? Current(HttpContext context) => context.Features.Get<Caller>();

    /// <summary>The application's sign-in behind this request; null: the application did not authenticate it.</summary>
    public AppSession? SessionOf(HttpContext context) =>
        !isOpen && tokens is null ? AppSession.Of(context, Presence.Clock.Time) : null;

    /// <summary>The user that a request is authenticated as; throws a problem if there is none.</summary>
    public UserId Require(HttpContext context) =>
        Of(context) ?? throw (isOpen ? Problems.WhoIsMissing()
            : Current(context) is not null ? Problems.UserMissing()
            : Problems.NotAuthenticated());

    /// <summary>
    /// For the usual heartbeat: whether it is certain, without waiting, that the caller may speak for this number. False: ask
    /// <see cref="RequireAsync(HttpContext, UserId, Scopes)"/>.
    /// </summary>
    public bool MaySurelyHeartbeat(HttpContext context, uint user) =>
        isOpen
        || (tokens is not null && Current(context) is { } caller
            && (TryFind(caller, out var self) ? self == user : (caller.Scopes & Scopes.Heartbeat) != Scopes.None));

    /// <summary>Finds the number of the person who calls, without the directory. False: no person calls, or it is not known.</summary>
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
        if (caller.Key.Length == 0 || !Presence.TryFindKnown(caller.Key, out number))
            return false;
        caller.Index = number;
        return true;
    }

    /// <summary>
    /// Refuses a person whose token was revoked (401) or who is disabled (403). While no account changes, this only compares two integers.
    /// </summary>
    public ValueTask RequireLiveAsync(Caller? caller)
    {
        var version = Presence.Accounts.Version;
        return caller is null || caller.IsCheckedAt(version) ? default : CheckAsync(caller, version);
    }

    /// <summary>Refuses a caller whose credential or sign-in has ended while the call waited. Call it before the answer.</summary>
    public async ValueTask RequireStillAsync(HttpContext context)
    {
        if (Current(context) is { } caller)
        {
            if (!caller.IsGoodAt(tokens!.Now))
                throw Problems.TokenRefused();
            await RequireLiveAsync(caller);
        }
        else if (SessionOf(context) is { } session)
        {
            if (!await session.IsGoodAsync())
                throw Problems.NotAuthenticated();
            await RequireLiveSignInAsync(context);
        }
    }

    /// <summary>
    /// In an application: refuses a person who signed in before they were signed out everywhere or deleted. While no account changes, this
    /// only compares an integer.
    /// </summary>
    public ValueTask RequireLiveSignInAsync(HttpContext context) =>
        Presence.Accounts.Version == 0 || Of(context.User) is not { } user ? default : RequireLiveSignInAsync(context, user);

    /// <summary>
    /// The same for an account that was already read. A cookie holds whole seconds, and somebody may sign in again in the second of a
    /// sign-out, so a sign-in of that second counts. A caller whose sign-in has no time is not refused.
    /// </summary>
    public static void RequireLiveSignIn(Account account, long? signedInAt)
    {
        if (signedInAt < account.RevokedAt)
            throw Problems.SignInRevoked();
    }

    private async ValueTask RequireLiveSignInAsync(HttpContext context, UserId user) =>
        RequireLiveSignIn(Presence.Accounts.Of(await Presence.FindAsync(user)), AppSession.SignedInAtOf(context));

    private async ValueTask CheckAsync(Caller caller, int version)
    {
        if (caller.User is { } user)
            RequireLive(Presence.Accounts.Of(await Presence.FindAsync(user)), caller);
        caller.CheckedAt(version);
    }

    /// <summary>The same for an account that was already read. Without a token, it refuses only a disabled account.</summary>
    public static void RequireLive(Account account, Caller? caller)
    {
        if (account.IsDisabled)
            throw Problems.UserDisabled();
        if (caller?.User is not null && account.Revokes(caller.IssuedAt))
            throw Problems.TokenRevoked();
    }

    /// <summary>Refuses a caller who may not speak for this user.</summary>
    public async ValueTask RequireAsync(HttpContext context, UserId user, Scopes scope)
    {
        if (isOpen || Of(context) == user || await IsBackendAsync(context, scope))
            return;
        throw Refusal(context, scope);
    }

    /// <summary>Refuses a caller who may not speak for all of these users.</summary>
    public async ValueTask RequireAsync(HttpContext context, UserBatch users, Scopes scope)
    {
        if (isOpen || AreAll(context, users) || await IsBackendAsync(context, scope))
            return;
        throw Refusal(context, scope);
    }

    /// <summary>Refuses a caller who may not speak for every user.</summary>
    public async ValueTask RequireBackendAsync(HttpContext context, Scopes scope)
    {
        if (!isOpen && !await IsBackendAsync(context, scope))
            throw Refusal(context, scope);
    }

    /// <summary>
    /// Whether the caller may see what only the user themself or a backend may see. A backend that asks for another viewer may not.
    /// </summary>
    public async ValueTask<bool> MaySeeAllOfAsync(HttpContext context, UserId user) =>
        (RequestParameters.Text(context, Routes.ViewerQuery) is not { } viewer || viewer == user.ToString())
            && (isOpen || Of(context) == user || await IsBackendAsync(context, Scopes.Users));

    /// <summary>
    /// Presence as this caller may see it. A person sees as themself. A backend, and anyone in open mode, sees as the user that
    /// <c>?viewer=</c> names, or else as a stranger.
    /// </summary>
    public async ValueTask<PresenceView> ViewAsync(HttpContext context)
    {
        // usually no user hides anything; then every viewer sees the same, and no viewer needs to be found
        var named = RequestParameters.Text(context, Routes.ViewerQuery);
        if (named is null && Presence.Visibilities.IsEmpty)
            return Presence.As(UserId.Nobody);
        return Presence.As(await ViewerAsync(context, named));
    }

    /// <summary>The viewer of a connection. It is found even if no user hides anything yet, because a user may hide later.</summary>
    public ValueTask<uint> ViewerAsync(HttpContext context) => ViewerAsync(context, RequestParameters.Text(context, Routes.ViewerQuery));

    private async ValueTask<uint> ViewerAsync(HttpContext context, string? named)
    {
        if (named is null)
            return Of(context) is { } self ? await Presence.FindAsync(self) : UserId.Nobody;
        if (!UserId.TryParse(named, out var viewer))
            throw Problems.Malformed($"viewer is \"{Problems.Shorten(named)}\", which is not a user: {Problems.AUser}.");
        await RequireAsync(context, viewer, Scopes.Read);
        return await Presence.FindAsync(viewer);
    }

    // Compares IDs and reads no directory, so that the time of a refusal does not reveal which users this node knows.
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
