namespace Aglow.Tests;

public class DueUsersTests
{
    private readonly DueUsers _due = new();

    [Fact]
    public void Users_are_due_in_the_order_of_their_newest_seconds_and_once()
    {
        _due.Set(1, 10);
        _due.Set(2, 20);
        _due.Set(3, 30);
        _due.Set(1, 40);
        _due.Set(2, 0);
        Taken(now: 9).ShouldBeEmpty();
        Taken(now: 39).ShouldBe([3u]);
        Taken(now: 40).ShouldBe([1u]);
        _due.First.ShouldBeNull();
    }

    [Fact]
    public void A_user_whose_second_changes_and_changes_back_is_due_once()
    {
        _due.Set(1, 10);
        _due.Set(1, 20);
        _due.Set(1, 10);
        Taken(now: 30).ShouldBe([1u]);
    }

    [Fact]
    public void Entries_that_were_replaced_do_not_gather()
    {
        for (var second = 1u; second <= 100_000; second++)
            _due.Set(1, second);
        _due.First.ShouldNotBeNull().ShouldBeGreaterThan(90_000u);
        Taken(now: 100_000).ShouldBe([1u]);
    }

    private List<uint> Taken(uint now)
    {
        var taken = new List<uint>();
        while (_due.TryTake(now, out var user))
            taken.Add(user);
        return taken;
    }
}
