namespace Aglow.Tests;

/// <summary>A step of a background loop that fails is logged at most once a minute, and the next step runs.</summary>
public class BackgroundLoopTests
{
    [Fact]
    public async Task A_step_that_throws_is_logged_once_a_minute_and_the_next_one_runs()
    {
        var time = new ManualTimeProvider();
        List<string> lines = [];
        using var stop = new CancellationTokenSource();
        var steps = 0;
        var loop = BackgroundLoop.RunAsync("test", TimeSpan.FromSeconds(1), time, new AglowLog(new ListLogger(lines)), Step, stop.Token);
        for (var second = 1; second <= 100; second++)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            while (Volatile.Read(ref steps) < second)
                await Task.Yield();
        }

        await stop.CancelAsync();
        await loop;
        lines.Count(static line => line.Contains("\"test\" failed", StringComparison.Ordinal)).ShouldBe(2);

        ValueTask Step()
        {
            Interlocked.Increment(ref steps);
            throw new InvalidOperationException("no");
        }
    }
}
