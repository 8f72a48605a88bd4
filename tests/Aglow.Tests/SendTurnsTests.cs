namespace Aglow.Tests;

/// <summary>A hub with 1,000 connections in simulated time. A turn, a frame and a record have a cost, and changes come at a pace.</summary>
public sealed class SendTurnsTests
{
    private const int Connections = 1000;
    private const int Watchers = 20;
    private static readonly TimeSpan TurnCost = TimeSpan.FromMicroseconds(20);
    private static readonly TimeSpan FrameCost = TimeSpan.FromMicroseconds(15);
    private static readonly TimeSpan RecordCost = TimeSpan.FromMicroseconds(2);
    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(5);

    // at this pace, records alone take the whole core
    private static readonly int Most = (int)(1 / (Watchers * RecordCost.TotalSeconds));

    // a round of all connections, each with as many records as come in MaxHold at this share of the highest pace
    private static TimeSpan Round(double share) => (Connections * FrameCost) + (CoalescingWindow.MaxHold * share);

    [Fact]
    public void A_change_on_a_quiet_hub_is_never_held()
    {
        var hub = new Hub();
        hub.Run(changesPerSecond: 10, seconds: 10);
        hub.LongestLag.ShouldBeLessThan(TimeSpan.FromMilliseconds(1));
    }

    [Theory]
    [InlineData(0.05)]
    [InlineData(0.25)]
    [InlineData(0.5)]
    [InlineData(0.8)]
    public void The_lag_under_a_steady_load_is_bounded(double share)
    {
        var hub = new Hub();
        hub.Run((int)(share * Most), seconds: 2);
        hub.Forget();
        hub.Run((int)(share * Most), seconds: 5);
        hub.LongestLag.ShouldBeLessThan(CoalescingWindow.MaxHold + Round(share) + Slice);
        hub.LongestQueue.ShouldBeLessThanOrEqualTo(Connections);
    }

    // From a fifth of the highest rate on, one frame for each connection in each hold costs more than the share leaves.
    [Theory]
    [InlineData(0.1)]
    [InlineData(0.17)]
    public void The_hub_stays_within_its_share_where_holding_changes_can_achieve_that(double share)
    {
        var hub = new Hub();
        hub.Run((int)(share * Most), seconds: 2);
        hub.Forget();
        hub.Run((int)(share * Most), seconds: 5);
        hub.Busy.ShouldBeLessThan(CoalescingWindow.Share + 0.05);
        // the hub sends what it has, instead of holding changes for longer
        hub.LongestLag.ShouldBeLessThan(CoalescingWindow.MaxHold + Slice);
    }

    [Fact]
    public void A_saturated_hub_never_pauses_and_serves_each_connection_once_a_round()
    {
        var hub = new Hub();
        hub.Run((int)(0.95 * Most), seconds: 2);
        hub.Forget();
        hub.Run((int)(0.95 * Most), seconds: 5);
        hub.Busy.ShouldBeGreaterThan(0.99);
        hub.MostTurnsMeanwhile.ShouldBeLessThanOrEqualTo(Connections);
    }

    [Theory]
    [InlineData(0.25)]
    [InlineData(0.95)]
    public void A_second_after_any_load_changes_are_sent_at_once_again(double share)
    {
        var hub = new Hub();
        hub.Run((int)(share * Most), seconds: 5);
        hub.Run(changesPerSecond: 10, seconds: 1);
        hub.Forget();
        hub.Run(changesPerSecond: 10, seconds: 10);
        hub.LongestLag.ShouldBeLessThan(TimeSpan.FromMilliseconds(1));
    }

    [Fact]
    public void A_burst_for_many_connections_is_sent_in_one_go_if_the_hub_was_quiet()
    {
        var hub = new Hub();
        hub.Run(changesPerSecond: 10, seconds: 1);
        hub.Forget();
        hub.Change(Connections);
        hub.Run(changesPerSecond: 10, seconds: 1);
        hub.LongestLag.ShouldBeLessThan(Connections * (FrameCost + RecordCost) * 1.1);
    }

    [Fact]
    public void A_pause_of_the_machine_in_a_turn_does_not_hold_changes_for_as_long()
    {
        var turns = new SendTurns<int>();
        turns.Worked(TimeSpan.FromSeconds(60), took: TimeSpan.FromSeconds(50), frames: 1);
        turns.Add(1, TimeSpan.FromSeconds(60));
        turns.OpensIn(TimeSpan.FromSeconds(60)).ShouldBe(CoalescingWindow.MaxHold);
        turns.TryTake(TimeSpan.FromSeconds(60) + CoalescingWindow.MaxHold, out _).ShouldBeTrue();
    }

    private sealed class Hub
    {
        private readonly Random _random = new(25);
        private readonly SendTurns<int> _turns = new();
        private readonly List<TimeSpan>[] _changes = [.. Enumerable.Range(0, Connections).Select(static _ => new List<TimeSpan>())];
        private readonly long[] _addedAt = new long[Connections];
        private TimeSpan _now;
        private TimeSpan _since;
        private TimeSpan _worked;

        public TimeSpan LongestLag { get; private set; }

        public long LongestQueue { get; private set; }

        public long MostTurnsMeanwhile { get; private set; }

        public double Busy => _worked / (_now - _since);

        public void Forget()
        {
            (_since, _worked) = (_now, default);
            (LongestLag, LongestQueue, MostTurnsMeanwhile) = (default, 0, 0);
        }

        public void Run(int changesPerSecond, double seconds)
        {
            var end = _now + TimeSpan.FromSeconds(seconds);
            var pause = TimeSpan.FromSeconds(1.0 / changesPerSecond);
            var next = _now + pause;
            while (_now < end)
            {
                for (; next <= _now; next += pause)
                    Change(Watchers, next);
                if (_turns.OpensIn(_now) is not { } wait)
                    _now = next;
                else if (wait > TimeSpan.Zero)
                    _now += wait < next - _now ? wait : next - _now;
                else
                    Turn();
            }
        }

        public void Change(int watchers, TimeSpan? at = null)
        {
            for (var i = 0; i < watchers; i++)
            {
                var connection = watchers == Connections ? i : _random.Next(Connections);
                if (_changes[connection].Count == 0)
                {
                    _turns.Add(connection, _now);
                    _addedAt[connection] = _turns.Taken;
                }

                _changes[connection].Add(at ?? _now);
            }

            LongestQueue = Math.Max(LongestQueue, _turns.Added - _turns.Taken);
        }

        private void Turn()
        {
            var beganAt = _now;
            Work(TurnCost, frames: 0);
            while (_now - beganAt < Slice && _turns.TryTake(_now, out var connection))
            {
                Work(FrameCost + (_changes[connection].Count * RecordCost), frames: 1);
                MostTurnsMeanwhile = Math.Max(MostTurnsMeanwhile, _turns.Taken - _addedAt[connection]);
                foreach (var changedAt in _changes[connection])
                {
                    if (_now - changedAt > LongestLag)
                        LongestLag = _now - changedAt;
                }

                _changes[connection].Clear();
            }
        }

        private void Work(TimeSpan time, int frames)
        {
            _now += time;
            _worked += time;
            _turns.Worked(_now, time, frames);
        }
    }
}
