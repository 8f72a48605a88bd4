namespace Aglow.Model;

/// <summary>What an application decided about a user's account. Such decisions are rare: every node holds all of them in memory.</summary>
/// <param name="IsDisabled">Whether the user is disabled: refused everywhere, and offline to everyone.</param>
/// <param name="ShownLastSeen">While disabled: the last-seen second to show (seconds of store time); 0: never seen.</param>
/// <param name="RevokedAt">Tokens issued at or before this second are refused (seconds since 1970-01-01 UTC); 0: none were revoked.</param>
/// <param name="IsDeleted">Whether the newest revocation was a deletion.</param>
public readonly record struct Account(bool IsDisabled = false, uint ShownLastSeen = 0, long RevokedAt = 0, bool IsDeleted = false)
{
    /// <summary>Nothing was decided.</summary>
    public static Account Default => default;

    /// <summary>Whether a token issued at this second (since 1970-01-01 UTC; null: the token does not say) is refused.</summary>
    public bool Revokes(long? issuedAt) => RevokedAt != 0 && (issuedAt ?? 0) <= RevokedAt;
}
