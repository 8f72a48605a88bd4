namespace Aglow.Tests;

/// <summary>Background tasks for which no caller waits.</summary>
public class BackgroundWorkTests
{
    [Fact]
    public async Task A_task_that_fails_is_logged_once_a_minute_for_each_name_and_others_go_on()
    {
        var time = new ManualTimeProvider();
        List<string> lines = [];
        var work = new BackgroundWork(time, new AglowLog(new ListLogger(lines)));
        var done = 0;
        for (var second = 0; second < 100; second++)
        {
            work.LetGo("one", FailAsync());
            work.LetGo("another", Task.FromException(new InvalidOperationException("no")));
            work.LetGo("one", GoAsync());
            time.Advance(TimeSpan.FromSeconds(1));
            while (Volatile.Read(ref done) <= second)
                await Task.Yield();
        }

        lines.Count(static line => line.Contains("\"one\" failed", StringComparison.Ordinal)).ShouldBe(2);
        lines.Count(static line => line.Contains("\"another\" failed", StringComparison.Ordinal)).ShouldBe(2);

        // fails after its caller has continued
        static async Task FailAsync()
        {
            await Task.Yield();
            throw new InvalidOperationException("no");
        }

        async Task GoAsync()
        {
            await Task.Yield();
            Interlocked.Increment(ref done);
        }
    }
}
