using System.Collections.Concurrent;

namespace Aglow.Diagnostics;

/// <summary>
/// Runs tasks that nobody awaits, and logs those that fail.
/// </summary>
/// <remarks>
/// Without this, the exception of such a task would be lost. Each name logs at most one failure a minute, because clients can cause any
/// number of failures. There are few names, all fixed. Any thread.
/// </remarks>
public sealed class BackgroundWork(TimeProvider time, AglowLog log)
{
    private static readonly TimeSpan LogEvery = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<string, long> _loggedAt = new(StringComparer.Ordinal);

    /// <summary>Lets this task run without a caller, and logs its failure.</summary>
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
