using System.Collections.Concurrent;
using System.IO.Pipelines;

namespace Aglow.AspNetCore.Hosting;

/// <summary>How long the head of a connection's first request may take, inside TLS and wherever else it was not waited for in the kernel (<see cref="HeldSockets"/>).</summary>
internal sealed class HeadTimeouts(TimeProvider time) : ReadTimeouts(time, Longest)
{
    /// <summary>How long a connection may take until the head of its first request is whole. Nothing that it sends buys more.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromSeconds(15);
}

/// <summary>How long the body of a request may take: five seconds, and then as long as it has come at 240 bytes a second. The web server's own figures, which it would hold all to at once.</summary>
internal sealed class BodyTimeouts(TimeProvider time) : ReadTimeouts(time, Grace, BytesPerSecond)
{
    /// <summary>How long a body may take however slowly it comes, and how often it is looked at from then on.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromSeconds(5);

    /// <summary>How fast it must have come from then on, since it was first waited for.</summary>
    public const int BytesPerSecond = 240;
}

/// <summary>
/// How long one waits for whoever sends slowly: those that have not got to the end by then are given up.
/// </summary>
/// <remarks>
/// All wait equally long, so they end in the order in which they began: one queue and one timer for all of them, and who looks at the queue looks at its front. A timer for each, as a
/// cancellation with a time-out has, costs a walk over ten thousand of them three times a second. Who may take longer for what has come goes to the queue's end. A few are given up at a time: ten
/// thousand at once would hold up everybody else for half a second, so the last of them waits up to ten seconds longer.
/// Threading: any thread; a connection takes no lock. A wait that is over stays in the queue, 56 bytes, until all before it are.
/// </remarks>
internal abstract class ReadTimeouts : IDisposable
{
    /// <summary>How often it is looked for who has waited for too long.</summary>
    public static readonly TimeSpan BeatInterval = TimeSpan.FromMilliseconds(100);

    /// <summary>How soon it is looked again where there were more than are given up at a time.</summary>
    public static readonly TimeSpan BusyBeatInterval = TimeSpan.FromMilliseconds(1);

    /// <summary>So many are given up at a time, or a thousandth of all that wait.</summary>
    public const int GivenUpPerBeat = 2;

    private readonly ConcurrentQueue<Wait> _waits = new();
    private readonly TimeSpan _patience;
    private readonly int _bytesPerSecond;
    private readonly ITimer _timer;
    private long _givenUp;

    /// <summary>Begins to look for who has waited for too long.</summary>
    /// <param name="time">What time it is.</param>
    /// <param name="patience">How long everybody may take.</param>
    /// <param name="bytesPerSecond">Whoever has sent so much since may take as long again; 0: nobody may.</param>
    protected ReadTimeouts(TimeProvider time, TimeSpan patience, int bytesPerSecond = 0)
    {
        Time = time;
        _patience = patience;
        _bytesPerSecond = bytesPerSecond;
        _timer = time.CreateTimer(static timeouts => ((ReadTimeouts)timeouts!).Beat(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _timer.Change(BeatInterval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>What time it is.</summary>
    public TimeProvider Time { get; }

    /// <summary>Waits that are in the queue, over or not.</summary>
    public int Count => _waits.Count;

    /// <summary>How many were given up so far.</summary>
    public long GivenUp => Volatile.Read(ref _givenUp);

    /// <summary>A wait begins. Dispose it when it is over.</summary>
    /// <param name="input">What is read meanwhile: a read of it is cancelled where the wait takes too long.</param>
    public Wait Begin(PipeReader input)
    {
        var wait = new Wait(input, Time.GetTimestamp());
        _waits.Enqueue(wait);
        return wait;
    }

    public void Dispose() => _timer.Dispose();

    private void Beat()
    {
        var most = Math.Max(GivenUpPerBeat, _waits.Count / 1000);
        var givenUp = 0;
        while (givenUp < most && _waits.TryPeek(out var oldest) && (oldest.IsOver || Time.GetElapsedTime(oldest.LookedAt) >= _patience))
        {
            if (!_waits.TryDequeue(out var wait) || wait.IsOver)
                continue;
            if (_bytesPerSecond > 0 && wait.Received >= _bytesPerSecond * Time.GetElapsedTime(wait.BeganAt).TotalSeconds)
            {
                wait.LookedAt = Time.GetTimestamp();
                _waits.Enqueue(wait);
            }
            else if (wait.GiveUp())
            {
                givenUp++;
            }
        }

        Volatile.Write(ref _givenUp, _givenUp + givenUp);
        _timer.Change(givenUp < most ? BeatInterval : BusyBeatInterval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>One connection's wait.</summary>
    public sealed class Wait(PipeReader input, long beganAt) : IDisposable
    {
        private PipeReader? _input = input;
        private long _received;

        public long BeganAt { get; } = beganAt;

        /// <summary>How many bytes have come since it began. The reader adds them.</summary>
        public long Received
        {
            get => Volatile.Read(ref _received);
            set => Volatile.Write(ref _received, value);
        }

        /// <summary>Whether it ended, in whichever way.</summary>
        public bool IsOver => Volatile.Read(ref _input) is null;

        /// <summary>Whether it ended because it took too long.</summary>
        public bool IsTooLong { get; private set; }

        // when its time began to run, for the first time or again
        internal long LookedAt { get; set; } = beganAt;

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
