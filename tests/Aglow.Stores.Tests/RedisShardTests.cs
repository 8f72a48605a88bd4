using System.Net;
using Aglow.Redis.Connections;
using Aglow.Tests;

namespace Aglow.Stores.Tests;

/// <summary>When an outage of a shard begins, is reported and ends, by a clock that the test moves.</summary>
public sealed class RedisShardTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private readonly ManualTimeProvider _time = new();
    private readonly List<double> _reported = [];
    private readonly RedisShard _shard;

    public RedisShardTests()
    {
        // a timestamp of 0 means that nothing has failed
        _time.Advance(Second);
        _shard = new RedisShard(
            new IPEndPoint(IPAddress.Loopback, 1), _time, (_, since) => _reported.Add(_time.GetElapsedTime(since).TotalSeconds));
    }

    [Fact]
    public void An_answer_to_a_command_sent_after_the_failure_ends_the_outage_and_it_is_told_first()
    {
        _shard.Failed("lost", TimeSpan.Zero);
        _shard.IsAway.ShouldBeFalse();
        _time.Advance(3 * Second);
        _shard.IsAway.ShouldBeTrue();
        var sentAt = _time.GetTimestamp();
        _time.Advance(Second);
        _shard.Worked(sentAt, isWrite: true);
        _reported.ShouldBe([4]);
        _shard.HasFailed.ShouldBeFalse();
        _shard.Worked(sentAt, isWrite: true);
        _reported.Count.ShouldBe(1);
    }

    [Fact]
    public void A_late_answer_to_a_command_sent_before_the_failure_ends_nothing_and_the_outage_is_told_whole_later()
    {
        var before = _time.GetTimestamp();
        _time.Advance(Second);
        _shard.Failed("lost", TimeSpan.Zero);
        _time.Advance(Second);
        // the answer may be older than the failure, or the first one after it
        _shard.Worked(before, isWrite: true);
        _reported.ShouldBe([1]);
        _shard.HasFailed.ShouldBeTrue();
        _time.Advance(4 * Second);
        _shard.Failed("lost again", TimeSpan.Zero);
        _shard.Worked(_time.GetTimestamp(), isWrite: true);
        _reported.ShouldBe([1, 5]);
        _shard.HasFailed.ShouldBeFalse();
    }

    [Fact]
    public void Answers_owed_for_long_are_given_up_and_the_outage_began_when_the_last_answer_came()
    {
        var givenUp = _shard.Owe();
        _time.Advance(1.9 * Second);
        _shard.GiveUp("silent");
        _shard.HasFailed.ShouldBeFalse();
        // the loop that notices the silence is late
        _time.Advance(1.6 * Second);
        _shard.GiveUp("silent");
        givenUp.WaitHandle.WaitOne(TimeSpan.FromSeconds(30)).ShouldBeTrue();
        _shard.Owe().IsCancellationRequested.ShouldBeFalse();
        _shard.Reason.ShouldBe("silent");
        _shard.Worked(_time.GetTimestamp(), isWrite: true);
        _reported.ShouldBe([3.5]);
    }

    [Fact]
    public void A_failover_soon_after_an_outage_belongs_to_it()
    {
        _shard.OutageSince.ShouldBe(0);
        var began = _time.GetTimestamp();
        _shard.Failed("lost", TimeSpan.Zero);
        _shard.OutageSince.ShouldBe(began);
        _time.Advance(10 * Second);
        _shard.Worked(_time.GetTimestamp(), isWrite: true);
        // The server is back, and then its replica becomes the primary. So words written in between are lost.
        _time.Advance(3 * Second);
        _shard.OutageSince.ShouldBe(began);
        _time.Advance(20 * Second);
        _shard.OutageSince.ShouldBe(0);
    }

    [Fact]
    public void Refused_writes_are_told_again_and_again_while_reads_succeed_and_end_with_a_write()
    {
        var wroteAt = _time.GetTimestamp();
        _shard.Worked(wroteAt, isWrite: true);
        _time.Advance(Second);
        _shard.Refused("OOM");
        _shard.IsAway.ShouldBeFalse();
        for (var second = 1; second <= 3; second++)
        {
            _shard.Worked(_time.GetTimestamp(), isWrite: false);
            // reports all refusals since the last accepted write
            _reported[^1].ShouldBe(second);
            _shard.RefusesWrites.ShouldBe(second > 2);
            _time.Advance(Second);
        }

        _shard.UnwritableFor.ShouldBe(4 * Second);
        _shard.OutageSince.ShouldBe(wroteAt);
        // an answer from before the refusal proves nothing
        _shard.Worked(wroteAt, isWrite: true);
        _shard.RefusesWrites.ShouldBeTrue();
        _shard.Worked(_time.GetTimestamp(), isWrite: true);
        _reported[^1].ShouldBe(4);
        _shard.HasRefused.ShouldBeFalse();
        _shard.UnwritableFor.ShouldBe(TimeSpan.Zero);
    }
}
