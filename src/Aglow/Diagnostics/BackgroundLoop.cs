namespace Aglow.Diagnostics;

/// <summary>
/// Runs a step on a timer until it is stopped. A step that throws is logged, and the next one runs.
/// </summary>
/// <remarks>
/// Every timer of the server runs in such a loop. Otherwise an exception in a timer's callback would end the process, and an exception in a
/// plain loop would end that loop silently. A loop logs at most one failure a minute (<see cref="BackgroundWork"/>).
/// </remarks>
public static class BackgroundLoop
{
    /// <summary>Runs the loop. Completes when <paramref name="stop"/> is canceled, and never throws.</summary>
    /// <param name="name">What the step does, for the log.</param>
    /// <param name="interval">The pause between steps. A step that takes longer delays the next one.</param>
    /// <param name="time">The clock.</param>
    /// <param name="log">Where failures go.</param>
    /// <param name="step">One step.</param>
    /// <param name="stop">Ends the loop.</param>
    public static async Task RunAsync(
        string name, TimeSpan interval, TimeProvider time, AglowLog log, Func<ValueTask> step, CancellationToken stop)
    {
        using var timer = new PeriodicTimer(interval, time);
        await RunAsync(name, () => NextAsync(timer, stop), time, log, step, stop);
    }

    /// <summary>Runs a loop that waits for <paramref name="next"/> instead of a timer. It must complete when the loop is stopped.</summary>
    internal static async Task RunAsync(
        string name, Func<ValueTask> next, TimeProvider time, AglowLog log, Func<ValueTask> step, CancellationToken stop)
    {
        var failures = new BackgroundWork(time, log);
        while (true)
        {
            await next();
            if (stop.IsCancellationRequested)
                return;
            try
            {
                await step();
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception failure)
            {
                failures.Failed(name, failure);
            }
        }
    }

    private static async ValueTask NextAsync(PeriodicTimer timer, CancellationToken stop)
    {
        try
        {
            await timer.WaitForNextTickAsync(stop);
        }
        catch (OperationCanceledException)
        {
            // the loop ends
        }
    }
}
