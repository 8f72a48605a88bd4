using Aglow.Model;
using Aglow.Users;

namespace Aglow.Tests;

/// <summary>A directory of names and numbers, for tests of what stands before it; it keeps nothing else.</summary>
internal sealed class FakeDirectory : IUserDirectory
{
    private readonly Dictionary<string, uint> _numbers = [];

    public uint NextNumber => UserId.FirstDirectoryNumber + (uint)_numbers.Count;

    public ValueTask<int> RegisterAsync(IReadOnlyList<string> keys, Memory<uint> numbers)
    {
        for (var i = 0; i < keys.Count; i++)
        {
            if (!_numbers.ContainsKey(keys[i]))
                _numbers[keys[i]] = NextNumber;
            numbers.Span[i] = _numbers[keys[i]];
        }

        return new(keys.Count);
    }

    public ValueTask SetManualStatusAsync(uint number, ManualStatus status) => default;

    public ValueTask<DirectoryUser?> CreateAsync(string name, string? displayName) => throw new NotSupportedException();

    public ValueTask FindNumbersAsync(IReadOnlyList<string> keys, Memory<uint> numbers) => throw new NotSupportedException();

    public ValueTask FindNamesAsync(ReadOnlyMemory<uint> numbers, Memory<string?> names) => throw new NotSupportedException();

    public ValueTask<DirectoryUser?> FindAsync(uint number) => throw new NotSupportedException();

    public ValueTask<bool> DeleteAsync(uint number) => throw new NotSupportedException();

    public ValueTask<IReadOnlyList<uint>> DeletedNumbersAsync() => throw new NotSupportedException();

    public ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor) => throw new NotSupportedException();

    public ValueTask<uint[]> SubscriptionsAsync(uint follower) => throw new NotSupportedException();

    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) => throw new NotSupportedException();

    public ValueTask<IReadOnlyList<KeyValuePair<uint, ManualStatus>>> ManualStatusesAsync() => throw new NotSupportedException();

    public ValueTask SetVisibilityAsync(uint number, OnlineVisibility? online, LastSeenVisibility? lastSeen) => throw new NotSupportedException();

    public ValueTask<uint[]?> RelateAsync(uint number, Relation relation, IReadOnlyList<uint> others, bool add, int limit) => throw new NotSupportedException();

    public ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync() => throw new NotSupportedException();

    public ValueTask<uint[]> WaitingAsync(uint number, uint from, int limit) => throw new NotSupportedException();

    public ValueTask DisposeAsync() => default;
}
