using System.Threading.Channels;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Users;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>
/// The one loop of a node that writes to the directory, and that reads what others wrote: so what it tells is in the order in which it was committed.
/// </summary>
/// <remarks>
/// <code>
///   callers ─► queue ─► all that waits, one transaction, one round trip ─► committed ─► Changed ─► callers' tasks
///   notification, 10 s, CatchUpAsync ─► "what is newer than change N?" ─► Changed
/// </code>
/// Each transaction takes the next change number from the row that it locks (<see cref="PostgresSchema"/>). Where that is one more than the last one known here,
/// nobody else wrote in between; otherwise what lies between is read first. Rows say how things are now, not what was done, so to read one twice does no harm.
/// <para>Full: at most <see cref="QueueCapacity"/> commands wait; further callers wait for a place without holding a thread, and all of them at most
/// <see cref="PostgresOptions.AnswersWithin"/>.</para>
/// <para>A connection that was lost is made anew, and what it did not run for sure, or may run twice, is sent again once. Rejected: a connection a caller. A hundred
/// of them would wait for one row's lock, and no connection be left for who only reads.</para>
/// </remarks>
internal sealed class PostgresWriter : IAsyncDisposable
{
    /// <summary>What is not heard is read within this.</summary>
    public static readonly TimeSpan CatchUpInterval = TimeSpan.FromSeconds(10);

    /// <summary>Changes of others are read at most so often: twenty small questions a second, whatever they do.</summary>
    public static readonly TimeSpan PauseBetweenCatchUps = TimeSpan.FromMilliseconds(50);

    /// <summary>The channel of notifications.</summary>
    public const string Channel = "aglow_directory";

    private const int QueueCapacity = 4096;
    private const int MaxGroupWeight = 10_000;

    // what was undone is kept this long for those who have not heard of it; who was away for half of it reads everything
    private const long KeepSeconds = 3600;
    private static readonly TimeSpan CompleteAfter = TimeSpan.FromSeconds(KeepSeconds / 2);
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ForgetInterval = TimeSpan.FromMinutes(10);

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
    private List<TaskCompletionSource> _waiting = [];
    private NpgsqlConnection? _connection;
    private int _isLookQueued;
    private long _caughtUpAt;
    private long _readAt;
    private long _forgotAt;
    private long _awayAt;
    private bool _isAway;
    private volatile bool _isComplete;
    private volatile bool _isBehind;
    private long _change;
    private volatile uint _next;
    private long _catchUps;
    private long _transactions;

    /// <summary>Starts the loop. <paramref name="node"/>: letters and digits that name this node in its notifications.</summary>
    public PostgresWriter(NpgsqlDataSource source, PostgresOptions options, string node, TimeProvider time, PostgresLog log)
    {
        _source = source;
        _options = options;
        _node = node;
        _time = time;
        _log = log;
        _next = UserId.FirstDirectoryNumber;
        _readAt = _forgotAt = time.GetTimestamp();
        // the first look needs no pause before it
        _caughtUpAt = _readAt - (long)(PauseBetweenCatchUps.TotalSeconds * time.TimestampFrequency);
        _timer = time.CreateTimer(_ => Enqueue(), null, CatchUpInterval, Timeout.InfiniteTimeSpan);
        _loop = Task.Run(RunAsync);
    }

    /// <summary>What changed, in order. On the loop; handlers return at once.</summary>
    public event Action<DirectoryChanges>? Changed;

    /// <inheritdoc cref="IUserDirectory.NextNumber"/>
    public uint NextNumber => _next;

    /// <summary>Whether the server could not be reached the last time.</summary>
    public bool IsAway => Volatile.Read(ref _isAway);

    /// <summary>How often it was read what others changed.</summary>
    public long CatchUps => Volatile.Read(ref _catchUps);

    /// <summary>Transactions committed.</summary>
    public long Transactions => Volatile.Read(ref _transactions);

    /// <summary>Runs a command; completes when it is committed and told of.</summary>
    public async ValueTask<T> RunAsync<T>(DirectoryCommand<T> command)
    {
        try
        {
            using var deadline = new CancellationTokenSource(_options.AnswersWithin, _time);
            await _queue.Writer.WriteAsync(command, deadline.Token);
            return await command.Result.WaitAsync(deadline.Token);
        }
        catch (OperationCanceledException late)
        {
            throw PostgresFailure.Explain(new TimeoutException("no answer", late), _options);
        }
        catch (ChannelClosedException closed)
        {
            throw new StoreUnavailableException("The user directory is closed.", closed);
        }
    }

    /// <inheritdoc cref="IUserDirectory.CatchUpAsync"/>
    public async ValueTask CatchUpAsync()
    {
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
            _waiting.Add(told);
        Hear();
        try
        {
            await told.Task.WaitAsync(_isComplete ? _options.AnswersWithin : PostgresChanges.AllWithin, _time);
        }
        catch (TimeoutException late)
        {
            throw PostgresFailure.Explain(late, _options);
        }
    }

    /// <summary>Somebody changed something: reads what, at once, or when the pause is over.</summary>
    public void Hear()
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
        FailWaiting(new StoreUnavailableException("The user directory is closed."));
    }

    private bool HasWaiting
    {
        get
        {
            lock (_gate)
                return _waiting.Count > 0;
        }
    }

    // null: nothing but a look at what others changed; one of them at a time. Where the queue is full the loop looks anyway.
    private void Enqueue()
    {
        _isBehind = true;
        if (Interlocked.Exchange(ref _isLookQueued, 1) == 0)
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

            Volatile.Write(ref _isLookQueued, 0);
            if (group.Count > 0)
                await WriteAsync(group);
            group.Clear();
            if (_isBehind || HasWaiting)
                await CatchUpOrFailAsync();
        }
    }

    // ---- writing ------------------------------------------------------------------------------------------------------------

    private async Task WriteAsync(List<DirectoryCommand> group)
    {
        var failure = await TryCommitAsync(group);
        if (failure is not null && PostgresFailure.IsConnectionLost(failure))
        {
            // what may have been done, and would then seem to be somebody else's doing, is for the caller to look at
            if (!PostgresFailure.WasNeverRun(failure))
                FailAll(group, group.FindAll(static c => !c.IsRepeatable), failure);
            failure = group.Count == 0 ? null : await TryCommitAsync(group);
        }
        else if (failure is PostgresException && group.Count > 1)
        {
            // one of them is at fault, and not the others
            foreach (var command in group)
            {
                if (await TryCommitAsync([command]) is { } own)
                    Fail(command, own);
            }

            return;
        }

        if (failure is not null)
        {
            FailAll(group, [.. group], failure);
            NoteAway(failure);
        }
    }

    private void FailAll(List<DirectoryCommand> group, List<DirectoryCommand> failed, Exception failure)
    {
        foreach (var command in failed)
        {
            group.Remove(command);
            Fail(command, failure);
        }
    }

    private void Fail(DirectoryCommand command, Exception failure) => command.Fail(Explained(failure));

    // what says nothing of the server is a fault of this program, and left as it is
    private Exception Explained(Exception failure) => PostgresFailure.IsAway(failure) ? PostgresFailure.Explain(failure, _options) : failure;

    /// <summary>Commits a group, tells of it and completes it; or returns why not, and nothing of it is left (or nothing is known of it).</summary>
    private async Task<Exception?> TryCommitAsync(List<DirectoryCommand> group)
    {
        try
        {
            await CommitAsync(group);
        }
        catch (Exception failure)
        {
            await LoseConnectionAsync(failure);
            return failure;
        }

        NoteBack();
        foreach (var command in group)
            command.Complete();
        return null;
    }

    private async Task CommitAsync(List<DirectoryCommand> group)
    {
        var now = _time.GetUtcNow().ToUnixTimeSeconds();
        var (before, from) = (_change, _next);
        long change;
        uint next;
        IReadOnlyList<KeyValuePair<uint, Visibility>> visibilities = [];
        await using (var batch = new NpgsqlBatch(await ConnectionAsync()))
        {
            // all of it is sent at once and is one transaction; each statement sees what was committed before it began
            batch.BatchCommands.Add(new NpgsqlBatchCommand("UPDATE aglow.state SET change = change + 1 RETURNING change"));
            RegisterCommand[] registrations = [.. group.OfType<RegisterCommand>()];
            if (registrations.Length > 0)
                RegisterCommand.AddTo(batch, registrations, now);
            DirectoryCommand[] others = [.. group.Except(registrations)];
            foreach (var command in others)
                command.AddTo(batch, now);
            var showsOtherwise = group.Exists(static c => c.ChangesVisibility);
            if (showsOtherwise)
                batch.BatchCommands.Add(PostgresChanges.VisibilitiesOfThisChange());
            if (group.Exists(static c => c.IsNews))
                batch.BatchCommands.Add(new NpgsqlBatchCommand($"NOTIFY {Channel}, '{_node}'"));
            batch.BatchCommands.Add(new NpgsqlBatchCommand("SELECT next_number FROM aglow.state"));
            await using var reader = await batch.ExecuteReaderAsync();
            await reader.ReadAsync();
            change = reader.GetInt64(0);
            if (registrations.Length > 0)
                await reader.NextResultAsync();
            foreach (var command in registrations)
                await command.ReadAsync(reader);
            foreach (var command in others)
            {
                await reader.NextResultAsync();
                await command.ReadAsync(reader);
            }

            if (showsOtherwise)
            {
                await reader.NextResultAsync();
                visibilities = await PostgresChanges.ReadVisibilitiesAsync(reader);
            }

            await reader.NextResultAsync();
            await reader.ReadAsync();
            next = (uint)reader.GetInt64(0);
            // the commit comes after the last result
            while (await reader.NextResultAsync())
            {
            }
        }

        // committed from here on
        Interlocked.Increment(ref _transactions);
        if (change == before + 1 && _isComplete)
        {
            Tell(group, visibilities, from, next);
            _change = change;
            return;
        }

        // others wrote before this: theirs is told first
        if (!_isComplete || await CatchUpOnceAsync() is not null)
        {
            Tell(group, visibilities, from, next);
            _isBehind = _isComplete;
        }
    }

    private void Tell(List<DirectoryCommand> group, IReadOnlyList<KeyValuePair<uint, Visibility>> visibilities, uint from, uint next)
    {
        var deleted = new List<KeyValuePair<uint, string>>();
        var statuses = new List<KeyValuePair<uint, ManualStatus>>();
        foreach (var command in group)
            command.Tell(deleted, statuses);
        _next = Math.Max(from, next);
        Changed?.Invoke(new DirectoryChanges(from, _next, deleted, statuses, visibilities, IsComplete: false));
    }

    // ---- reading what others wrote ----------------------------------------------------------------------------------------------

    private async Task CatchUpOrFailAsync()
    {
        List<TaskCompletionSource> waiting;
        lock (_gate)
            (waiting, _waiting) = (_waiting, []);
        var failure = await CatchUpOnceAsync();
        // a server that was restarted has closed every connection: the next one is new
        if (failure is not null && PostgresFailure.IsConnectionLost(failure))
            failure = await CatchUpOnceAsync();
        Volatile.Write(ref _caughtUpAt, _time.GetTimestamp());
        Arm(failure is null ? CatchUpInterval : RetryInterval);
        // who heard something meanwhile has armed the timer before this did
        if (failure is null && _isBehind)
            Arm(PauseBetweenCatchUps);
        if (failure is not null)
            NoteAway(failure);
        foreach (var told in waiting)
        {
            if (failure is null)
                told.TrySetResult();
            else
                told.TrySetException(Explained(failure));
        }
    }

    private async Task<Exception?> CatchUpOnceAsync()
    {
        // who hears something from here on wants another look
        _isBehind = false;
        try
        {
            await CatchUpNowAsync();
            NoteBack();
            return null;
        }
        catch (Exception failure)
        {
            await LoseConnectionAsync(failure);
            return failure;
        }
    }

    private async Task CatchUpNowAsync()
    {
        var connection = await ConnectionAsync();
        var (change, next) = await PostgresChanges.ReadStateAsync(connection);
        Interlocked.Increment(ref _catchUps);
        if (Changed is not { } changed)
        {
            _next = Math.Max(_next, next);
            return;
        }

        // restored from a backup, or away for longer than what was undone is kept
        var isComplete = !_isComplete || change < _change || _time.GetElapsedTime(_readAt) > CompleteAfter;
        IReadOnlyList<KeyValuePair<uint, string>> deleted = [];
        IReadOnlyList<KeyValuePair<uint, ManualStatus>> statuses = [];
        IReadOnlyList<KeyValuePair<uint, Visibility>> visibilities = [];
        if (change > _change || isComplete)
            (deleted, statuses, visibilities) = await PostgresChanges.ReadAsync(connection, isComplete ? -1 : _change, isComplete);
        var from = _next;
        _next = Math.Max(from, next);
        _change = change;
        _readAt = _time.GetTimestamp();
        _isComplete = true;
        changed(new DirectoryChanges(from, _next, deleted, statuses, visibilities, isComplete));
        if (_time.GetElapsedTime(_forgotAt) <= ForgetInterval)
            return;
        _forgotAt = _time.GetTimestamp();
        await PostgresChanges.ForgetAsync(connection, _time.GetUtcNow().ToUnixTimeSeconds() - KeepSeconds);
    }

    // ---- the connection -----------------------------------------------------------------------------------------------------------

    private async ValueTask<NpgsqlConnection> ConnectionAsync() => _connection ??= await _source.OpenConnectionAsync();

    private async ValueTask LoseConnectionAsync(Exception failure)
    {
        if (_connection is not { } lost || failure is PostgresException && !PostgresFailure.IsConnectionLost(failure))
            return;
        _connection = null;
        await lost.DisposeAsync();
    }

    private void NoteAway(Exception failure)
    {
        if (_isAway)
            return;
        _awayAt = _time.GetTimestamp();
        Volatile.Write(ref _isAway, true);
        _log.Away(Explained(failure).Message);
        _isBehind = true;
        Arm(RetryInterval);
    }

    private void NoteBack()
    {
        if (!_isAway)
            return;
        Volatile.Write(ref _isAway, false);
        _log.Back(_options.ToString(), _time.GetElapsedTime(_awayAt).TotalSeconds);
    }

    private void FailWaiting(StoreUnavailableException why)
    {
        lock (_gate)
        {
            foreach (var told in _waiting)
                told.TrySetException(why);
        }
    }
}
