namespace Aglow.Tests;

public sealed class TickScheduleTests
{
    [Theory]
    [InlineData(20, 10)]
    [InlineData(3000, 10)]
    [InlineData(3000, 1)]
    [InlineData(3000, 25)]
    public void Every_connection_ticks_once_in_its_interval_and_few_batches_are_small(int count, int seconds)
    {
        var connections = new Slots<WatchConnection>();
        var schedule = new TickSchedule(connections);
        var interval = seconds * 50;
        var ticks = new List<long>[count];
        for (var i = 0; i < count; i++)
        {
            ticks[i] = [];
            var connection = new FakeConnection(1, TimeSpan.FromSeconds(seconds));
            connection.Id = connections.Add(connection);
            schedule.Add(connection, beat: 1);
        }

        var batches = 0;
        for (long beat = 2; beat <= 4 * interval; beat++)
        {
            var batch = 0;
            for (; schedule.Next(beat) is { } due; batch++)
                ticks[due.Id].Add(beat);
            batches += batch > 0 ? 1 : 0;
        }

        foreach (var own in ticks)
        {
            own.Count.ShouldBeInRange(3, 4);
            foreach (var (before, after) in own.Zip(own.Skip(1)))
                (after - before).ShouldBeInRange(interval - TickSchedule.MaxWaitBeats, interval + TickSchedule.MaxWaitBeats);
        }

        batches.ShouldBeLessThanOrEqualTo((4 * interval / TickSchedule.MaxWaitBeats) + (4 * count / TickSchedule.Batch) + 1);
    }

    [Fact]
    public void A_closed_connection_does_not_tick_and_its_number_may_belong_to_another()
    {
        var connections = new Slots<WatchConnection>();
        var schedule = new TickSchedule(connections);
        var closed = new FakeConnection(1, TimeSpan.FromSeconds(1));
        closed.Id = connections.Add(closed);
        schedule.Add(closed, beat: 1);
        connections.Remove(closed.Id);
        var next = new FakeConnection(1, TimeSpan.FromSeconds(2));
        next.Id = connections.Add(next);
        schedule.Add(next, beat: 40);
        var ticks = 0;
        for (long beat = 2; beat <= 240; beat++)
        {
            for (; schedule.Next(beat) is { } due; ticks++)
                due.ShouldBe(next);
        }

        ticks.ShouldBe(2);
    }
}
