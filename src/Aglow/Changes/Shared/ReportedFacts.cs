namespace Aglow.Changes.Shared;

/// <summary>What the feed has reported of a user besides the online state.</summary>
/// <param name="Claim">The claimed status.</param>
/// <param name="DeletedAt">The deletion that was reported, in seconds since 1970-01-01 UTC; 0: none.</param>
public readonly record struct ReportedFacts(ClaimStatus Claim, long DeletedAt)
{
    private const int ClaimBits = 3;

    /// <summary>Both facts in one number, as stores keep them; 0: nothing was reported.</summary>
    public long Value => (DeletedAt << ClaimBits) | (long)Claim;

    /// <summary>The facts in a number.</summary>
    public static ReportedFacts Of(long value) => new((ClaimStatus)(value & ((1 << ClaimBits) - 1)), value >> ClaimBits);
}
