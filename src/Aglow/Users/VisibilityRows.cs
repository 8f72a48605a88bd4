namespace Aglow.Users;

/// <summary>Builds the visibility of users from rows of a directory. One reader at a time.</summary>
public sealed class VisibilityRows
{
    private readonly Dictionary<uint, Visibility> _byUser = [];
    private readonly List<uint> _others = [];
    private (uint Number, Relation Relation) _of;

    /// <summary>Adds the settings of a user. May be called more than once.</summary>
    public void Add(uint number, OnlineVisibility online, LastSeenVisibility lastSeen) =>
        _byUser[number] = Of(number).With(online, lastSeen);

    /// <summary>Adds a user whom another one approved or blocked, in the order of users, relations, others.</summary>
    public void Add(uint number, Relation relation, uint other)
    {
        if (_of != (number, relation))
            Take();
        _of = (number, relation);
        _others.Add(other);
    }

    /// <summary>The visibility of all added users.</summary>
    public IReadOnlyList<KeyValuePair<uint, Visibility>> ToList()
    {
        Take();
        return [.. _byUser];
    }

    private void Take()
    {
        if (_others.Count > 0)
            _byUser[_of.Number] = Of(_of.Number).With(_of.Relation, [.. _others]);
        _others.Clear();
    }

    private Visibility Of(uint number) => _byUser.GetValueOrDefault(number, Visibility.Default);
}
