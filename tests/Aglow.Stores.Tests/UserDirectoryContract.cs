using System.Buffers.Text;
using System.Text;
using Aglow.Model;
using Aglow.Tests;
using Aglow.Users;

namespace Aglow.Stores.Tests;

/// <summary>The contract of every <see cref="IUserDirectory"/>; the tests of each backend inherit it.</summary>
public abstract class UserDirectoryContract
{
    // in store time
    private const uint Second = 200_000_000;

    private const uint First = UserId.FirstDirectoryNumber;

    private readonly ManualTimeProvider _time = new();

    /// <summary>A new, empty directory. The test disposes of it.</summary>
    private protected abstract Task<IUserDirectory> OpenAsync(TimeProvider time);

    private long Now => _time.GetUtcNow().ToUnixTimeSeconds();

    private Task<IUserDirectory> OpenAsync() => OpenAsync(_time);

    // ---- IDs ------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Ids_get_indexes_from_two_to_the_31_up_in_the_order_given()
    {
        await using var directory = await OpenAsync();
        directory.NextIndex.ShouldBe(First);
        var indexes = new uint[5];
        (await directory.RegisterAsync(["b"], indexes)).ShouldBe(1);
        indexes[0].ShouldBe(First);
        (await directory.RegisterAsync(["c", "b", "a", "c", "é"], indexes)).ShouldBe(3);
        indexes.ShouldBe([First + 1, First, First + 2, First + 1, First + 3]);
        (await directory.RegisterAsync(["c", "b", "a", "c", "é"], indexes)).ShouldBe(0);
        indexes.ShouldBe([First + 1, First, First + 2, First + 1, First + 3]);
        directory.NextIndex.ShouldBe(First + 4);
        (await directory.RegisterAsync([], Memory<uint>.Empty)).ShouldBe(0);
    }

    [Fact]
    public async Task Ids_are_compared_byte_by_byte()
    {
        await using var directory = await OpenAsync();
        string[] ids =
        [
            "bob", "Bob", "bob ", " bob", "böb", "bo\u0308b", "ß", "ss", "🌞", "Ｂｏｂ", "2147483648", "9223372036854775807", "042", "..",
            "users",
            new string('x', 255), new string('x', 254),
        ];
        var indexes = new uint[ids.Length];
        (await directory.RegisterAsync(ids, indexes)).ShouldBe(ids.Length);
        indexes.ShouldBe(Enumerable.Range(0, ids.Length).Select(i => First + (uint)i));
        var found = new uint[ids.Length];
        await directory.FindIndexesAsync(ids, found);
        found.ShouldBe(indexes);
        var names = new string?[ids.Length];
        await directory.FindIdsAsync(indexes, names);
        names.ShouldBe(ids);
    }

    [Fact]
    public async Task An_id_or_index_that_was_never_given_is_not_found()
    {
        await using var directory = await OpenAsync();
        await IndexAsync(directory, "alice");
        var indexes = new uint[] { 9, 9, 9 };
        await directory.FindIndexesAsync(["nobody", "alice", "Alice"], indexes);
        indexes.ShouldBe([0u, First, 0u]);
        directory.NextIndex.ShouldBe(First + 1, "finding gives no index");
        var ids = new string?[] { "x", "x", "x", "x" };
        await directory.FindIdsAsync(new uint[] { 5, First, First + 1, uint.MaxValue }, ids);
        ids.ShouldBe([null, "alice", null, null]);
        await directory.FindIndexesAsync([], Memory<uint>.Empty);
        await directory.FindIdsAsync(ReadOnlyMemory<uint>.Empty, Memory<string?>.Empty);
    }

    [Fact]
    public async Task Callers_who_register_the_same_ids_at_once_get_the_same_indexes()
    {
        await using var directory = await OpenAsync();
        var ids = Enumerable.Range(0, 500).Select(i => $"id-{i}").ToArray();
        var random = new Random(7);
        var callers = Enumerable.Range(0, 8).Select(_ => ids.OrderBy(_ => random.Next()).ToArray()).ToArray();
        var given = await Task.WhenAll(callers.Select(caller => Task.Run(async () =>
        {
            var indexes = new uint[caller.Length];
            var added = await directory.RegisterAsync(caller, indexes);
            return (Indexes: caller.Zip(indexes).ToDictionary(pair => pair.First, pair => pair.Second), added);
        })));
        given.Sum(caller => caller.added).ShouldBe(ids.Length);
        foreach (var caller in given)
            caller.Indexes.OrderBy(pair => pair.Key).ShouldBe(given[0].Indexes.OrderBy(pair => pair.Key));
        given[0].Indexes.Values.Distinct().Count().ShouldBe(ids.Length);
        directory.NextIndex.ShouldBe(First + (uint)ids.Length);
    }

    [Fact]
    public async Task A_deletion_that_has_only_begun_ends_tokens_and_erases_nothing()
    {
        await using var directory = await OpenAsync();
        var bob = await CreateAsync(directory, "bob", "bob");
        await directory.SetDisabledAsync(bob, true, 50);
        await directory.NoteDeletionAsync(bob, 100);
        await ShouldHoldAsync(directory, new KeyValuePair<uint, Account>(bob, new Account(true, 50, 100, 100, true)));
        (await directory.FindProfileAsync(bob)).ShouldNotBeNull();
        await directory.DeleteAsync(bob, 100);
        await ShouldHoldAsync(directory, new KeyValuePair<uint, Account>(bob, new Account(RevokedAt: 100, DeletedAt: 100)));
        (await directory.FindProfileAsync(bob)).ShouldBeNull();

        // a later revocation does not hide that there was a deletion
        await directory.RevokeAsync(bob, 200);
        await ShouldHoldAsync(directory, new KeyValuePair<uint, Account>(bob, new Account(RevokedAt: 200, DeletedAt: 100)));
        await directory.NoteDeletionAsync(bob, 300);
        var deleting = new Account(RevokedAt: 300, DeletedAt: 300, IsDeleting: true);
        await ShouldHoldAsync(directory, new KeyValuePair<uint, Account>(bob, deleting));

        // a deletion by a clock that was ahead is one of now; the revocation stays
        await directory.HoldDeletionsAsync(290);
        await ShouldHoldAsync(directory, new KeyValuePair<uint, Account>(bob, deleting));
        await directory.HoldDeletionsAsync(150);
        await ShouldHoldAsync(directory, new KeyValuePair<uint, Account>(bob, deleting with { DeletedAt = 150 }));
    }

    [Fact]
    public async Task A_deleted_id_keeps_its_index_for_good()
    {
        await using var directory = await OpenAsync();
        var bob = await CreateAsync(directory, "bob", "bob");
        await directory.DeleteAsync(bob, 100);
        (await IndexAsync(directory, "bob")).ShouldBe(bob);
        (await IndexAsync(directory, "carol")).ShouldBe(bob + 1);
        var ids = new string?[1];
        await directory.FindIdsAsync(new[] { bob }, ids);
        ids.ShouldBe(["bob"]);
        (await directory.RegisterAsync(["bob"], new uint[1])).ShouldBe(0);
    }

    // ---- profiles ---------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_profile_is_kept_for_an_id_of_any_kind()
    {
        await using var directory = await OpenAsync();
        var alice = await IndexAsync(directory, "alice");
        uint[] users = [0, 42, int.MaxValue, alice];
        foreach (var user in users)
            (await directory.FindProfileAsync(user)).ShouldBeNull();
        var written = await directory.WriteProfilesAsync(
            [.. users.Select(user => new ProfileWrite(user, $"Name {user}", user == 42 ? null : "The same"))], create: true);
        written.ShouldBe(new ProfileResult(4, 0));
        foreach (var user in users)
            (await directory.FindProfileAsync(user)).ShouldBe(new Profile($"Name {user}", user == 42 ? null : "The same", Now, Now));
        directory.NextIndex.ShouldBe(First + 1);
    }

    [Fact]
    public async Task A_profile_is_created_once_and_replaced_as_often_as_one_likes()
    {
        await using var directory = await OpenAsync();
        var created = Now;
        await directory.WriteProfilesAsync([new(1, "ann", "Ann")], create: true);
        _time.Advance(TimeSpan.FromSeconds(60));
        (await directory.WriteProfilesAsync([new(1, "other", null)], create: true))
            .ShouldBe(new ProfileResult(0, 0, ProfileConflict.UserTaken, 0));
        (await directory.FindProfileAsync(1)).ShouldBe(new Profile("ann", "Ann", created, created));
        (await directory.WriteProfilesAsync([new(2, "ben", null), new(1, "anne", null)], create: false)).ShouldBe(new ProfileResult(1, 1));
        (await directory.FindProfileAsync(1)).ShouldBe(new Profile("anne", null, created, Now));
        (await directory.WriteProfilesAsync([new(3, "ann", null)], create: true)).ShouldBe(new ProfileResult(1, 0), "the name is free");
        (await directory.WriteProfilesAsync([], create: false)).ShouldBe(new ProfileResult(0, 0));
    }

    [Fact]
    public async Task Names_that_are_not_written_stay()
    {
        await using var directory = await OpenAsync();
        var created = Now;
        await directory.WriteProfilesAsync([new(1, "ann", "Ann")], create: true);
        _time.Advance(TimeSpan.FromSeconds(60));
        await directory.WriteProfilesAsync([new(1, "ignored", "Anna", ProfileParts.DisplayName)], create: false);
        (await directory.FindProfileAsync(1)).ShouldBe(new Profile("ann", "Anna", created, Now));
        await directory.WriteProfilesAsync([new(1, "anna", "ignored", ProfileParts.UserName)], create: false);
        (await directory.FindProfileAsync(1)).ShouldBe(new Profile("anna", "Anna", created, Now));
        await directory.WriteProfilesAsync([new(1, null, null, ProfileParts.UserName)], create: false);
        (await directory.FindProfileAsync(1)).ShouldBe(new Profile(null, "Anna", created, Now));
        // the profile of a user who has none
        (await directory.WriteProfilesAsync([new(2, "ignored", "Ben", ProfileParts.DisplayName)], create: false))
            .ShouldBe(new ProfileResult(1, 0));
        (await directory.FindProfileAsync(2)).ShouldBe(new Profile(null, "Ben", Now, Now));
        await ShouldFindAsync(directory, "ann", ["1"]);
        await ShouldFindAsync(directory, "ben", ["2"]);
        await ShouldFindAsync(directory, "ignored", []);
        await ShouldFindAsync(directory, "", []);
    }

    [Fact]
    public async Task A_profile_that_is_left_without_names_is_removed()
    {
        await using var directory = await OpenAsync();
        await directory.WriteProfilesAsync([new(1, "ann", null), new(2, null, "Ben"), new(3, "carol", "Carol")], create: true);
        await directory.WriteProfilesAsync(
            [
                new(1, null, null, ProfileParts.UserName), new(2, null, null, ProfileParts.DisplayName), new(3, null, null),
                new(4, null, null)], create: false);
        foreach (var user in (uint[])[1, 2, 3, 4])
            (await directory.FindProfileAsync(user)).ShouldBeNull();
        await ShouldFindAsync(directory, "", []);
        await ShouldFindAsync(directory, "arol", []);
        (await directory.WriteProfilesAsync([new(5, "ann", null), new(3, "Carol", null)], create: true)).ShouldBe(new ProfileResult(2, 0));
    }

    [Theory]
    [InlineData("bob", "Bob")]
    [InlineData("Bob", "BOB")]
    [InlineData("bob", "Ｂｏｂ")]
    [InlineData("j\u00FCrg", "ju\u0308rg")]
    [InlineData("J\u00DCRG", "ju\u0308rg")]
    [InlineData("straße", "STRASSE")]
    [InlineData("ΟΔΥΣΣΕΥΣ", "οδυσσευς")]
    [InlineData("ﬁn", "fin")]
    [InlineData("a①", "A1")]
    [InlineData("한글", "\u1112\u1161\u11AB\u1100\u1173\u11AF")]
    [InlineData("ｶﾞ", "ガ")]
    [InlineData("Å", "\u212B")]
    [InlineData("q\u0323\u0307", "q\u0307\u0323")]
    [InlineData("\U00010400", "\U00010428")]
    public async Task A_user_name_is_taken_in_every_form_of_it(string name, string other)
    {
        await using var directory = await OpenAsync();
        var first = await CreateAsync(directory, "first", name);
        (await directory.WriteProfilesAsync([new(7, other, null)], create: true))
            .ShouldBe(new ProfileResult(0, 0, ProfileConflict.NameTaken, 0));
        (await directory.WriteProfilesAsync([new(7, other, "Seven")], create: false))
            .ShouldBe(new ProfileResult(0, 0, ProfileConflict.NameTaken, 0));
        (await directory.FindProfileAsync(7)).ShouldBeNull();
        // the owner may write the name in another form
        (await directory.WriteProfilesAsync([new(first, other, null)], create: false)).ShouldBe(new ProfileResult(0, 1));
        (await directory.FindProfileAsync(first))!.UserName.ShouldBe(other);
        (await directory.WriteProfilesAsync([new(7, name, null)], create: true)).Conflict.ShouldBe(ProfileConflict.NameTaken);
        // and others may use it as their display name
        (await directory.WriteProfilesAsync([new(7, "seven", name)], create: true)).Created.ShouldBe(1);
    }

    [Fact]
    public async Task User_names_that_only_search_takes_for_the_same_are_different()
    {
        await using var directory = await OpenAsync();
        string[] names = ["jurg", "jürg", "jûrg", "bob", "bob ", "b.ob", "bøb"];
        (await directory.WriteProfilesAsync([.. names.Select((name, i) => new ProfileWrite((uint)i, name, null))], create: true))
            .Created.ShouldBe(names.Length);
        await ShouldFindAsync(directory, "jurg", ["0", "1", "2"]);
    }

    [Fact]
    public async Task A_conflict_names_the_write_that_caused_it_and_nothing_is_written()
    {
        await using var directory = await OpenAsync();
        await directory.WriteProfilesAsync([new(1, "ann", null), new(2, "ben", null)], create: true);
        (await directory.WriteProfilesAsync([new(3, "carol", null), new(4, "BEN", null), new(5, "eve", null)], create: false))
            .ShouldBe(new ProfileResult(0, 0, ProfileConflict.NameTaken, 1));
        (await directory.WriteProfilesAsync([new(3, "carol", null), new(4, "dave", null), new(2, "benny", null)], create: true))
            .ShouldBe(new ProfileResult(0, 0, ProfileConflict.UserTaken, 2));
        // two users in the list want one name
        (await directory.WriteProfilesAsync([new(3, "carol", null), new(1, "anna", null), new(5, "Carol", null)], create: false))
            .ShouldBe(new ProfileResult(0, 0, ProfileConflict.NameTaken, 2));
        // a user who keeps a name keeps others from it, at any position in the list
        (await directory.WriteProfilesAsync([new(3, "ann", null), new(1, null, "Ann", ProfileParts.DisplayName)], create: false))
            .ShouldBe(new ProfileResult(0, 0, ProfileConflict.NameTaken, 0));
        (await directory.WriteProfilesAsync([new(1, null, "Ann", ProfileParts.DisplayName), new(3, "ann", null)], create: false))
            .ShouldBe(new ProfileResult(0, 0, ProfileConflict.NameTaken, 1));
        (await directory.WriteProfilesAsync([new(1, "ben", "Ann")], create: false)).Conflict.ShouldBe(ProfileConflict.NameTaken);
        (await directory.FindProfileAsync(1))!.ShouldBe(new Profile("ann", null, Now, Now));
        foreach (var user in (uint[])[3, 4, 5])
            (await directory.FindProfileAsync(user)).ShouldBeNull();
        await ShouldFindAsync(directory, "", ["1", "2"]);
        await ShouldFindAsync(directory, "carol", []);
    }

    [Fact]
    public async Task Names_are_swapped_and_passed_on_within_a_list()
    {
        await using var directory = await OpenAsync();
        await directory.WriteProfilesAsync(
            [new(1, "one", null), new(2, "two", null), new(3, "three", null), new(4, null, "Four")], create: true);
        (await directory.WriteProfilesAsync([new(1, "two", null), new(2, "one", null)], create: false)).ShouldBe(new ProfileResult(0, 2));
        (await directory.FindProfileAsync(1))!.UserName.ShouldBe("two");
        // in a circle of three, with another form of the name
        (await directory.WriteProfilesAsync([new(1, "ONE", null), new(2, "Three", null), new(3, "two", "3")], create: false))
            .ShouldBe(new ProfileResult(0, 3));
        // from users who lose or change the name, before and after them in the list
        (
            await directory.WriteProfilesAsync(
                [new(5, "one", null), new(1, null, null), new(2, "free", null), new(4, "three", null, ProfileParts.UserName)],
                create: false))
            .ShouldBe(new ProfileResult(1, 3));
        (await directory.FindProfileAsync(1)).ShouldBeNull();
        string?[] names =
        [
            (await directory.FindProfileAsync(2))!.UserName,
            (await directory.FindProfileAsync(3))!.UserName,
            (await directory.FindProfileAsync(4))!.UserName,
            (await directory.FindProfileAsync(5))!.UserName
        ];
        names.ShouldBe(["free", "two", "three", "one"]);
        (await directory.FindProfileAsync(4))!.DisplayName.ShouldBe("Four");
        await ShouldFindAsync(directory, "", ["2", "5", "4", "3"]);
        // a name that was passed on is free at its old user, and taken at its new one
        (await directory.WriteProfilesAsync([new(9, "two", null)], create: true)).Conflict.ShouldBe(ProfileConflict.NameTaken);
    }

    [Fact]
    public async Task Only_one_of_many_at_once_gets_a_name()
    {
        await using var directory = await OpenAsync();
        var created = await Task.WhenAll(Enumerable.Range(0, 200).Select(i => Task.Run(async () =>
            await directory.WriteProfilesAsync([new((uint)i, i % 2 == 0 ? $"name{i % 10}" : $"NAME{i % 10}", null)], create: true))));
        created.Count(result => result == new ProfileResult(1, 0)).ShouldBe(10);
        created.Count(result => result == new ProfileResult(0, 0, ProfileConflict.NameTaken, 0)).ShouldBe(190);
        (await AllAsync(directory, "", 100)).Count.ShouldBe(10);
        // and by callers that create the profile of one user
        created = await Task.WhenAll(
            Enumerable.Range(0, 50)
                .Select(i => Task.Run(async () => await directory.WriteProfilesAsync([new(1000, $"other{i}", null)], create: true))));
        created.Count(result => result.Created == 1).ShouldBe(1);
        created.Count(result => result.Conflict == ProfileConflict.UserTaken).ShouldBe(49);
    }

    [Fact]
    public async Task Ten_thousand_profiles_are_written_at_once_and_found_at_once()
    {
        await using var directory = await OpenAsync();
        var ids = Enumerable.Range(0, 10_000).Select(i => $"id-{i}").ToArray();
        var indexes = new uint[ids.Length];
        await directory.RegisterAsync(ids, indexes);
        ProfileWrite[] writes = [.. indexes.Select((user, i) => new ProfileWrite(user, $"Person{i}", $"Nr. {i} of them"))];
        (await directory.WriteProfilesAsync(writes, create: true)).ShouldBe(new ProfileResult(ids.Length, 0));
        await ShouldFindAsync(directory, "person7777", ["id-7777"]);
        await ShouldFindAsync(directory, "r. 7777 o", ["id-7777"]);
        (await directory.WriteProfilesAsync(writes, create: false)).ShouldBe(new ProfileResult(0, ids.Length));
        (await directory.WriteProfilesAsync([.. writes.Skip(1), new(3, "PERSON0", null)], create: false))
            .ShouldBe(new ProfileResult(0, 0, ProfileConflict.NameTaken, ids.Length - 1));
    }

    // ---- accounts ---------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Accounts_hold_what_was_decided_last()
    {
        await using var directory = await OpenAsync();
        (await directory.AccountsAsync()).ShouldBeEmpty();
        await directory.RevokeAsync(1, 1_900_000_000);
        await directory.SetDisabledAsync(2, true, uint.MaxValue);
        await directory.SetDisabledAsync(First, true, 0);
        await ShouldHoldAsync(
            directory,
            new(1, new Account(RevokedAt: 1_900_000_000)),
            new(2, new Account(true, uint.MaxValue)),
            new(First, new Account(true)));
        // an older revocation does not replace a newer one
        await directory.RevokeAsync(1, 1_800_000_000);
        await directory.SetDisabledAsync(1, true, 77);
        await directory.SetDisabledAsync(2, false, 0);
        await directory.SetDisabledAsync(First, true, 5);
        await ShouldHoldAsync(directory, new(1, new Account(true, 77, 1_900_000_000)), new(First, new Account(true, 5)));
        await directory.SetDisabledAsync(1, false, 99);
        await directory.RevokeAsync(1, 4_000_000_000);
        await directory.SetDisabledAsync(3, false, 0);
        await ShouldHoldAsync(directory, new(1, new Account(RevokedAt: 4_000_000_000)), new(First, new Account(true, 5)));
    }

    [Fact]
    public async Task A_deletion_is_noted_and_enables()
    {
        await using var directory = await OpenAsync();
        await directory.SetDisabledAsync(1, true, 77);
        await directory.RevokeAsync(1, 300);
        await directory.DeleteAsync(1, 200);
        await directory.DeleteAsync(2, 400);
        await ShouldHoldAsync(directory, new(1, new Account(false, 0, 300, 300)), new(2, new Account(false, 0, 400, 400)));
        // the newest revocation counts
        await directory.RevokeAsync(1, 301);
        await directory.RevokeAsync(2, 399);
        await directory.SetDisabledAsync(2, true, 9);
        await ShouldHoldAsync(directory, new(1, new Account(false, 0, 301, 300)), new(2, new Account(true, 9, 400, 400)));
        await directory.DeleteAsync(2, 500);
        await ShouldHoldAsync(directory, new(1, new Account(false, 0, 301, 300)), new(2, new Account(false, 0, 500, 500)));
    }

    // ---- deletion ---------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_deletion_takes_all_facts_of_the_user_and_leaves_what_others_said_of_them(bool isNumber)
    {
        await using var directory = await OpenAsync();
        var alice = isNumber ? 42u : await IndexAsync(directory, "alice");
        await directory.WriteProfilesAsync([new(alice, "alice", "Alice L."), new(1, "one", null)], create: true);
        await directory.FollowAsync(alice, [1, 2], true, 100);
        await directory.FollowAsync(1, [alice, 2], true, 100);
        await directory.FollowAsync(7, [alice], true, 100);
        await directory.SetClaimAsync(alice, new Claim(Claim.UserSource, ClaimStatus.Busy), Second);
        await directory.SetClaimAsync(alice, new Claim("call", ClaimStatus.Busy), Second);
        await directory.SetClaimAsync(1, new Claim(Claim.UserSource, ClaimStatus.Away), Second);
        await directory.SetVisibilityAsync(alice, OnlineVisibility.Nobody, LastSeenVisibility.Hidden);
        await directory.RelateAsync(alice, Relation.Blocked, [1, 2], true, 100);
        await directory.RelateAsync(alice, Relation.Approved, [3], true, 100);
        await directory.RelateAsync(1, Relation.Approved, [alice, 7], true, 100);
        await directory.RelateAsync(2, Relation.Blocked, [alice], true, 100);

        await directory.DeleteAsync(alice, 100);

        (await directory.FindProfileAsync(alice)).ShouldBeNull();
        await ShouldFindAsync(directory, "alice", []);
        await ShouldFindAsync(directory, "ice l", []);
        await ShouldFindAsync(directory, "", ["1"]);
        (await directory.SubscriptionsAsync(alice)).ShouldBeEmpty();
        (await directory.SubscriptionsAsync(1)).ShouldBe(Sorted(alice, 2));
        (await directory.WaitingAsync(alice, 0, 10)).ShouldBe([1u, 7u]);
        (await directory.ClaimsAsync()).Select(pair => pair.Key).ShouldBe([1u]);
        await ShouldShowAsync(directory, $"1: Everyone Exact [{string.Join(',', Sorted(alice, 7))}] []", $"2: Everyone Exact [] [{alice}]");

        // the ID returns as a new user, and other users' lists still name it
        (await directory.WriteProfilesAsync([new(9, "ALICE", null)], create: true)).Created.ShouldBe(1, "the name is free");
        (await directory.WriteProfilesAsync([new(alice, "alice2", null)], create: true)).Created.ShouldBe(1);
        await directory.FollowAsync(alice, [5], true, 100);
        (await directory.SubscriptionsAsync(alice)).ShouldBe([5u]);
        (await directory.SubscriptionsAsync(1)).ShouldBe(Sorted(alice, 2));
        await directory.DeleteAsync(alice, 101);
        (await directory.SubscriptionsAsync(alice)).ShouldBeEmpty();
    }

    [Fact]
    public async Task Deleting_somebody_of_whom_nothing_is_known_only_notes_it()
    {
        await using var directory = await OpenAsync();
        await directory.DeleteAsync(7, 100);
        await ShouldHoldAsync(directory, new KeyValuePair<uint, Account>(7, new Account(RevokedAt: 100, DeletedAt: 100)));
        (await directory.ClaimsAsync()).ShouldBeEmpty();
        await ShouldShowAsync(directory);
    }

    // ---- subscriptions, statuses, visibility ------------------------------------------------------------------------------------

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
    public async Task A_claim_of_each_source_stands_until_it_is_changed_or_removed()
    {
        await using var directory = await OpenAsync();
        var call = new Claim("call", ClaimStatus.Busy, new StatusDetails("In a call \"now\"", "📞", Second + 60), -7, 1_900_000_000_123);
        var hidden = new Claim(Claim.UserSource, ClaimStatus.Hidden, SetAt: 9, ShownLastSeen: uint.MaxValue);
        var quiet = Claim.Quiet(QuietHours.TryParse("mon,sun 22:00 07:00 Europe/Berlin")!);
        foreach (var claim in new[] { new Claim(Claim.UserSource, ClaimStatus.Away), call, quiet, hidden })
            (await directory.SetClaimAsync(5, claim, Second)).ShouldBeTrue();
        (await directory.SetClaimAsync(6, call, Second)).ShouldBeTrue();
        (await ClaimsOfAsync(directory, 5)).ShouldBe([call, quiet, hidden]);
        (await ClaimsOfAsync(directory, 6)).ShouldBe([call]);
        await directory.RemoveClaimAsync(5, Claim.UserSource);
        await directory.RemoveClaimAsync(5, Claim.QuietHoursSource);
        await directory.RemoveClaimAsync(5, "nobody's");
        (await ClaimsOfAsync(directory, 5)).ShouldBe([call]);
        await directory.RemoveClaimAsync(5, "call");
        (await directory.ClaimsAsync()).Select(pair => pair.Key).ShouldBe([6u]);
    }

    [Fact]
    public async Task A_user_has_eight_sources_besides_the_quiet_hours_and_those_that_ended_make_room()
    {
        await using var directory = await OpenAsync();
        for (var i = 0; i < Claim.MaxSources; i++)
            (await directory.SetClaimAsync(5, Of($"{i}", until: Second + 10 + (uint)i), Second)).ShouldBeTrue();
        (await directory.SetClaimAsync(5, Of("more", until: 0), Second)).ShouldBeFalse();
        (await directory.SetClaimAsync(5, Of("more", until: 0), Second + 9)).ShouldBeFalse();
        (await ClaimsOfAsync(directory, 5)).Length.ShouldBe(Claim.MaxSources);
        (await directory.SetClaimAsync(5, Of(Claim.UserSource, until: 0), Second)).ShouldBeTrue("nobody takes the place of the person");
        await directory.RemoveClaimAsync(5, Claim.UserSource);
        (await directory.SetClaimAsync(5, Of("7", until: 0), Second)).ShouldBeTrue("its own place is taken by nobody");
        (await directory.SetClaimAsync(5, Claim.Quiet(QuietHours.TryParse("mon 22:00 07:00 UTC")!), Second)).ShouldBeTrue();
        (await directory.SetClaimAsync(5, Of("more", until: 0), Second + 11)).ShouldBeTrue("the first two have ended");
        (await ClaimsOfAsync(directory, 5)).Select(static claim => claim.Source).ShouldBe(
            ["2", "3", "4", "5", "6", "7", "more", Claim.QuietHoursSource]);

        static Claim Of(string source, uint until) => new(source, ClaimStatus.Busy, StatusDetails.Of(null, null, until));
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
        // the other direction has no effect
        await directory.RelateAsync(3, Relation.Approved, [100], true, 10);
        (await directory.WaitingAsync(100, 0, 10)).ShouldBe([1u, 3u, 5u, 6u]);
        (await directory.WaitingAsync(100, 3, 2)).ShouldBe([3u, 5u]);
        (await directory.WaitingAsync(101, 0, 10)).ShouldBeEmpty();
        await directory.DeleteAsync(5, 100);
        (await directory.WaitingAsync(100, 0, 10)).ShouldBe([1u, 3u, 6u], "a deleted user follows nobody");
    }

    // ---- search -----------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Three_letters_are_found_anywhere_and_fewer_at_the_beginning()
    {
        await using var directory = await OpenAsync();
        foreach (var (id, name, displayName) in new[]
        {
            ("1", "marianne", null), ("2", "anna", null), ("three", "hannah", null), ("4", "u1", "Joanna B"), ("5", "bert", "Bert"),
            ("6", "zoe", "Ann"), ("7", null, "Lianne"),
        })
        {
            await CreateAsync(directory, id, name, displayName);
        }

        // user names that begin with it, then display names that do, then the others
        await ShouldFindAsync(directory, "ann", ["2", "6", "1", "4", "7", "three"]);
        await ShouldFindAsync(directory, "an", ["2", "6"]);
        await ShouldFindAsync(directory, "j", ["4"]);
        await ShouldFindAsync(directory, "anna b", ["4"]);
        await ShouldFindAsync(directory, "be", ["5"]);
        await ShouldFindAsync(directory, "xyz", []);
        await ShouldFindAsync(directory, "", ["2", "5", "three", "1", "4", "6"]);
    }

    [Fact]
    public async Task Only_profiles_are_found_and_by_the_names_that_they_have_now()
    {
        await using var directory = await OpenAsync();
        await IndexAsync(directory, "anonymous");
        var carol = await CreateAsync(directory, "id of carol", "carol", "Carol");
        await ShouldFindAsync(directory, "anon", []);
        await ShouldFindAsync(directory, "id of", []);
        var page = await directory.SearchAsync("carol", 10, null);
        page.Users.ShouldBe([new DirectoryUser(carol, "id of carol", new Profile("carol", "Carol", Now, Now))]);
        await directory.WriteProfilesAsync([new(carol, "linda", null, ProfileParts.UserName)], create: false);
        await ShouldFindAsync(directory, "carol", ["id of carol"]);
        await directory.WriteProfilesAsync([new(carol, "linda", null)], create: false);
        await ShouldFindAsync(directory, "carol", []);
        await ShouldFindAsync(directory, "aro", []);
        await ShouldFindAsync(directory, "inda", ["id of carol"]);
    }

    [Theory]
    [InlineData("J\u00FCrg", "jurg")]
    [InlineData("J\u00FCrg", "ju\u0308rg")]
    [InlineData("Ju\u0308rg", "J\u00DCRG")]
    [InlineData("Ju\u0308rg", "urg")]
    [InlineData("jurg", "j\u00FCrg")]
    [InlineData("ÅSA-ÖBERG", "åsa-öb")]
    [InlineData("ÅSA-ÖBERG", "oberg")]
    [InlineData("ΟΔΥΣΣΕΎΣ", "σσευς")]
    [InlineData("Жанна", "нНА")]
    [InlineData("Ｗｉｄｅ", "wide")]
    [InlineData("wide", "ＩＤＥ")]
    [InlineData("straße", "STRASS")]
    [InlineData("José García", "jose garcia")]
    [InlineData("José García", "e garc")]
    [InlineData("ﬁona", "fio")]
    [InlineData("한글이다", "글이다")]
    [InlineData("\u1112\u1161\u11AB\u1100\u1173\u11AF", "한글")]
    public async Task Case_accents_width_and_form_do_not_matter(string name, string query)
    {
        await using var directory = await OpenAsync();
        await CreateAsync(directory, "1", name);
        await CreateAsync(directory, "2", "other", "- " + name);
        await CreateAsync(directory, "3", "zzz");
        var folded = NameFolding.ForSearch(query);
        await ShouldFindAsync(directory, query, folded.EnumerateRunes().Count() >= 3 ? ["1", "2"] : ["1"]);
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
    [InlineData(@"back\slash")]
    [InlineData("🌞🌞🌞")]
    [InlineData("a   b")]
    public async Task What_has_a_meaning_elsewhere_is_literal_in_a_query(string text)
    {
        await using var directory = await OpenAsync();
        await CreateAsync(directory, "other", "other-axb-100-quoted-x and-near(a-col-val-star-up-backslash", "x y a b 🌞");
        await CreateAsync(directory, "beginning", "beginning", text + " and more");
        await CreateAsync(directory, "inside", "inside", "see " + text);
        await ShouldFindAsync(directory, text, ["beginning", "inside"]);
    }

    [Fact]
    public async Task A_user_whose_names_both_match_comes_once()
    {
        await using var directory = await OpenAsync();
        await CreateAsync(directory, "1", "anna.one", "Anna One");
        await CreateAsync(directory, "2", "annabel", "annabel");
        await CreateAsync(directory, "3", "joanna", "Hanna");
        await CreateAsync(directory, "4", "zoe", "Anna Zoe");
        await CreateAsync(directory, "5", "joanna2", "Anna");
        await ShouldFindAsync(directory, "anna", ["1", "2", "5", "4", "3"]);
        await ShouldFindAsync(directory, "a", ["1", "2", "5", "4"]);
    }

    /// <summary>
    /// Uses few letters, so that names collide: some that fold, some with a meaning in a database, one beyond the basic plane.
    /// </summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Search_agrees_with_looking_at_every_profile(int seed)
    {
        await using var directory = await OpenAsync();
        string[] letters = ["a", "a", "b", "A", "B", "Å", "a\u030A", "σ", "ς", "_", "%", "\\", "*", " ", "\"", "🌞", "1", "Ａ"];
        var random = new Random(seed);
        string Text(int least, int most) =>
            string.Concat(Enumerable.Range(0, random.Next(least, most + 1)).Select(_ => letters[random.Next(letters.Length)]));
        var users = new List<DirectoryUser>();
        for (var i = 0; i < 150; i++)
        {
            var (name, displayName) = (i % 5 == 0 ? null : Text(1, 9), i % 5 == 0 || i % 2 == 0 ? Text(1, 9) : null);
            var id = i % 3 == 0 ? $"id {i}" : $"{i}";
            var user = i % 3 == 0 ? await IndexAsync(directory, id) : (uint)i;
            if ((await directory.WriteProfilesAsync([new(user, name, displayName)], create: true)).Created == 1)
                users.Add(new DirectoryUser(user, id, new Profile(name, displayName, Now, Now)));
        }

        foreach (var user in users.Where((_, i) => i % 7 == 0).ToList())
        {
            await directory.DeleteAsync(user.User, 1);
            users.Remove(user);
        }

        for (var i = 0; i < 60; i++)
        {
            var query = Text(0, 4);
            (await AllAsync(directory, query, random.Next(1, 6))).ShouldBe(Expected(users, query), $"\"{query}\"");
        }
    }

    [Fact]
    public async Task A_page_knows_whether_there_is_a_next_one()
    {
        await using var directory = await OpenAsync();
        for (var i = 0; i < 6; i++)
            await CreateAsync(directory, $"{i}", $"user_{i}", i % 2 == 0 ? "The user" : null);
        var page = await directory.SearchAsync("user", 4, null);
        page.Users.Count.ShouldBe(4);
        page.Next.ShouldNotBeNull();
        Uri.EscapeDataString(page.Next).ShouldBe(page.Next);
        (await AllAsync(directory, "user", 4, page.Next)).Select(user => user.Id).ShouldBe(["4", "5"]);
    }

    [Fact]
    public async Task A_cursor_shows_no_index()
    {
        await using var directory = await OpenAsync();
        await IndexAsync(directory, "nobody");
        for (var i = 0; i < 6; i++)
            await CreateAsync(directory, $"id {i}", i < 2 ? $"annie{i}" : $"user{i}", i < 4 ? "Annie" : "My Annie");
        string? cursor = null;
        do
        {
            var page = await directory.SearchAsync("annie", 1, cursor);
            cursor = page.Next;
            if (cursor is null)
                break;
            var bytes = Base64Url.IsValid(cursor) ? Base64Url.DecodeFromChars(cursor) : [];
            for (var index = First; index < directory.NextIndex; index++)
            {
                cursor.ShouldNotContain($"{index}");
                Encoding.Latin1.GetString(bytes).ShouldNotContain($"{index}");
                bytes.AsSpan().IndexOf(BitConverter.GetBytes(index)).ShouldBe(-1);
                bytes.AsSpan().IndexOf([.. BitConverter.GetBytes(index).Reverse()]).ShouldBe(-1);
            }
        }
        while (true);
    }

    [Theory]
    [InlineData("")]
    [InlineData("x")]
    [InlineData("not a cursor")]
    [InlineData("AAAAAAAAAAAAAAAAAAAAAAAA")]
    [InlineData("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    public async Task A_cursor_that_is_none_is_refused(string cursor)
    {
        await using var directory = await OpenAsync();
        await CreateAsync(directory, "1", "alice");
        await Should.ThrowAsync<FormatException>(async () => await directory.SearchAsync("ali", 10, cursor));
    }

    [Fact]
    public async Task A_cursor_of_another_query_is_refused()
    {
        await using var directory = await OpenAsync();
        foreach (var name in (string[])["alice", "alina", "bob"])
            await CreateAsync(directory, name, name);
        var cursor = (await directory.SearchAsync("ali", 1, null)).Next;
        await Should.ThrowAsync<FormatException>(async () => await directory.SearchAsync("bob", 1, cursor));
        (await directory.SearchAsync("ALI", 1, cursor)).Users.Single().Id.ShouldBe("alina");
    }

    // ---- helpers ----------------------------------------------------------------------------------------------------------------

    private static async Task<Claim[]> ClaimsOfAsync(IUserDirectory directory, uint user) =>
        [.. (await directory.ClaimsAsync()).Single(pair => pair.Key == user).Value.OrderBy(
            static claim => claim.Source, StringComparer.Ordinal)];

    /// <summary>The index of an ID.</summary>
    internal static async Task<uint> IndexAsync(IUserDirectory directory, string id)
    {
        if (uint.TryParse(id, out var number) && number < First)
            return number;
        var indexes = new uint[1];
        await directory.RegisterAsync([id], indexes);
        return indexes[0];
    }

    /// <summary>Creates a profile, and returns the index.</summary>
    internal static async Task<uint> CreateAsync(IUserDirectory directory, string id, string? userName, string? displayName = null)
    {
        var user = await IndexAsync(directory, id);
        (await directory.WriteProfilesAsync([new(user, userName, displayName)], create: true)).ShouldBe(new ProfileResult(1, 0));
        return user;
    }

    /// <summary>All results, page by page.</summary>
    internal static async Task<List<DirectoryUser>> AllAsync(IUserDirectory directory, string query, int limit, string? cursor = null)
    {
        var users = new List<DirectoryUser>();
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

    /// <summary>What a search must find among these users, in order.</summary>
    internal static IEnumerable<DirectoryUser> Expected(IEnumerable<DirectoryUser> users, string query)
    {
        query = NameFolding.ForSearch(query);
        var named = users.Select(user => (User: user, Name: Folded(user.Profile.UserName), Display: Folded(user.Profile.DisplayName)))
            .ToList();
        bool Begins(string? name) => name?.StartsWith(query, StringComparison.Ordinal) == true;
        bool Holds(string? name) => name?.Contains(query, StringComparison.Ordinal) == true;
        var found = named.Where(u => Begins(u.Name)).OrderBy(u => Bytes(u.Name), StringComparer.Ordinal).ThenBy(u => u.User.User);
        if (query.Length == 0)
            return found.Select(u => u.User);
        var displayed = named.Where(u => !Begins(u.Name) && Begins(u.Display))
            .OrderBy(u => Bytes(u.Display), StringComparer.Ordinal)
            .ThenBy(u => u.User.User);
        var others = named.Where(u => !Begins(u.Name) && !Begins(u.Display) && (Holds(u.Name) || Holds(u.Display)))
            .OrderBy(u => u.User.User);
        return found.Concat(displayed).Concat(query.EnumerateRunes().Count() < 3 ? [] : others).Select(u => u.User);

        static string? Folded(string? name) => name is null ? null : NameFolding.ForSearch(name);
        static string Bytes(string? name) => Convert.ToHexString(Encoding.UTF8.GetBytes(name!));
    }

    private static uint[] Sorted(params uint[] users) => [.. users.Order()];

    private static async Task ShouldHoldAsync(IUserDirectory directory, params KeyValuePair<uint, Account>[] accounts) =>
        (await directory.AccountsAsync()).Where(pair => pair.Value != Account.Default).OrderBy(pair => pair.Key).ShouldBe(accounts);

    /// <summary>
    /// Asserts all settings that restrict what users show: online, last seen, the users whom they approved, and the users whom they
    /// blocked.
    /// </summary>
    private static async Task ShouldShowAsync(IUserDirectory directory, params string[] all) =>
        (await directory.VisibilitiesAsync()).OrderBy(pair => pair.Key)
            .Select(
                pair =>
                    $"{pair.Key}: {pair.Value.Online} {pair.Value.LastSeen} [{string.Join(',', pair.Value.Approved)}] "
                        + $"[{string.Join(',', pair.Value.Blocked)}]")
                .ShouldBe(all);

    /// <summary>Asserts that a search returns these IDs in this order, for any page size.</summary>
    private static async Task ShouldFindAsync(IUserDirectory directory, string query, string[] ids)
    {
        foreach (var limit in new[] { 1, 2, 100 })
            (await AllAsync(directory, query, limit)).Select(user => user.Id).ShouldBe(ids, $"{query} by {limit}");
    }
}
