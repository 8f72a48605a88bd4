using System.Collections.Concurrent;
using Aglow.Diagnostics;
using Aglow.Redis;
using Aglow.Redis.Changes;
using Aglow.Redis.Connections;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Stores.Tests;

/// <summary>Work that one node at a time does, while it has a lease in Redis.</summary>
public sealed class RedisLeaseTests
{
    [Fact]
    public async Task Work_that_fails_is_logged_once_and_begins_again()
    {
        await using var redis = await RedisProcess.StartAsync();
        await using var cluster = await RedisCluster.ConnectAsync(
            RedisAddress.Parse($"{redis.Endpoint}"), TimeProvider.System, new RedisLog(NullLogger.Instance));
        var log = new Failures();
        var feed = new RedisChangeLog(cluster, TimeProvider.System, new AglowLog(log));
        using var stop = new CancellationTokenSource();
        var (runs, isOn) = (0, new TaskCompletionSource());
        var owning = feed.RunOwnedAsync("work", RunAsync, stop.Token);
        await isOn.Task.WaitAsync(TimeSpan.FromMinutes(1));
        runs.ShouldBe(3);
        log.Messages.Single().ShouldContain("for the test");
        await stop.CancelAsync();
        await owning;

        Task RunAsync(string token, CancellationToken lost)
        {
            if (++runs < 3)
                throw new InvalidOperationException("for the test");
            isOn.TrySetResult();
            return Task.Delay(Timeout.Infinite, lost);
        }
    }

    private sealed class Failures : ILogger
    {
        public ConcurrentQueue<string> Messages { get; } = new();

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Messages.Enqueue($"{formatter(state, exception)} {exception?.Message}");
    }
}
