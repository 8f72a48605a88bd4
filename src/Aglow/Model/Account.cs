namespace Aglow.Model;

/// <summary>What an application decided about a user's account. Such decisions are rare: every node holds all of them in memory.</summary>
/// <param name="IsDisabled">Whether the user is disabled: refused everywhere, and offline to everyone.</param>
/// <param name="ShownLastSeen">While disabled: the last-seen second to show (seconds of store time); 0: never seen.</param>
/// <param name="RevokedAt">Tokens issued at or before this second are refused (seconds since 1970-01-01 UTC); 0: none were revoked.</param>
/// <param name="DeletedAt">The second of the newest deletion (since 1970-01-01 UTC); 0: never deleted.</param>
/// <param name="IsDeleting">
/// Whether that deletion has begun, but has not ended. Then older words of the user are still to be erased, and the feed to report it.
/// </param>
public readonly record struct Account(
    bool IsDisabled = false, uint ShownLastSeen = 0, long RevokedAt = 0, long DeletedAt = 0, bool IsDeleting = false)
{
    /// <summary>Nothing was decided.</summary>
    public static Account Default => default;

    /// <summary>Whether the newest revocation was a deletion.</summary>
    public bool IsDeleted => DeletedAt != 0 && DeletedAt >= RevokedAt;

    /// <summary>
    /// The same account, without a deletion that is more than a minute in the future, which a clock that was ahead has left: it counts as
    /// one of now. Otherwise the feed would withhold what somebody new does until then. A revocation stays: if the clock is behind now,
    /// tokens must stay refused.
    /// </summary>
    /// <param name="now">Now (seconds since 1970-01-01 UTC).</param>
    internal Account HeldTo(long now) => DeletedAt <= now + 60 ? this : this with { DeletedAt = now };

    /// <summary>Whether a token issued at this second (since 1970-01-01 UTC; null: the token does not say) is refused.</summary>
    public bool Revokes(long? issuedAt) => RevokedAt != 0 && (issuedAt ?? 0) <= RevokedAt;
}
