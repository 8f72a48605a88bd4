using System.Globalization;
using System.Text;
using Aglow.Model;
using Aglow.Users;

namespace Aglow;

/// <summary>
/// A directory in front of the directory: knows the demo's people, who are in memory only, and asks for everybody else.
/// </summary>
/// <remarks>
/// Searches find who is registered first and the demo's people after them, so nobody has to look for themselves among them. Whom somebody follows
/// is that person's own saved fact, also where it is one of the demo's: their numbers are the same at every start. Any thread.
/// </remarks>
internal sealed class DemoDirectory(IUserDirectory behind, DemoPeople people, long createdAt) : IUserDirectory
{
    // no cursor of a directory holds a dot
    private const string CursorPrefix = "demo.";

    // folded once: a search looks at all of them
    private readonly (DemoPerson Person, string Name, string DisplayName)[] _byName =
        [.. people.All.OrderBy(static p => p.Name, StringComparer.Ordinal).Select(static p => (p, FoldedText.Fold(p.Name), FoldedText.Fold(p.DisplayName)))];

    /// <inheritdoc/>
    /// <remarks>The demo's numbers were not handed out: nobody heartbeats for them but the demo itself.</remarks>
    public uint NextNumber => behind.NextNumber;

    /// <inheritdoc/>
    public ValueTask<DirectoryUser?> CreateAsync(string name, string? displayName) =>
        people.Find(name) is null ? behind.CreateAsync(name, displayName) : new((DirectoryUser?)null);

    /// <inheritdoc/>
    public async ValueTask<int> RegisterAsync(IReadOnlyList<string> keys, Memory<uint> numbers)
    {
        var theirs = Theirs(keys);
        if (theirs.Length == keys.Count)
            return await behind.RegisterAsync(keys, numbers);
        var found = new uint[theirs.Length];
        var added = await behind.RegisterAsync(theirs, found);
        Merge(keys, found, numbers.Span);
        return added;
    }

    /// <inheritdoc/>
    public async ValueTask FindNumbersAsync(IReadOnlyList<string> keys, Memory<uint> numbers)
    {
        var theirs = Theirs(keys);
        var found = new uint[theirs.Length];
        await behind.FindNumbersAsync(theirs, found);
        Merge(keys, found, numbers.Span);
    }

    /// <inheritdoc/>
    public async ValueTask FindNamesAsync(ReadOnlyMemory<uint> numbers, Memory<string?> names)
    {
        await behind.FindNamesAsync(numbers, names);
        for (var i = 0; i < numbers.Length; i++)
            names.Span[i] ??= people.Find(numbers.Span[i])?.Name;
    }

    /// <inheritdoc/>
    public ValueTask<DirectoryUser?> FindAsync(uint number) => people.Find(number) is { } person ? new(User(person)) : behind.FindAsync(number);

    /// <inheritdoc/>
    public ValueTask<bool> DeleteAsync(uint number) => people.Find(number) is null
        ? behind.DeleteAsync(number)
        : throw new NotSupportedException("The demo's people cannot be deleted: start the server without --demo, and they are gone.");

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<uint>> DeletedNumbersAsync() => behind.DeletedNumbersAsync();

    /// <inheritdoc/>
    public async ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor)
    {
        List<DirectoryUser> users = [];
        var from = 0;
        if (cursor?.StartsWith(CursorPrefix, StringComparison.Ordinal) == true)
        {
            if (!int.TryParse(cursor.AsSpan(CursorPrefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out from))
                throw new FormatException("The cursor is not one that this server gave.");
        }
        else
        {
            var theirs = await behind.SearchAsync(query, limit, cursor);
            if (theirs.Next is not null)
                return theirs;
            users.AddRange(theirs.Users);
        }

        var matches = Search(query);
        var end = Math.Min(matches.Count, from + limit - users.Count);
        for (var i = from; i < end; i++)
            users.Add(User(matches[i]));
        return new DirectoryPage(users, end < matches.Count ? $"{CursorPrefix}{end}" : null);
    }

    /// <inheritdoc/>
    public ValueTask<uint[]> SubscriptionsAsync(uint follower) => behind.SubscriptionsAsync(follower);

    /// <inheritdoc/>
    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) => people.Find(follower) is null
        ? behind.FollowAsync(follower, followed, follow, limit)
        : throw new NotSupportedException("The demo's people follow nobody: their lists would have to be saved, and nothing of the demo is.");

    /// <inheritdoc/>
    /// <remarks>Of the demo's people, what they chose is known to the service and to nobody after it.</remarks>
    public ValueTask SetManualStatusAsync(uint number, ManualStatus status) =>
        DemoPeople.IsNumber(number) ? default : behind.SetManualStatusAsync(number, status);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<KeyValuePair<uint, ManualStatus>>> ManualStatusesAsync() => behind.ManualStatusesAsync();

    /// <inheritdoc/>
    /// <remarks>The demo's people show everything to everyone, but for what is chosen for them while it runs.</remarks>
    public ValueTask SetVisibilityAsync(uint number, OnlineVisibility? online, LastSeenVisibility? lastSeen) =>
        DemoPeople.IsNumber(number) ? default : behind.SetVisibilityAsync(number, online, lastSeen);

    /// <inheritdoc/>
    public ValueTask<uint[]?> RelateAsync(uint number, Relation relation, IReadOnlyList<uint> others, bool add, int limit) => people.Find(number) is null
        ? behind.RelateAsync(number, relation, others, add, limit)
        : throw new NotSupportedException("The demo's people approve and block nobody: that would have to be saved, and nothing of the demo is.");

    /// <inheritdoc/>
    public ValueTask<uint[]> WaitingAsync(uint number, uint from, int limit) => behind.WaitingAsync(number, from, limit);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync() => behind.VisibilitiesAsync();

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => behind.DisposeAsync();

    private DirectoryUser User(DemoPerson person) => new(person.Number, person.Name, person.DisplayName, createdAt, createdAt);

    private string[] Theirs(IReadOnlyList<string> keys) => [.. keys.Where(key => people.Find(key) is null)];

    // the demo's numbers where a key is one of theirs, those that were found for the others
    private void Merge(IReadOnlyList<string> keys, ReadOnlySpan<uint> found, Span<uint> numbers)
    {
        var next = 0;
        for (var i = 0; i < keys.Count; i++)
            numbers[i] = people.Find(keys[i])?.Number ?? found[next++];
    }

    private List<DemoPerson> Search(string query)
    {
        var folded = FoldedText.Fold(query);
        var anywhere = query.EnumerateRunes().Count() >= 3;
        List<DemoPerson> begin = [], hold = [];
        foreach (var (person, name, displayName) in _byName)
        {
            if (name.StartsWith(folded, StringComparison.Ordinal) || displayName.StartsWith(folded, StringComparison.Ordinal))
                begin.Add(person);
            else if (anywhere && (name.Contains(folded, StringComparison.Ordinal) || displayName.Contains(folded, StringComparison.Ordinal)))
                hold.Add(person);
        }

        return [.. begin, .. hold];
    }
}
