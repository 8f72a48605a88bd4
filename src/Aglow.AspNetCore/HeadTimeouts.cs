using System.Collections.Concurrent;
using System.IO.Pipelines;

namespace Aglow.AspNetCore;

/// <summary>
/// How long the head of a connection's first request may take: those that have not got to its end by then are given up.
/// </summary>
/// <remarks>
/// All wait equally long, so they end in the order in which they began: one queue and one timer for all of them, and who looks at the queue looks at its front. A timer for each, as a
/// cancellation with a time-out has, costs a walk over ten thousand of them three times a second. A few are given up at a time: ten thousand at once would hold up everybody
/// else for half a second, so the last of them waits up to ten seconds longer.
/// Threading: any thread; a connection takes no lock. A wait that is over stays in the queue, 48 bytes, until all before it are.
/// </remarks>
internal sealed class HeadTimeouts : IDisposable
{
    /// <summary>How long a connection may take until the head of its first request is whole.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromSeconds(15);

    /// <summary>How often it is looked for who has waited for too long.</summary>
    public static readonly TimeSpan BeatInterval = TimeSpan.FromMilliseconds(100);

    /// <summary>How soon it is looked again where there were more than are given up at a time.</summary>
    public static readonly TimeSpan BusyBeatInterval = TimeSpan.FromMilliseconds(10);

    /// <summary>So many are given up at a time, half a millisecond's work, or a thousandth of all that wait.</summary>
    public const int GivenUpPerBeat = 16;

    private readonly ConcurrentQueue<Wait> _waits = new();
    private readonly TimeProvider _time;
    private readonly ITimer _timer;

    public HeadTimeouts(TimeProvider time)
    {
        _time = time;
        _timer = time.CreateTimer(static timeouts => ((HeadTimeouts)timeouts!).Beat(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _timer.Change(BeatInterval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Waits that are in the queue, over or not.</summary>
    public int Count => _waits.Count;

    /// <summary>A wait begins. Dispose it when it is over.</summary>
    /// <param name="input">What is read meanwhile: a read of it is cancelled where the wait takes too long.</param>
    public Wait Begin(PipeReader input)
    {
        var wait = new Wait(input, _time.GetTimestamp());
        _waits.Enqueue(wait);
        return wait;
    }

    public void Dispose() => _timer.Dispose();

    private void Beat()
    {
        var most = Math.Max(GivenUpPerBeat, _waits.Count / 1000);
        var givenUp = 0;
        while (givenUp < most && _waits.TryPeek(out var oldest) && (oldest.IsOver || _time.GetElapsedTime(oldest.BeganAt) >= Longest))
        {
            if (_waits.TryDequeue(out var wait) && wait.GiveUp())
                givenUp++;
        }

        _timer.Change(givenUp < most ? BeatInterval : BusyBeatInterval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>One connection's wait.</summary>
    public sealed class Wait(PipeReader input, long beganAt) : IDisposable
    {
        private PipeReader? _input = input;

        public long BeganAt { get; } = beganAt;

        /// <summary>Whether it ended, in whichever way.</summary>
        public bool IsOver => Volatile.Read(ref _input) is null;

        /// <summary>Whether it ended because it took too long.</summary>
        public bool IsTooLong { get; private set; }

        /// <summary>Ends it in order: nothing of it will cancel a read any more. False where it ended before, and a read was or will be cancelled.</summary>
        public bool TryEnd() => Interlocked.Exchange(ref _input, null) is not null;

        /// <summary>Ends it and cancels the read under way, or the next one; false where it ended before.</summary>
        public bool Cancel()
        {
            var reader = Interlocked.Exchange(ref _input, null);
            reader?.CancelPendingRead();
            return reader is not null;
        }

        public void Dispose() => TryEnd();

        internal bool GiveUp()
        {
            IsTooLong = true;
            return Cancel();
        }
    }
}
