using System.Diagnostics;

namespace Aglow.Benchmarks;

/// <summary>Waits for a condition.</summary>
internal static class Wait
{
    /// <summary>Asks every 20 ms until the condition holds. Fails if it does not within a time.</summary>
    public static Task UntilAsync(Func<bool> holds, double seconds, string what) =>
        UntilAsync(() => Task.FromResult(holds()), seconds, what);

    /// <inheritdoc cref="UntilAsync(Func{bool}, double, string)"/>
    public static async Task UntilAsync(Func<Task<bool>> holds, double seconds, string what)
    {
        for (var began = Stopwatch.GetTimestamp(); !await holds(); await Task.Delay(20))
        {
            if (Stopwatch.GetElapsedTime(began).TotalSeconds > seconds)
                throw new BenchmarkException($"waited {seconds:0} s for {what}.");
        }
    }
}
