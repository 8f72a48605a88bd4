using System.Runtime.InteropServices;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Sqlite;
using Aglow.Storage;

namespace Aglow.Durable;

/// <summary>
/// Makes the words of the embedded store durable. Users are queued when they come online, leave, expire or are deleted. One writer thread
/// appends their words to <c>presence.db</c>.
/// </summary>
/// <remarks>
/// <code>
///   Keep ─► Add ─► queue of indexes ─► writer: reads the words, one row ─► commit (fsync) ─► FlushedAsync completes
///                                      every 50 ms, or at once if a caller waits   ─► Checkpoint, when the journal is long
/// </code>
/// The queue (<see cref="JournalQueue"/>) holds user indexes, so a user who is queued twice costs only 8 more bytes. Renewals are not
/// journalled. After a crash, users who were online count as last seen when the node was last known to be alive. That is the last tick
/// (every 5 s) or the time of the last row; see <see cref="Recovery"/>. A user's activity is queued at most once a minute, and once more
/// after the user leaves or expires.
/// <para>The queue is bounded: at a million users, <see cref="IsBacklogged"/> asks writers of batches to wait.</para>
/// <para>While nothing can be written, for example on a full disk, waiting callers get a <see cref="StoreUnavailableException"/> after 2 s.
/// Heartbeats are served from memory. One bit for each user records which words are unsaved, and the writer retries four times a
/// second.</para>
/// <para>Rejected: a memory-mapped file of words. Random heartbeats would dirty all its pages, and the kernel's writeback would then slow
/// down the writers.</para>
/// Threading: <see cref="Add"/> and <see cref="FlushedAsync"/> from any thread, without a lock. Only the writer thread uses the file.
/// </remarks>
public sealed class Journal : IAsyncDisposable
{
    /// <summary>The longest time from <see cref="Add"/> until the writer begins to write the word.</summary>
    public static readonly TimeSpan CommitInterval = TimeSpan.FromMilliseconds(50);

    /// <summary>
    /// How often the writer notes that the node is alive. After a crash, the last seen of users who were online is early by at most this.
    /// </summary>
    public static readonly TimeSpan TickInterval = TimeSpan.FromSeconds(5);

    /// <summary>How long <see cref="FlushedAsync"/> waits before it gives up.</summary>
    public static readonly TimeSpan FlushTimeout = TimeSpan.FromSeconds(2);

    /// <summary>The time between retries of a failed write.</summary>
    public static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(250);

    private const int Backlog = 1_000_000;
    // a clean stop also writes words that expired this recently, because the sweep may not have found them yet
    private const uint StopMarginSeconds = 300;

    private readonly PresenceFile _file;
    private readonly AglowLog _log;
    private readonly FolderWatch? _watch;
    private readonly JournalWork _work = new();
    private readonly FlushWaiters _flushes;
    private readonly AutoResetEvent _wake = new(false);
    private readonly uint[] _entries = new uint[PresenceFile.EntriesPerRow * 2];
    private readonly uint[] _words = new uint[PresenceFile.EntriesPerRow];
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private JournalReader? _reader;
    private MemoryPlaneStore? _store;
    private Clock? _clock;
    private Checkpoint? _checkpoint;
    private Action<int, TimeSpan>? _committed;
    private Thread? _writer;
    private ITimer? _commitTimer;
    private ITimer? _tickTimer;
    private ITimer? _sliceTimer;
    private uint _leaseSeconds;
    private long _position;
    private long _failingSince;
    // the clock was set back to this second: words of later seconds were written before that
    private uint _sinceAtMost = uint.MaxValue;
    private long _waitingSince;
    private volatile bool _failing;
    private bool _failureLogged;
    private volatile bool _commitDue;
    private volatile bool _tickDue;
    private volatile bool _sliceDue;
    private volatile bool _stopping;
    private volatile bool _abandoned;
    private int _disposed;

    private Journal(PresenceFile file, AglowLog log, FolderWatch? watch)
    {
        _file = file;
        _log = log;
        _watch = watch;
        file.ReportTo(watch);
        _flushes = new FlushWaiters(() => _wake.Set());
    }

    /// <summary>The last second before this start at which a node with this file was known to be alive; 0: never.</summary>
    public uint LastAlive => _file.LastAlive;

    /// <summary>
    /// The second at which the run before this one ended; 0: there was none. A heartbeat over a word of this second or earlier must be
    /// added, even if it only renews a lease, because it shows that the user was heard in this run.
    /// </summary>
    public uint EarlierRunEnd => _file.State.Since;

    /// <summary>
    /// Whether more than a million users wait for the writer. A caller that adds many should first await <see cref="FlushedAsync"/>.
    /// </summary>
    public bool IsBacklogged => QueueLength > Backlog;

    /// <summary>The number of users that wait for the writer. A user who was added twice counts twice.</summary>
    public long QueueLength => _work.Queue.Count;

    /// <summary>The last second at which this node noted that it is alive.</summary>
    internal uint LastTick { get; private set; }

    /// <summary>Whether the writer was started.</summary>
    internal bool IsStarted => _writer is not null;

    /// <summary>Whether the last write failed. Until a retry succeeds, new words are only in memory.</summary>
    public bool IsFailing => _failing;

    /// <summary>Whether the data folder is missing, was replaced, or is read-only.</summary>
    public bool IsFolderLost => _watch is { Trouble: not null };

    /// <summary>Rows committed since the start.</summary>
    public long CommittedRows { get; private set; }

    /// <summary>Words committed since the start.</summary>
    public long CommittedEntries { get; private set; }

    /// <summary>The duration of the last commit, from reading the words to the end of the fsync.</summary>
    public TimeSpan LastCommitTook { get; private set; }

    /// <summary>
    /// How long the oldest queued user has waited for the writer. While nothing can be written: the time since the first failure.
    /// </summary>
    public TimeSpan Lag =>
        _failing ? _clock!.Time.GetElapsedTime(Volatile.Read(ref _failingSince))
        : QueueLength > 0 ? _clock!.Time.GetElapsedTime(Volatile.Read(ref _waitingSince))
        : TimeSpan.Zero;

    /// <summary>The number of failed writes since the start.</summary>
    public long Failures { get; private set; }

    /// <summary>The size of the journal in bytes. The next start replays it.</summary>
    public long JournalBytes { get; private set; }

    /// <summary>The number of checkpoints completed since the start.</summary>
    public long Checkpoints => _checkpoint?.Count ?? 0;

    /// <summary>The duration of the last checkpoint, from its first image to its last trim, including pauses.</summary>
    public TimeSpan LastCheckpointTook => _checkpoint?.LastTook ?? default;

    /// <summary>Opens <c>presence.db</c>, and creates it if it is missing.</summary>
    /// <exception cref="DataFolderException">The file cannot be used. Nothing in it was changed.</exception>
    public static Journal Open(string presencePath, AglowLog log) => Open(presencePath, log, null);

    /// <summary>The same, in a folder that is watched.</summary>
    internal static Journal Open(string presencePath, AglowLog log, FolderWatch? watch) => new(PresenceFile.Open(presencePath), log, watch);

    /// <summary>Passes all words to this reader as they are written. Call it before <see cref="Load"/>.</summary>
    internal void Follow(JournalReader reader) => _reader = reader;

    /// <summary>Drops the tables of the feed of changes when it is off. Call it before <see cref="Load"/>.</summary>
    internal void DropChanges(Action<Microsoft.Data.Sqlite.SqliteConnection> drop) => drop(_file.Connection);

    /// <summary>
    /// Reads all durable words into an empty store, and notes this start in the file. Call it once, before <see cref="Start"/>. It takes
    /// seconds at a billion users.
    /// </summary>
    /// <param name="store">The empty store that uses this journal.</param>
    /// <param name="clock">The clock of the store, created with <see cref="LastAlive"/>.</param>
    /// <param name="leaseSeconds">The time in seconds that a heartbeat keeps a user online.</param>
    /// <exception cref="DataFolderException">The file is damaged or cannot be written, or the store has too little memory for
    /// it.</exception>
    public Recovery Load(MemoryPlaneStore store, Clock clock, uint leaseSeconds)
    {
        (_store, _clock, _leaseSeconds) = (store, clock, leaseSeconds);
        _checkpoint = new Checkpoint(_file, store, clock.Time);
        clock.Stepped += NoteStep;
        try
        {
            var recovery = Recovery.Run(_file, store, _checkpoint, clock.Now, leaseSeconds);
            JournalBytes = recovery.JournalBytes;
            _reader?.Start(_file, recovery);
            _position = recovery.NoteStart(clock.Now);
            for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
                Add(plane, CollectionsMarshal.AsSpan(recovery.TakenBack[(int)plane]));
            if (recovery.LastAlive != 0)
                Log(recovery);
            return recovery;
        }
        catch (Exception e)
        {
            _abandoned = true;
            if (e is Microsoft.Data.Sqlite.SqliteException or StoreUnavailableException
                && FileProblem.Explain(_file.FilePath, e) is { } line)
                throw line;
            throw;
        }
    }

    /// <summary>Adds the metrics of the journal. Before <see cref="Start"/>.</summary>
    public void Observe(AglowMetrics metrics)
    {
        metrics.Gauge("aglow.journal.bytes", "Bytes that the next start would replay.", () => JournalBytes);
        metrics.Gauge("aglow.journal.queue", "Users whose words wait to be written.", () => QueueLength);
        metrics.Gauge("aglow.journal.lag.seconds", "How long the oldest waiting word has waited.", () => Lag.TotalSeconds);
        metrics.Gauge("aglow.journal.failing", "1 while the server cannot write to disk.", () => IsFailing ? 1 : 0);
        metrics.Gauge("aglow.journal.commit.seconds", "Duration of the last commit with its fsync.", () => LastCommitTook.TotalSeconds);
        metrics.Count("aglow.journal.words", "Words committed.", () => CommittedEntries);
        metrics.Count("aglow.journal.checkpoints", "Completed checkpoints.", () => Checkpoints);
        metrics.CountErrors("journal", () => Failures);
        _committed = metrics.Flushes("journal");
    }

    /// <summary>Starts the writer thread.</summary>
    public void Start()
    {
        _commitTimer = CreateTimer(() => _commitDue = true);
        _tickTimer = CreateTimer(() => _tickDue = true);
        _tickTimer.Change(TickInterval, TickInterval);
        _sliceTimer = CreateTimer(() => _sliceDue = true);
        _sliceDue = _checkpoint!.IsRunning;
        _writer = new Thread(Run) { IsBackground = true, Name = "journal" };
        _writer.Start();
        _commitTimer.Change(CommitInterval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Queues users whose current words must be written. They are on disk after about 50 ms. Never waits.</summary>
    public void Add(Plane plane, ReadOnlySpan<uint> users)
    {
        if (users.IsEmpty)
            return;
        if (!_work.Queue.Add(plane, users) || _clock is null)
            return;
        Volatile.Write(ref _waitingSince, _clock.Time.GetTimestamp());
        // a failing writer retries by itself
        if (!_failing)
            _commitTimer?.Change(CommitInterval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>
    /// Completes when everything that was added before is on disk. Throws <see cref="StoreUnavailableException"/> after 2 s, or at once if
    /// writes have failed for 2 s already. The writer retries in the background in any case.
    /// </summary>
    public ValueTask FlushedAsync()
    {
        if (_watch is { Trouble: { } trouble })
            throw new StoreUnavailableException(trouble);
        // check in this order: the writer sets _failing before it reduces the count
        if (QueueLength == 0 && !_failing)
            return default;
        if (_failing && _clock!.Time.GetElapsedTime(Volatile.Read(ref _failingSince)) > FlushTimeout)
            throw Unavailable();
        var committed = _flushes.Join();
        return committed.IsCompletedSuccessfully ? default : WaitAsync(committed);
    }

    /// <summary>
    /// Writes everything that was added, and the exact words of all users who are online, and stops the writer. Throws
    /// <see cref="StoreUnavailableException"/> if the words cannot be written.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        if (_writer is null)
        {
            if (_abandoned)
                _file.Abandon();
            else
                _file.Dispose();
            return;
        }

        _stopping = true;
        _wake.Set();
        await _stopped.Task;
    }

    /// <summary>The cost of replaying a row, in bytes: its entries, and a fixed cost for each row.</summary>
    internal static long Weight(int entries) => 256 + (entries * 8L);

    /// <summary>Ends as a crash would: words that are not committed are lost.</summary>
    internal async ValueTask AbandonAsync()
    {
        _abandoned = true;
        await DisposeAsync();
    }

    /// <summary>Writes a whole checkpoint now, without pauses. Only if the writer was not started.</summary>
    internal void CheckpointNow()
    {
        BeginCheckpoint();
        while (StepCheckpoint())
        {
            // to the end
        }
    }

    /// <summary>Begins a checkpoint now, unless one is running. Called by the writer, or if the writer was not started.</summary>
    internal void BeginCheckpoint()
    {
        if (!_checkpoint!.IsRunning)
            _checkpoint.Begin(_position, JournalBytes);
    }

    /// <summary>
    /// Runs one transaction of a checkpoint. True if more follow. Called by the writer, or if the writer was not started.
    /// </summary>
    internal bool StepCheckpoint()
    {
        var checkpoint = _checkpoint!;
        if (!checkpoint.IsRunning)
            return false;
        checkpoint.Step(_position, _clock!.Moment, _leaseSeconds);
        if (checkpoint.IsRunning)
            return true;
        JournalBytes -= checkpoint.JournalBytes;
        return false;
    }

    /// <summary>Commits the queued users. Called by the writer, or if the writer was not started.</summary>
    internal void Commit()
    {
        _commitDue = false;
        _flushes.Take();
        if (_failing)
            SetAside();
        _watch?.EnsureSame();
        var beganAt = _clock!.Time.GetTimestamp();
        // users added from here on wait for the next commit
        for (var left = QueueLength; _work.Take(ref left);)
            Write();
        if (_failing)
            Recovered();
        _flushes.Complete();
        // users added during the commit found a queue that was not empty, and so set no timer
        if (QueueLength > 0)
        {
            Volatile.Write(ref _waitingSince, beganAt);
            _commitTimer?.Change(CommitInterval, Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>Notes in the file that the node is alive. Called by the writer, or if the writer was not started.</summary>
    internal void Tick()
    {
        _tickDue = false;
        _file.Write(() =>
        {
            var since = Math.Min(_file.State.Since, Volatile.Read(ref _sinceAtMost));
            _file.WriteState(_file.State with { Tick = _clock!.Now, Since = since });
        });
        _watch?.EnsureSame();
        LastTick = _file.State.Tick;
        Add(Plane.Pulse, CollectionsMarshal.AsSpan(_checkpoint!.Doubtful));
        _checkpoint.Doubtful.Clear();
    }

    /// <summary>
    /// Commits the queued users and the exact words of users who are online, and marks the stop as clean. Called by the writer, or if the
    /// writer was not started.
    /// </summary>
    internal void CommitLast()
    {
        Commit();
        var store = _store!;
        var at = _clock!.Moment;
        var oldest = at.Oldest(_leaseSeconds + StopMarginSeconds);
        foreach (var page in store.Pages(Plane.Pulse))
        {
            var words = store.View(Plane.Pulse, page);
            var activity = store.View(Plane.Activity, page);
            for (var slot = 0; slot < words.Length; slot++)
            {
                if (!Pulse.IsHeartbeatSince(words[slot], oldest))
                    continue;
                _work.Take(Plane.Pulse, PageLayout.User(page, slot));
                if (!activity.IsEmpty && activity[slot] != Pulse.Never)
                    _work.Take(Plane.Activity, PageLayout.User(page, slot));
            }

            if (_work.TakenCount >= JournalWork.PerCommit / 2)
                Write();
        }

        if (_work.TakenCount > 0)
            Write();
        _file.Write(() => _file.WriteState(_file.State with { Tick = at.Now, IsClean = true }));
        _watch?.EnsureSame();
    }

    /// <summary>For tests of a full disk: allows the file to grow by this many pages.</summary>
    internal void LimitPages(long more) => _file.LimitPages(_file.PageCount + more);

    private async ValueTask WaitAsync(Task committed)
    {
        try
        {
            await committed.WaitAsync(FlushTimeout, _clock!.Time);
        }
        catch (TimeoutException)
        {
            throw Unavailable();
        }
    }

    private StoreUnavailableException Unavailable() =>
        new($"Nothing could be written to {_file.FilePath} for 2 s; it is tried again, try again later.");

    // The timer is stopped at first. When it fires, it sets a flag and wakes the writer.
    private ITimer CreateTimer(Action fire) => _clock!.Time.CreateTimer(
        _ =>
        {
            fire();
            _wake.Set();
        },
        null,
        Timeout.InfiniteTimeSpan,
        Timeout.InfiniteTimeSpan);

    private void Run()
    {
        while (!_stopping)
        {
            _wake.WaitOne();
            if (!_stopping)
                Turn();
        }

        Stop();
    }

    // Every failure leads to a retry, because no other thread can write.
    private void Turn()
    {
        try
        {
            if (_failing ? _commitDue : _commitDue || _flushes.IsWanted)
                Commit();
            if (_tickDue && !_failing)
                Tick();
            if (_checkpoint!.IsDue(JournalBytes))
            {
                BeginCheckpoint();
                _sliceDue = true;
            }

            if (_sliceDue && !_failing)
                Slice();
        }
        catch (Exception e)
        {
            Failed(e);
        }
    }

    // After each slice, the writer leaves the disk alone for as long as the slice took.
    private void Slice()
    {
        _sliceDue = false;
        var time = _clock!.Time;
        var began = time.GetTimestamp();
        if (StepCheckpoint())
        {
            var took = time.GetElapsedTime(began).TotalMilliseconds;
            _sliceTimer!.Change(TimeSpan.FromMilliseconds(Math.Max(1, took)), Timeout.InfiniteTimeSpan);
        }
        else
        {
            _log.Checkpointed(_file.FilePath, LastCheckpointTook.TotalSeconds);
        }
    }

    private void Write()
    {
        var clock = _clock!;
        var began = clock.Time.GetTimestamp();
        var rows = 0;
        try
        {
            _file.Write(() =>
            {
                // read the clock before the words, so that no word is judged by a later second than it was read in
                var at = clock.Moment;
                for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
                {
                    for (var users = _work.Taken(plane); !users.IsEmpty;)
                    {
                        var count = Math.Min(users.Length, PresenceFile.EntriesPerRow);
                        Append(plane, users[..count], at, _position + ++rows);
                        users = users[count..];
                    }
                }
            });
            // the rows are in the open file; they count as written only if that file is still in the folder
            _position += rows;
            _watch?.EnsureSame();
        }
        catch
        {
            // before the count goes down, see FlushedAsync
            BeginFailing();
            _work.SetAside();
            throw;
        }

        CommittedRows += rows;
        CommittedEntries += _work.TakenCount;
        JournalBytes += (rows * Weight(0)) + (_work.TakenCount * 8L);
        LastCommitTook = clock.Time.GetElapsedTime(began);
        _committed?.Invoke(_work.TakenCount, LastCommitTook);
        _work.Settle();
    }

    private void Append(Plane plane, ReadOnlySpan<uint> users, Moment at, long position)
    {
        var words = _words.AsSpan(0, users.Length);
        _store!.Read(plane, users, words);
        for (var i = 0; i < users.Length; i++)
        {
            _entries[2 * i] = users[i];
            _entries[(2 * i) + 1] = words[i];
        }

        if (plane == Plane.Pulse)
        {
            TakeActivityOfGone(users, words, at.Oldest(_leaseSeconds));
            _reader?.ReadWords(users, words, at);
        }

        var kind = plane == Plane.Pulse ? RowKind.Pulse : RowKind.Activity;
        _file.Append(position, kind, at.Now, at.Oldest(_leaseSeconds), _entries.AsSpan(0, 2 * users.Length));
        // noted even if the commit fails, because the users are then appended again at this position or a later one
        _checkpoint!.Touched(plane, users, position);
    }

    // Heartbeats queue activity only once a minute. So the last activity of a user who left or expired is written here.
    private void TakeActivityOfGone(ReadOnlySpan<uint> users, ReadOnlySpan<uint> words, uint oldest)
    {
        for (var i = 0; i < users.Length; i++)
        {
            if (!Pulse.IsHeartbeatSince(words[i], oldest) && _store!.Read(Plane.Activity, users[i]) != Pulse.Never)
                _work.Take(Plane.Activity, users[i]);
        }
    }

    // notes the time of the first failure in a row
    private void BeginFailing()
    {
        if (_failing)
            return;
        Volatile.Write(ref _failingSince, _clock!.Time.GetTimestamp());
        _failing = true;
    }

    private void SetAside()
    {
        _work.SetQueueAside();
        if (IsFolderLost)
            return;
        try
        {
            // the disk may be full, and committed pages that are copied into the file free room in the WAL
            _file.FoldWal();
        }
        catch (Exception e) when (e is Microsoft.Data.Sqlite.SqliteException or IOException or StoreUnavailableException)
        {
            // the commit that follows fails as well, and reports why
        }
    }

    private void Failed(Exception e)
    {
        Failures++;
        BeginFailing();
        _watch?.Look();
        if (_watch is { Trouble: { } trouble })
        {
            _flushes.Fail(new StoreUnavailableException(trouble));
        }
        else
        {
            if (!_failureLogged)
                _log.CannotWrite(_file.FilePath, e.Message);
            _failureLogged = true;
        }

        _commitTimer?.Change(RetryInterval, Timeout.InfiniteTimeSpan);
    }

    private void Recovered()
    {
        // if the queue was empty, no write has succeeded yet: this one proves that writes work again
        Tick();
        _failing = false;
        if (_failureLogged)
            _log.WritesAgain(_file.FilePath, _clock!.Time.GetElapsedTime(_failingSince).TotalSeconds);
        _failureLogged = false;
        if (_checkpoint!.IsRunning)
            _sliceDue = true;
    }

    private void Log(Recovery recovery) => _log.Loaded(
        _file.FilePath,
        recovery.Registered,
        recovery.Took.TotalSeconds,
        recovery.Rows,
        recovery.Online,
        recovery.WasClean ? "stopped in order" : "was interrupted",
        Math.Max(0, (long)recovery.At - recovery.LastAlive));

    // After a step back, words of this run may be of earlier seconds than the end of the run before.
    private void NoteStep(uint from, uint to)
    {
        if (to < from)
            Volatile.Write(ref _sinceAtMost, Math.Min(_sinceAtMost, to));
        _tickDue = true;
        _wake.Set();
    }

    private void Stop()
    {
        _commitTimer!.Dispose();
        _tickTimer!.Dispose();
        _sliceTimer!.Dispose();
        try
        {
            if (_abandoned)
            {
                _file.Abandon();
            }
            else
            {
                CommitLast();
                _file.Dispose();
            }

            _stopped.SetResult();
        }
        catch (Exception e)
        {
            _file.Abandon();
            _stopped.SetException(new StoreUnavailableException(
                $"The last words could not be written to {_file.FilePath} ({e.Message}); the next start will know them as after a crash.",
                e));
        }

        // callers that still wait in FlushedAsync get an exception after 2 s
    }
}
