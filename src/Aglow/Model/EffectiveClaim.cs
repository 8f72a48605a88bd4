namespace Aglow.Model;

/// <summary>The combined effect of a user's claims at a moment.</summary>
/// <param name="Status">The resulting status.</param>
/// <param name="ShownLastSeen">For <see cref="ClaimStatus.Hidden"/>: the last-seen second to show; 0: never seen.</param>
/// <param name="IsDisabled">Whether a backend disabled the user (<see cref="Account"/>); then the status is
/// <see cref="ClaimStatus.Hidden"/>.</param>
/// <param name="Claim">The claim that is shown; null if there is none.</param>
/// <param name="ShownSince">The second at which the last claim that hid the user ended by itself; 0: none did. Activity before it belongs
/// to an earlier session.</param>
public readonly record struct EffectiveClaim(
    ClaimStatus Status, uint ShownLastSeen = 0, bool IsDisabled = false, Claim? Claim = null, uint ShownSince = 0)
{
    /// <summary>No claim: heartbeats and activity decide.</summary>
    public static EffectiveClaim None => default;

    /// <summary>
    /// Combines claims. A claim of any source that says offline hides the user. Otherwise the newest claim of the highest priority is
    /// shown. Claims that have ended do not count. Pure.
    /// </summary>
    public static EffectiveClaim Of(ReadOnlySpan<Claim> claims, uint now)
    {
        Claim? shown = null, hiding = null;
        var shownSince = 0u;
        foreach (var claim in claims)
        {
            if (claim.At(now) is not { } live)
            {
                if (claim.Status == ClaimStatus.Hidden)
                    shownSince = Math.Max(shownSince, claim.Until);
            }
            else if (live.Status == ClaimStatus.Hidden)
            {
                hiding = First(live, hiding);
            }
            else
            {
                shown = First(live, shown);
            }
        }

        if (hiding is not null)
            return new EffectiveClaim(ClaimStatus.Hidden, hiding.ShownLastSeen, Claim: hiding);
        return new EffectiveClaim(shown?.Status ?? ClaimStatus.Auto, Claim: shown, ShownSince: shownSince);
    }

    /// <summary>
    /// The order in which claims are shown. Two nodes may set claims with the same priority at the same moment; their sources decide then.
    /// </summary>
    public static int Compare(Claim one, Claim other) =>
        one.Priority != other.Priority ? other.Priority.CompareTo(one.Priority)
        : one.SetAt != other.SetAt ? other.SetAt.CompareTo(one.SetAt)
        : string.CompareOrdinal(one.Source, other.Source);

    private static Claim First(Claim one, Claim? other) => other is null || Compare(one, other) < 0 ? one : other;
}
