using Aglow.Model;
using Aglow.Stores.Tests;
using Aglow.Users;

namespace Aglow.Tests;

/// <summary>The contract with every name in the index before it is looked for.</summary>
public sealed class IndexedUserDirectoryTests : UserDirectoryContract, IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private protected override Task<IUserDirectory> OpenAsync(TimeProvider time) =>
        Task.FromResult<IUserDirectory>(new IndexedDirectory(SqliteUserDirectory.Open(_folder.Path, time)));

    private sealed class IndexedDirectory(SqliteUserDirectory directory) : IUserDirectory
    {
        public uint NextNumber => directory.NextNumber;

        public async ValueTask<DirectoryUser?> CreateAsync(string name, string? displayName)
        {
            var user = await directory.CreateAsync(name, displayName);
            await directory.IndexAsync();
            return user;
        }

        public async ValueTask<int> RegisterAsync(IReadOnlyList<string> keys, Memory<uint> numbers)
        {
            var added = await directory.RegisterAsync(keys, numbers);
            await directory.IndexAsync();
            return added;
        }

        public async ValueTask<bool> DeleteAsync(uint number)
        {
            var deleted = await directory.DeleteAsync(number);
            await directory.IndexAsync();
            return deleted;
        }

        public ValueTask FindNumbersAsync(IReadOnlyList<string> keys, Memory<uint> numbers) => directory.FindNumbersAsync(keys, numbers);

        public ValueTask FindNamesAsync(ReadOnlyMemory<uint> numbers, Memory<string?> names) => directory.FindNamesAsync(numbers, names);

        public ValueTask<DirectoryUser?> FindAsync(uint number) => directory.FindAsync(number);

        public ValueTask<IReadOnlyList<uint>> DeletedNumbersAsync() => directory.DeletedNumbersAsync();

        public ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor) => directory.SearchAsync(query, limit, cursor);

        public ValueTask<uint[]> SubscriptionsAsync(uint follower) => directory.SubscriptionsAsync(follower);

        public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) =>
            directory.FollowAsync(follower, followed, follow, limit);

        public ValueTask SetManualStatusAsync(uint number, ManualStatus status) => directory.SetManualStatusAsync(number, status);

        public ValueTask<IReadOnlyList<KeyValuePair<uint, ManualStatus>>> ManualStatusesAsync() => directory.ManualStatusesAsync();

        public ValueTask SetVisibilityAsync(uint number, OnlineVisibility? online, LastSeenVisibility? lastSeen) => directory.SetVisibilityAsync(number, online, lastSeen);

        public ValueTask<uint[]?> RelateAsync(uint number, Relation relation, IReadOnlyList<uint> others, bool add, int limit) =>
            directory.RelateAsync(number, relation, others, add, limit);

        public ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync() => directory.VisibilitiesAsync();

        public ValueTask<uint[]> WaitingAsync(uint number, uint from, int limit) => directory.WaitingAsync(number, from, limit);

        public ValueTask DisposeAsync() => directory.DisposeAsync();
    }
}
