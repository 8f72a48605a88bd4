using System.Collections.Concurrent;
using Aglow.Model;

namespace Aglow.Client.Tests;

/// <summary>A watch that runs beside the test: what it has said so far, and the next thing.</summary>
internal sealed class Watching : IAsyncDisposable
{
    // long, because a machine that builds at the same time is slow
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<PresenceRecord> _received = new();
    private readonly SemaphoreSlim _news = new(0);
    private readonly Task _loop;

    // it has begun when this returns, so that a test knows what comes before and what after
    private Watching(IAsyncEnumerable<PresenceRecord> records) => _loop = ReadAsync(records);

    /// <summary>The loop. It completes when the watch ends, with the reason.</summary>
    public Task Ended => _loop;

    public static Watching Of(AglowClient client, params UserId[] users) => new(client.WatchAsync(users));

    public static Watching Under(string definition, AglowClient client, params UserId[] users) => new(client.WatchAsync(users, definition));

    /// <summary>The next record.</summary>
    public async Task<PresenceRecord> NextAsync()
    {
        using var limit = new CancellationTokenSource(Patience);
        await _news.WaitAsync(limit.Token);
        if (_received.TryDequeue(out var record))
            return record;
        await _loop;
        throw new InvalidOperationException("The watch has ended.");
    }

    /// <summary>The next record, as "id:status".</summary>
    public async Task<string> NextTextAsync()
    {
        var record = await NextAsync();
        return $"{record.User}:{record.Status}";
    }

    /// <summary>Reads on until a user has this status; what comes before may be anything.</summary>
    public async Task<PresenceRecord> UntilAsync(UserId user, PresenceStatus status)
    {
        while (true)
        {
            var record = await NextAsync();
            if (record.User == user && record.Status == status)
                return record;
        }
    }

    /// <summary>Whether anything was said that was not read yet.</summary>
    public bool HasNews => !_received.IsEmpty;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
        _news.Dispose();
    }

    private async Task ReadAsync(IAsyncEnumerable<PresenceRecord> records)
    {
        try
        {
            await foreach (var record in records.WithCancellation(_stop.Token).ConfigureAwait(false))
            {
                _received.Enqueue(record);
                _news.Release();
            }
        }
        finally
        {
            _news.Release();
        }
    }
}

/// <summary>Waits for what must come, looking again and again.</summary>
internal static class Eventually
{
    public static async Task TrueAsync(Func<Task<bool>> holds, string what)
    {
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (!await holds())
        {
            clock.Elapsed.ShouldBeLessThan(Watching.Patience, what);
            await Task.Delay(20);
        }
    }

    public static Task TrueAsync(Func<bool> holds, string what) => TrueAsync(() => Task.FromResult(holds()), what);
}
