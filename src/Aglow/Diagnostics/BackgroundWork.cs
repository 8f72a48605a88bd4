using System.Collections.Concurrent;

namespace Aglow.Diagnostics;

/// <summary>
/// Tasks that nobody waits for. One that fails is logged, and everything else goes on.
/// </summary>
/// <remarks>
/// An exception of a task that nobody awaits is lost without a word. Each name logs one failure a minute at most, because clients can cause
/// as many as they like. Names are a fixed few. Any thread.
/// </remarks>
public sealed class BackgroundWork(TimeProvider time, AglowLog log)
{
    private static readonly TimeSpan LogEvery = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<string, long> _loggedAt = new(StringComparer.Ordinal);

    /// <summary>Lets this task go on by itself.</summary>
    /// <param name="name">What it does, for the log.</param>
    /// <param name="task">The task.</param>
    public void LetGo(string name, Task task)
    {
        if (!task.IsCompletedSuccessfully)
            _ = ObserveAsync(name, task);
    }

    /// <summary>Logs a failure.</summary>
    public void Failed(string name, Exception failure)
    {
        var now = time.GetTimestamp();
        if (_loggedAt.TryGetValue(name, out var last)
            ? time.GetElapsedTime(last, now) >= LogEvery && _loggedAt.TryUpdate(name, now, last)
            : _loggedAt.TryAdd(name, now))
            log.StepFailed(name, failure);
    }

    private async Task ObserveAsync(string name, Task task)
    {
        try
        {
            await task;
        }
        catch (Exception failure)
        {
            Failed(name, failure);
        }
    }
}
