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

    [Fact]
    public async Task A_part_that_cannot_be_closed_leaves_no_connection_open()
    {
        await using var redis = await RedisProcess.StartAsync();
        var before = await ConnectionsAsync();
        var time = new CountedTimers();
        var opened = await RedisPresence.OpenAsync(
            new AglowOptions { OpenMode = true }, RedisAddress.Parse($"{redis.Endpoint}"), time, NullLoggerFactory.Instance);
        (await ConnectionsAsync()).ShouldBeGreaterThan(before);
        time.LoopsEndBadly = true;
        (await Should.ThrowAsync<InvalidOperationException>(async () => await opened.DisposeAsync())).Message.ShouldBe("broken");
        // Redis closes its end a moment later
        await Eventually.HoldsAsync(async () => await ConnectionsAsync() <= before);

        async Task<int> ConnectionsAsync() => ((string)(await redis.CallAsync("CLIENT", "LIST"))!).Split("addr=").Length;
    }

    /// <summary>Real time that counts the timers which are not disposed.</summary>
    private sealed class CountedTimers : TimeProvider
    {
        private int _begun;
        private int _running;

        /// <summary>Whether timers of loops throw when they are disposed.</summary>
        public bool LoopsEndBadly { get; set; }

        public int Begun => Volatile.Read(ref _begun);

        public int Running => Volatile.Read(ref _running);

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            Interlocked.Increment(ref _begun);
            Interlocked.Increment(ref _running);
            return new Timer(this, base.CreateTimer(callback, state, dueTime, period), isOfLoop: period > TimeSpan.Zero);
        }

        private sealed class Timer(CountedTimers timers, ITimer timer, bool isOfLoop) : ITimer
        {
            private int _isOver;

            public bool Change(TimeSpan dueTime, TimeSpan period) => timer.Change(dueTime, period);

            public void Dispose()
            {
                timer.Dispose();
                if (Interlocked.Exchange(ref _isOver, 1) == 0)
                    Interlocked.Decrement(ref timers._running);
                if (isOfLoop && timers.LoopsEndBadly)
                    throw new InvalidOperationException("broken");
            }

            public ValueTask DisposeAsync()
            {
                Dispose();
                return default;
            }
        }
    }
}
