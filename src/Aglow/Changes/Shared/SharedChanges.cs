using Aglow.Heartbeats;
using Aglow.Sweeping;
using Aglow.Users;

namespace Aglow.Changes.Shared;

/// <summary>The feed of nodes that share a store: any node reads it, and one node at a time records it.</summary>
/// <remarks>
/// <code>
///   the owner: hints, pages, claims ─► SharedChangeRecorder ─► IChangeLog ─► any node: entries after a cursor ─► IDs ─► changes
/// </code>
/// A node with waiting readers checks the extent of the feed every <see cref="PollInterval"/>; the owner knows it anyway. Threading: any
/// thread.
/// </remarks>
public sealed class SharedChanges : IChangeFeed, IAsyncDisposable
{
    private const int EntriesAtOnce = 32;
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan IdlePollInterval = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan BeginsWithin = TimeSpan.FromSeconds(5);

    private readonly IChangeLog _log;
    private readonly IPlaneStore _store;
    private readonly IUserDirectory? _directory;
    private readonly Clock _clock;
    private readonly AglowOptions _options;
    private readonly AglowLog _events;
    private readonly HintHistory _hints = new();
    private readonly ClaimTimer _ends;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _waiting = new();
    private SharedChangeRecorder? _recorder;
    private Claims? _claims;
    private Accounts? _accounts;
    private ChangeLogHead? _head;
    private TaskCompletionSource? _moved;
    private Task _owning = Task.CompletedTask;
    private Task _polling = Task.CompletedTask;
    private long _polledAt;
    private long _gaps;
    private long _takeovers;

    /// <summary>Creates a feed over a shared store. It receives hints from now on.</summary>
    /// <param name="log">The shared part of the feed.</param>
    /// <param name="store">The words.</param>
    /// <param name="directory">The users; null: user IDs are numbers.</param>
    /// <param name="bus">The hints of all nodes.</param>
    /// <param name="clock">Store time.</param>
    /// <param name="options">How much the feed keeps.</param>
    /// <param name="events">The log of failures.</param>
    public SharedChanges(
        IChangeLog log, IPlaneStore store, IUserDirectory? directory, ITransitionBus bus, Clock clock, AglowOptions options,
        AglowLog events)
    {
        (_log, _store, _directory, _clock, _options, _events) = (log, store, directory, clock, options, events);
        _ends = new ClaimTimer(clock, Note);
        bus.Subscribe(NoteHints);
    }

    /// <inheritdoc/>
    public IConsumerStore Consumers => _log.Consumers;

    /// <inheritdoc/>
    public bool IsShared => true;

    /// <inheritdoc/>
    public void Start(Claims claims, Accounts accounts)
    {
        (_claims, _accounts) = (claims, accounts);
        _ends.Start(claims);
        claims.Changed += Note;
        accounts.Changed += (user, _, _) => Note(user);
    }

    /// <summary>
    /// Records from now on while this node owns the feed. Completes when the feed can be read, or after 5 s if no node could begin it.
    /// </summary>
    /// <param name="sweep">Reads the pages.</param>
    /// <param name="believed">The users whom this node believes to be online.</param>
    public async Task RunAsync(Sweep sweep, Belief believed)
    {
        _recorder = new SharedChangeRecorder(
            _log, _store, _clock, believed, sweep, _claims!, _accounts!, _hints, _options, Move,
            () => _directory?.CatchUpAsync() ?? default);
        _owning = RunOwnedAsync(IChangeLog.Feed, OwnAsync, _stop.Token);
        var began = _clock.Time.GetTimestamp();
        while (!await HasBegunAsync() && _clock.Time.GetElapsedTime(began) < BeginsWithin)
            await Task.Delay(PollInterval, _clock.Time);
        _polling = BackgroundLoop.RunAsync("feed of changes", PollInterval, _clock.Time, _events, PollAsync, _stop.Token);
    }

    /// <inheritdoc/>
    public Task RunOwnedAsync(string name, Func<string, CancellationToken, Task> run, CancellationToken stop) =>
        _log.RunOwnedAsync(name, run, stop);

    /// <inheritdoc/>
    public void Note(uint user)
    {
        _hints.Add(TransitionKind.Changed, [user], _clock.Now);
        _ends.Follow(user);
        _recorder?.Wake();
    }

    /// <inheritdoc/>
    public ValueTask<ChangePage> ReadAsync(string? after, int limit, CancellationToken cancel = default) =>
        ChangeReading.ReadAsync(after, _directory, from => ReadPartAsync(from, limit, cancel));

    private async ValueTask<(ChangeReading Part, uint Generation)> ReadPartAsync(string? after, int limit, CancellationToken cancel)
    {
        var head = await ReadHeadAsync() ?? throw new StoreUnavailableException("No node has begun the feed of changes yet.");
        // A cursor beyond the end belongs to records that Redis lost in a failover. Later records have higher numbers.
        var read = ChangeReading.After(after, head.Generation, head.Trimmed, head.Last, highest: long.MaxValue, limit, _accounts);
        while (!read.IsFull)
        {
            cancel.ThrowIfCancellationRequested();
            var entries = await _log.ReadAsync(read.Next, EntriesAtOnce);
            if (entries.Count == 0)
            {
                read.Next = Math.Max(read.Next, head.Last);
                break;
            }

            // numbers also have gaps at each change of owner; this gap is a loss if records were deleted since
            if (await HasLostAsync(read.Next, entries[0]))
                read.IsGap = true;
            if (!Take(entries, read))
                break;
        }

        if (read.IsGap)
            Interlocked.Increment(ref _gaps);
        return (read, head.Generation);
    }

    /// <inheritdoc/>
    public async Task WaitAsync(string after, CancellationToken cancel)
    {
        var cursor = ChangeCursor.Parse(after);
        while (true)
        {
            Task moved;
            lock (_waiting)
            {
                if (_head is { } head && (head.Generation != cursor.Generation || head.Last > cursor.Number))
                    return;
                moved = (_moved ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
            }

            await moved.WaitAsync(cancel);
        }
    }

    /// <summary>Adds the feed's metrics.</summary>
    public void Observe(AglowMetrics metrics)
    {
        FeedMetrics.Add(
            metrics, () => _head?.Recorded ?? 0, () => _head?.Kept ?? 0, () => _head?.Bytes ?? 0, () => Volatile.Read(ref _gaps));
        metrics.Gauge(
            "aglow.feed.owner", "1 where this node records the feed for all nodes.", () => _recorder is { IsOwner: true } ? 1 : 0);
        metrics.Count("aglow.feed.takeovers", "Times that this node began to record the feed.", () => Volatile.Read(ref _takeovers));
    }

    /// <summary>Records all hints received until now, and stops. Another node takes over within a second.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        await _owning;
        await _polling;
        _ends.Dispose();
        _recorder?.Dispose();
        _stop.Dispose();
    }

    private async Task OwnAsync(string token, CancellationToken lost)
    {
        Interlocked.Increment(ref _takeovers);
        await _recorder!.OwnAsync(token, lost);
    }

    private void NoteHints(TransitionKind kind, ReadOnlySpan<uint> users)
    {
        if (kind is not (TransitionKind.Arrived or TransitionKind.Left or TransitionKind.Changed or TransitionKind.DeviceLeft))
            return;
        _hints.Add(kind, users, _clock.Now);
        _recorder?.Wake();
    }

    private async ValueTask PollAsync()
    {
        bool isWaitedFor;
        lock (_waiting)
            isWaitedFor = _moved is not null;
        if (isWaitedFor || _clock.Time.GetElapsedTime(_polledAt) > IdlePollInterval)
            await HasBegunAsync();
    }

    private async ValueTask<ChangeLogHead?> ReadHeadAsync()
    {
        _polledAt = _clock.Time.GetTimestamp();
        var head = await _log.HeadAsync();
        if (head is not null)
            Move(head);
        return head;
    }

    private async ValueTask<bool> HasBegunAsync()
    {
        try
        {
            return await ReadHeadAsync() is not null;
        }
        catch (StoreUnavailableException)
        {
            return false;
        }
    }

    private void Move(ChangeLogHead head)
    {
        TaskCompletionSource? moved = null;
        lock (_waiting)
        {
            if (_head is not { } was || was.Generation != head.Generation || was.Last != head.Last)
                (moved, _moved) = (_moved, null);
            _head = head;
        }

        moved?.SetResult();
    }

    private async ValueTask<bool> HasLostAsync(long from, ChangeLogEntry first) =>
        first.Last - (first.Records.Length / StoredChange.Bytes) > from && await ReadHeadAsync() is { } now && now.Trimmed > from;

    // False: a gap follows. It is reported with the changes after it, on the next page.
    private static bool Take(IReadOnlyList<ChangeLogEntry> entries, ChangeReading read)
    {
        foreach (var entry in entries)
        {
            if (!entry.Records.IsEmpty)
                read.Add(entry.Last, entry.At, entry.Records.Span);
            else if (read.IsEmpty)
                (read.IsGap, read.Next) = (true, entry.Last);
            else
                return false;
        }

        return true;
    }
}
