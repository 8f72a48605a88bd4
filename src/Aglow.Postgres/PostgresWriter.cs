using System.Data;
using System.Threading.Channels;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Users;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>
/// A node's only loop that writes to the directory and reads other nodes' changes. So it reports changes in the order of their commits.
/// </summary>
/// <remarks>
/// <code>
///   callers ─► queue ─► all that waits, and "what is newer than change N?", one transaction, one round trip ─► Changed ─► callers' tasks
///   notification, 10 s, CatchUpAsync ─► "what is newer than change N?" ─► Changed
/// </code>
/// Each transaction takes the next change number from the row that it locks (<see cref="PostgresSchema"/>). It then reads what all nodes
/// changed since the last number that this node knows. Rows hold the current state, not events, so reading one twice does no harm.
/// <para>When the queue is full (<see cref="QueueCapacity"/> commands), further callers wait for a place without blocking a thread, at most
/// <see cref="PostgresOptions.AnswersWithin"/>.</para>
/// <para>A connection is used until something fails on it. A group whose connection was lost is sent once more on a new connection.
/// Commands that may have run and must not run twice are left out. Rejected: a connection for each caller. A hundred of them would wait for
/// one row's lock, and leave no connection for readers.</para>
/// </remarks>
internal sealed class PostgresWriter : IAsyncDisposable
{
    /// <summary>A change whose notification was lost is read within this time.</summary>
    public static readonly TimeSpan CatchUpInterval = TimeSpan.FromSeconds(10);

    /// <summary>The shortest pause between reads of other nodes' changes: at most twenty small queries per second.</summary>
    public static readonly TimeSpan PauseBetweenCatchUps = TimeSpan.FromMilliseconds(50);

    public const string Channel = "aglow_directory";

    private const int QueueCapacity = 4096;
    private const int MaxGroupWeight = 10_000;

    // Removed rows are kept this long for nodes that have not read the removal. A node that was away for half of it reads everything.
    private const long KeepSeconds = 3600;
    private static readonly TimeSpan CompleteAfter = TimeSpan.FromSeconds(KeepSeconds / 2);
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ForgetInterval = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan LogInterval = TimeSpan.FromMinutes(1);

    private readonly NpgsqlDataSource _source;
    private readonly PostgresOptions _options;
    private readonly string _node;
    private readonly TimeProvider _time;
    private readonly PostgresLog _log;
    private readonly Channel<DirectoryCommand?> _queue = System.Threading.Channels.Channel.CreateBounded<DirectoryCommand?>(
        new BoundedChannelOptions(QueueCapacity) { SingleReader = true });

    private readonly Lock _gate = new();
    private readonly ITimer _timer;
    private readonly Task _loop;
    // when each cause was last logged; there are few causes
    private readonly Dictionary<string, long> _loggedAt = new(StringComparer.Ordinal);
    private List<TaskCompletionSource> _waiting = [];
    private NpgsqlConnection? _connection;
    private int _isReadQueued;
    private long _caughtUpAt;
    private long _readAt;
    private long _forgotAt;
    private long _awayAt;
    private bool _isAway;
    private bool _isAwayLogged;
    private bool _isOfWrites;
    private volatile bool _isComplete;
    private volatile bool _isBehind;
    private long _change;
    private volatile uint _next;
    private long _catchUps;
    private long _transactions;

    /// <summary>
    /// Starts the loop. <paramref name="node"/> consists of letters and digits, and names this node in its notifications.
    /// </summary>
    public PostgresWriter(NpgsqlDataSource source, PostgresOptions options, string node, TimeProvider time, PostgresLog log)
    {
        _source = source;
        _options = options;
        _node = node;
        _time = time;
        _log = log;
        _next = UserId.FirstDirectoryNumber;
        _readAt = _forgotAt = time.GetTimestamp();
        // the first read needs no pause before it
        _caughtUpAt = _readAt - (long)(PauseBetweenCatchUps.TotalSeconds * time.TimestampFrequency);
        _timer = time.CreateTimer(_ => Enqueue(), null, CatchUpInterval, Timeout.InfiniteTimeSpan);
        _loop = Task.Run(RunAsync);
    }

    /// <summary>Reports changes in order. Raised on the loop; handlers must return at once.</summary>
    public event Action<DirectoryChanges>? Changed;

    /// <inheritdoc cref="IUserDirectory.NextIndex"/>
    public uint NextIndex => _next;

    /// <summary>Whether the last use of the server failed.</summary>
    public bool IsAway => Volatile.Read(ref _isAway);

    /// <summary>How often this node has read other nodes' changes.</summary>
    public long CatchUps => Volatile.Read(ref _catchUps);

    public long Transactions => Volatile.Read(ref _transactions);

    /// <summary>Runs a command; completes when it is committed and reported.</summary>
    /// <exception cref="StoreUnavailableException">
    /// It was not committed in time. A command that is in the queue may be committed later, and the message then says so.
    /// </exception>
    public async ValueTask<T> RunAsync<T>(DirectoryCommand<T> command)
    {
        var isQueued = false;
        try
        {
            using var deadline = new CancellationTokenSource(_options.AnswersWithin, _time);
            await _queue.Writer.WriteAsync(command, deadline.Token);
            isQueued = true;
            return await command.Result.WaitAsync(deadline.Token);
        }
        catch (OperationCanceledException late)
        {
            var failure = PostgresFailure.Explain(late, _options);
            throw isQueued ? new StoreUnavailableException($"{failure.Message} The change may still be made.", late) : failure;
        }
        catch (ChannelClosedException closed)
        {
            throw new StoreUnavailableException("The user directory is closed.", closed);
        }
    }

    /// <inheritdoc cref="IUserDirectory.CatchUpAsync"/>
    public async ValueTask CatchUpAsync()
    {
        var waiter = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
            _waiting.Add(waiter);
        ScheduleCatchUp();
        try
        {
            await waiter.Task.WaitAsync(_isComplete ? _options.AnswersWithin : PostgresChanges.AllWithin, _time);
        }
        catch (TimeoutException late)
        {
            throw PostgresFailure.Explain(late, _options);
        }
    }

    /// <summary>Notes that another node changed something, and reads it at once or after the pause.</summary>
    public void ScheduleCatchUp()
    {
        _isBehind = true;
        var pause = PauseBetweenCatchUps - _time.GetElapsedTime(Volatile.Read(ref _caughtUpAt));
        if (pause <= TimeSpan.Zero)
            Enqueue();
        else
            Arm(pause);
    }

    public async ValueTask DisposeAsync()
    {
        if (!_queue.Writer.TryComplete())
            return;
        await _loop;
        await _timer.DisposeAsync();
        if (_connection is not null)
            await _connection.DisposeAsync();
        lock (_gate)
        {
            foreach (var waiter in _waiting)
                waiter.TrySetException(new StoreUnavailableException("The user directory is closed."));
        }
    }

    // null: only read other nodes' changes; the queue holds at most one such entry. If the queue is full, the loop reads anyway.
    private void Enqueue()
    {
        _isBehind = true;
        if (Interlocked.Exchange(ref _isReadQueued, 1) == 0)
            _queue.Writer.TryWrite(null);
    }

    private void Arm(TimeSpan after)
    {
        try
        {
            _timer.Change(after, Timeout.InfiniteTimeSpan);
        }
        catch (ObjectDisposedException)
        {
            // closed meanwhile
        }
    }

    private async Task RunAsync()
    {
        var group = new List<DirectoryCommand>();
        while (await _queue.Reader.WaitToReadAsync())
        {
            var weight = 0;
            while (weight < MaxGroupWeight && _queue.Reader.TryRead(out var command))
            {
                weight += command?.Weight ?? 0;
                if (command is not null)
                    group.Add(command);
            }

            Volatile.Write(ref _isReadQueued, 0);
            if (group.Count > 0)
                await WriteAsync(group);
            group.Clear();
            if (_isBehind)
                await CatchUpAllAsync();
        }
    }

    // ---- writing ------------------------------------------------------------------------------------------------------------

    private async Task WriteAsync(List<DirectoryCommand> group)
    {
        var failure = await TryExchangeAsync(group);
        if (failure is not null && PostgresFailure.IsConnectionLost(failure))
        {
            // a command that may have run and must not run twice fails, and its caller decides
            if (!PostgresFailure.WasNeverRun(failure))
                Fail(group, failure, static c => !c.IsRepeatable);
            failure = group.Count == 0 ? null : await TryExchangeAsync(group);
        }

        if (failure is not null && group.Count > 1 && PostgresFailure.IsOfOneCommand(failure))
            failure = await WriteOneByOneAsync(group);
        if (failure is null)
            return;
        Fail(group, failure, static _ => true);
        if (!PostgresFailure.IsOfOneCommand(failure))
            NoteAway(failure);
    }

    /// <summary>
    /// Runs the commands of a group one by one, because only one of them is at fault. Returns the failure that stopped it; commands left in
    /// the group have not run.
    /// </summary>
    private async Task<Exception?> WriteOneByOneAsync(List<DirectoryCommand> group)
    {
        while (group.Count > 0)
        {
            var failure = await TryExchangeAsync([group[0]]);
            if (failure is not null && !PostgresFailure.IsOfOneCommand(failure))
                return failure;
            if (failure is not null)
                group[0].Fail(Explained(failure));
            group.RemoveAt(0);
        }

        return null;
    }

    private void Fail(List<DirectoryCommand> group, Exception failure, Predicate<DirectoryCommand> which)
    {
        foreach (var command in group.FindAll(which))
            command.Fail(Explained(failure));
        group.RemoveAll(which);
    }

    // any other failure is a fault of this program, and passes unchanged
    private Exception Explained(Exception failure) =>
        PostgresFailure.IsAway(failure) ? PostgresFailure.Explain(failure, _options) : failure;

    // ---- the round trip -------------------------------------------------------------------------------------------------------

    private async Task CatchUpAllAsync()
    {
        // a notification or a caller from here on requires another read
        _isBehind = false;
        List<TaskCompletionSource> waiting;
        lock (_gate)
            (waiting, _waiting) = (_waiting, []);
        var failure = await TryExchangeAsync([]);
        if (failure is not null && PostgresFailure.IsConnectionLost(failure))
            failure = await TryExchangeAsync([]);
        Interlocked.Increment(ref _catchUps);
        Volatile.Write(ref _caughtUpAt, _time.GetTimestamp());
        Arm(failure is not null ? RetryInterval : CatchUpInterval);
        // a notification armed the timer before this method armed it again
        if (failure is null && _isBehind)
            Arm(PauseBetweenCatchUps);
        if (failure is not null)
            NoteAway(failure);
        foreach (var waiter in waiting)
        {
            if (failure is null)
                waiter.TrySetResult();
            else
                waiter.TrySetException(Explained(failure));
            // marks the exception as observed, because the caller may have stopped waiting
            _ = waiter.Task.Exception;
        }
    }

    /// <summary>
    /// Commits a group (or only reads, if it is empty), reports changes, and completes the group. If it fails, returns the failure: the
    /// group was rolled back, or its outcome is unknown.
    /// </summary>
    private async Task<Exception?> TryExchangeAsync(List<DirectoryCommand> group)
    {
        try
        {
            // reads everything before it takes the lock, because a long read under the lock would block other nodes
            if (group.Count > 0 && NeedsAll)
                await ExchangeAsync([]);
            await ExchangeAsync(group);
        }
        catch (Exception caught)
        {
            // if the connection broke between two commands, Npgsql's exception does not say that the connection was lost
            var failure = caught is InvalidOperationException && _connection is { FullState: not ConnectionState.Open }
                ? new IOException("the connection was lost", caught)
                : caught;
            await LoseConnectionAsync(failure);
            return failure;
        }

        NoteBack(hasWritten: group.Count > 0);
        foreach (var command in group)
            command.Complete();
        return null;
    }

    private bool NeedsAll => Changed is not null && (!_isComplete || _time.GetElapsedTime(_readAt) > CompleteAfter);

    private async Task ExchangeAsync(List<DirectoryCommand> group)
    {
        var (handlers, needsAll) = (Changed, NeedsAll);
        using var deadline = new Deadline(needsAll ? PostgresChanges.AllWithin : _options.AnswersWithin);
        var cancel = deadline.Token;
        var connection = _connection ??= await _source.OpenConnectionAsync(cancel);
        long change;
        DirectoryChanges news;
        await using (var batch = new NpgsqlBatch(connection) { Timeout = 2 * (int)PostgresChanges.AllWithin.TotalSeconds })
        {
            // All of it is sent at once, as one transaction. Each statement sees what was committed before the statement began.
            batch.BatchCommands.Add(new NpgsqlBatchCommand(
                group.Count == 0 ? "SELECT change FROM aglow.state" : "UPDATE aglow.state SET change = change + 1 RETURNING change"));
            RegisterCommand[] registrations = [.. group.OfType<RegisterCommand>()];
            if (registrations.Length > 0)
                RegisterCommand.AddTo(batch, registrations);
            DirectoryCommand[] others = [.. group.Except(registrations)];
            var now = _time.GetUtcNow().ToUnixTimeSeconds();
            foreach (var command in others)
                command.AddTo(batch, now);
            if (group.Exists(static c => c.IsNews))
                batch.BatchCommands.Add(new NpgsqlBatchCommand($"NOTIFY {Channel}, '{_node}'"));
            PostgresChanges.AddTo(batch, handlers is null ? long.MaxValue : needsAll ? -1 : _change);
            await using var reader = await batch.ExecuteReaderAsync(cancel);
            await reader.ReadAsync(cancel);
            change = reader.GetInt64(0);
            if (registrations.Length > 0)
                await reader.NextResultAsync(cancel);
            foreach (var command in registrations)
                await command.ReadAsync(reader, cancel);
            foreach (var command in others)
            {
                await reader.NextResultAsync(cancel);
                await command.ReadAsync(reader, cancel);
            }

            news = await PostgresChanges.ReadAsync(reader, _next, needsAll, cancel);
            // the commit comes after the last result
            while (await reader.NextResultAsync(cancel))
            {
            }
        }

        // committed from here on
        if (group.Count > 0)
            Interlocked.Increment(ref _transactions);
        _next = news.Next;
        // a lower change number means that the database was restored from a backup; then everything is read again
        var isRestored = change < _change;
        _isBehind |= isRestored;
        // indexes that this node knows belong to IDs that the restored database has not
        if (isRestored)
            _queue.Writer.TryWrite(new ReserveCommand(_next));
        _isComplete = handlers is not null && !isRestored;
        _change = change;
        _readAt = _time.GetTimestamp();
        handlers?.Invoke(news);
        if (group.Count > 0 || _time.GetElapsedTime(_forgotAt) <= ForgetInterval)
            return;
        _forgotAt = _readAt;
        await PostgresChanges.ForgetAsync(connection, _time.GetUtcNow().ToUnixTimeSeconds() - KeepSeconds, cancel);
    }

    private async ValueTask LoseConnectionAsync(Exception failure)
    {
        var lost = _connection;
        _connection = null;
        try
        {
            if (lost is not null)
                await lost.DisposeAsync();
        }
        catch (Exception failed) when (PostgresFailure.IsAway(failed) || failed is InvalidOperationException)
        {
            // the connection is lost in any case
        }

        // a restarted server has closed all other connections too
        if (PostgresFailure.IsConnectionLost(failure))
            _source.Clear();
    }

    private void NoteAway(Exception failure)
    {
        _isOfWrites |= PostgresFailure.IsOfWrites(failure);
        LogAway(failure);
        if (_isAway)
            return;
        _awayAt = _time.GetTimestamp();
        Volatile.Write(ref _isAway, true);
        _isBehind = true;
        Arm(RetryInterval);
    }

    private void LogAway(Exception failure)
    {
        var (cause, now) = (PostgresFailure.CauseOf(failure), _time.GetTimestamp());
        if (_loggedAt.TryGetValue(cause, out var loggedAt) && _time.GetElapsedTime(loggedAt, now) < LogInterval)
            return;
        _loggedAt[cause] = now;
        _isAwayLogged = true;
        _log.Away(Explained(failure).Message);
    }

    // a server that refuses writes may still answer reads
    private void NoteBack(bool hasWritten)
    {
        if (!_isAway || (_isOfWrites && !hasWritten))
            return;
        Volatile.Write(ref _isAway, false);
        if (_isAwayLogged)
            _log.Back(_options.ToString(), _time.GetElapsedTime(_awayAt).TotalSeconds);
        (_isAwayLogged, _isOfWrites) = (false, false);
    }
}
