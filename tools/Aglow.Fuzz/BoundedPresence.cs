using Aglow.Diagnostics;
using Aglow.Durable;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Sweeping;
using Aglow.Users;
using Microsoft.Extensions.Logging;

namespace Aglow.Fuzz;

/// <summary>
/// Presence on one machine like <see cref="EmbeddedPresence"/>, but with a limit on users. Without the limit, millions of hostile first
/// heartbeats would fill the disk, and memory that grows with users would look like a leak.
/// </summary>
internal sealed class BoundedPresence : IOpenPresence
{
    private readonly DataFolder _folder;
    private readonly MemoryPlaneStore _store;
    private readonly BoundedDirectory _directory;
    private readonly AglowMetrics _metrics;

    private BoundedPresence(
        DataFolder folder, MemoryPlaneStore store, BoundedDirectory directory, AglowMetrics metrics, PresenceService presence)
    {
        _folder = folder;
        _store = store;
        _directory = directory;
        _metrics = metrics;
        Presence = presence;
    }

    public PresenceService Presence { get; }

    public string Where => _folder.FullPath;

    public static async Task<BoundedPresence> OpenAsync(AglowOptions options, TimeProvider time, ILoggerFactory logs)
    {
        var log = new AglowLog(logs.CreateLogger("Aglow"));
        var folder = DataFolder.Open(options.DataDirectory);
        var metrics = new AglowMetrics();
        var journal = Journal.Open(folder.PresencePath, log);
        var store = new JournaledPlaneStore(PageBudget.Of(options), journal);
        var clock = new Clock(time, new StallGuard((uint)(2 * options.HeartbeatSeconds)), journal.LastAlive);
        journal.Load(store, clock, options.Lease);
        var directory = new BoundedDirectory(SqliteUserDirectory.Open(options.DataDirectory, time));
        var presence = new PresenceService(store, directory, new LocalTransitionBus(), clock, options, metrics, log);
        journal.Start();
        await presence.StartAsync();
        return new BoundedPresence(folder, store, directory, metrics, presence);
    }

    public async ValueTask DisposeAsync()
    {
        await Presence.StopAsync();
        await Presence.DisposeAsync();
        await _store.DisposeAsync();
        await _directory.DisposeAsync();
        _metrics.Dispose();
        _folder.Dispose();
    }
}

/// <summary>The directory on disk. When it is full, a new ID gets the index of a known one.</summary>
internal sealed class BoundedDirectory(IUserDirectory inner) : IUserDirectory
{
    private const uint MostUsers = 4096;

    public uint NextIndex => inner.NextIndex;

    private bool IsFull => inner.NextIndex >= UserId.FirstDirectoryNumber + MostUsers;

    public ReadOnlyMemory<byte> CursorSecret => inner.CursorSecret;

    public async ValueTask<int> RegisterAsync(IReadOnlyList<string> keys, Memory<uint> numbers)
    {
        if (!IsFull)
            return await inner.RegisterAsync(keys, numbers);
        await inner.FindIndexesAsync(keys, numbers);
        for (var i = 0; i < keys.Count; i++)
        {
            if (numbers.Span[i] == 0)
            {
                // never a victim's index
                var place = (uint)string.GetHashCode(keys[i], StringComparison.Ordinal) % (MostUsers - Victims.Count);
                numbers.Span[i] = UserId.FirstDirectoryNumber + Victims.Count + place;
            }
        }

        return 0;
    }

    public ValueTask FindIndexesAsync(IReadOnlyList<string> keys, Memory<uint> numbers) => inner.FindIndexesAsync(keys, numbers);

    public ValueTask FindIdsAsync(ReadOnlyMemory<uint> numbers, Memory<string?> names) => inner.FindIdsAsync(numbers, names);

    public ValueTask<Profile?> FindProfileAsync(uint user) => inner.FindProfileAsync(user);

    public ValueTask<ProfileResult> WriteProfilesAsync(IReadOnlyList<ProfileWrite> writes, bool create) =>
        inner.WriteProfilesAsync(writes, create);

    public ValueTask DeleteAsync(uint user, long at) => inner.DeleteAsync(user, at);

    public ValueTask NoteDeletionAsync(uint user, long at) => inner.NoteDeletionAsync(user, at);

    public ValueTask RevokeAsync(uint user, long at) => inner.RevokeAsync(user, at);

    public ValueTask SetDisabledAsync(uint user, bool disabled, uint shownLastSeen) =>
        inner.SetDisabledAsync(user, disabled, shownLastSeen);

    public ValueTask<IReadOnlyList<KeyValuePair<uint, Account>>> AccountsAsync() => inner.AccountsAsync();

    public ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor) => inner.SearchAsync(query, limit, cursor);

    public ValueTask<uint[]> SubscriptionsAsync(uint follower) => inner.SubscriptionsAsync(follower);

    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) =>
        inner.FollowAsync(follower, followed, follow, limit);

    public ValueTask<bool> SetClaimAsync(uint number, Claim claim, uint now) => inner.SetClaimAsync(number, claim, now);

    public ValueTask RemoveClaimAsync(uint number, string source) => inner.RemoveClaimAsync(number, source);

    public ValueTask<IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>>> ClaimsAsync() => inner.ClaimsAsync();

    public ValueTask SetVisibilityAsync(uint number, OnlineVisibility? online, LastSeenVisibility? lastSeen) =>
        inner.SetVisibilityAsync(number, online, lastSeen);

    public ValueTask<uint[]?> RelateAsync(uint number, Relation relation, IReadOnlyList<uint> others, bool add, int limit) =>
        inner.RelateAsync(number, relation, others, add, limit);

    public ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync() => inner.VisibilitiesAsync();

    public ValueTask<uint[]> WaitingAsync(uint number, uint from, int limit) => inner.WaitingAsync(number, from, limit);

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}
