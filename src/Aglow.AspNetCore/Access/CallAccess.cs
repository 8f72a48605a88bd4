namespace Aglow.AspNetCore.Access;

/// <summary>
/// Who may make a call on a server that takes tokens. Every <see cref="Call"/> states it. The call itself uses <see cref="Callers"/> to
/// decide which users the caller may speak for.
/// </summary>
/// <param name="Scope">The scope that a backend needs; none: anybody may call, even without a token.</param>
/// <param name="ByPeople">Whether people may call, for themselves.</param>
internal sealed record CallAccess(Scopes Scope, bool ByPeople)
{
    /// <summary>Probes and descriptions: anybody.</summary>
    public static CallAccess Anybody { get; } = new(Scopes.None, ByPeople: true);

    public static CallAccess People(Scopes scope) => new(scope, ByPeople: true);

    public static CallAccess Backends(Scopes scope) => new(scope, ByPeople: false);

    public void Require(Caller? caller)
    {
        if (Scope == Scopes.None)
            return;
        if (caller is null)
            throw Problems.TokenMissing();
        if (caller.User is not null ? !ByPeople : (caller.Scopes & Scope) == Scopes.None)
            throw caller.User is not null ? Problems.NotForPeople(Scope) : Problems.ScopeMissing(Scope);
    }
}
