using System.Collections.Concurrent;

namespace Aglow.Watching;

/// <summary>
/// The queue of the <see cref="WatchHub"/>, and the loop that wakes for it: at a command, at every beat, and when held changes may be sent.
/// </summary>
/// <remarks>
/// <code>
///   quiet       command ─► turn                                           at once
///   gathering   command, command ─► when the TurnPace allows ─► turn      a thread that wakes costs as much as two frames
///   held        command, command ─► the window opens ─► turn              meanwhile a turn comes only with a beat
///   sending     turn, turn, turn, …                                       until nothing waits, or the window closes
///   idle        five beats at once                                        every 100 ms (BeatPace)
/// </code>
/// Threading: any thread enqueues; one turn runs at a time. A turn allocates nothing here.
/// </remarks>
internal sealed class WatchLoop(TimeProvider time, AglowLog log, bool isShared)
{
    // With 10,000 arrivals/s of users whom nobody watches, turns without this pause would take 10 % of a core. Over a shared store, a turn
    // may also cost a read of each shard.
    private readonly TurnPace _pace = new(TimeSpan.FromMilliseconds(isShared ? 10 : 2));

    private readonly BeatPace _beats = new(WatchHub.BeatInterval);

    // timers count milliseconds
    private static readonly TimeSpan ShortestWait = TimeSpan.FromMilliseconds(1);

    private readonly ConcurrentQueue<WatchCommand> _commands = new();
    private readonly WakeUp _wake = new();
    private readonly long _startedAt = time.GetTimestamp();
    // whether commands wait for the timer instead of waking the loop
    private int _isGathering;
    private int _isBeatDue;
    private ITimer? _timer;
    private ITimer? _beatTimer;
    private TimeSpan _nextTurn;
    private bool _hasMore;

    public bool IsEmpty => _commands.IsEmpty;

    private TimeSpan Now => time.GetElapsedTime(_startedAt);

    /// <summary>Queues a command. Any thread.</summary>
    public void Enqueue(WatchCommand command)
    {
        _commands.Enqueue(command);
        if (Volatile.Read(ref _isGathering) == 0)
            _wake.Signal();
    }

    public bool TryDequeue(out WatchCommand command) => _commands.TryDequeue(out command);

    /// <summary>Runs turns until <paramref name="stop"/>. <paramref name="turn"/>: runs a turn; true: a beat is due, too.</summary>
    public async Task RunAsync(Func<bool, ValueTask<WatchTurn>> turn, CancellationToken stop)
    {
        await using var stopping = stop.Register(_wake.Signal);
        await using var timer = _timer = time.CreateTimer(Gathered, null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        await using var beats = _beatTimer = time.CreateTimer(BeatIsDue, null, _beats.Sleep, _beats.Sleep);
        await BackgroundLoop.RunAsync("watch", NextAsync, time, log, () => StepAsync(turn), stop);
    }

    private void BeatIsDue(object? state)
    {
        Volatile.Write(ref _isBeatDue, 1);
        _wake.Signal();
    }

    private void Gathered(object? state)
    {
        Interlocked.Exchange(ref _isGathering, 0);
        _wake.Signal();
    }

    private ValueTask NextAsync() => _hasMore ? default : _wake.WaitAsync();

    private async ValueTask StepAsync(Func<bool, ValueTask<WatchTurn>> turn)
    {
        _hasMore = false;
        var beats = Interlocked.Exchange(ref _isBeatDue, 0) != 0 ? _beats.Take(Now) : 0;
        if (beats == 0 && _nextTurn > Now)
        {
            Gather();
            return;
        }

        var done = await turn(beats > 0);
        for (var i = 1; i < beats; i++)
        {
            var next = await turn(true);
            done = next with { HadCommands = done.HadCommands || next.HadCommands };
        }

        var slept = _beats.Sleep;
        _beats.Passed(beats, done is { HadCommands: false, Held: null, IsWaiting: false });
        if (_beats.Sleep != slept)
            _beatTimer!.Change(_beats.Sleep, _beats.Sleep);
        if (done.Held is { } held)
        {
            _hasMore = held <= TimeSpan.Zero;
            if (_hasMore)
                return;
            _nextTurn = Now + held;
            Gather();
            return;
        }

        if (done.HadCommands)
            _pace.Turned(Now);
        _nextTurn = _pace.NextAt;
        // a command that was queued before this line did not wake the loop
        Interlocked.Exchange(ref _isGathering, 0);
        _hasMore = !IsEmpty;
    }

    private void Gather()
    {
        var wait = _nextTurn - Now;
        Interlocked.Exchange(ref _isGathering, 1);
        _timer!.Change(wait > ShortestWait ? wait : ShortestWait, Timeout.InfiniteTimeSpan);
    }
}

/// <summary>
/// The result of a turn: whether there were commands, how long changes are held from now on (zero: more can be sent at once; null: no
/// change waits), and whether something waits for one of the next beats.
/// </summary>
internal readonly record struct WatchTurn(bool HadCommands, TimeSpan? Held, bool IsWaiting);
