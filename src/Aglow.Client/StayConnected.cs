using System.Net.WebSockets;

namespace Aglow.Client;

/// <summary>
/// Keeps one socket to the server: connects, and connects again with full jitter whenever it is lost, until it leaves, is disposed, or the server refuses.
/// </summary>
/// <remarks>
/// <code>
///   Start ─► connecting ─► open ◄─► stale        lost, or silent for too long: connecting again, after a wait
///                │           │
///             refused    left, disposed ─► closed
/// </code>
/// A first try that fails ends it where nobody watches: <see cref="ConnectAsync"/> has told its caller, and nothing goes on behind their back.
/// Threading: any thread; one loop at a time.
/// </remarks>
internal sealed class StayConnected(ServerCalls calls, WatchTable watches, AglowClientOptions options) : IAsyncDisposable
{
    private static readonly TimeSpan LeaveTimeout = TimeSpan.FromSeconds(5);

    private readonly Lock _gate = new();
    private TaskCompletionSource _outcome = NewOutcome();
    private CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;
    private SocketSession? _session;
    private bool _isRunning;
    private bool _isLeaving;
    private bool _isDisposed;
    private int _state;

    public event Action<ConnectionState>? StateChanged;

    public event Action<AglowException>? Failed;

    public ConnectionState State => (ConnectionState)Volatile.Read(ref _state);

    /// <summary>Begins, where it has not.</summary>
    public void Start()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, typeof(AglowClient));
            if (_isRunning)
                return;
            _isRunning = true;
            _outcome = NewOutcome();
            _stop = new CancellationTokenSource();
            var (before, stop) = (_loop, _stop.Token);
            _loop = Task.Run(() => RunAsync(before, stop), CancellationToken.None);
        }
    }

    /// <summary>Begins, and completes with the try that is under way: when the server has said welcome, or with why it did not.</summary>
    public Task ConnectAsync(CancellationToken cancellationToken)
    {
        Start();
        lock (_gate)
            return _outcome.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Says on the socket that the person did something; false where there is none.</summary>
    public bool TryActive()
    {
        lock (_gate)
        {
            if (_session is not { } session)
                return false;
            session.Active();
            return true;
        }
    }

    /// <summary>Says goodbye on the socket, and stops. False: there is none, or nobody heard it.</summary>
    public async Task<bool> LeaveAsync()
    {
        SocketSession? session;
        lock (_gate)
        {
            session = _session;
            _isLeaving = true;
        }

        try
        {
            return session is not null && await session.LeaveAsync().WaitAsync(LeaveTimeout, options.TimeProvider);
        }
        catch (TimeoutException)
        {
            return false;
        }
        finally
        {
            await StopAsync();
            lock (_gate)
                _isLeaving = false;
        }
    }

    public async ValueTask DisposeAsync()
    {
        lock (_gate)
            _isDisposed = true;
        await StopAsync();
        _stop.Dispose();
    }

    /// <summary>Tells whoever keeps a log.</summary>
    public void Complain(AglowException failure) => Failed?.Invoke(failure);

    private static TaskCompletionSource NewOutcome() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private async Task StopAsync()
    {
        Task loop;
        lock (_gate)
        {
            loop = _loop;
            _isRunning = false;
            _stop.Cancel();
        }

        await loop;
        watches.End(null);
    }

    private async Task RunAsync(Task before, CancellationToken stop)
    {
        await before;
        AglowException? refusal = null;
        try
        {
            refusal = await StayAsync(stop);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // told to stop
        }
        catch (Exception failure)
        {
            // of a caller's own handler: without a connection, watches must not wait for ever
            refusal = new AglowException(0, "Stopped", $"A handler of this client's events failed ({failure.Message}). Handlers must not throw.", inner: failure);
            TryEnd(goesOn: false, stop);
        }
        finally
        {
            Volatile.Write(ref _state, (int)ConnectionState.Closed);
        }

        if (refusal is not null)
            watches.End(refusal);
        StateChanged?.Invoke(ConnectionState.Closed);
    }

    // Until it has to end; returns the refusal, where that was why.
    private async Task<AglowException?> StayAsync(CancellationToken stop)
    {
        var failures = 0;
        var wasOpen = false;
        while (true)
        {
            Say(ConnectionState.Connecting);
            TimeSpan wait;
            AglowException? refusal = null;
            bool goesOn;
            try
            {
                var end = await RunSessionAsync(() => wasOpen = true, stop);
                if (end.HasLasted)
                    failures = 0;
                wait = end.ReconnectAfter ?? NextWait(failures++);
                goesOn = true;
            }
            catch (Exception failure) when (!stop.IsCancellationRequested)
            {
                var why = failure as AglowException ?? AglowException.NotReached(options.Address, failure);
                refusal = why.IsTransient ? null : why;
                Fail(why);
                wait = (why.RetryAfter ?? TimeSpan.Zero) + NextWait(failures++);
                goesOn = why.IsTransient && (wasOpen || !watches.IsEmpty);
            }

            if (TryEnd(goesOn, stop))
                return refusal;
            await Task.Delay(wait, options.TimeProvider, stop);
        }
    }

    private async Task<SessionEnd> RunSessionAsync(Action opened, CancellationToken stop)
    {
        var session = new SocketSession(await DialAsync(stop), watches, options, Hear, Complain);
        lock (_gate)
            _session = session;
        try
        {
            return await session.RunAsync(stop);
        }
        finally
        {
            bool isLeaving;
            lock (_gate)
            {
                _session = null;
                if (_outcome.Task.IsCompleted)
                    _outcome = NewOutcome();
                isLeaving = _isLeaving || stop.IsCancellationRequested;
            }

            // who hears that somebody is unknown finds out why
            if (!isLeaving)
                Say(ConnectionState.Connecting);
            watches.Lost();
            await session.DisposeAsync();
        }

        void Hear(ConnectionState state)
        {
            opened();
            Say(state);
            lock (_gate)
                _outcome.TrySetResult();
        }
    }

    private async Task<WebSocket> DialAsync(CancellationToken stop)
    {
        using var patience = new CancellationTokenSource(options.ConnectTimeout, options.TimeProvider);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(stop, patience.Token);
        try
        {
            return await calls.OpenSocketAsync(both.Token);
        }
        catch (Exception late) when (patience.IsCancellationRequested && !stop.IsCancellationRequested)
        {
            throw new TimeoutException($"no answer within {options.ConnectTimeout.TotalSeconds:0.#} s", late);
        }
    }

    private TimeSpan NextWait(int failures) => Jitter.Retry(failures, options.FirstRetryWithin, options.RetryWithin, options.Random);

    private void Fail(AglowException why)
    {
        lock (_gate)
        {
            _outcome.TrySetException(why);
            // whether or not anybody waits for it
            _ = _outcome.Task.Exception;
            _outcome = NewOutcome();
        }

        Failed?.Invoke(why);
    }

    // Decided under the lock: who begins to watch now either was seen, or begins anew.
    private bool TryEnd(bool goesOn, CancellationToken stop)
    {
        lock (_gate)
        {
            // then another loop may be under way
            if (stop.IsCancellationRequested)
                return true;
            _isRunning = goesOn && !_isLeaving;
            return !_isRunning;
        }
    }

    private void Say(ConnectionState state)
    {
        if (Interlocked.Exchange(ref _state, (int)state) != (int)state)
            StateChanged?.Invoke(state);
    }
}
