using System.Reflection;
using Aglow.Diagnostics;
using Aglow.Durable;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Users;
using Microsoft.Extensions.Logging;

namespace Aglow.Fuzz;

/// <summary>
/// Presence on one machine like <see cref="EmbeddedPresence"/>, but with a limit on users. Without the limit, millions of hostile first
/// heartbeats would fill the disk, and memory that grows with users would look like a leak.
/// </summary>
internal sealed class BoundedPresence(
    DataFolder folder, MemoryPlaneStore store, IUserDirectory directory, AglowMetrics metrics, PresenceService presence) : IOpenPresence
{
    public PresenceService Presence => presence;

    public string Where => folder.FullPath;

    public static async Task<BoundedPresence> OpenAsync(AglowOptions options, TimeProvider time, ILoggerFactory logs)
    {
        var log = new AglowLog(logs.CreateLogger("Aglow"));
        var folder = DataFolder.Open(options.DataDirectory);
        var metrics = new AglowMetrics();
        var journal = Journal.Open(folder.PresencePath, log);
        var store = new JournaledPlaneStore(PageBudget.Of(options), journal);
        var clock = new Clock(time, new StallGuard((uint)(2 * options.HeartbeatSeconds)), journal.LastAlive);
        journal.Load(store, clock, options.Lease);
        var directory = BoundedDirectory.Of(SqliteUserDirectory.Open(options.DataDirectory, time));
        var presence = new PresenceService(store, directory, new LocalTransitionBus(), clock, options, metrics, log);
        journal.Start();
        await presence.StartAsync();
        return new BoundedPresence(folder, store, directory, metrics, presence);
    }

    public async ValueTask DisposeAsync()
    {
        await presence.StopAsync();
        await presence.DisposeAsync();
        await store.DisposeAsync();
        await directory.DisposeAsync();
        metrics.Dispose();
        folder.Dispose();
    }
}

/// <summary>The directory on disk. When it is full, a new ID gets the index of a known one.</summary>
/// <remarks>Not sealed, because the framework derives the class that passes each call to <see cref="Invoke"/>.</remarks>
internal class BoundedDirectory : DispatchProxy
{
    private const uint MostUsers = 4096;

    private IUserDirectory _inner = null!;

    public static IUserDirectory Of(IUserDirectory inner)
    {
        var bounded = Create<IUserDirectory, BoundedDirectory>();
        ((BoundedDirectory)(object)bounded)._inner = inner;
        return bounded;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
        targetMethod!.Name == nameof(IUserDirectory.RegisterAsync) && _inner.NextIndex >= UserId.FirstDirectoryNumber + MostUsers
            ? new ValueTask<int>(FindAsync((IReadOnlyList<string>)args![0]!, (Memory<uint>)args[1]!))
            : targetMethod.Invoke(_inner, BindingFlags.DoNotWrapExceptions, null, args, null);

    private async Task<int> FindAsync(IReadOnlyList<string> keys, Memory<uint> numbers)
    {
        await _inner.FindIndexesAsync(keys, numbers);
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
}
