using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Http;
using Aglow.Model;

namespace Aglow.Fuzz;

/// <summary>
/// Tokens of people without a signature: <c>person.SUBJECT.NUMBER</c>. Other tests check signatures; these tokens test what a valid token
/// permits.
/// </summary>
internal static class FuzzTokens
{
    private const string Prefix = "person.";

    /// <summary>
    /// A token of a person whose ID is a name, or the index of somebody else. The number makes it one that was not revoked yet.
    /// </summary>
    public static string Make(Dice dice) => $"{Prefix}{(dice.OneIn(2) ? dice.User() : $"n{dice.Below(50)}")}.{dice.Below(1_000_000)}";

    /// <summary>The caller that a token stands for.</summary>
    public static ValueTask<Caller> CheckAsync(string credential)
    {
        var subject = credential.StartsWith(Prefix, StringComparison.Ordinal) ? credential[Prefix.Length..].Split('.')[0] : null;
        var now = DateTimeOffset.UtcNow;
        return UserId.TryParse(subject, out var user) ? new(Caller.Person(user, now, now.AddDays(1))) : throw Problems.TokenRefused();
    }
}
