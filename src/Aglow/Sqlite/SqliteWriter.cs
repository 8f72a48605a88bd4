using System.Threading.Channels;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Aglow.Sqlite;

/// <summary>
/// The only writer of an SQLite file: a thread that owns the write connection. It runs all waiting commands in one transaction.
/// </summary>
/// <remarks>
/// One fsync serves all waiting callers (group commit), and their tasks complete after it. Each command runs in a savepoint, so a failed
/// command does not affect the others. If the whole transaction fails (disk full, I/O error), each command is retried once in its own
/// transaction, because a small one may still fit. A command that fails again gets <see cref="StoreUnavailableException"/> and changes
/// nothing. The loop continues in any case.
/// <para>After a failure of the disk, the loop tries four times a second whether it can write again. The log has the first failure and the
/// end, and <see cref="IsFailing"/> is true in between. A small command may succeed meanwhile, and ends nothing.</para>
/// <para>When the queue is full (<see cref="QueueCapacity"/> commands), further callers wait for a place without blocking a thread.</para>
/// <para>Rejected: a connection for each caller. SQLite would run their writes one after the other, each with its own fdatasync, while the
/// others wait in busy loops.</para>
/// </remarks>
internal sealed class SqliteWriter : IAsyncDisposable
{
    private const int QueueCapacity = 4096;

    // a group of this many IDs or commands commits within some tens of milliseconds
    private const int MaxGroupWeight = 16_384;

    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(250);

    // Writes some pages and frees them again, so it fails where a command would. It leaves nothing but free pages.
    private const string Probe = "CREATE TABLE write_probe AS SELECT zeroblob(65536) AS space; DROP TABLE write_probe";

    private readonly Channel<Command> _queue = Channel.CreateBounded<Command>(
        new BoundedChannelOptions(QueueCapacity) { SingleReader = true });
    private readonly SqliteConnection _connection;
    private readonly string _path;
    private readonly Action _committed;
    private readonly FolderWatch? _watch;
    private readonly SqliteFile _file;
    private readonly List<Action> _undo = [];
    private readonly SqliteStatements _sql;
    private readonly Task _loop;
    private readonly AglowLog? _log;
    private long _failures;
    private long _failingSince;
    private long _triedAt;
    private volatile bool _isFailing;

    /// <summary>Starts the loop.</summary>
    /// <param name="connection">The loop owns it from now on.</param>
    /// <param name="file">The file, which this object closes at the end.</param>
    /// <param name="committed">Called on the loop after each commit, before its callers continue.</param>
    /// <param name="watch">Checks whether the committed file is still in the folder; null: no check.</param>
    /// <param name="log">Gets a line when writes begin to fail, and one when they work again.</param>
    public SqliteWriter(
        SqliteConnection connection, SqliteFile file, Action committed, FolderWatch? watch = null, AglowLog? log = null)
    {
        _file = file;
        _watch = watch;
        _log = log;
        _connection = connection;
        _path = file.Path;
        _committed = committed;
        _sql = new SqliteStatements(connection);
        _loop = Task.Factory.StartNew(Run, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>
    /// Runs a command on the writer's thread, in a transaction, and completes when it is on disk. A command that throws changes nothing,
    /// and its caller gets the exception.
    /// </summary>
    /// <param name="command">
    /// Uses the connection. It may run twice, and calls <see cref="OnUndo"/> for each change in memory.
    /// </param>
    /// <param name="weight">The amount of work, in rows.</param>
    public async ValueTask<T> RunAsync<T>(Func<T> command, int weight = 1)
    {
        var queued = new Command<T>(command, weight);
        try
        {
            await _queue.Writer.WriteAsync(queued);
        }
        catch (ChannelClosedException e)
        {
            throw new StoreUnavailableException("The user directory is closed.", e);
        }

        return await queued.Result;
    }

    /// <summary>Runs a command without a result; see <see cref="RunAsync{T}"/>.</summary>
    public async ValueTask RunAsync(Action command) => await RunAsync(() =>
    {
        command();
        return true;
    });

    /// <summary>The number of commands and commits that SQLite refused.</summary>
    public long Failures => Volatile.Read(ref _failures);

    /// <summary>Whether the file cannot be written: from the first failure until a try writes again.</summary>
    public bool IsFailing => _isFailing;

    /// <summary>Called by a command to register how to undo a change in memory on rollback. The last change is undone first.</summary>
    public void OnUndo(Action undo) => _undo.Add(undo);

    /// <summary>
    /// Stops taking commands, finishes the waiting ones, and closes the connection. Dispose other statements of the connection first.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        await FinishAsync();
        _sql.Dispose();
        _file.Seal.Finish(_connection);
        await _connection.DisposeAsync();
        _file.Dispose();
    }

    /// <summary>Stops taking commands and finishes the waiting ones.</summary>
    public Task FinishAsync()
    {
        _queue.Writer.TryComplete();
        return _loop;
    }

    private void Run()
    {
        var group = new List<Command>();
        var alone = new List<Command>(1);
        while (WaitToRead())
        {
            var weight = 0;
            while (weight < MaxGroupWeight && _queue.Reader.TryRead(out var command))
            {
                weight += command.Weight;
                group.Add(command);
            }

            if (!TryCommit(group, out var lost))
            {
                foreach (var command in group)
                {
                    alone.Add(command);
                    if (group.Count == 1 || !TryCommit(alone, out lost))
                        command.Failure = lost;
                    alone.Clear();
                }
            }

            foreach (var command in group)
                command.Complete();
            group.Clear();
        }
    }

    /// <summary>Waits for commands. Meanwhile, tries whether a failing file can be written again. False: none will come.</summary>
    private bool WaitToRead()
    {
        var waiting = _queue.Reader.WaitToReadAsync().AsTask();
        var probe = new List<Command>(1);
        while (_isFailing)
        {
            var rest = RetryInterval - TimeProvider.System.GetElapsedTime(_triedAt);
            if (rest > TimeSpan.Zero && waiting.Wait(rest))
                break;
            if (rest <= TimeSpan.Zero)
                Try(probe);
        }

        return waiting.GetAwaiter().GetResult();
    }

    private void Try(List<Command> probe)
    {
        var command = new Command<bool>(WriteProbe, 1);
        probe.Add(command);
        var passed = TryCommit(probe, out _) && command.Failure is null;
        probe.Clear();
        _triedAt = TimeProvider.System.GetTimestamp();
        if (!passed)
            return;

        _isFailing = false;
        _log?.WritesAgain(_path, TimeProvider.System.GetElapsedTime(_failingSince).TotalSeconds);
    }

    private bool WriteProbe()
    {
        SqliteFile.Execute(_connection, Probe);
        return true;
    }

    /// <summary>Runs a group in one transaction. False if the whole transaction failed and was rolled back.</summary>
    private bool TryCommit(List<Command> group, out Exception? lost)
    {
        try
        {
            _watch?.EnsureSame();
            _file.Seal.EnsureSound();
            _sql["BEGIN IMMEDIATE"].Run();
            foreach (var command in group)
                RunInSavepoint(command);
            _sql["COMMIT"].Run();
            _undo.Clear();
        }
        catch (Exception e)
        {
            RollBack();
            Undo(0);
            lost = Describe(e);
            return false;
        }

        lost = null;
        _file.Seal.Committed(_connection);
        _committed();
        ForgoIfLost(group);
        return true;
    }

    // If the folder's file was replaced, the commit went to a file that nobody reads. So no caller receives a success.
    private void ForgoIfLost(List<Command> group)
    {
        try
        {
            _watch?.EnsureSame();
        }
        catch (StoreUnavailableException trouble)
        {
            foreach (var command in group)
                command.Failure ??= trouble;
        }
    }

    private void RollBack()
    {
        try
        {
            if (raw.sqlite3_get_autocommit(_connection.Handle) == 0)
                _sql["ROLLBACK"].Run();
        }
        catch (SqliteException)
        {
            // SQLite has rolled back anyway; if it has not, the next BEGIN reports that
        }
    }

    private void RunInSavepoint(Command command)
    {
        var undoFrom = _undo.Count;
        command.Failure = null;
        _sql["SAVEPOINT command"].Run();
        try
        {
            command.Run();
        }
        catch (Exception e) when (raw.sqlite3_get_autocommit(_connection.Handle) == 0)
        {
            // the transaction still exists, so undo only this command
            _sql["ROLLBACK TO command"].Run();
            Undo(undoFrom);
            command.Failure = Describe(e);
        }

        _sql["RELEASE command"].Run();
    }

    private void Undo(int from)
    {
        for (var i = _undo.Count - 1; i >= from; i--)
            _undo[i]();
        _undo.RemoveRange(from, _undo.Count - from);
    }

    private Exception Describe(Exception e)
    {
        if (e is not SqliteException sqlite)
            return e;
        Volatile.Write(ref _failures, _failures + 1);
        var failure = new StoreUnavailableException(
            sqlite.SqliteErrorCode == raw.SQLITE_FULL
                ? $"{_path} cannot be written: the disk is full."
                : $"{_path} cannot be written: {sqlite.Message}.", e);
        if (!_isFailing
            && sqlite.SqliteErrorCode is raw.SQLITE_FULL or raw.SQLITE_IOERR or raw.SQLITE_READONLY or raw.SQLITE_CANTOPEN)
        {
            _failingSince = _triedAt = TimeProvider.System.GetTimestamp();
            _isFailing = true;
            _log?.CannotWrite(_path, sqlite.Message, "Calls that add or change users get 503");
        }

        return failure;
    }

    private abstract class Command(int weight)
    {
        public int Weight => weight;

        public Exception? Failure { get; set; }

        public abstract void Run();

        public abstract void Complete();
    }

    private sealed class Command<T>(Func<T> work, int weight) : Command(weight)
    {
        private readonly TaskCompletionSource<T> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private T? _result;

        public Task<T> Result => _completion.Task;

        public override void Run() => _result = work();

        public override void Complete()
        {
            if (Failure is null)
                _completion.SetResult(_result!);
            else
                _completion.SetException(Failure);
        }
    }
}
