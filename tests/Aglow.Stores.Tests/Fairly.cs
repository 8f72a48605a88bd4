namespace Aglow.Stores.Tests;

/// <summary>The test's own clients were late, so the test shows nothing about the server.</summary>
internal sealed class ClientLateException(string message) : Exception(message);

/// <summary>Runs a scenario again if its own clients were late, because a busy machine gave this process no time.</summary>
internal static class Fairly
{
    private const int Attempts = 3;

    /// <summary>Runs the scenario until its clients were on time, or fails after the last attempt.</summary>
    public static async Task JudgeAsync(Func<Task> scenario)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await scenario();
                return;
            }
            catch (ClientLateException) when (attempt < Attempts)
            {
                // not judged
            }
        }
    }
}

/// <summary>Measures how late this process wakes up: its timers, its thread pool and its share of the CPU.</summary>
internal sealed class Pace : IAsyncDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    // clients send at most this often, and a server gives them more time than this
    private static readonly TimeSpan LateAfter = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _time;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private long _latestTicks;

    public Pace(TimeProvider? time = null)
    {
        _time = time ?? TimeProvider.System;
        _loop = Task.Run(RunAsync);
    }

    /// <summary>The longest time by which this process woke up late.</summary>
    public TimeSpan Latest => TimeSpan.FromTicks(Volatile.Read(ref _latestTicks));

    /// <summary>
    /// Asserts that none of these users was told offline after online. If this process was too late to send their heartbeats, that cannot
    /// be judged: see <see cref="Fairly"/>.
    /// </summary>
    /// <param name="users">The users.</param>
    /// <param name="statuses">The statuses of a user that were told, in order.</param>
    /// <param name="describe">What happened to a user.</param>
    public void NobodyWentOffline(IEnumerable<uint> users, Func<uint, string[]> statuses, Func<uint, string>? describe = null)
    {
        string[] offline = [.. users
            .Where(user => statuses(user).SkipWhile(static status => status == "offline").Contains("offline"))
            .Select(user => describe is null ? $"{user}" : $"{user}: {describe(user)}")];
        if (offline.Length > 0)
            ThrowIfLate($"{offline.Length} users went offline");
        offline.ShouldBeEmpty();
    }

    /// <summary>Asserts that a user whose client keeps trying has this status, unless this process was too late.</summary>
    public void ShouldBeOnline(string? status)
    {
        if (status != "online")
            ThrowIfLate($"A user is {status}");
        status.ShouldBe("online");
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _stop.Dispose();
    }

    private void ThrowIfLate(string finding)
    {
        if (Latest > LateAfter)
            throw new ClientLateException($"{finding}, but this test was itself {Latest.TotalSeconds:0.0} s late.");
    }

    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            var began = _time.GetTimestamp();
            await Task.Delay(Interval, _time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            var late = _time.GetElapsedTime(began) - Interval;
            if (late > Latest)
                Volatile.Write(ref _latestTicks, late.Ticks);
        }
    }
}
