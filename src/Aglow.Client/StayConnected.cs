using System.Net.WebSockets;

namespace Aglow.Client;

/// <summary>
/// Keeps one socket to the server open. It reconnects after each loss (<see cref="ConnectionTries"/>), until the client leaves or is
/// disposed, or the server refuses.
/// </summary>
/// <remarks>
/// <code>
///   Start ─► connecting ─► open ◄─► stale        lost, silent, unreachable, a gateway's error: connecting again, after a wait
///                │           │
///                └── 4401, 4403, a problem document of the server ─► refused ─► Refresh ─► connecting
///   left, disposed ─► closed
/// </code>
/// Only a refusal by the server itself is final; a gateway's error is retried. Threading: any thread; one loop at a time.
/// </remarks>
internal sealed class StayConnected(
    ServerCalls calls, WatchTable watches, Commands commands, TokenSource tokens, AglowClientOptions options)
    : IAsyncDisposable
{
    private const int MaxRemembered = 16;

    private static readonly TimeSpan LeaveTimeout = TimeSpan.FromSeconds(1);

    private readonly ConnectionTries _tries = new(calls, tokens, options);
    private readonly Lock _gate = new();
    private readonly Signal _wake = new();
    private readonly HashSet<string> _reported = new(StringComparer.Ordinal);
    private TaskCompletionSource _outcome = NewOutcome();
    private CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;
    private SocketSession? _session;
    private AglowException? _refusal;
    private bool _isRunning;
    private TaskCompletionSource<bool>? _leaving; // the leave that is under way
    private bool _isDisposed;
    private int _state;

    public event Action<ConnectionState>? StateChanged;

    public event Action<AglowException>? Failed;

    public ConnectionState State => (ConnectionState)Volatile.Read(ref _state);

    /// <summary>Why the server refused; null if it did not.</summary>
    public AglowException? Refusal => Volatile.Read(ref _refusal);

    /// <summary>Whether the client is connected or connecting.</summary>
    public bool IsRunning
    {
        get
        {
            lock (_gate)
                return _isRunning && _leaving is null;
        }
    }

    /// <summary>
    /// Starts the loop unless it runs already, or the server refused. A leave that is under way comes first; if it ends the watch, there is
    /// nothing to start.
    /// </summary>
    public Task StartAsync(Watch watch, CancellationToken cancellationToken) => StartCoreAsync(watch, cancellationToken);

    /// <summary>Starts, and completes with the current try: at the server's welcome, or with the failure.</summary>
    public async Task ConnectAsync(CancellationToken cancellationToken) =>
        await (await StartCoreAsync(null, cancellationToken)).WaitAsync(cancellationToken);

    /// <summary>Tries again at once; on an open connection, with a new token.</summary>
    public void Refresh()
    {
        SocketSession? session;
        CancellationToken stop;
        lock (_gate)
        {
            if (_isDisposed || _leaving is not null)
                return;
            if (_refusal is not null)
            {
                _refusal = null;
                _tries.Reset();
                Begin();
                return;
            }

            if (!_isRunning)
                return;
            (session, stop) = (_session, _stop.Token);
        }

        if (session is { IsWelcome: true } && tokens.IsCallback)
            session.RenewNow(stop);
        else
            _wake.Set();
    }

    /// <summary>Call it when the application runs again after a suspend: connects at once, or checks the open connection.</summary>
    public void Resume()
    {
        SocketSession? session;
        lock (_gate)
            session = _session;
        if (session is { IsWelcome: true })
            session.Probe();
        else
            _wake.Set();
    }

    /// <summary>Leaves on the socket, and stops. False: there is no socket, or the server did not confirm the leave.</summary>
    public async Task<bool> LeaveAsync()
    {
        SocketSession? session;
        TaskCompletionSource<bool>? other;
        var leaving = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            other = _leaving;
            session = _session is { IsWelcome: true } open ? open : null;
            _leaving ??= leaving;
        }

        if (other is not null)
            return await other.Task;
        var isConfirmed = false;
        try
        {
            SetState(ConnectionState.Closed);
            isConfirmed = session is not null && await session.LeaveAsync().WaitAsync(LeaveTimeout, options.TimeProvider);
        }
        catch (TimeoutException)
        {
            // the server did not confirm it
        }
        finally
        {
            try
            {
                await StopAsync();
            }
            finally
            {
                lock (_gate)
                    _leaving = null;
                leaving.SetResult(isConfirmed);
            }
        }

        return isConfirmed;
    }

    public async ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            if (_isDisposed)
                return;
            _isDisposed = true;
        }

        // _stop holds nothing to dispose, and a leave that is still under way cancels it again
        await StopAsync();
    }

    /// <summary>Reports a failure. The same message is reported once until there is a connection again.</summary>
    public void Report(AglowException failure)
    {
        lock (_gate)
        {
            if (_reported.Count >= MaxRemembered)
                _reported.Clear();
            if (!_reported.Add(failure.Message))
                return;
        }

        Failed?.Invoke(failure);
    }

    /// <summary>The client has recovered: the next failure is reported even if it has the same message.</summary>
    public void Recovered()
    {
        lock (_gate)
            _reported.Clear();
    }

    /// <summary>A session is open, or the server cannot read its store.</summary>
    public void Connected(ConnectionState state)
    {
        // first, so that callers who wait for the connection find it open
        SetState(state);
        lock (_gate)
        {
            _tries.Connected();
            _reported.Clear();
            _outcome.TrySetResult();
        }
    }

    public void Ticked() => _tries.Ticked();

    private static TaskCompletionSource NewOutcome() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Returns the task of the current try. Once a watch was ended, nothing is started for it.
    private async Task<Task> StartCoreAsync(Watch? watch, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task leaving;
            lock (_gate)
            {
                ObjectDisposedException.ThrowIf(_isDisposed, typeof(AglowClient));
                if (_leaving is null)
                {
                    if (_refusal is { } refusal)
                        return watch is null ? throw refusal : Task.CompletedTask;
                    if (!_isRunning && watch?.IsEnded != true)
                        Begin();
                    return _outcome.Task;
                }

                leaving = _leaving.Task;
            }

            await leaving.WaitAsync(cancellationToken);
        }
    }

    // Starts the loop; call it under the lock, when no loop runs and no leave is under way.
    private void Begin()
    {
        _isRunning = true;
        _outcome = NewOutcome();
        _stop = new CancellationTokenSource();
        var (before, stop) = (_loop, _stop.Token);
        _loop = Task.Factory.StartNew(
            () => RunAsync(before, stop), CancellationToken.None, TaskCreationOptions.DenyChildAttach, options.Scheduler).Unwrap();
    }

    private async Task StopAsync()
    {
        Task loop;
        SocketSession? session;
        CancellationTokenSource stop;
        lock (_gate)
        {
            (loop, session, stop) = (_loop, _session, _stop);
            _isRunning = false;
            _refusal = null;
        }

        if (session is not null)
            await session.CloseAsync();
        stop.Cancel();
        await loop;
        SetState(ConnectionState.Closed, evenIfLeaving: true);
        watches.End(null);
        var closed = new AglowException(
            0, "Closed", "The client was closed before the server answered. The server may have done it or not.");
        commands.End(closed);
        Complete(closed);
    }

    private async Task RunAsync(Task before, CancellationToken stop)
    {
        await before;
        try
        {
            await StayAsync(stop);
        }
        catch (Exception) when (stop.IsCancellationRequested)
        {
            // the client was stopped, and its socket may have been closed during a call
        }
        catch (Exception failure)
        {
            // a handler of the application threw: without a connection, watches must not wait for ever
            var stopped = new AglowException(
                0, "Stopped", $"A handler of this client's events failed ({failure.Message}). Handlers must not throw.", inner: failure);
            lock (_gate)
                _isRunning = false;
            Volatile.Write(ref _state, (int)ConnectionState.Closed);
            Complete(stopped);
            watches.End(stopped);
            commands.End(stopped);
        }
    }

    // Connects again and again, until the client stops or the server refuses.
    private async Task StayAsync(CancellationToken stop)
    {
        while (true)
        {
            SetState(ConnectionState.Connecting);
            _wake.Clear();
            var result = await _tries.RunAsync((socket, token, left) => RunSessionAsync(socket, token, left, stop), stop);
            // the client leaves or is disposed, so this end is not the server's
            if (!IsRunning)
                return;
            if (result.IsFinal)
            {
                Refuse(result.Failure!);
                return;
            }

            if (result is { Failure: { } failure, MayHaveNewToken: false })
            {
                Complete(failure);
                Report(failure);
            }

            await WaitAsync(_tries.NextWait(result), stop);
        }
    }

    private async Task<SessionEnd> RunSessionAsync(WebSocket socket, string? token, TimeSpan welcomeWithin, CancellationToken stop)
    {
        using var session = new SocketSession(socket, token, welcomeWithin, watches, commands, tokens, options, this);
        lock (_gate)
            _session = session;
        var isOver = false;
        try
        {
            var end = await session.RunAsync(stop);
            isOver = ConnectionTries.RefusalOf(end) is { IsTransient: false } refusal && !(refusal.Status == 401 && tokens.IsCallback);
            return end;
        }
        finally
        {
            lock (_gate)
            {
                _session = null;
                if (_outcome.Task.IsCompleted)
                    _outcome = NewOutcome();
            }

            // first, so that a caller who sees an unknown user can find out why
            if (!isOver && !stop.IsCancellationRequested)
                SetState(ConnectionState.Connecting);
            commands.Lost();
            watches.Lost();
        }
    }

    // Waits for this time, or until the application asks for a try.
    private async Task WaitAsync(TimeSpan wait, CancellationToken stop)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(stop);
        await Task.WhenAny(Task.Delay(wait, options.TimeProvider, ended.Token), _wake.WaitAsync(ended.Token).AsTask());
        ended.Cancel();
        stop.ThrowIfCancellationRequested();
    }

    // Completes the callers that wait for this try; later callers wait for the next one.
    private void Complete(AglowException why)
    {
        lock (_gate)
        {
            _outcome.TrySetException(why);
            // marks the exception as observed, even if no caller waits for it
            _ = _outcome.Task.Exception;
            _outcome = NewOutcome();
        }
    }

    private void Refuse(AglowException why)
    {
        lock (_gate)
        {
            _isRunning = false;
            _refusal = why;
        }

        SetState(ConnectionState.Refused);
        Complete(why);
        commands.End(why);
        Report(why);
    }

    private void SetState(ConnectionState state, bool evenIfLeaving = false)
    {
        if (_leaving is not null && state != ConnectionState.Closed && !evenIfLeaving)
            return;
        if (Interlocked.Exchange(ref _state, (int)state) != (int)state)
            StateChanged?.Invoke(state);
    }
}
