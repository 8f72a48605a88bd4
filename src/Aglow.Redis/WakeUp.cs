using System.Threading.Tasks.Sources;

namespace Aglow.Redis;

/// <summary>
/// Wakes one loop from any thread: signals that come while it is awake are one. No lock, and no allocation but the thread pool's own item.
/// </summary>
internal sealed class WakeUp : IValueTaskSource
{
    private const int Idle = 0;
    private const int Signaled = 1;
    private const int Waiting = 2;

    // completed away from the signaller, who has other things to do
    private ManualResetValueTaskSourceCore<bool> _core = new() { RunContinuationsAsynchronously = true };
    private int _state;

    /// <summary>Wakes the loop, or has its next wait end at once.</summary>
    public void Signal()
    {
        if (Volatile.Read(ref _state) != Signaled && Interlocked.Exchange(ref _state, Signaled) == Waiting)
            _core.SetResult(true);
    }

    /// <summary>Completes at the next signal, or at once where one came since the last wait. One waiter.</summary>
    public ValueTask WaitAsync()
    {
        if (Interlocked.CompareExchange(ref _state, Idle, Signaled) == Signaled)
            return default;
        _core.Reset();
        if (Interlocked.CompareExchange(ref _state, Waiting, Idle) == Idle)
            return new ValueTask(this, _core.Version);
        // signalled just now
        Interlocked.Exchange(ref _state, Idle);
        return default;
    }

    void IValueTaskSource.GetResult(short token)
    {
        _core.GetResult(token);
        // a full fence: who signalled before this has queued what it signals, and who does so after it finds the loop not signalled
        Interlocked.Exchange(ref _state, Idle);
    }

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);
}
