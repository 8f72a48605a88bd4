using System.Diagnostics;

namespace Aglow.Stores.Tests;

/// <summary>
/// Waits for a condition, with a deadline that no healthy machine reaches. A failed call, for example to a node whose store is away, means
/// that the condition does not hold yet.
/// </summary>
internal static class Eventually
{
    private static readonly TimeSpan Deadline = TimeSpan.FromMinutes(4);

    public static Task HoldsAsync(Func<bool> condition) => HoldsAsync(() => Task.FromResult(condition()));

    public static async Task HoldsAsync(Func<Task<bool>> condition)
    {
        var began = Stopwatch.GetTimestamp();
        while (true)
        {
            Exception? failure = null;
            try
            {
                if (await condition())
                    return;
            }
            catch (HttpRequestException e)
            {
                failure = e;
            }

            if (Stopwatch.GetElapsedTime(began) > Deadline)
                throw new TimeoutException($"It did not come true within {Deadline.TotalMinutes} minutes.", failure);
            await Task.Delay(20);
        }
    }
}
