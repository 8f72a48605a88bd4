namespace Aglow.Swarm;

/// <summary>The time of a run: seconds since its beginning, monotonic.</summary>
internal sealed class SwarmClock(TimeProvider time)
{
    private readonly long _began = time.GetTimestamp();

    /// <summary>The wall-clock time at which the run began.</summary>
    public DateTimeOffset BeganAt { get; } = time.GetUtcNow();

    /// <summary>Seconds since the run began.</summary>
    public double Now => time.GetElapsedTime(_began).TotalSeconds;

    /// <summary>Seconds since 1970 at moment 0, by this machine's clock.</summary>
    public double UnixAtZero => (BeganAt - DateTimeOffset.UnixEpoch).TotalSeconds;

    /// <summary>Waits until a moment of the run.</summary>
    public Task UntilAsync(double moment, CancellationToken stop) => DelayAsync(moment - Now, stop);

    /// <summary>Waits this many seconds.</summary>
    public Task DelayAsync(double seconds, CancellationToken stop) =>
        seconds <= 0 ? Task.CompletedTask : Task.Delay(TimeSpan.FromSeconds(Math.Min(seconds, 86_400)), time, stop);
}
