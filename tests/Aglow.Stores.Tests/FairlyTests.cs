using Aglow.Tests;

namespace Aglow.Stores.Tests;

/// <summary>A test whose own clients were late blames no server.</summary>
public sealed class FairlyTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task A_scenario_with_late_clients_runs_again_but_not_for_ever(int onTimeAt)
    {
        var runs = 0;
        await Fairly.JudgeAsync(() => ++runs == onTimeAt ? Task.CompletedTask : throw new ClientLateException("late"));
        runs.ShouldBe(onTimeAt);
        await Should.ThrowAsync<ClientLateException>(() => Fairly.JudgeAsync(static () => throw new ClientLateException("late")));
    }

    [Fact]
    public async Task What_a_server_did_fails_at_once_unless_this_process_paused()
    {
        var (time, runs) = (new ManualTimeProvider(), 0);
        await using var pace = new Pace(time);
        for (var tick = 0; tick < 20; tick++)
        {
            await Eventually.HoldsAsync(() => time.ArmedTimers == 1);
            time.Advance(TimeSpan.FromMilliseconds(100));
        }

        // not Should.ThrowAsync, which does not expect exceptions of its own library
        (await Record.ExceptionAsync(() => Fairly.JudgeAsync(Judge))).ShouldBeOfType<ShouldAssertException>();
        runs.ShouldBe(1);
        Record.Exception(() => pace.ShouldBeOnline("offline")).ShouldBeOfType<ShouldAssertException>();
        await Eventually.HoldsAsync(() => time.ArmedTimers == 1);
        time.Jump(TimeSpan.FromSeconds(4));
        await Eventually.HoldsAsync(() => pace.Latest > TimeSpan.FromSeconds(3));
        await Should.ThrowAsync<ClientLateException>(async () => await Judge());
        Should.Throw<ClientLateException>(() => pace.ShouldBeOnline("offline"));
        pace.ShouldBeOnline("online");

        Task Judge()
        {
            runs++;
            pace.NobodyWentOffline([7], static _ => ["offline", "online"]);
            pace.NobodyWentOffline([7], static _ => ["offline", "online", "offline", "online"]);
            return Task.CompletedTask;
        }
    }
}
