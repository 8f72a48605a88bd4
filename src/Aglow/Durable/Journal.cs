using System.Runtime.InteropServices;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Storage;

namespace Aglow.Durable;

/// <summary>
/// Makes the embedded store's words durable: users whose words changed in a way that matters (came online, left, lapsed, deleted) are queued, and
/// one writer thread appends their words to <c>presence.db</c>.
/// </summary>
/// <remarks>
/// <code>
///   Keep ─► Add ─► queue of numbers ─► writer: reads the words, one row ─► commit (fsync) ─► FlushedAsync completes
///                                      every 50 ms, at once where somebody waits   ─► Checkpoint, when the journal is long
/// </code>
/// The queue (<see cref="JournalQueue"/>) holds numbers: a user queued twice costs nothing but 8 bytes. Renewals are not journalled: a crash puts users online at the last second the node was known
/// alive (a tick every 5 s, and the time of each row); see <see cref="Recovery"/>. Activity is queued once a minute, and written once more when its user left or lapsed.
/// Bounded: at a million users queued, <see cref="IsBacklogged"/> asks writers of batches to wait. While nothing can be written (a full
/// disk) those who wait get a <see cref="StoreUnavailableException"/> after 2 s, heartbeats are served from memory, whose words are to be written is kept as a
/// bit a user, and the writer tries again four times a second.
/// Threading: <see cref="Add"/> and <see cref="FlushedAsync"/> from any thread, without a lock; the file is the writer's alone. The rejected
/// alternative, a memory-mapped file of words, dirties all of its pages with random heartbeats, and writeback then throttles writers.
/// </remarks>
public sealed class Journal : IAsyncDisposable
{
    /// <summary>At most this long after it was added, a word is being written.</summary>
    public static readonly TimeSpan CommitInterval = TimeSpan.FromMilliseconds(50);

    /// <summary>How often it is noted that the node is alive. A crash takes at most this much off the last seen of who was online.</summary>
    public static readonly TimeSpan TickInterval = TimeSpan.FromSeconds(5);

    /// <summary>How long <see cref="FlushedAsync"/> waits before it gives up.</summary>
    public static readonly TimeSpan FlushTimeout = TimeSpan.FromSeconds(2);

    /// <summary>How often a write that failed is tried again.</summary>
    public static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(250);

    private const int Backlog = 1_000_000;
    // at a clean stop also words that lapsed this recently are written: their lapse may not have been found yet
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
    private Thread? _writer;
    private ITimer? _commitTimer;
    private ITimer? _tickTimer;
    private ITimer? _sliceTimer;
    private uint _leaseSeconds;
    private long _position;
    private long _failingSince;
    // a word of no later second was written before the clock was last set back
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

    /// <summary>The last second at which a node was known alive on this file before this start; 0: never.</summary>
    public uint LastAlive => _file.LastAlive;

    /// <summary>
    /// The second at which the run before this one ended; 0: there was none. The first heartbeat over a word that is no later is to be added, though it be a
    /// renewal: it says that the user was heard in this run.
    /// </summary>
    public uint EarlierRunEnd => _file.State.Since;

    /// <summary>Whether over a million users wait to be taken by the writer: who adds many should await <see cref="FlushedAsync"/> first.</summary>
    public bool IsBacklogged => QueueLength > Backlog;

    /// <summary>Users that wait for the writer, doublets included.</summary>
    public long QueueLength => _work.Queue.Count;

    /// <summary>The last second at which this node noted that it is alive.</summary>
    internal uint LastTick { get; private set; }

    /// <summary>Whether the writer runs.</summary>
    internal bool IsStarted => _writer is not null;

    /// <summary>Whether the last write failed: words are kept in memory alone, and it is tried again.</summary>
    public bool IsFailing => _failing;

    /// <summary>Whether the data folder is gone, is another one, or is read-only.</summary>
    public bool IsFolderLost => _watch is { Trouble: not null };

    /// <summary>Rows committed since the start.</summary>
    public long CommittedRows { get; private set; }

    /// <summary>Words committed since the start.</summary>
    public long CommittedEntries { get; private set; }

    /// <summary>What the last commit took, from packing to fsync.</summary>
    public TimeSpan LastCommitTook { get; private set; }

    /// <summary>How long the oldest of those who wait for the writer has waited; while nothing can be written, how long that has been so.</summary>
    public TimeSpan Lag =>
        _failing ? _clock!.Time.GetElapsedTime(Volatile.Read(ref _failingSince))
        : QueueLength > 0 ? _clock!.Time.GetElapsedTime(Volatile.Read(ref _waitingSince))
        : TimeSpan.Zero;

    /// <summary>Hears of each commit how many words it wrote and what it took. Set before <see cref="Start"/>; called by the writer.</summary>
    internal Action<int, TimeSpan>? Committed { get; set; }

    /// <summary>Writes that failed since the start.</summary>
    public long Failures { get; private set; }

    /// <summary>Bytes in the journal, which the next start would replay.</summary>
    public long JournalBytes { get; private set; }

    /// <summary>Checkpoints that ended since the start.</summary>
    public long Checkpoints => _checkpoint?.Count ?? 0;

    /// <summary>What the last checkpoint took, from its first image to its last trim, pauses included.</summary>
    public TimeSpan LastCheckpointTook => _checkpoint?.LastTook ?? default;

    /// <summary>Opens the file of words of a data folder, made if it is not there.</summary>
    /// <exception cref="DataFolderException">It cannot be used; nothing in it was changed.</exception>
    public static Journal Open(string presencePath, AglowLog log) => Open(presencePath, log, null);

    /// <summary>The same, in a folder that is watched.</summary>
    internal static Journal Open(string presencePath, AglowLog log, FolderWatch? watch) => new(PresenceFile.Open(presencePath), log, watch);

    /// <summary>Has a reader read along. Before <see cref="Load"/>.</summary>
    internal void Follow(JournalReader reader) => _reader = reader;

    /// <summary>Drops the tables of a reader that is off. Before <see cref="Load"/>.</summary>
    internal void DropChanges(Action<Microsoft.Data.Sqlite.SqliteConnection> drop) => drop(_file.Connection);

    /// <summary>
    /// Reads all that is durable into an empty store and notes this start in the file. Once, before <see cref="Start"/>; seconds at a billion users.
    /// </summary>
    /// <param name="store">The store that this journal was given to.</param>
    /// <param name="clock">Store time, made with <see cref="LastAlive"/>.</param>
    /// <param name="leaseSeconds">How long a heartbeat lasts.</param>
    /// <exception cref="DataFolderException">The file is damaged, cannot be written, or holds more than the store may.</exception>
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
                && DataFolder.Explain(_file.FilePath, e) is { } line)
                throw line;
            throw;
        }
    }

    /// <summary>Starts the writer.</summary>
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

    /// <summary>The present words of these users shall be on disk, in 50 ms or a little more. Never waits.</summary>
    public void Add(Plane plane, ReadOnlySpan<uint> users)
    {
        if (users.IsEmpty)
            return;
        if (!_work.Queue.Add(plane, users) || _clock is null)
            return;
        Volatile.Write(ref _waitingSince, _clock.Time.GetTimestamp());
        // where it fails already, the writer comes back by itself
        if (!_failing)
            _commitTimer?.Change(CommitInterval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>
    /// Completes when all that was added before is on disk. Throws <see cref="StoreUnavailableException"/> where that takes over 2 s, or
    /// nothing could be written for 2 s already; it is tried again in the background all the same.
    /// </summary>
    public ValueTask FlushedAsync()
    {
        if (_watch is { Trouble: { } trouble })
            throw new StoreUnavailableException(trouble);
        // in this order: what fails is marked before it is no longer counted
        if (QueueLength == 0 && !_failing)
            return default;
        if (_failing && _clock!.Time.GetElapsedTime(Volatile.Read(ref _failingSince)) > FlushTimeout)
            throw Unavailable();
        var committed = _flushes.Join();
        return committed.IsCompletedSuccessfully ? default : WaitAsync(committed);
    }

    /// <summary>
    /// Stops the writer: all that was added is on disk then, and the exact words of everyone online, so that the next start knows them as they
    /// are. Throws <see cref="StoreUnavailableException"/> where it cannot be written.
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

    /// <summary>What a row of so many entries weighs: its bytes, and what a row costs to replay, however short.</summary>
    internal static long Weight(int entries) => 256 + (entries * 8L);

    /// <summary>Ends as a crash would: what is not committed is lost.</summary>
    internal async ValueTask AbandonAsync()
    {
        _abandoned = true;
        await DisposeAsync();
    }

    /// <summary>Writes a whole checkpoint now, without pauses. Where the writer has not been started.</summary>
    internal void CheckpointNow()
    {
        BeginCheckpoint();
        while (StepCheckpoint())
        {
            // to the end
        }
    }

    /// <summary>Begins a checkpoint now, if none is running. Where the writer has not been started.</summary>
    internal void BeginCheckpoint()
    {
        if (!_checkpoint!.IsRunning)
            _checkpoint.Begin(_position, JournalBytes);
    }

    /// <summary>One transaction of a checkpoint; returns whether there is more. By the writer, or where it has not been started.</summary>
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

    /// <summary>Commits what is queued. By the writer, or where it has not been started.</summary>
    internal void Commit()
    {
        _commitDue = false;
        _flushes.Take();
        if (_failing)
            SetAside();
        _watch?.EnsureSame();
        var beganAt = _clock!.Time.GetTimestamp();
        // what is added from here on waits for the next commit
        for (var left = QueueLength; _work.Take(ref left);)
            Write();
        if (_failing)
            Recovered();
        _flushes.Complete();
        // what was added meanwhile found the queue in use and has set no timer
        if (QueueLength > 0)
        {
            Volatile.Write(ref _waitingSince, beganAt);
            _commitTimer?.Change(CommitInterval, Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>Notes that the node is alive. By the writer, or where it has not been started.</summary>
    internal void Tick()
    {
        _tickDue = false;
        _file.Write(() => _file.WriteState(_file.State with { Tick = _clock!.Now, Since = Math.Min(_file.State.Since, Volatile.Read(ref _sinceAtMost)) }));
        _watch?.EnsureSame();
        LastTick = _file.State.Tick;
        Add(Plane.Pulse, CollectionsMarshal.AsSpan(_checkpoint!.Doubtful));
        _checkpoint.Doubtful.Clear();
    }

    /// <summary>Commits what is queued, the exact words of who is online, and the mark that says so. By the writer, or where it has not been started.</summary>
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

    /// <summary>Allows the file so many pages more than it has: a disk that is full, for tests.</summary>
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

    private StoreUnavailableException Unavailable() => new($"Nothing could be written to {_file.FilePath} for 2 s; it is tried again, try again later.");

    // A timer that is not running yet; when it fires, something is due.
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

    // Whatever goes wrong here ends in another try: this thread is the only one that can make anything durable.
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

    // As long as a slice took, so long the disk is left to others.
    private void Slice()
    {
        _sliceDue = false;
        var time = _clock!.Time;
        var began = time.GetTimestamp();
        if (StepCheckpoint())
            _sliceTimer!.Change(TimeSpan.FromMilliseconds(Math.Max(1, time.GetElapsedTime(began).TotalMilliseconds)), Timeout.InfiniteTimeSpan);
        else
            _log.Checkpointed(_file.FilePath, LastCheckpointTook.TotalSeconds);
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
                // the moment first: no word is read before the second it is judged by
                var at = clock.Moment;
                for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
                {
                    for (var users = _work.Taken(plane); !users.IsEmpty; users = users[Math.Min(users.Length, PresenceFile.EntriesPerRow)..])
                        Append(plane, users[..Math.Min(users.Length, PresenceFile.EntriesPerRow)], at, _position + ++rows);
                }
            });
            // those rows are in the file, wherever that is now; what they say counts as written only in the folder
            _position += rows;
            _watch?.EnsureSame();
        }
        catch
        {
            // first, before they are no longer counted: see FlushedAsync
            BeginFailing();
            _work.SetAside();
            throw;
        }

        CommittedRows += rows;
        CommittedEntries += _work.TakenCount;
        JournalBytes += (rows * Weight(0)) + (_work.TakenCount * 8L);
        LastCommitTook = clock.Time.GetElapsedTime(began);
        Committed?.Invoke(_work.TakenCount, LastCommitTook);
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

        _file.Append(position, plane == Plane.Pulse ? RowKind.Pulse : RowKind.Activity, at.Now, at.Oldest(_leaseSeconds), _entries.AsSpan(0, 2 * users.Length));
        // noted even if the commit fails: then it is appended again, at this position or a later one
        _checkpoint!.Touched(plane, users, position);
    }

    // While a user is online their activity is queued once a minute only; once they left or lapsed no heartbeat queues the rest of it.
    private void TakeActivityOfGone(ReadOnlySpan<uint> users, ReadOnlySpan<uint> words, uint oldest)
    {
        for (var i = 0; i < users.Length; i++)
        {
            if (!Pulse.IsHeartbeatSince(words[i], oldest) && _store!.Read(Plane.Activity, users[i]) != Pulse.Never)
                _work.Take(Plane.Activity, users[i]);
        }
    }

    // since the first failure in a row
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
            // what is in the file already need not stay in the WAL: its room is the first to be had
            _file.FoldWal();
        }
        catch (Exception e) when (e is Microsoft.Data.Sqlite.SqliteException or IOException or StoreUnavailableException)
        {
            // the commit that follows says why
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
        // a write that nobody asked for: where the queue was empty, nothing has proved yet that one succeeds
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

    // What is written from now on is of this run, though it be of an earlier second than where the run before ended.
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
            _stopped.SetException(new StoreUnavailableException($"The last words could not be written to {_file.FilePath} ({e.Message}); the next start will know them as after a crash.", e));
        }

        // who still waits, waits in vain: 2 s, and an exception
    }
}
