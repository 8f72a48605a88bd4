using Aglow.Model;

namespace Aglow.Changes;

/// <summary>What was told of a user besides whether they are online.</summary>
/// <param name="Claim">The claimed status.</param>
/// <param name="DeletedAt">The deletion that was told, in seconds since 1970-01-01 UTC; 0: none.</param>
public readonly record struct ToldFacts(ClaimStatus Claim, long DeletedAt)
{
    private const int ClaimBits = 3;

    /// <summary>Both in one number, as stores keep it; 0: nothing was told.</summary>
    public long Value => (DeletedAt << ClaimBits) | (long)Claim;

    /// <summary>The facts that a number stands for.</summary>
    public static ToldFacts Of(long value) => new((ClaimStatus)(value & ((1 << ClaimBits) - 1)), value >> ClaimBits);
}
