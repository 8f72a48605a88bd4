using System.Globalization;
using System.Text;
using Aglow.Users;

namespace Aglow.Demo;

/// <summary>
/// A directory in front of the real one: adds the demo's people, who exist only in memory, and passes all other calls on.
/// </summary>
/// <remarks>
/// Searches return real users first, so that they are not hidden among the demo's people. A user's subscription to one of the demo's people
/// is saved like any other, because their indexes are the same at every start. Any thread.
/// </remarks>
internal sealed class DemoDirectory(IUserDirectory behind, DemoPeople people, long createdAt) : IUserDirectory
{
    public void Observe(AglowMetrics metrics) => behind.Observe(metrics);

    // cursors of a real directory never contain a dot
    private const string CursorPrefix = "demo.";

    // folded once, because each search reads all of them
    private readonly (DemoPerson Person, string Name, string DisplayName)[] _byName =
        [.. people.All
            .OrderBy(static p => p.Name, StringComparer.Ordinal)
            .Select(static p => (p, NameFolding.ForSearch(p.Name), NameFolding.ForSearch(p.DisplayName)))];

    public uint NextIndex => behind.NextIndex;

    public ReadOnlyMemory<byte> CursorSecret => behind.CursorSecret;

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

    public async ValueTask FindIndexesAsync(IReadOnlyList<string> keys, Memory<uint> numbers)
    {
        var theirs = Theirs(keys);
        var found = new uint[theirs.Length];
        await behind.FindIndexesAsync(theirs, found);
        Merge(keys, found, numbers.Span);
    }

    public async ValueTask FindIdsAsync(ReadOnlyMemory<uint> numbers, Memory<string?> names)
    {
        await behind.FindIdsAsync(numbers, names);
        for (var i = 0; i < numbers.Length; i++)
            names.Span[i] ??= people.Find(numbers.Span[i])?.Name;
    }

    public ValueTask<Profile?> FindProfileAsync(uint user) =>
        people.Find(user) is { } person ? new(User(person).Profile) : behind.FindProfileAsync(user);

    public ValueTask<ProfileResult> WriteProfilesAsync(IReadOnlyList<ProfileWrite> writes, bool create)
    {
        for (var i = 0; i < writes.Count; i++)
        {
            if (people.Find(writes[i].User) is not null)
                return new(new ProfileResult(0, 0, ProfileConflict.UserTaken, i));
            if (writes[i].UserName is { } name && people.Find(NameFolding.ForUniqueness(name)) is not null)
                return new(new ProfileResult(0, 0, ProfileConflict.NameTaken, i));
        }

        return behind.WriteProfilesAsync(writes, create);
    }

    public ValueTask DeleteAsync(uint user, long at) => Own(user) ?? behind.DeleteAsync(user, at);

    public ValueTask HoldDeletionsAsync(long now) => behind.HoldDeletionsAsync(now);

    public ValueTask NoteDeletionAsync(uint user, long at) => Own(user) ?? behind.NoteDeletionAsync(user, at);

    public ValueTask RevokeAsync(uint user, long at) => Own(user) ?? behind.RevokeAsync(user, at);

    public ValueTask SetDisabledAsync(uint user, bool disabled, uint shownLastSeen) =>
        Own(user) ?? behind.SetDisabledAsync(user, disabled, shownLastSeen);

    public ValueTask<IReadOnlyList<KeyValuePair<uint, Account>>> AccountsAsync() => behind.AccountsAsync();

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

    public ValueTask<uint[]> SubscriptionsAsync(uint follower) => behind.SubscriptionsAsync(follower);

    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) =>
        people.Find(follower) is null
        ? behind.FollowAsync(follower, followed, follow, limit)
        : throw new NotInThisDeploymentException(
            "The demo's people follow nobody, because the demo saves nothing.");

    // Claims of the demo's people stay in the service's memory and are never saved.
    public ValueTask<bool> SetClaimAsync(uint number, Claim claim, uint now) =>
        DemoPeople.IsNumber(number) ? new(true) : behind.SetClaimAsync(number, claim, now);

    public ValueTask RemoveClaimAsync(uint number, string source) =>
        DemoPeople.IsNumber(number) ? default : behind.RemoveClaimAsync(number, source);

    public ValueTask<IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>>> ClaimsAsync() => behind.ClaimsAsync();

    // The demo's people show everything to everyone. A change lasts only while the server runs.
    public ValueTask SetVisibilityAsync(uint number, OnlineVisibility? online, LastSeenVisibility? lastSeen) =>
        DemoPeople.IsNumber(number) ? default : behind.SetVisibilityAsync(number, online, lastSeen);

    public ValueTask<uint[]?> RelateAsync(uint number, Relation relation, IReadOnlyList<uint> others, bool add, int limit) =>
        people.Find(number) is null
        ? behind.RelateAsync(number, relation, others, add, limit)
        : throw new NotInThisDeploymentException(
            "The demo's people approve and block nobody, because the demo saves nothing.");

    public ValueTask<uint[]> WaitingAsync(uint number, uint from, int limit) => behind.WaitingAsync(number, from, limit);

    public ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync() => behind.VisibilitiesAsync();

    public ValueTask DisposeAsync() => behind.DisposeAsync();

    private DirectoryUser User(DemoPerson person) =>
        new(person.Number, person.Name, new Profile(person.Name, person.DisplayName, createdAt, createdAt));

    private ValueTask? Own(uint user) => people.Find(user) is null
        ? null
        : throw new NotInThisDeploymentException(
            "The demo's people cannot be deleted, disabled or signed out. They are gone when the server starts without "
                + $"{OptionNames.DemoPeople}.");

    private string[] Theirs(IReadOnlyList<string> keys) => [.. keys.Where(key => people.Find(key) is null)];

    // the demo's indexes for names of its people, the found indexes for others
    private void Merge(IReadOnlyList<string> keys, ReadOnlySpan<uint> found, Span<uint> numbers)
    {
        var next = 0;
        for (var i = 0; i < keys.Count; i++)
            numbers[i] = people.Find(keys[i])?.Number ?? found[next++];
    }

    private List<DemoPerson> Search(string query)
    {
        var folded = NameFolding.ForSearch(query);
        var anywhere = query.EnumerateRunes().Count() >= 3;
        List<DemoPerson> begin = [], hold = [];
        foreach (var (person, name, displayName) in _byName)
        {
            if (name.StartsWith(folded, StringComparison.Ordinal) || displayName.StartsWith(folded, StringComparison.Ordinal))
                begin.Add(person);
            else if (anywhere
                && (name.Contains(folded, StringComparison.Ordinal) || displayName.Contains(folded, StringComparison.Ordinal)))
                hold.Add(person);
        }

        return [.. begin, .. hold];
    }
}
