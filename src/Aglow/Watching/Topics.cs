using System.Text;

namespace Aglow.Watching;

/// <summary>
/// All watched users of this node, by index, or by ID while it has no index.
/// </summary>
/// <remarks>
/// <code>
///   by user         42 ─► topic 7 (default, as number) ─► topic 9 ("chat", as digits)      a chain: one for each definition and form
///   by unknown ID   "bob" ─► [topic 12]                                                     until bob has an index
/// </code>
/// The <see cref="WatchHub"/>'s loop owns it; any thread may read <see cref="UnknownKeys"/>.
/// </remarks>
internal sealed class Topics
{
    private readonly Slots<Topic> _topics = new();
    private readonly Dictionary<uint, int> _byUser = [];
    private readonly Dictionary<string, List<int>> _byUnknownKey = new(StringComparer.Ordinal);
    private int _unknownKeys;

    public Topic? this[int id] => _topics[id];

    /// <summary>All ids are below this number.</summary>
    public int Capacity => _topics.Capacity;

    public int UnknownKeys => Volatile.Read(ref _unknownKeys);

    public string[] ListUnknownKeys() => [.. _byUnknownKey.Keys];

    /// <summary>The first topic of a user, in a chain by <see cref="Topic.NextOfUser"/>; -1 if nobody watches.</summary>
    public int FirstOf(uint user) => _byUser.GetValueOrDefault(user, -1);

    /// <summary>The topic of a user in this form, or -1.</summary>
    public int Find(uint user, ReadOnlySpan<byte> text, UserForm form, Definition definition)
    {
        if (user == UserId.Nobody)
            return FindUnknown(text, form, definition);
        var id = FirstOf(user);
        while (id >= 0 && (_topics[id]!.Definition != definition || _topics[id]!.Form != form))
            id = _topics[id]!.NextOfUser;
        return id;
    }

    /// <summary>The topic of a user in this form, created if necessary.</summary>
    public int FindOrAdd(uint user, ReadOnlySpan<byte> text, UserForm form, Definition definition)
    {
        var id = Find(user, text, form, definition);
        if (id >= 0)
            return id;
        var topic = new Topic(user, definition, form, IdJson(text, form));
        id = _topics.Add(topic);
        if (user == UserId.Nobody)
            AddUnknown(topic, Encoding.UTF8.GetString(text), id);
        else
            Link(topic, id);
        return id;
    }

    /// <summary>Removes a topic without watchers.</summary>
    public void Remove(int id)
    {
        var topic = _topics[id]!;
        _topics.Remove(id);
        if (topic.UnknownKey is { } key)
            RemoveUnknown(key, id);
        else
            Unlink(topic, id);
    }

    /// <summary>Binds the topics of an ID to its new index. Returns their topic ids.</summary>
    public IReadOnlyList<int> Bind(string key, uint user)
    {
        if (!_byUnknownKey.Remove(key, out var waiting))
            return [];
        Volatile.Write(ref _unknownKeys, _byUnknownKey.Count);
        foreach (var id in waiting)
        {
            var topic = _topics[id]!;
            topic.User = user;
            topic.UnknownKey = null;
            Link(topic, id);
        }

        return waiting;
    }

    private static byte[]? IdJson(ReadOnlySpan<byte> text, UserForm form) => form switch
    {
        UserForm.Key => PresenceRecord.Quote(text),
        UserForm.LargeNumber => text.ToArray(),
        _ => null,
    };

    private void Link(Topic topic, int id)
    {
        topic.NextOfUser = FirstOf(topic.User);
        _byUser[topic.User] = id;
    }

    private void Unlink(Topic topic, int id)
    {
        var at = _byUser[topic.User];
        if (at == id)
        {
            if (topic.NextOfUser < 0)
                _byUser.Remove(topic.User);
            else
                _byUser[topic.User] = topic.NextOfUser;
            return;
        }

        while (_topics[at]!.NextOfUser != id)
            at = _topics[at]!.NextOfUser;
        _topics[at]!.NextOfUser = topic.NextOfUser;
    }

    private int FindUnknown(ReadOnlySpan<byte> key, UserForm form, Definition definition)
    {
        if (_byUnknownKey.TryGetValue(Encoding.UTF8.GetString(key), out var waiting))
        {
            foreach (var id in waiting)
            {
                if (_topics[id]!.Definition == definition && _topics[id]!.Form == form)
                    return id;
            }
        }

        return -1;
    }

    private void AddUnknown(Topic topic, string key, int id)
    {
        topic.UnknownKey = key;
        if (!_byUnknownKey.TryGetValue(key, out var waiting))
            _byUnknownKey[key] = waiting = [];
        waiting.Add(id);
        Volatile.Write(ref _unknownKeys, _byUnknownKey.Count);
    }

    private void RemoveUnknown(string key, int id)
    {
        var waiting = _byUnknownKey[key];
        waiting.Remove(id);
        if (waiting.Count == 0)
            _byUnknownKey.Remove(key);
        Volatile.Write(ref _unknownKeys, _byUnknownKey.Count);
    }
}
