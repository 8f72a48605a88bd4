using Aglow.Changes;
using Aglow.Demo;
using Aglow.Diagnostics;
using Aglow.Durable;
using Aglow.Heartbeats;
using Aglow.Sqlite;
using Aglow.Sweeping;
using Aglow.Users;
using Microsoft.Extensions.Logging;

namespace Aglow;

/// <summary>
/// Presence on a single machine. Opens and closes, in order, the data folder with its journal, the words in memory, the user directory and
/// the <see cref="PresenceService"/>.
/// </summary>
/// <remarks>
/// <code>
///   open:   folder (one server at a time) ─► journal ─► clock ─► words (none later than now) ─► users ─► beliefs ─► sweep
///   close:  sweep ─► journal (exact words of online users, fsync) ─► memory ─► users ─► folder
/// </code>
/// A restart within the lease shows no user offline: users who were online start as believed online, and the downtime counts as a stall.
/// </remarks>
public sealed class EmbeddedPresence : IOpenPresence
{
    private readonly DataFolder _folder;
    private readonly MemoryPlaneStore _store;
    private readonly SqliteUserDirectory _directory;
    private readonly DemoLoop? _demo;
    private readonly AglowMetrics _metrics;
    private readonly EmbeddedChanges? _changes;
    private readonly CancellationTokenSource _stop = new();

    private EmbeddedPresence(
        DataFolder folder,
        MemoryPlaneStore store,
        SqliteUserDirectory directory,
        DemoLoop? demo,
        AglowMetrics metrics,
        EmbeddedChanges? changes,
        PresenceService presence)
    {
        _changes = changes;
        _folder = folder;
        _store = store;
        _directory = directory;
        _demo = demo;
        _metrics = metrics;
        Presence = presence;
    }

    /// <inheritdoc/>
    public PresenceService Presence { get; }

    /// <inheritdoc/>
    public string Where => $"{_folder.FullPath}, {Registered} users";

    /// <summary>Users ever seen.</summary>
    public long Registered => _store.Registered;

    /// <summary>Opens the folder in these options, loads its data and starts.</summary>
    /// <exception cref="DataFolderException">The folder cannot be used. Nothing in it was overwritten.</exception>
    public static async Task<EmbeddedPresence> OpenAsync(AglowOptions options, TimeProvider time, ILoggerFactory logs)
    {
        var log = new AglowLog(logs.CreateLogger("Aglow"));
        var folder = DataFolder.Open(options.DataDirectory);
        var metrics = new AglowMetrics();
        MemoryPlaneStore? store = null;
        SqliteUserDirectory? directory = null;
        EmbeddedChanges? changes = null;
        var watch = new FolderWatch(folder.FullPath, log);
        try
        {
            folder.EnsureComplete();
            var journal = Journal.Open(folder.PresencePath, log, watch);
            store = new JournaledPlaneStore(PageBudget.Of(options), journal);
            var guard = new StallGuard((uint)(2 * options.LongestIntervalSeconds));
            var clock = new Clock(time, guard, journal.LastAlive);
            directory = SqliteUserDirectory.Open(options.DataDirectory, time, watch, log);
            changes = EmbeddedChanges.Open(folder.PresencePath, directory, journal, store, clock, options, watch);
            var recovery = journal.Load(store, clock, options.Lease);
            watch.Add(folder.PresencePath);
            if (recovery.IsWithinLease)
                guard.Stalled(Math.Min(recovery.LastAlive, recovery.At), recovery.At);
            var demo = options.DemoPeople == 0 ? null : await DemoLoop.PrepareAsync(options, store, directory, time);
            var presence = new PresenceService(
                (IPlaneStore?)demo?.Store ?? store,
                (IUserDirectory?)demo?.Directory ?? directory,
                new LocalTransitionBus(),
                clock,
                options,
                metrics,
                log,
                changes);
            recovery.Seed(presence.Beliefs.Default);
            store.Observe(metrics);
            journal.Observe(metrics);
            changes?.Observe(metrics);
            journal.Start();
            await presence.StartAsync();
            demo?.Start(
                presence.Bus, clock, presence.Definitions, presence.Claims, presence.SetClaimAsync, metrics, log);
            var embedded = new EmbeddedPresence(folder, store, directory, demo, metrics, changes, presence);
            _ = BackgroundLoop.RunAsync("data folder", FolderWatch.Interval, time, log, CheckFolder, embedded._stop.Token);
            return embedded;

            ValueTask CheckFolder()
            {
                watch.Check();
                return default;
            }
        }
        catch (Exception failure)
        {
            await Closing.AfterAsync(
                failure,
                () => changes?.DisposeAsync() ?? default,
                // also closes the journal
                () => store?.DisposeAsync() ?? default,
                () => directory?.DisposeAsync() ?? default,
                Closing.Of(metrics),
                Closing.Of(folder));
            throw;
        }
    }

    /// <summary>
    /// Closes everything. When this completes, all acknowledged changes and the exact words of all online users are on disk.
    /// </summary>
    /// <exception cref="StoreUnavailableException">The last words could not be written.</exception>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _stop.Dispose();
        await Closing.AllAsync(
            () => _demo?.DisposeAsync() ?? default,
            async () => await Presence.StopAsync(),
            Presence.DisposeAsync,
            // before the journal: only a connection that may write removes the WAL when it closes
            () => _changes?.DisposeAsync() ?? default,
            () => _demo?.Store.DisposeAsync() ?? _store.DisposeAsync(),
            _directory.DisposeAsync,
            Closing.Of(_metrics),
            Closing.Of(_folder));
    }
}
