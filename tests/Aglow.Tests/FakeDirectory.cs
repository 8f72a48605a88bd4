namespace Aglow.Tests;

/// <summary>A directory of only IDs and indexes, for tests of code that uses a directory.</summary>
internal sealed class FakeDirectory : IUserDirectory
{
    private readonly Dictionary<string, uint> _numbers = [];

    /// <summary>Called when deletions later than a second are moved back to it.</summary>
    public Action<long> OnHold { get; set; } = static _ => { };

    public uint NextIndex => UserId.FirstDirectoryNumber + (uint)_numbers.Count;

    public ValueTask<int> RegisterAsync(IReadOnlyList<string> keys, Memory<uint> numbers)
    {
        for (var i = 0; i < keys.Count; i++)
        {
            if (!_numbers.ContainsKey(keys[i]))
                _numbers[keys[i]] = NextIndex;
            numbers.Span[i] = _numbers[keys[i]];
        }

        return new(keys.Count);
    }

    public ValueTask<bool> SetClaimAsync(uint user, Claim claim, uint now) => new(true);

    public ValueTask RemoveClaimAsync(uint user, string source) => default;

    public ReadOnlyMemory<byte> CursorSecret => new byte[16];

    public ValueTask FindIndexesAsync(IReadOnlyList<string> ids, Memory<uint> indexes) => throw new NotSupportedException();

    public ValueTask FindIdsAsync(ReadOnlyMemory<uint> indexes, Memory<string?> ids)
    {
        for (var i = 0; i < indexes.Length; i++)
            ids.Span[i] = _numbers.FirstOrDefault(pair => pair.Value == indexes.Span[i]).Key;
        return default;
    }

    public ValueTask<Profile?> FindProfileAsync(uint user) => throw new NotSupportedException();

    public ValueTask<ProfileResult> WriteProfilesAsync(IReadOnlyList<ProfileWrite> writes, bool create) =>
        throw new NotSupportedException();

    public ValueTask DeleteAsync(uint user, long at) => default;

    public ValueTask HoldDeletionsAsync(long now)
    {
        OnHold(now);
        return default;
    }

    public ValueTask NoteDeletionAsync(uint user, long at) => default;

    public ValueTask RevokeAsync(uint user, long at) => throw new NotSupportedException();

    public ValueTask SetDisabledAsync(uint user, bool disabled, uint shownLastSeen) => throw new NotSupportedException();

    public ValueTask<IReadOnlyList<KeyValuePair<uint, Account>>> AccountsAsync() => new([]);

    public ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor) => throw new NotSupportedException();

    public ValueTask<uint[]> SubscriptionsAsync(uint follower) => throw new NotSupportedException();

    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) =>
        throw new NotSupportedException();

    public ValueTask<IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>>> ClaimsAsync() => new([]);

    public ValueTask SetVisibilityAsync(uint number, OnlineVisibility? online, LastSeenVisibility? lastSeen) =>
        throw new NotSupportedException();

    public ValueTask<uint[]?> RelateAsync(uint number, Relation relation, IReadOnlyList<uint> others, bool add, int limit) =>
        throw new NotSupportedException();

    public ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync() => new([]);

    public ValueTask<uint[]> WaitingAsync(uint number, uint from, int limit) => throw new NotSupportedException();

    public ValueTask DisposeAsync() => default;
}
