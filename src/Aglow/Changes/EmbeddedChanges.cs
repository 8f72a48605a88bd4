using Aglow.Durable;
using Aglow.Sqlite;
using Aglow.Users;
using Microsoft.Data.Sqlite;

namespace Aglow.Changes;

/// <summary>The feed of one machine: reads from <c>presence.db</c> what <see cref="ChangeRecorder"/> has committed.</summary>
/// <remarks>
/// <code>
///   journal's commit ─► new end of the feed ─► waiting readers wake up ─► rows after their cursor ─► IDs from the directory ─► changes
/// </code>
/// A consumer takes no memory except one task while it waits. A page of 1,000 changes is 12 KB of the file, which the kernel caches. After
/// a deletion, the user's earlier changes are withheld. A damaged row is skipped and reported as a gap.
///
/// Threading: any thread; only one reads at a time.
/// </remarks>
internal sealed class EmbeddedChanges : IChangeFeed, IAsyncDisposable
{
    private readonly string _path;
    private readonly IUserDirectory _directory;
    private readonly ChangeRecorder _recorder;
    private readonly ClaimTimer _ends;
    private Dictionary<uint, long> _earlier = [];
    private readonly Lock _gate = new();
    private readonly Lock _waiting = new();
    private SqliteConnection? _connection;
    private SqliteStatement? _rows;
    private Accounts? _accounts;
    private Head _head = new(0, default);
    private TaskCompletionSource? _moved;
    private long _gaps;

    private EmbeddedChanges(string path, IUserDirectory directory, Journal journal, MemoryPlaneStore store, Clock clock,
        AglowOptions options, FolderWatch? watch)
    {
        _path = path;
        Consumers = new SqliteConsumerStore(Path.GetDirectoryName(path)!, watch);
        _directory = directory;
        _recorder = new ChangeRecorder(journal, store, clock, options, Move);
        _ends = new ClaimTimer(clock, Note);
    }

    /// <summary>
    /// Opens the feed of a journal that is about to be loaded. Returns null if the feed is off, and then deletes any earlier feed.
    /// </summary>
    public static EmbeddedChanges? Open(
        string path, IUserDirectory directory, Journal journal, MemoryPlaneStore store, Clock clock, AglowOptions options,
        FolderWatch? watch = null)
    {
        var earlier = new Dictionary<uint, long>();
        var mark = Path.Combine(Path.GetDirectoryName(path)!, DataFolder.BackupMark);
        try
        {
            if (options.ChangesHours == 0)
                journal.PrepareChanges(ChangeFile.Drop);
            else if (File.Exists(mark))
                journal.PrepareChanges(ChangeFile.BeginGeneration);
            if (options.ChangesHours != 0)
                journal.PrepareChanges(connection => earlier = ChangeFile.ReadEarlier(connection));
            File.Delete(mark);
        }
        catch (Exception e) when (e is SqliteException or StoreUnavailableException or IOException)
        {
            throw FileProblem.Explain(path, e)!;
        }

        if (options.ChangesHours == 0)
            return null;
        var changes = new EmbeddedChanges(path, directory, journal, store, clock, options, watch) { _earlier = earlier };
        journal.Follow(changes._recorder);
        return changes;
    }

    public IConsumerStore Consumers { get; }

    public void Start(Claims claims, Accounts accounts)
    {
        _accounts = accounts;
        _recorder.Start(claims, accounts);
        _ends.Start(claims);
    }

    public void Note(uint user)
    {
        _recorder.Note(user);
        _ends.Follow(user);
    }

    public ValueTask<ChangePage> ReadAsync(string? after, int limit, CancellationToken cancel = default) =>
        ChangeReading.ReadAsync(after, _directory.OfActs, from => new(ReadPart(from, limit)));

    private (ChangeReading Part, uint Generation) ReadPart(string? after, int limit)
    {
        var head = Volatile.Read(ref _head);
        var (trimmed, last) = (head.Place.Trimmed, head.Place.Last);
        var read = ChangeReading.After(after, head.Generation, trimmed, last, highest: last, limit, _accounts, _earlier);
        try
        {
            Read(read, last);
        }
        catch (SqliteException e)
        {
            throw new StoreUnavailableException($"{_path} cannot be read: {e.Message}.", e);
        }

        if (read.IsGap)
            Interlocked.Increment(ref _gaps);
        return (read, head.Generation);
    }

    public Task WaitAsync(string after, CancellationToken cancel)
    {
        lock (_waiting)
        {
            var head = Volatile.Read(ref _head);
            var cursor = ChangeCursor.Parse(after);
            if (cursor.Generation != head.Generation || cursor.Number != head.Place.Last)
                return Task.CompletedTask;
            _moved ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _moved.Task.WaitAsync(cancel);
        }
    }

    public void Observe(AglowMetrics metrics)
    {
        FeedMetrics.Add(
            metrics,
            () => Volatile.Read(ref _head).Place.Last,
            () => Volatile.Read(ref _head).Place is var place ? place.Last - place.Trimmed : 0,
            () => Volatile.Read(ref _head).Place.Bytes,
            () => Volatile.Read(ref _gaps));
    }

    public async ValueTask DisposeAsync()
    {
        _ends.Dispose();
        await Consumers.DisposeAsync();
        lock (_gate)
        {
            _rows?.Dispose();
            _connection?.Dispose();
            (_rows, _connection) = (null, null);
        }
    }

    // Called by the journal's writer.
    private void Move(uint generation, ChangeFile.Place place)
    {
        Volatile.Write(ref _head, new Head(generation, place));
        TaskCompletionSource? moved;
        lock (_waiting)
            (moved, _moved) = (_moved, null);
        moved?.SetResult();
    }

    private void Read(ChangeReading read, long last)
    {
        if (read.Next >= last)
            return;
        lock (_gate)
        {
            _connection ??= PresenceFile.ConnectToRead(_path);
            _rows ??= new SqliteStatement(_connection, "SELECT last, at, crc, records FROM changes WHERE last > ? ORDER BY last");
            _rows.Bind(1, read.Next);
            while (!read.IsFull && _rows.Step())
            {
                var (end, at) = (_rows.Int64(0), (uint)_rows.Int64(1));
                var records = _rows.Blob(3);
                if (_rows.Int64(2) == ChangeFile.Checksum(records, end, at))
                    read.Add(end, at, records);
                else
                    (read.IsGap, read.Next) = (true, end);
            }

            _rows.Reset();
        }
    }

    private sealed record Head(uint Generation, ChangeFile.Place Place);
}
