using Aglow.Model;

namespace Aglow.Users;

/// <summary>
/// Puts the rows in which a directory saves claims together by user. Rows come in the order of users. One reader at a time.
/// </summary>
internal sealed class ClaimRows
{
    private readonly List<KeyValuePair<uint, IReadOnlyList<Claim>>> _byUser = [];

    /// <summary>A claim of a user; null: one that was removed, or that this machine does not understand.</summary>
    public void Add(uint user, Claim? claim)
    {
        if (_byUser.Count == 0 || _byUser[^1].Key != user)
            _byUser.Add(new(user, new List<Claim>()));
        if (claim is not null)
            ((List<Claim>)_byUser[^1].Value).Add(claim);
    }

    /// <summary>The claims of all these users.</summary>
    public IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>> ToList() => _byUser;
}
