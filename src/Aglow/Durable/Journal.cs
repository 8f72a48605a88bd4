using System.Runtime.InteropServices;
using Aglow.Sqlite;

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
/// <para>Callers use this type. <see cref="JournalWriter"/> decides when to write, and <see cref="JournalRows"/> writes the rows.</para>
/// Threading: <see cref="Add"/> and <see cref="FlushedAsync"/> from any thread, without a lock. Only the writer thread uses the file.
/// </remarks>
internal sealed class Journal : IAsyncDisposable
{
    /// <summary>The longest time from <see cref="Add"/> until the writer begins to write the word.</summary>
    public static readonly TimeSpan CommitInterval = TimeSpan.FromMilliseconds(50);

    /// <summary>
    /// How often the writer notes that the node is alive. After a crash, the last seen of users who were online is early by at most this.
    /// </summary>
    public static readonly TimeSpan TickInterval = TimeSpan.FromSeconds(5);

    /// <summary>How long <see cref="FlushedAsync"/> waits before it throws.</summary>
    public static readonly TimeSpan FlushTimeout = TimeSpan.FromSeconds(2);

    /// <summary>The time between retries of a failed write.</summary>
    public static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(250);

    private const int Backlog = 1_000_000;

    private readonly PresenceFile _file;
    private readonly AglowLog _log;
    private readonly FolderWatch? _watch;
    private readonly JournalWork _work = new();

    private JournalReader? _reader;
    private JournalWriter? _writer;
    private bool _abandoned;
    private int _disposed;

    private Journal(PresenceFile file, AglowLog log, FolderWatch? watch)
    {
        _file = file;
        _log = log;
        _watch = watch;
        file.ReportTo(watch);
    }

    /// <summary>The last second before this start at which a node with this file was known to be alive; 0: never.</summary>
    public uint LastAlive => _file.LastAlive;

    /// <summary>
    /// The second at which the run before this one ended; 0: there was none. A heartbeat that replaces a word of this second or an earlier
    /// one must be added, even if it only renews a lease. It shows that the user was heard in this run.
    /// </summary>
    public uint EarlierRunEnd => _file.State.Since;

    /// <summary>
    /// Whether more than a million users wait for the writer. A caller that adds many should first await <see cref="FlushedAsync"/>.
    /// </summary>
    public bool IsBacklogged => QueueLength > Backlog;

    /// <summary>The number of users that wait for the writer. A user who was added twice counts twice.</summary>
    public long QueueLength => _work.Queue.Count;

    /// <summary>Writes the file. There is none before <see cref="Load"/>.</summary>
    internal JournalWriter Writer => _writer ?? throw new InvalidOperationException("The journal is not loaded.");

    internal bool IsStarted => _writer is { IsStarted: true };

    /// <summary>Whether the last write failed. Until a retry succeeds, new words are only in memory.</summary>
    public bool IsFailing => _writer is { IsFailing: true };

    /// <summary>Whether the data folder is missing, was replaced, or is read-only.</summary>
    public bool IsFolderLost => _watch is { Trouble: not null };

    /// <summary>Opens <c>presence.db</c>, and creates it if it is missing.</summary>
    /// <exception cref="DataFolderException">The file cannot be used. Nothing in it was changed.</exception>
    public static Journal Open(string presencePath, AglowLog log, FolderWatch? watch = null) =>
        new(PresenceFile.Open(presencePath), log, watch);

    /// <summary>Passes all words to this reader as they are written. Call it before <see cref="Load"/>.</summary>
    internal void Follow(JournalReader reader) => _reader = reader;

    /// <summary>Prepares the tables of the feed of changes. Call it before <see cref="Load"/>.</summary>
    internal void PrepareChanges(Action<Microsoft.Data.Sqlite.SqliteConnection> prepare)
    {
        prepare(_file.Connection);
        // so that nothing of a dropped feed stays in the file
        _file.FoldWal();
    }

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
        var checkpoint = new Checkpoint(_file, store, clock.Time);
        var rows = new JournalRows(_file, _watch, _work, store, clock, leaseSeconds) { Checkpoint = checkpoint };
        _writer = new JournalWriter(_file, _log, _watch, _work, rows);
        clock.Stepped += _writer.NoteStep;
        try
        {
            var recovery = Recovery.Run(_file, store, checkpoint, clock.Now, leaseSeconds);
            _reader?.Start(_file, recovery);
            rows.Continue(recovery.NoteStart(clock.Now), recovery.JournalBytes);
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

    /// <summary>Adds the metrics of the journal. After <see cref="Load"/> and before <see cref="Start"/>.</summary>
    public void Observe(AglowMetrics metrics)
    {
        metrics.Gauge("aglow.journal.bytes", "Bytes that the next start would replay.", () => Writer.Rows.JournalBytes);
        metrics.Gauge("aglow.journal.queue", "Users whose words wait to be written.", () => QueueLength);
        metrics.Gauge("aglow.journal.lag.seconds", "How long the oldest waiting word has waited.", () => Writer.Lag.TotalSeconds);
        metrics.Gauge("aglow.journal.failing", "1 while the server cannot write to disk.", () => IsFailing ? 1 : 0);
        metrics.Gauge(
            "aglow.journal.commit.seconds",
            "Duration of the last commit with its fsync.",
            () => Writer.Rows.LastCommitTook.TotalSeconds);
        metrics.Count("aglow.journal.words", "Words committed.", () => Writer.Rows.CommittedEntries);
        metrics.Count("aglow.journal.checkpoints", "Completed checkpoints.", () => Writer.Rows.Checkpoint.Count);
        metrics.CountErrors("journal", () => Writer.Failures);
        Writer.Rows.Committed = metrics.Flushes("journal");
    }

    public void Start() => Writer.Start();

    /// <summary>Queues users whose current words must be written. They are on disk after about 50 ms. Never waits.</summary>
    public void Add(Plane plane, ReadOnlySpan<uint> users)
    {
        if (!users.IsEmpty && _work.Queue.Add(plane, users))
            _writer?.Expect();
    }

    /// <summary>
    /// Completes when everything that was added before is on disk. Throws <see cref="StoreUnavailableException"/> after 2 s, or at once if
    /// writes have failed for 2 s already. The writer retries in the background in any case.
    /// </summary>
    public ValueTask FlushedAsync()
    {
        if (_watch is { Trouble: { } trouble })
            throw new StoreUnavailableException(trouble);
        // check in this order: the writer sets IsFailing before it reduces the count
        return QueueLength == 0 && !IsFailing ? default : Writer.FlushedAsync();
    }

    /// <summary>
    /// Writes everything that was added, and the exact words of all users who are online, and stops the writer. Throws
    /// <see cref="StoreUnavailableException"/> if the words cannot be written.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        if (_writer is { IsStarted: true } writer)
            await writer.StopAsync(_abandoned);
        else if (_abandoned)
            _file.Abandon();
        else
            _file.Dispose();
    }

    /// <summary>Ends as a crash would: words that are not committed are lost.</summary>
    internal async ValueTask AbandonAsync()
    {
        _abandoned = true;
        await DisposeAsync();
    }

    /// <summary>For tests of a full disk: allows the file to grow by this many pages.</summary>
    internal void LimitPages(long more) => _file.LimitPages(_file.PageCount + more);

    private void Log(Recovery recovery) => _log.Loaded(
        _file.FilePath,
        recovery.Registered,
        recovery.Took.TotalSeconds,
        recovery.Rows,
        recovery.Online,
        recovery.WasClean ? "stopped in order" : "was interrupted",
        Math.Max(0, (long)recovery.At - recovery.LastAlive));
}
