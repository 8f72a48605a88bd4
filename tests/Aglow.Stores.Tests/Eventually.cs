using System.Diagnostics;

namespace Aglow.Stores.Tests;

/// <summary>Waits for a condition, with a deadline that no healthy machine reaches.</summary>
internal static class Eventually
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);

    public static Task HoldsAsync(Func<bool> condition) => HoldsAsync(() => Task.FromResult(condition()));

    public static async Task HoldsAsync(Func<Task<bool>> condition)
    {
        var began = Stopwatch.GetTimestamp();
        while (!await condition())
        {
            if (Stopwatch.GetElapsedTime(began) > Deadline)
                throw new TimeoutException($"It did not come true within {Deadline.TotalSeconds} s.");
            await Task.Delay(20);
        }
    }
}
