namespace Aglow.Users;

/// <summary>
/// Groups the claim rows of a directory by user. Rows come in the order of users. One reader at a time.
/// </summary>
public sealed class ClaimRows
{
    private readonly List<KeyValuePair<uint, IReadOnlyList<Claim>>> _byUser = [];

    /// <summary>Adds a claim of a user; null: it was removed, or this machine does not understand it.</summary>
    public void Add(uint user, Claim? claim)
    {
        if (_byUser.Count == 0 || _byUser[^1].Key != user)
            _byUser.Add(new(user, new List<Claim>()));
        if (claim is not null)
            ((List<Claim>)_byUser[^1].Value).Add(claim);
    }

    /// <summary>The claims of all added users.</summary>
    public IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>> ToList() => _byUser;
}
