using Aglow.Model;
using Aglow.Tests;
using Aglow.Users;

namespace Aglow.Stores.Tests;

/// <summary>What every <see cref="IUserDirectory"/> does; each backend inherits it.</summary>
public abstract class UserDirectoryContract
{
    /// <summary>A new, empty directory. Disposed of by the test.</summary>
    private protected abstract Task<IUserDirectory> OpenAsync(TimeProvider time);

    private const uint First = UserId.FirstDirectoryNumber;

    private static readonly ManualTimeProvider Time = new();

    private Task<IUserDirectory> OpenAsync() => OpenAsync(Time);

    [Fact]
    public async Task Numbers_are_handed_out_from_two_to_the_31_up()
    {
        await using var directory = await OpenAsync();
        directory.NextNumber.ShouldBe(First);
        var alice = await directory.CreateAsync("alice", "Alice");
        var now = Time.GetUtcNow().ToUnixTimeSeconds();
        alice.ShouldBe(new DirectoryUser(First, "alice", "Alice", now, now));
        (await directory.CreateAsync("bob", null))!.Number.ShouldBe(First + 1);
        directory.NextNumber.ShouldBe(First + 2);
        (await directory.FindAsync(First)).ShouldBe(alice);
        (await directory.FindAsync(First + 1))!.DisplayName.ShouldBeNull();
        (await directory.FindAsync(First + 2)).ShouldBeNull();
        (await directory.FindAsync(1)).ShouldBeNull();
    }

    [Fact]
    public async Task A_name_is_taken_once_and_costs_no_number_twice()
    {
        await using var directory = await OpenAsync();
        await directory.CreateAsync("alice", null);
        (await directory.CreateAsync("alice", "Another")).ShouldBeNull();
        directory.NextNumber.ShouldBe(First + 1);
    }

    [Fact]
    public async Task Names_are_compared_byte_by_byte()
    {
        await using var directory = await OpenAsync();
        string[] names = ["bob", "Bob", "bob ", "böb", "bo\u0308b", "ß", "ss", "🌞"];
        foreach (var name in names)
            (await directory.CreateAsync(name, null)).ShouldNotBeNull();
        var numbers = new uint[names.Length];
        await directory.FindNumbersAsync(names, numbers);
        numbers.ShouldBe(Enumerable.Range(0, names.Length).Select(i => First + (uint)i));
    }

    [Fact]
    public async Task Only_one_of_many_at_once_gets_a_name()
    {
        await using var directory = await OpenAsync();
        var created = await Task.WhenAll(Enumerable.Range(0, 200).Select(i => Task.Run(async () => await directory.CreateAsync($"name{i % 10}", null))));
        created.Count(user => user is not null).ShouldBe(10);
        created.Where(user => user is not null).Select(user => user!.Number).Order().ShouldBe(Enumerable.Range(0, 10).Select(i => First + (uint)i));
        directory.NextNumber.ShouldBe(First + 10);
    }

    [Fact]
    public async Task Registering_keys_gives_each_one_number_in_the_order_given()
    {
        await using var directory = await OpenAsync();
        await directory.CreateAsync("b", null);
        var numbers = new uint[5];
        (await directory.RegisterAsync(["c", "b", "a", "c", "é"], numbers)).ShouldBe(3);
        numbers.ShouldBe([First + 1, First, First + 2, First + 1, First + 3]);
        (await directory.RegisterAsync(["c", "b", "a", "c", "é"], numbers)).ShouldBe(0);
        numbers.ShouldBe([First + 1, First, First + 2, First + 1, First + 3]);
        directory.NextNumber.ShouldBe(First + 4);
        (await directory.RegisterAsync([], Memory<uint>.Empty)).ShouldBe(0);
    }

    [Fact]
    public async Task Callers_who_register_the_same_keys_at_once_get_the_same_numbers()
    {
        await using var directory = await OpenAsync();
        var keys = Enumerable.Range(0, 500).Select(i => $"key-{i}").ToArray();
        var random = new Random(7);
        var callers = Enumerable.Range(0, 8).Select(_ => keys.OrderBy(_ => random.Next()).ToArray()).ToArray();
        var given = await Task.WhenAll(callers.Select(caller => Task.Run(async () =>
        {
            var numbers = new uint[caller.Length];
            var added = await directory.RegisterAsync(caller, numbers);
            return (Numbers: caller.Zip(numbers).ToDictionary(pair => pair.First, pair => pair.Second), added);
        })));
        given.Sum(caller => caller.added).ShouldBe(keys.Length);
        foreach (var caller in given)
            caller.Numbers.OrderBy(pair => pair.Key).ShouldBe(given[0].Numbers.OrderBy(pair => pair.Key));
        given[0].Numbers.Values.Distinct().Count().ShouldBe(keys.Length);
        directory.NextNumber.ShouldBe(First + (uint)keys.Length);
    }

    [Fact]
    public async Task Nobody_is_found_where_nobody_registered()
    {
        await using var directory = await OpenAsync();
        await directory.CreateAsync("alice", null);
        var numbers = new uint[] { 9, 9, 9 };
        await directory.FindNumbersAsync(["nobody", "alice", "Alice"], numbers);
        numbers.ShouldBe([0, First, 0]);
        var names = new string?[] { "x", "x", "x" };
        await directory.FindNamesAsync(new uint[] { 5, First, First + 1 }, names);
        names.ShouldBe([null, "alice", null]);
    }

    [Fact]
    public async Task A_deleted_user_is_gone_and_the_number_is_never_given_again()
    {
        await using var directory = await OpenAsync();
        await directory.CreateAsync("alice", null);
        await directory.CreateAsync("bob", "Bobby");
        (await directory.DeleteAsync(First + 1)).ShouldBeTrue();
        (await directory.DeleteAsync(First + 1)).ShouldBeFalse();
        (await directory.FindAsync(First + 1)).ShouldBeNull();
        var numbers = new uint[1];
        await directory.FindNumbersAsync(["bob"], numbers);
        numbers[0].ShouldBe(0u);
        (await directory.SearchAsync("bob", 10, null)).Users.ShouldBeEmpty();
        (await directory.DeletedNumbersAsync()).ShouldBe([First + 1]);
        (await directory.CreateAsync("bob", null))!.Number.ShouldBe(First + 2);
        (await directory.DeletedNumbersAsync()).ShouldBe([First + 1]);
    }

    [Fact]
    public async Task Deleting_takes_subscriptions_both_ways_and_the_manual_status()
    {
        await using var directory = await OpenAsync();
        await directory.CreateAsync("alice", null);
        await directory.FollowAsync(First, [1, 2], true, 100);
        await directory.FollowAsync(1, [First, 2], true, 100);
        await directory.SetManualStatusAsync(First, new ManualStatus(ManualStatusKind.Busy));
        (await directory.DeleteAsync(First)).ShouldBeTrue();
        (await directory.SubscriptionsAsync(First)).ShouldBeEmpty();
        (await directory.SubscriptionsAsync(1)).ShouldBe([2u]);
        (await directory.ManualStatusesAsync()).ShouldBeEmpty();
    }

    [Fact]
    public async Task Deleting_an_application_number_takes_what_is_known_of_it_and_remembers_nothing()
    {
        await using var directory = await OpenAsync();
        (await directory.DeleteAsync(7)).ShouldBeFalse();
        await directory.FollowAsync(1, [7], true, 100);
        (await directory.DeleteAsync(7)).ShouldBeTrue();
        (await directory.SubscriptionsAsync(1)).ShouldBeEmpty();
        (await directory.DeletedNumbersAsync()).ShouldBeEmpty();
    }

    [Fact]
    public async Task Following_adds_and_removes_and_says_what_is_left()
    {
        await using var directory = await OpenAsync();
        (await directory.SubscriptionsAsync(1)).ShouldBeEmpty();
        (await directory.FollowAsync(1, [9, 3, uint.MaxValue, 3], true, 3)).ShouldBe([3u, 9u, uint.MaxValue]);
        (await directory.FollowAsync(1, [9], true, 3)).ShouldBe([3u, 9u, uint.MaxValue]);
        (await directory.FollowAsync(1, [4], true, 3)).ShouldBeNull();
        (await directory.SubscriptionsAsync(1)).ShouldBe([3u, 9u, uint.MaxValue]);
        (await directory.FollowAsync(1, [9, 10], false, 3)).ShouldBe([3u, uint.MaxValue]);
        (await directory.SubscriptionsAsync(1)).ShouldBe([3u, uint.MaxValue]);
        (await directory.SubscriptionsAsync(2)).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_manual_status_stands_until_it_is_changed_or_taken_back()
    {
        await using var directory = await OpenAsync();
        await directory.SetManualStatusAsync(5, new ManualStatus(ManualStatusKind.Away));
        await directory.SetManualStatusAsync(6, new ManualStatus(ManualStatusKind.Busy));
        await directory.SetManualStatusAsync(5, new ManualStatus(ManualStatusKind.Hidden, uint.MaxValue));
        (await directory.ManualStatusesAsync()).OrderBy(pair => pair.Key).ShouldBe(
        [
            new(5, new ManualStatus(ManualStatusKind.Hidden, uint.MaxValue)),
            new(6, new ManualStatus(ManualStatusKind.Busy)),
        ]);
        await directory.SetManualStatusAsync(5, ManualStatus.Auto);
        (await directory.ManualStatusesAsync()).Select(pair => pair.Key).ShouldBe([6u]);
    }

    [Fact]
    public async Task What_a_user_shows_stands_until_it_is_changed_and_what_is_left_out_stays()
    {
        await using var directory = await OpenAsync();
        (await directory.VisibilitiesAsync()).ShouldBeEmpty();
        await directory.SetVisibilityAsync(5, OnlineVisibility.Nobody, null);
        await directory.SetVisibilityAsync(uint.MaxValue, null, LastSeenVisibility.Coarse);
        await directory.SetVisibilityAsync(5, null, LastSeenVisibility.Hidden);
        await ShouldShowAsync(directory, "5: Nobody Hidden [] []", "4294967295: Everyone Coarse [] []");
        await directory.SetVisibilityAsync(5, OnlineVisibility.FollowersApproved, LastSeenVisibility.Exact);
        await ShouldShowAsync(directory, "5: FollowersApproved Exact [] []", "4294967295: Everyone Coarse [] []");
        await directory.SetVisibilityAsync(5, OnlineVisibility.Everyone, null);
        await directory.SetVisibilityAsync(6, null, null);
        await ShouldShowAsync(directory, "4294967295: Everyone Coarse [] []");
    }

    [Fact]
    public async Task Approving_and_blocking_add_and_take_away_and_say_who_is_left()
    {
        await using var directory = await OpenAsync();
        (await directory.RelateAsync(1, Relation.Approved, [9, 3, uint.MaxValue, 3], true, 3)).ShouldBe([3u, 9u, uint.MaxValue]);
        (await directory.RelateAsync(1, Relation.Approved, [9], true, 3)).ShouldBe([3u, 9u, uint.MaxValue]);
        (await directory.RelateAsync(1, Relation.Approved, [4], true, 3)).ShouldBeNull();
        (await directory.RelateAsync(1, Relation.Blocked, [9, 4], true, 3)).ShouldBe([4u, 9u], "who is approved may be blocked as well");
        (await directory.RelateAsync(2, Relation.Blocked, [1], true, 3)).ShouldBe([1u]);
        await ShouldShowAsync(directory, "1: Everyone Exact [3,9,4294967295] [4,9]", "2: Everyone Exact [] [1]");
        await directory.SetVisibilityAsync(1, OnlineVisibility.FollowersApproved, null);
        (await directory.RelateAsync(1, Relation.Approved, [9, 10], false, 3)).ShouldBe([3u, uint.MaxValue]);
        (await directory.RelateAsync(2, Relation.Blocked, [1], false, 3)).ShouldBe([]);
        (await directory.RelateAsync(3, Relation.Blocked, [1], false, 3)).ShouldBe([]);
        await ShouldShowAsync(directory, "1: FollowersApproved Exact [3,4294967295] [4,9]");
    }

    [Fact]
    public async Task Who_waits_for_approval_follows_and_was_neither_approved_nor_blocked()
    {
        await using var directory = await OpenAsync();
        foreach (var follower in (uint[])[1, 2, 3, 4, 5, 6, 100])
            await directory.FollowAsync(follower, [100], true, 10);
        await directory.RelateAsync(100, Relation.Approved, [2], true, 10);
        await directory.RelateAsync(100, Relation.Blocked, [4], true, 10);
        // the other way round it says nothing
        await directory.RelateAsync(3, Relation.Approved, [100], true, 10);
        (await directory.WaitingAsync(100, 0, 10)).ShouldBe([1u, 3u, 5u, 6u]);
        (await directory.WaitingAsync(100, 3, 2)).ShouldBe([3u, 5u]);
        (await directory.WaitingAsync(101, 0, 10)).ShouldBeEmpty();
        await directory.DeleteAsync(5);
        (await directory.WaitingAsync(100, 0, 10)).ShouldBe([1u, 3u, 6u]);
    }

    [Fact]
    public async Task Deleting_takes_what_a_user_showed_and_what_others_said_of_them()
    {
        await using var directory = await OpenAsync();
        await directory.CreateAsync("alice", null);
        await directory.SetVisibilityAsync(First, OnlineVisibility.Nobody, LastSeenVisibility.Hidden);
        await directory.RelateAsync(First, Relation.Blocked, [1, 2], true, 100);
        await directory.RelateAsync(1, Relation.Approved, [First, 7], true, 100);
        await directory.RelateAsync(2, Relation.Blocked, [First], true, 100);
        await directory.SetVisibilityAsync(2, OnlineVisibility.Nobody, null);
        (await directory.DeleteAsync(First)).ShouldBeTrue();
        await ShouldShowAsync(directory, "1: Everyone Exact [7] []", "2: Nobody Exact [] []");
        // an application's number, of whom there is nothing else
        (await directory.DeleteAsync(7)).ShouldBeTrue();
        (await directory.DeleteAsync(2)).ShouldBeTrue();
        await ShouldShowAsync(directory);
        (await directory.DeleteAsync(2)).ShouldBeFalse();
        (await directory.DeleteAsync(First)).ShouldBeFalse();
    }

    [Fact]
    public async Task Three_letters_are_found_anywhere_and_fewer_at_the_beginning()
    {
        await using var directory = await OpenAsync();
        foreach (var (name, displayName) in new[] { ("marianne", null), ("anna", null), ("hannah", null), ("u1", "Joanna B"), ("bert", "Bert") })
            await directory.CreateAsync(name, displayName);
        await ShouldFindAsync(directory, "ann", ["anna", "marianne", "hannah", "u1"]);
        await ShouldFindAsync(directory, "an", ["anna"]);
        await ShouldFindAsync(directory, "j", ["u1"]);
        await ShouldFindAsync(directory, "anna b", ["u1"]);
        await ShouldFindAsync(directory, "be", ["bert"]);
        await ShouldFindAsync(directory, "xyz", []);
        await ShouldFindAsync(directory, "", ["anna", "bert", "hannah", "marianne", "u1"]);
    }

    [Fact]
    public async Task Case_is_folded_beyond_ascii()
    {
        await using var directory = await OpenAsync();
        await directory.CreateAsync("ÅSA-ÖBERG", null);
        await directory.CreateAsync("x1", "ΟΔΥΣΣΕΥΣ");
        await directory.CreateAsync("x2", "Жанна");
        await ShouldFindAsync(directory, "åsa", ["ÅSA-ÖBERG"]);
        await ShouldFindAsync(directory, "Öbe", ["ÅSA-ÖBERG"]);
        await ShouldFindAsync(directory, "σσευς", ["x1"]);
        await ShouldFindAsync(directory, "ЖАН", ["x2"]);
        await ShouldFindAsync(directory, "нНА", ["x2"]);
    }

    [Theory]
    [InlineData("100%")]
    [InlineData("a_b")]
    [InlineData("\"quoted\"")]
    [InlineData("x AND y")]
    [InlineData("NEAR(a b)")]
    [InlineData("col:val")]
    [InlineData("star***")]
    [InlineData("'--")]
    [InlineData("^up^")]
    [InlineData("🌞🌞🌞")]
    [InlineData("a   b")]
    public async Task What_has_a_meaning_elsewhere_is_literal_in_a_query(string text)
    {
        await using var directory = await OpenAsync();
        await directory.CreateAsync("other-axb-100-quoted-x and-near(a-col-val-star-up", "x y a b 🌞");
        await directory.CreateAsync("beginning", text + " and more");
        await directory.CreateAsync("inside", "see " + text);
        await ShouldFindAsync(directory, text, ["beginning", "inside"]);
    }

    [Fact]
    public async Task A_user_whose_name_and_display_name_both_match_comes_once()
    {
        await using var directory = await OpenAsync();
        await directory.CreateAsync("anna.one", "Anna One");
        await directory.CreateAsync("annabel", "annabel");
        await directory.CreateAsync("joanna", "Hanna");
        await directory.CreateAsync("zoe", "Anna Zoe");
        await ShouldFindAsync(directory, "anna", ["zoe", "anna.one", "annabel", "joanna"]);
        await ShouldFindAsync(directory, "a", ["zoe", "anna.one", "annabel"]);
    }

    [Fact]
    public async Task A_page_knows_whether_there_is_a_next_one()
    {
        await using var directory = await OpenAsync();
        for (var i = 0; i < 6; i++)
            await directory.CreateAsync($"user_{i}", i % 2 == 0 ? "The user" : null);
        (await directory.SearchAsync("user", 6, null)).Next.ShouldBeNull();
        var page = await directory.SearchAsync("user", 4, null);
        page.Users.Count.ShouldBe(4);
        page.Next.ShouldNotBeNull();
        Uri.EscapeDataString(page.Next).ShouldBe(page.Next);
        var rest = await directory.SearchAsync("user", 4, page.Next);
        rest.Users.Select(user => user.Name).ShouldBe(["user_4", "user_5"]);
        rest.Next.ShouldBeNull();
    }

    [Theory]
    [InlineData("")]
    [InlineData("x")]
    [InlineData("not a cursor")]
    [InlineData("AAAAAAAAAAAAAAAAAAAAAAAA")]
    public async Task A_cursor_that_is_none_is_refused(string cursor)
    {
        await using var directory = await OpenAsync();
        await directory.CreateAsync("alice", null);
        await Should.ThrowAsync<FormatException>(async () => await directory.SearchAsync("ali", 10, cursor));
    }

    [Fact]
    public async Task A_cursor_of_another_query_is_refused()
    {
        await using var directory = await OpenAsync();
        await directory.RegisterAsync(["alice", "alina", "bob"], new uint[3]);
        var cursor = (await directory.SearchAsync("ali", 1, null)).Next;
        await Should.ThrowAsync<FormatException>(async () => await directory.SearchAsync("bob", 1, cursor));
        (await directory.SearchAsync("ALI", 1, cursor)).Users.Single().Name.ShouldBe("alina");
    }

    /// <summary>Whether this is all that users show other than everything to everyone: online, last seen, whom they approved, whom they blocked.</summary>
    private static async Task ShouldShowAsync(IUserDirectory directory, params string[] all) =>
        (await directory.VisibilitiesAsync()).OrderBy(pair => pair.Key)
            .Select(pair => $"{pair.Key}: {pair.Value.Online} {pair.Value.LastSeen} [{string.Join(',', pair.Value.Approved)}] [{string.Join(',', pair.Value.Blocked)}]").ShouldBe(all);

    /// <summary>Whether a search gives these names, in this order, whatever the size of the page.</summary>
    private static async Task ShouldFindAsync(IUserDirectory directory, string query, string[] names)
    {
        foreach (var limit in new[] { 1, 2, 100 })
            (await AllAsync(directory, query, limit)).Select(user => user.Name).ShouldBe(names, $"{query} by {limit}");
    }

    /// <summary>All results, page by page.</summary>
    internal static async Task<List<DirectoryUser>> AllAsync(IUserDirectory directory, string query, int limit)
    {
        var users = new List<DirectoryUser>();
        string? cursor = null;
        do
        {
            var page = await directory.SearchAsync(query, limit, cursor);
            page.Users.Count.ShouldBeLessThanOrEqualTo(limit);
            users.AddRange(page.Users);
            cursor = page.Next;
        }
        while (cursor is not null);
        return users;
    }
}
