using System.Buffers;

namespace Aglow.Client.Tests;

/// <summary>What a loop over a watch receives when it is slow, and what is sent after a connection is lost.</summary>
public class WatchTableTests
{
    private readonly WatchTable _table = new();
    private long _lastId;

    [Fact]
    public void A_slow_loop_hears_the_latest_and_nothing_older()
    {
        var watch = _table.Add([2, 3], null);
        Send().ShouldBe("[2,3]");
        Next(watch).ShouldBeNull("nothing is known yet");
        Say(2, "online");
        Next(watch).ShouldBe("2:Online");
        for (var i = 0; i < 1_000; i++)
            Say(2, i % 2 == 0 ? "busy" : "away");
        Say(3, "online");
        Next(watch).ShouldBe("2:Away");
        Next(watch).ShouldBe("3:Online");
        Next(watch).ShouldBeNull();
    }

    [Fact]
    public void A_change_and_its_opposite_between_two_reads_are_nothing()
    {
        var watch = _table.Add([2, 3], null);
        Send();
        Next(watch).ShouldBeNull();
        Say(2, "online");
        Next(watch).ShouldBe("2:Online");
        Say(2, "busy");
        Say(2, "online");
        Say(3, "online");
        Next(watch).ShouldBe("3:Online");
    }

    [Fact]
    public void Watches_that_end_while_there_is_no_connection_are_not_asked_for_again()
    {
        _table.Add([2], null);
        var ended = _table.Add([3], null);
        Send().ShouldBe("[2,3]");
        _table.Lost();
        _table.Remove(ended);
        _table.Count.ShouldBe(1);
        Send().ShouldBe("[2]");
        Send().ShouldBeNull();
    }

    // The users of the next message, which the server executes; null if there is none.
    private string? Send()
    {
        var frame = new ArrayBufferWriter<byte>();
        if (!_table.TryCompose(frame, ++_lastId))
            return null;
        _table.Done(_lastId);
        return JsonNode.Parse(frame.WrittenSpan)!["users"]!.ToJsonString();
    }

    private void Say(int user, string status) =>
        _table.Received(null, null, [new WireRecord(user, status != "offline", status, 1763763300)]);

    private static string? Next(Watch watch) => watch.TryTake(out var record) ? $"{record.User}:{record.Status}" : null;
}
