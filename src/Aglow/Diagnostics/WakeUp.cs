using System.Threading.Tasks.Sources;

namespace Aglow.Diagnostics;

/// <summary>
/// Wakes one loop from any thread. Signals that arrive while the loop is awake merge into one. It takes no lock and allocates nothing but
/// the thread pool's own item.
/// </summary>
public sealed class WakeUp : IValueTaskSource
{
    private const int Idle = 0;
    private const int Signaled = 1;
    private const int Waiting = 2;

    // continuations run on another thread, because the signaller has other work
    private ManualResetValueTaskSourceCore<bool> _core = new() { RunContinuationsAsynchronously = true };
    private int _state;

    /// <summary>Wakes the loop, or makes its next wait end at once.</summary>
    public void Signal()
    {
        if (Volatile.Read(ref _state) != Signaled && Interlocked.Exchange(ref _state, Signaled) == Waiting)
            _core.SetResult(true);
    }

    /// <summary>Completes at the next signal, or at once if a signal came since the last wait. Only one waiter is allowed.</summary>
    public ValueTask WaitAsync()
    {
        if (Interlocked.CompareExchange(ref _state, Idle, Signaled) == Signaled)
            return default;
        _core.Reset();
        if (Interlocked.CompareExchange(ref _state, Waiting, Idle) == Idle)
            return new ValueTask(this, _core.Version);
        // a signal arrived just now
        Interlocked.Exchange(ref _state, Idle);
        return default;
    }

    void IValueTaskSource.GetResult(short token)
    {
        _core.GetResult(token);
        // A full fence. A caller that signals before it has already queued its work. A caller that signals after it finds the loop idle.
        Interlocked.Exchange(ref _state, Idle);
    }

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);
}
