using Aglow.Model;
using Aglow.Redis;
using Aglow.Redis.Connections;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Stores.Tests;

/// <summary>Opening presence over Redis, and closing it again.</summary>
public sealed class RedisPresenceTests
{
    [Fact]
    public async Task A_start_that_fails_at_the_end_leaves_no_loop_behind()
    {
        await using var redis = await RedisProcess.StartAsync();
        // the feed is read after the service has started
        await redis.CallAsync("HSET", RedisKeys.ChangesFeed, "generation", "x");
        var time = new CountedTimers();
        await Should.ThrowAsync<InvalidCastException>(() => RedisPresence.OpenAsync(
            new AglowOptions { OpenMode = true }, RedisAddress.Parse($"{redis.Endpoint}"), time, NullLoggerFactory.Instance));
        time.Begun.ShouldBeGreaterThan(0);
        // a wait whose other end came first is over a few seconds later
        await Eventually.HoldsAsync(() => time.Running == 0);
    }

    /// <summary>Real time that counts the timers which are not disposed.</summary>
    private sealed class CountedTimers : TimeProvider
    {
        private int _begun;
        private int _running;

        public int Begun => Volatile.Read(ref _begun);

        public int Running => Volatile.Read(ref _running);

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            Interlocked.Increment(ref _begun);
            Interlocked.Increment(ref _running);
            return new Timer(this, base.CreateTimer(callback, state, dueTime, period));
        }

        private sealed class Timer(CountedTimers timers, ITimer timer) : ITimer
        {
            private int _isOver;

            public bool Change(TimeSpan dueTime, TimeSpan period) => timer.Change(dueTime, period);

            public void Dispose()
            {
                timer.Dispose();
                if (Interlocked.Exchange(ref _isOver, 1) == 0)
                    Interlocked.Decrement(ref timers._running);
            }

            public ValueTask DisposeAsync()
            {
                Dispose();
                return default;
            }
        }
    }
}
