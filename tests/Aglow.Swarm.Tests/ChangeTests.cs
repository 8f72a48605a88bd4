using Aglow.Swarm.Changes;

namespace Aglow.Swarm.Tests;

/// <summary>The rules of backends that follow changes, with planted faults.</summary>
public class ChangeTests
{
    private static readonly Promises Promises = new();

    [Fact]
    public void Only_what_lasted_over_ten_seconds_is_an_episode_and_equal_ones_in_turn_are_one()
    {
        var episodes = new Episodes();
        for (var now = 0; now <= 8; now++)
            episodes.Note(new Standing(0, 40, IsPossible: true), now);
        episodes.Note(new Standing(null, 40, IsPossible: true), 9);
        episodes.All.ShouldBeEmpty();
        for (var now = 20; now <= 40; now++)
            episodes.Note(new Standing(20, 90, IsPossible: true), now);
        episodes.Note(new Standing(null, 90, IsPossible: true), 41);
        for (var now = 50; now <= 65; now++)
            episodes.Note(new Standing(50, 90, IsPossible: true), now);
        for (var now = 91; now <= 105; now++)
            episodes.Note(new Standing(null, 90, IsPossible: false), now);
        episodes.All.ShouldBe([new Episode(true, 20, 65), new Episode(false, 90, 105)]);
    }

    [Theory]
    [InlineData("20+ 80-", 0)]
    [InlineData("20+ 80- 130+", 0)]
    [InlineData("5+ 9- 20+ 80-", 0)] // and a short visit
    [InlineData("20+", 1)]
    [InlineData("", 2)]
    [InlineData("80-", 1)]
    [InlineData("20+ 30-", 1)] // a flicker before the end is not the end
    public void A_backend_hears_of_each_episode(string heard, int missed) =>
        ChangeJudge.Missed(
            [new Episode(false, 0, 15), new Episode(true, 20, 65), new Episode(false, 90, 105)],
            [
                .. heard.Split(' ', StringSplitOptions.RemoveEmptyEntries)
                    .Select(static said => new Change(said, 1, said[^1] == '+', "", null, long.Parse(said[..^1]))),
            ],
            static second => second).Count().ShouldBe(missed);

    [Theory]
    [InlineData(true, null)]
    [InlineData(false, ViolationKind.WrongByChanges)]
    [InlineData(null, ViolationKind.WrongByChanges)]
    public void A_backend_ends_with_who_is_online(bool? isOnline, object? expected) =>
        ChangeJudge.OfEnd(new Standing(100, 200, IsPossible: true), Promises, isOnline, 150).GetValueOrDefault()
            .Kind.ShouldBe((ViolationKind?)expected);

    [Theory]
    [InlineData(true, ViolationKind.WrongByChanges)]
    [InlineData(false, null)]
    [InlineData(null, null)]
    public void A_backend_ends_with_who_is_offline(bool? isOnline, object? expected) =>
        ChangeJudge.OfEnd(new Standing(null, 100, IsPossible: false), Promises, isOnline, 150).GetValueOrDefault()
            .Kind.ShouldBe((ViolationKind?)expected);

    [Fact]
    public void A_change_of_the_last_seconds_may_still_be_on_its_way() =>
        ChangeJudge.OfEnd(new Standing(145, 200, IsPossible: true), Promises, false, 150).ShouldBeNull();
}
