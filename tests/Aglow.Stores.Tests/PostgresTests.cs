using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Aglow.Model;
using Aglow.Postgres;
using Aglow.Server.Tests;
using Aglow.Storage;
using Aglow.Tests;
using Aglow.Users;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace Aglow.Stores.Tests;

/// <summary>What only a shared directory has: many nodes, notifications, and a server that misbehaves.</summary>
[Collection(PostgresCollection.Name)]
public sealed class PostgresTests(PostgresServer server)
{
    private const uint First = UserId.FirstDirectoryNumber;

    private PostgresProcess Process => server.Process;

    // ---- many nodes -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Ten_nodes_that_start_at_once_make_one_directory_and_agree_on_every_id()
    {
        var database = await Process.CreateDatabaseAsync();
        var options = PostgresOptions.Parse(Process.Connection(database, more: "Maximum Pool Size=4"));
        var nodes = await Task.WhenAll(
            Enumerable.Range(0, 10)
                .Select(_ => Task.Run(() => PostgresUserDirectory.OpenAsync(options, TimeProvider.System, NullLoggerFactory.Instance))));
        await using var stopped = new Together(nodes);
        var ids = Enumerable.Range(0, 400).Select(i => $"id-{i}").ToArray();
        var given = await Task.WhenAll(nodes.Select((node, seed) => Task.Run(async () =>
        {
            // each node in its own order, in several calls at once
            var mine = ids.ToArray();
            new Random(seed).Shuffle(mine);
            var numbers = new uint[mine.Length];
            var added = await Task.WhenAll(
                mine.Chunk(100).Select((some, i) => node.RegisterAsync(some, numbers.AsMemory(i * 100, 100)).AsTask()));
            return (Numbers: mine.Zip(numbers).OrderBy(pair => pair.First, StringComparer.Ordinal).ToArray(), Added: added.Sum());
        })));
        given.ShouldAllBe(one => one.Numbers.SequenceEqual(given[0].Numbers));
        given.Sum(one => one.Added).ShouldBe(ids.Length);
        // dense: no index was wasted
        given[0].Numbers.Select(pair => pair.Second).Order().ShouldBe(Enumerable.Range(0, ids.Length).Select(i => First + (uint)i));
    }

    [Fact]
    public async Task Users_who_are_deleted_by_several_nodes_at_once_are_gone_and_nobody_waits_for_ever()
    {
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one);
        var users = new uint[50];
        await one.Directory.RegisterAsync([.. Enumerable.Range(0, users.Length).Select(i => $"user {i}")], users);
        await one.Directory.WriteProfilesAsync([.. users.Select(user => new ProfileWrite(user, $"name {user}", null))], create: true);
        // each follows all others, so two deletions want the same rows
        await Task.WhenAll(users.Select(follower => one.Directory.FollowAsync(follower, users, follow: true, 100).AsTask()));
        await Task.WhenAll(
            new[] { one, other }
                .SelectMany(node => users.Select(user => Task.Run(async () => await node.Directory.DeleteAsync(user, 100)))));
        (await one.Directory.AccountsAsync()).Select(pair => pair.Key).Order().ShouldBe(users);
        (await other.Directory.SubscriptionsAsync(users[0])).ShouldBeEmpty();
        (await other.Directory.SearchAsync("", 100, null)).Users.ShouldBeEmpty();
    }

    [Fact]
    public async Task Of_nodes_that_give_one_name_at_once_one_succeeds()
    {
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one);
        var results =
            await Task.WhenAll(new[] { one, other }.SelectMany((node, n) => Enumerable.Range(0, 100).Select(i => Task.Run(async () =>
            await node.Directory.WriteProfilesAsync(
                [new((uint)((n * 100) + i), i % 2 == n ? $"Name {i % 10}" : $"name {i % 10}", null)], create: false)))));
        results.Count(result => result.Conflict == ProfileConflict.None).ShouldBe(10);
        results.Count(result => result.Conflict == ProfileConflict.NameTaken).ShouldBe(190);
        (await one.Directory.SearchAsync("", 100, null)).Users.Count.ShouldBe(10);
    }

    // ---- what other nodes change ------------------------------------------------------------------------------------------------

    [Fact]
    public async Task What_a_node_changes_is_told_to_all_at_once()
    {
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one);
        await one.Directory.CatchUpAsync();
        await other.Directory.CatchUpAsync();
        other.Received.TryDequeue(out var all).ShouldBeTrue();
        all.IsComplete.ShouldBeTrue();

        await one.Directory.RegisterAsync(["alice", "bob"], new uint[2]);
        await Eventually.HoldsAsync(() => other.Directory.NextIndex == First + 2);
        var busy = new Claim(Claim.UserSource, ClaimStatus.Busy, new StatusDetails("Busy", null, 0));
        await one.Directory.SetClaimAsync(First, busy, 1);
        // its own changes too, and before the call completes
        one.Claims[First].ShouldBe([busy]);
        await Eventually.HoldsAsync(() => other.Claims.GetValueOrDefault(First) is [var received] && received == busy);
        await one.Directory.SetVisibilityAsync(First, OnlineVisibility.Nobody, null);
        await one.Directory.RelateAsync(First, Relation.Blocked, [7], add: true, 100);
        await one.Directory.RelateAsync(First + 1, Relation.Blocked, [First, 7], add: true, 100);
        one.Shows(First).Online.ShouldBe(OnlineVisibility.Nobody);
        one.Shows(First + 1).Blocked.ShouldBe([7, First]);
        await Eventually.HoldsAsync(
            () => other.Shows(First) is { Online: OnlineVisibility.Nobody, Blocked: [7] } && other.Shows(First + 1).Blocked is [7, First]);

        await one.Directory.SetDisabledAsync(First, true, 77);
        one.Accounts[First].ShouldBe(new Account(true, 77));
        await Eventually.HoldsAsync(() => other.Accounts.GetValueOrDefault(First) == new Account(true, 77));
        await other.Directory.RevokeAsync(7, 5000);
        other.Accounts[7].ShouldBe(new Account(RevokedAt: 5000));
        await Eventually.HoldsAsync(() => one.Accounts.GetValueOrDefault(7u) == new Account(RevokedAt: 5000));

        // including her own settings, but not other users' settings about her
        await one.Directory.DeleteAsync(First, 6000);
        one.Accounts[First].ShouldBe(new Account(RevokedAt: 6000, DeletedAt: 6000));
        await Eventually.HoldsAsync(() => other.Accounts[First].IsDeleted);
        foreach (var node in new[] { one, other })
        {
            node.Claims[First].ShouldBeEmpty();
            node.Shows(First).IsDefault.ShouldBeTrue();
            node.Shows(First + 1).Blocked.ShouldBe([7, First]);
        }
    }

    [Fact]
    public async Task A_change_of_many_nodes_at_once_is_told_to_each_before_its_call_is_over()
    {
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one);
        await Task.WhenAll(new[] { one, other }.SelectMany((node, n) => Enumerable.Range(0, 100).Select(i => Task.Run(async () =>
        {
            var user = (uint)((n * 100) + i);
            await node.Directory.RevokeAsync(user, 1000 + i);
            node.Accounts[user].RevokedAt.ShouldBe(1000 + i);
        }))));
        await Eventually.HoldsAsync(() => one.Accounts.Count == 200 && other.Accounts.Count == 200);
        foreach (var node in new[] { one, other })
            node.Received.TryPeek(out var first).ShouldBe(first!.IsComplete);
    }

    [Fact]
    public async Task What_is_not_notified_of_is_read_within_ten_seconds()
    {
        var time = new ManualTimeProvider();
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one, time);
        await one.Directory.RegisterAsync(["alice"], new uint[1]);
        await CatchUpAsync(other, time);
        // The listener is cut off, and does not reconnect while its clock stands still. Then there are two timers: the listener's and the
        // reader's.
        await ListensAsync(one.Database, nodes: 2);
        await Process.ExecuteAsync($"SELECT pg_terminate_backend(pid) {Listening(one.Database)}");
        await Eventually.HoldsAsync(() => time.ArmedTimers == 2);
        await CatchUpAsync(other, time);

        var hidden = new Claim(Claim.UserSource, ClaimStatus.Hidden, ShownLastSeen: 77);
        await one.Directory.SetClaimAsync(5, hidden, 1);
        await one.Directory.SetVisibilityAsync(6, OnlineVisibility.Nobody, null);
        await one.Directory.RelateAsync(7, Relation.Blocked, [6], add: true, 100);
        await one.Directory.DeleteAsync(First, 100);
        await one.Directory.RegisterAsync(["bob"], new uint[1]);
        other.Directory.NextIndex.ShouldBe(First + 1);
        other.Claims.ShouldBeEmpty();
        time.Advance(PostgresWriter.CatchUpInterval);
        // the directory reports a read after it has noted the next index, and accounts last
        await Eventually.HoldsAsync(() => other.Accounts.ContainsKey(First));
        other.Directory.NextIndex.ShouldBe(First + 2);
        other.Claims[5].ShouldBe([hidden]);
        other.Shows(6).Online.ShouldBe(OnlineVisibility.Nobody);
        other.Shows(7).Blocked.ShouldBe([6u]);
        other.Accounts[First].ShouldBe(new Account(RevokedAt: 100, DeletedAt: 100));
    }

    [Fact]
    public async Task Of_two_nodes_that_set_one_users_status_all_agree_on_who_was_last()
    {
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one);
        await one.Directory.CatchUpAsync();
        await other.Directory.CatchUpAsync();
        ClaimStatus[] statuses = [ClaimStatus.Online, ClaimStatus.Away, ClaimStatus.Busy, ClaimStatus.Hidden];
        await Task.WhenAll(new[] { one, other }.Select((node, seed) => Task.Run(async () =>
        {
            var random = new Random(seed);
            for (var i = 0; i < 100; i++)
                await node.Directory.SetClaimAsync(7, new Claim($"{random.Next(3)}", statuses[random.Next(statuses.Length)]), 1);
        })));
        var last = (await one.Directory.ClaimsAsync()).Single().Value;
        await Eventually.HoldsAsync(() => one.Claims[7].ToHashSet().SetEquals(last) && other.Claims[7].ToHashSet().SetEquals(last));
    }

    [Fact]
    public async Task Nothing_is_lost_where_two_nodes_change_what_one_user_shows()
    {
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one);
        await Task.WhenAll(
            Task.Run(async () =>
            {
                await one.Directory.SetVisibilityAsync(7, OnlineVisibility.Nobody, null);
                for (var i = 0u; i < 50; i++)
                    await one.Directory.RelateAsync(7, Relation.Blocked, [i], add: true, 100);
            }),
            Task.Run(async () =>
            {
                await other.Directory.SetVisibilityAsync(7, null, LastSeenVisibility.Hidden);
                for (var i = 50u; i < 100; i++)
                    await other.Directory.RelateAsync(7, Relation.Blocked, [i], add: true, 100);
            }));
        var expected = new Visibility
        {
            Online = OnlineVisibility.Nobody,
            LastSeen = LastSeenVisibility.Hidden,
            Blocked = [.. Enumerable.Range(0, 100).Select(i => (uint)i)]
        };
        await Eventually.HoldsAsync(() => one.Shows(7).IsSameAs(expected) && other.Shows(7).IsSameAs(expected));
    }

    /// <summary>
    /// An older version had manual statuses. They become the claims of the users themselves. Its deletions did not say when they were.
    /// </summary>
    [Fact]
    public async Task Tables_of_the_version_before_are_brought_to_this_one()
    {
        var database = await Process.CreateDatabaseAsync();
        await (await OpenAsync(database)).DisposeAsync();
        await Process.ExecuteAsync(
            """
            DROP TABLE aglow.claim;
            CREATE TABLE aglow.manual_status (
                idx bigint PRIMARY KEY, kind smallint NOT NULL, shown_last_seen bigint NOT NULL, change bigint NOT NULL,
                changed_at bigint NOT NULL);
            INSERT INTO aglow.manual_status VALUES (3, 3, 0, 0, 0), (4, 4, 77, 0, 0), (5, 0, 0, 0, 0);
            ALTER TABLE aglow.account DROP COLUMN deleted_at, DROP COLUMN deleting;
            INSERT INTO aglow.account VALUES (6, false, 0, 100, true, 0, 0), (7, false, 0, 200, false, 0, 0);
            UPDATE aglow.state SET version = 1
            """,
            database);
        await using var node = await OpenAsync(database);
        var claims = (await node.Directory.ClaimsAsync()).ToDictionary(static c => c.Key, static c => c.Value);
        claims.Keys.ShouldBe([3u, 4u], ignoreOrder: true);
        claims[3].ShouldBe([new Claim(Claim.UserSource, ClaimStatus.Busy)]);
        claims[4].ShouldBe([new Claim(Claim.UserSource, ClaimStatus.Hidden, ShownLastSeen: 77)]);
        (await node.Directory.SetClaimAsync(3, new Claim("call", ClaimStatus.Busy), 1)).ShouldBeTrue();
        (await node.Directory.AccountsAsync()).OrderBy(static a => a.Key).ShouldBe(
            [new(6, new Account(RevokedAt: 100, DeletedAt: 100)), new(7, new Account(RevokedAt: 200))]);
    }

    [Fact]
    public async Task Tables_of_version_0_1_are_refused_in_one_line()
    {
        var database = await Process.CreateDatabaseAsync();
        await Process.ExecuteAsync(
            "CREATE SCHEMA aglow; CREATE TABLE aglow.state (version integer); CREATE TABLE aglow.users (number bigint)", database);
        await RefusesAsync(
            Process.Connection(database),
            $"The directory in 127.0.0.1:{Process.Port}/{database} was made by Aglow 0.1, and this version cannot read it: name another "
                + "database, or run DROP SCHEMA aglow CASCADE");
        await Process.ExecuteAsync("DROP SCHEMA aglow CASCADE", database);
        await using var node = await OpenAsync(database);
        (await node.Directory.RegisterAsync(["alice"], new uint[1])).ShouldBe(1);
    }

    [Fact]
    public async Task An_index_that_a_node_has_seen_is_not_given_again_although_the_server_was_restored_to_an_older_state()
    {
        await using var node = await OpenAsync(await Process.CreateDatabaseAsync());
        await node.Directory.RegisterAsync([.. Enumerable.Range(0, 20).Select(static i => $"id-{i}")], new uint[20]);
        await Process.ExecuteAsync("DELETE FROM aglow.ids; UPDATE aglow.state SET next_index = 2147483648, change = 0", node.Database);
        await node.Directory.CatchUpAsync();
        var given = new uint[1];
        // the reservation follows the read that found the older state
        await node.Directory.CatchUpAsync();
        await node.Directory.RegisterAsync(["stranger"], given);
        given[0].ShouldBe(First + 20);
        await node.Directory.ReserveAsync(First + 10);
        await node.Directory.ReserveAsync(First + 40);
        await node.Directory.RegisterAsync(["another"], given);
        given[0].ShouldBe(First + 40);
    }

    [Fact]
    public async Task What_was_taken_back_is_forgotten_when_everybody_has_heard_of_it()
    {
        await using var node = await OpenAsync(await Process.CreateDatabaseAsync());
        foreach (var user in new uint[] { 1, 2, 3 })
            await node.Directory.SetVisibilityAsync(user, OnlineVisibility.Nobody, null);
        await node.Directory.RelateAsync(2, Relation.Blocked, [1], add: true, 100);
        await node.Directory.SetVisibilityAsync(1, OnlineVisibility.Everyone, null);
        await node.Directory.SetVisibilityAsync(2, OnlineVisibility.Everyone, null);
        foreach (var user in new uint[] { 1, 2 })
        {
            await node.Directory.SetClaimAsync(user, new Claim("call", ClaimStatus.Busy), 1);
            await node.Directory.SetDisabledAsync(user, true, 0);
            await node.Directory.SetDisabledAsync(user, false, 0);
        }

        await node.Directory.RemoveClaimAsync(1, "call");
        await node.Directory.RevokeAsync(2, 5000);
        await using var connection = new NpgsqlConnection(Process.Connection(node.Database));
        await connection.OpenAsync();
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
        await PostgresChanges.ForgetAsync(connection, now - 60, CancellationToken.None);
        (await KeptAsync("visibility")).ShouldBe("1,2,3");
        (await KeptAsync("claim")).ShouldBe("1,2");
        (await KeptAsync("account")).ShouldBe("1,2");
        await PostgresChanges.ForgetAsync(connection, now + 60, CancellationToken.None);
        (await KeptAsync("visibility")).ShouldBe("2,3");
        (await KeptAsync("claim")).ShouldBe("2");
        (await KeptAsync("account")).ShouldBe("2");

        async Task<object?> KeptAsync(string table) =>
            await Process.ExecuteAsync($"SELECT string_agg(idx::text, ',' ORDER BY idx) FROM aglow.{table}", node.Database);
    }

    [Fact]
    public async Task Who_was_away_for_long_is_told_everything()
    {
        var time = new ManualTimeProvider();
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one, time);
        await CatchUpAsync(other, time);
        await one.Directory.SetClaimAsync(5, new Claim(Claim.UserSource, ClaimStatus.Away), 1);
        await one.Directory.SetVisibilityAsync(6, OnlineVisibility.Nobody, null);
        await Process.StopAsync();
        time.Advance(TimeSpan.FromMinutes(31));
        await Process.RestartAsync();
        await Eventually.HoldsAsync(() =>
        {
            time.Advance(TimeSpan.FromMilliseconds(100));
            return other.Received.Count(changes => changes.IsComplete) == 2;
        });
        other.Claims[5].Single().Status.ShouldBe(ClaimStatus.Away);
        other.Shows(6).Online.ShouldBe(OnlineVisibility.Nobody);
    }

    // ---- search -------------------------------------------------------------------------------------------------------------------

    /// <summary>Few profiles are read and few candidates are taken, so that every way of searching is used.</summary>
    [Theory]
    [InlineData(5_000, 5_000)]
    [InlineData(3, 5_000)]
    [InlineData(3, 2)]
    [InlineData(1, 1)]
    public async Task Search_finds_the_same_whatever_it_may_cost(int walked, int candidates)
    {
        await using var node = await OpenAsync(await Process.CreateDatabaseAsync());
        node.Directory.SearchLimits = new(walked, candidates, TimeSpan.FromMinutes(1));
        string[] letters = ["a", "a", "b", "A", "B", "Å", "å", "σ", "ς", "_", "%", "\\", " ", "🌞", "1"];
        var random = new Random(walked + candidates);
        string Text(int least, int most) =>
            string.Concat(Enumerable.Range(0, random.Next(least, most + 1)).Select(_ => letters[random.Next(letters.Length)]));
        for (var i = 0u; i < 150; i++)
            await node.Directory.WriteProfilesAsync([new(i, i % 5 == 0 ? null : Text(1, 9), i % 2 == 0 ? Text(1, 9) : null)], create: true);
        var users = new List<DirectoryUser>();
        for (var i = 0u; i < 150; i++)
        {
            if (await node.Directory.FindProfileAsync(i) is { } profile)
                users.Add(new DirectoryUser(i, $"{i}", profile));
        }

        users.Count.ShouldBeGreaterThan(100);
        for (var i = 0; i < 60; i++)
        {
            var query = Text(0, 4);
            (await UserDirectoryContract.AllAsync(node.Directory, query, random.Next(1, 6)))
                .ShouldBe(UserDirectoryContract.Expected(users, query), $"\"{query}\"");
        }

        // pages that reach the cost limit are short, and skip no user
        node.Directory.SearchLimits = new(walked, candidates, TimeSpan.Zero);
        for (var i = 0; i < 10; i++)
        {
            var query = Text(1, 4);
            (await UserDirectoryContract.AllAsync(node.Directory, query, 3))
                .ShouldBe(UserDirectoryContract.Expected(users, query), $"\"{query}\"");
        }
    }

    [Fact]
    public async Task Where_the_server_has_no_trigrams_people_are_told_what_to_do()
    {
        // a role that cannot create extensions, in a schema that was created for it
        var database = await Process.CreateDatabaseAsync();
        var role = $"r{database}";
        await Process.ExecuteAsync($"CREATE ROLE {role} LOGIN PASSWORD 'x'; CREATE SCHEMA aglow AUTHORIZATION {role}", database);
        await RefusesAsync(
            Process.Connection(database, role, "x"),
            $"Search needs pg_trgm, and {role} cannot make it in PostgreSQL at 127.0.0.1:{Process.Port}/{database} (permission denied "
                + "to create extension \"pg_trgm\"): have the owner");
        await Process.ExecuteAsync("CREATE EXTENSION pg_trgm", database);
        var options = PostgresOptions.Parse(Process.Connection(database, role, "x"));
        await using var directory = await PostgresUserDirectory.OpenAsync(options, TimeProvider.System, NullLoggerFactory.Instance);
        await UserDirectoryContract.CreateAsync(directory, "1", "marianne");
        (await UserDirectoryContract.AllAsync(directory, "iann", 10)).Single().Id.ShouldBe("1");
    }

    // ---- a server that is not as it should be ---------------------------------------------------------------------------------------

    [Fact]
    public async Task A_server_that_is_restarted_is_away_and_back_by_itself()
    {
        var logs = new Lines();
        using var factory = LoggerFactory.Create(builder => builder.AddProvider(logs));
        var options = Process.Options(await Process.CreateDatabaseAsync());
        int Away() => logs.All.Count(line => line.Contains("Calls that need the directory get 503"));
        int Back() => logs.All.Count(line => line.Contains("is back after"));
        await using var directory = await PostgresUserDirectory.OpenAsync(options, TimeProvider.System, factory);
        await directory.RegisterAsync(["alice"], new uint[1]);
        // no caller notices: closed connections are reopened, for reads and writes
        await Process.StopAsync();
        await Process.RestartAsync();
        (await IdAsync(directory, First)).ShouldBe("alice");
        (await UserDirectoryContract.CreateAsync(directory, "bob", "bob")).ShouldBe(First + 1);
        await Eventually.HoldsAsync(() => Away() == Back());

        await Process.StopAsync();
        try
        {
            var away = await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.FindProfileAsync(First));
            away.Message.ShouldBe(
                $"PostgreSQL at {options} cannot be reached (Connection refused): start it, or name where it is with --postgres.");
            await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.RegisterAsync(["carol"], new uint[1]));
            await Should.ThrowAsync<StoreUnavailableException>(
                async () => await directory.WriteProfilesAsync([new(3, "carol", null)], create: true));
            await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.CatchUpAsync());
        }
        finally
        {
            await Process.RestartAsync();
        }

        await Eventually.HoldsAsync(async () => await RunsAsync(async () => await directory.FindProfileAsync(First)));
        (await UserDirectoryContract.CreateAsync(directory, "carol", "carol")).ShouldBe(First + 2);
        // each cause is logged once a minute, and so is its end
        await Eventually.HoldsAsync(() => Away() == 1 && Back() == 1);

        static async Task<bool> RunsAsync(Func<Task> call)
        {
            try
            {
                await call();
                return true;
            }
            catch (StoreUnavailableException)
            {
                return false;
            }
        }
    }

    [Fact]
    public async Task A_command_that_fails_takes_nothing_of_the_others_with_it()
    {
        await using var node = await OpenAsync(await Process.CreateDatabaseAsync());
        await Process.ExecuteAsync("UPDATE aglow.state SET next_index = 4294967294", node.Database);
        // only one index is left
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 20).Select(async i =>
        {
            try
            {
                return await node.Directory.RegisterAsync([$"user {i}"], new uint[1]) == 1 ? "created" : "known";
            }
            catch (StoreUnavailableException full)
            {
                return full.Message;
            }
        }).Append(Task.Run(async () =>
        {
            await node.Directory.SetClaimAsync(3, new Claim(Claim.UserSource, ClaimStatus.Busy), 1);
            return "set";
        })));
        outcomes.Count(outcome => outcome == "created").ShouldBe(1);
        outcomes.Count(outcome => outcome == "set").ShouldBe(1);
        outcomes.Count(outcome => outcome == "The user directory has given all of its 2,147,483,647 indexes.").ShouldBe(19);
    }

    [Fact]
    public async Task A_connection_that_breaks_between_retries_fails_its_callers_as_a_store_that_is_away()
    {
        await using var node = await OpenAsync(await Process.CreateDatabaseAsync());
        await Process.ExecuteAsync(
            """
            CREATE FUNCTION aglow.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.idx = 1 THEN RAISE EXCEPTION 'no' USING ERRCODE = '22000'; END IF;
                PERFORM pg_terminate_backend(pg_backend_pid());
                RETURN NEW;
            END $$;
            CREATE TRIGGER fails BEFORE INSERT ON aglow.claim FOR EACH ROW WHEN (NEW.idx IN (1, 50)) EXECUTE FUNCTION aglow.fail()
            """,
            node.Database);
        for (var round = 0; round < 5; round++)
        {
            await Task.WhenAll(Enumerable.Range(1, 100).Select(async i =>
            {
                try
                {
                    await node.Directory.SetClaimAsync((uint)i, new Claim(Claim.UserSource, ClaimStatus.Busy), 1);
                }
                catch (StoreUnavailableException)
                {
                    // 503, and no other failure
                }
            }));
        }

        node.Claims.Keys.ShouldNotContain(1u);
        node.Claims.Keys.ShouldNotContain(50u);
        await node.Directory.SetClaimAsync(2, new Claim(Claim.UserSource, ClaimStatus.Away), 1);
    }

    [Fact]
    public async Task A_server_whose_disk_is_full_is_away_for_writes_until_one_succeeds()
    {
        var logs = new Lines();
        using var factory = LoggerFactory.Create(builder => builder.AddProvider(logs));
        var database = await Process.CreateDatabaseAsync();
        await using var directory = await PostgresUserDirectory.OpenAsync(Process.Options(database), TimeProvider.System, factory);
        await Process.ExecuteAsync(
            """
            CREATE FUNCTION aglow.fill() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full'; END $$;
            CREATE TRIGGER full_disk BEFORE INSERT ON aglow.ids FOR EACH STATEMENT EXECUTE FUNCTION aglow.fill()
            """,
            database);
        var refused = await Task.WhenAll(Enumerable.Range(0, 50).Select(i =>
            Should.ThrowAsync<StoreUnavailableException>(async () => await directory.RegisterAsync([$"user {i}"], new uint[1]))));
        refused.ShouldAllBe(failure => failure.Message.Contains("cannot do this now: could not extend file"));
        // reads continue, and do not change the state of writes
        await directory.CatchUpAsync();
        (await directory.SearchAsync("", 10, null)).Users.ShouldBeEmpty();
        logs.All.ShouldNotContain(line => line.Contains("is back after"));
        await Process.ExecuteAsync("DROP TRIGGER full_disk ON aglow.ids", database);
        (await directory.RegisterAsync(["alice"], new uint[1])).ShouldBe(1);
        logs.All.Count(line => line.Contains("Calls that need the directory get 503")).ShouldBe(1);
        logs.All.Count(line => line.Contains("is back after")).ShouldBe(1);
    }

    [Fact]
    public async Task A_call_that_takes_too_long_fails_and_the_next_one_works()
    {
        var database = await Process.CreateDatabaseAsync();
        var options = Process.Options(database) with { AnswersWithin = TimeSpan.FromSeconds(1) };
        await using (var patient = await OpenAsync(database))
            await UserDirectoryContract.CreateAsync(patient.Directory, "1", "alice");
        PostgresUserDirectory? opened = null;
        await Eventually.HoldsAsync(async () =>
        {
            try
            {
                opened = await PostgresUserDirectory.OpenAsync(options, TimeProvider.System, NullLoggerFactory.Instance);
                return true;
            }
            catch (StoreUnavailableException)
            {
                return false;
            }
        });
        await using var directory = opened!;
        await using (var blocker = new NpgsqlConnection(Process.Connection(database)))
        {
            await blocker.OpenAsync();
            await using var transaction = await blocker.BeginTransactionAsync();
            await using var lockTables = new NpgsqlCommand("LOCK TABLE aglow.profile, aglow.state", blocker);
            await lockTables.ExecuteNonQueryAsync();
            var read = await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.FindProfileAsync(1));
            read.Message.ShouldStartWith($"PostgreSQL at {options} does not answer in time");
            read.Message.ShouldNotContain("may still be made");
            var write = await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.RevokeAsync(1, 5));
            write.Message.ShouldStartWith($"PostgreSQL at {options} does not answer in time");
            write.Message.ShouldEndWith("The change may still be made.");
        }

        await Eventually.HoldsAsync(async () =>
        {
            try
            {
                await directory.RevokeAsync(1, 5);
                return (await directory.FindProfileAsync(1))!.UserName == "alice";
            }
            catch (StoreUnavailableException)
            {
                return false;
            }
        });
    }

    /// <summary>To cancel a command, Npgsql connects to the server and blocks meanwhile. A heartbeat must not wait for that.</summary>
    [Fact]
    public async Task What_takes_too_long_is_cancelled_off_the_thread_pool()
    {
        // if the deadline passes before it is registered for, the callback runs here: then try a longer one
        for (var within = TimeSpan.FromMilliseconds(50); ; within *= 2)
        {
            var here = Environment.CurrentManagedThreadId;
            var cancelled = new TaskCompletionSource<(int Thread, bool IsOfPool)>(TaskCreationOptions.RunContinuationsAsynchronously);
            using var deadline = new Deadline(within);
            deadline.Token.Register(
                () => cancelled.SetResult((Environment.CurrentManagedThreadId, Thread.CurrentThread.IsThreadPoolThread)));
            var isDone = cancelled.Task.IsCompleted;
            var (thread, isOfPool) = await cancelled.Task;
            if (isDone && thread == here)
                continue;
            isOfPool.ShouldBeFalse();
            break;
        }

        await using var source = PostgresOptions.Parse("Host=a;Keepalive=5").CreateSource();
        new NpgsqlConnectionStringBuilder(source.ConnectionString).KeepAlive.ShouldBe(
            0, "Npgsql sends it on the thread pool, and waits for the answer there");
    }

    [Fact]
    public async Task Where_all_connections_are_in_use_calls_say_so_and_do_not_wait_for_ever()
    {
        var database = await Process.CreateDatabaseAsync();
        // one connection writes, one listens
        var options = PostgresOptions.Parse(Process.Connection(database, more: "Maximum Pool Size=3;Timeout=5"));
        await using var directory = await PostgresUserDirectory.OpenAsync(options, TimeProvider.System, NullLoggerFactory.Instance);
        await UserDirectoryContract.CreateAsync(directory, "1", "alice");
        await ListensAsync(database, nodes: 1);
        await using var blocker = new NpgsqlConnection(Process.Connection(database));
        await blocker.OpenAsync();
        await using var transaction = await blocker.BeginTransactionAsync();
        await using var lockTable = new NpgsqlCommand("LOCK TABLE aglow.profile", blocker);
        await lockTable.ExecuteNonQueryAsync();
        var waiting = directory.FindProfileAsync(1).AsTask();
        var refused = await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.FindProfileAsync(1));
        refused.Message.ShouldBe($"All 3 connections to PostgreSQL at {options} are in use: raise Maximum Pool Size in --postgres.");
        await transaction.RollbackAsync();
        (await waiting)!.UserName.ShouldBe("alice");
    }

    [Fact]
    public async Task A_directory_that_cannot_be_opened_leaves_no_connection()
    {
        var database = await Process.CreateDatabaseAsync();
        await (await OpenAsync(database)).DisposeAsync();
        // this role can see that the tables are there, and may not read the rest
        await Process.ExecuteAsync($"CREATE ROLE r{database} LOGIN PASSWORD 'x'");
        await Process.ExecuteAsync($"GRANT USAGE ON SCHEMA aglow TO r{database}", database);
        await Process.ExecuteAsync($"GRANT SELECT ON aglow.state TO r{database}", database);
        await RefusesAsync(Process.Connection(database, $"r{database}", "x"), $"r{database} may not do this in PostgreSQL");
        await Eventually.HoldsAsync(
            async () => (long)(await Process.ExecuteAsync($"SELECT count(*) FROM pg_stat_activity WHERE usename = 'r{database}'"))! == 0);
    }

    [Fact]
    public async Task Failures_that_come_after_their_callers_have_stopped_waiting_are_no_failures_of_the_program()
    {
        var unobserved = new ConcurrentQueue<Exception>();
        TaskScheduler.UnobservedTaskException += Note;
        try
        {
            var database = await Process.CreateDatabaseAsync();
            await FailLateAsync(database);
            for (var i = 0; i < 5; i++)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                await Task.Delay(20);
            }

            unobserved.ShouldNotContain(failure => failure.ToString().Contains(database, StringComparison.Ordinal));
        }
        finally
        {
            TaskScheduler.UnobservedTaskException -= Note;
        }

        void Note(object? sender, UnobservedTaskExceptionEventArgs unseen) => unobserved.Enqueue(unseen.Exception);
    }

    private async Task FailLateAsync(string database)
    {
        var time = new ManualTimeProvider();
        await using var directory = await PostgresUserDirectory.OpenAsync(Process.Options(database), time, NullLoggerFactory.Instance);
        await using var blocker = new NpgsqlConnection(Process.Connection(database));
        await blocker.OpenAsync();
        await using var transaction = await blocker.BeginTransactionAsync();
        await using var lockTables = new NpgsqlCommand("LOCK TABLE aglow.profile, aglow.subscription", blocker);
        await lockTables.ExecuteNonQueryAsync();
        Task[] calls = [directory.FindProfileAsync(1).AsTask(), directory.FollowAsync(1, [2], follow: true, 10).AsTask()];
        await Eventually.HoldsAsync(async () => await BlockedAsync("count(*)") == 2);
        time.Advance(TimeSpan.FromSeconds(11));
        foreach (var call in calls)
            await Should.ThrowAsync<StoreUnavailableException>(() => call);
        // each is tried once more, on another connection
        for (var ended = 0L; ended < 4; await Task.Delay(20))
            ended += await BlockedAsync("count(pg_terminate_backend(pid))");

        async Task<long> BlockedAsync(string what) => (long)(await Process.ExecuteAsync(
            $"SELECT {what} FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'"))!;
    }

    [Fact]
    public async Task What_cannot_be_used_is_said_in_one_line()
    {
        var database = await Process.CreateDatabaseAsync();
        await Process.ExecuteAsync(
            $"CREATE ROLE n{database} LOGIN PASSWORD 'x' CONNECTION LIMIT 0; CREATE ROLE s{database} LOGIN PASSWORD 'x'; CREATE ROLE "
                + $"o{database} LOGIN PASSWORD 'x'");
        await Process.ExecuteAsync($"ALTER ROLE o{database} SET default_transaction_read_only = on");
        var at = $"127.0.0.1:{Process.Port}";
        await RefusesAsync(Process.Connection(database, password: "wrong"), $"PostgreSQL at {at}/{database} does not let aglow in");
        await RefusesAsync(
            $"Host=127.0.0.1;Port={Process.Port};Username=aglow;Database={database}",
            $"PostgreSQL at {at}/{database} wants a password for aglow: set AGLOW_POSTGRES_PASSWORD.");
        await RefusesAsync(
            Process.Connection("nowhere"),
            $"PostgreSQL at {at}/nowhere has no such database: create it (createdb -O aglow nowhere), or name another.");
        await RefusesAsync(
            Process.Connection(database, $"n{database}", "x"),
            $"PostgreSQL at {at}/{database} has no connection left: raise its max_connections, or lower Maximum Pool Size (10) here.");
        await RefusesAsync(
            Process.Connection(database, $"s{database}", "x"),
            $"s{database} may not do this in PostgreSQL at {at}/{database} (permission denied for database {database})");
        await RefusesAsync(
            Process.Connection(database, $"o{database}", "x"), $"PostgreSQL at {at}/{database} is read-only: name the primary");
        await RefusesAsync(
            "Host=127.0.0.1;Port=1;Database=x;Username=y",
            "PostgreSQL at 127.0.0.1:1/x cannot be reached (Connection refused): start it, or name where it is with --postgres.");
        await using (await OpenAsync(database))
            await Process.ExecuteAsync("UPDATE aglow.state SET version = 99", database);
        await RefusesAsync(
            Process.Connection(database),
            $"The directory in {at}/{database} was made by a newer Aglow (version 99 of its tables, this program knows 3): run that.");
    }

    [Fact]
    public async Task A_server_that_is_too_old_is_refused()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        var serving = PretendToBeAsync(listener, "12.4");
        await RefusesAsync(
            $"Host=127.0.0.1;Port={port};Database=x;Username=y;SSL Mode=Disable;Server Compatibility Mode=NoTypeLoading",
            $"PostgreSQL at 127.0.0.1:{port}/x is version 12.4: 13 is the oldest that works.");
        listener.Stop();
        await serving;
    }

    [Fact]
    public async Task Of_a_server_that_cannot_start_for_it_people_are_told_in_one_line()
    {
        var (code, _, errors) = await AglowProcess.RunToEndAsync(
            ["serve", "--redis", "127.0.0.1:1", "--postgres", Process.Address()], new() { ["AGLOW_POSTGRES_PASSWORD"] = "wrong" });
        code.ShouldBe(1);
        errors.ShouldBe(
            $"aglow: PostgreSQL at 127.0.0.1:{Process.Port}/postgres does not let aglow in (password authentication failed for user "
                + "\"aglow\"): set the right user, and the password with AGLOW_POSTGRES_PASSWORD.\n");
        (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--postgres", "postgres://127.0.0.1/x"]);
        (code, errors).ShouldBe(
            (
                2,
                "aglow: --postgres is for nodes that share a Redis: set --redis, too, or leave it out; one server has its users in its "
                    + "folder.\n"));
        (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--redis", "127.0.0.1:1", "--postgres", "Server=x;Pasword=secret"]);
        (code, errors).ShouldBe(
            (
                2,
                "aglow: --postgres is not valid: set Host=…;Port=5432;Database=…;Username=…;Password=… or "
                    + "postgres://USER:PASSWORD@HOST:PORT/DATABASE.\n"));
    }

    [Theory]
    [InlineData("postgres://me:s%40cret@db.example:6432/chat?sslmode=verify-full", "db.example:6432/chat", "me")]
    [InlineData("postgresql://me@db.example", "db.example:5432/me", "me")]
    [InlineData("postgres://me@[::1]/chat", "::1/chat", "me")]
    [InlineData("Host=a,b:5433;Database=chat;Username=me;Password=x", "a:5432,b:5433/chat", "me")]
    public void Connections_are_written_in_two_ways(string text, string shown, string user)
    {
        var options = PostgresOptions.Parse(text);
        options.ToString().ShouldBe(shown);
        options.User.ShouldBe(user);
    }

    [Theory]
    [InlineData("")]
    [InlineData("db.example")]
    [InlineData("Username=me;Password=secret")]
    [InlineData("Host=a;Pasword=secret")]
    [InlineData("mysql://me:secret@host/chat")]
    [InlineData("postgres://me:secret@host:x/chat")]
    [InlineData("postgres://me:secret@host/chat?nonsense=1")]
    public void What_is_no_connection_is_refused_without_showing_it(string text) =>
        Should.Throw<FormatException>(() => PostgresOptions.Parse(text)).Message.ShouldNotContain("secret");

    private static async Task RefusesAsync(string connection, string message)
    {
        var refused = await Should.ThrowAsync<StoreUnavailableException>(
            async () =>
                await PostgresUserDirectory.OpenAsync(PostgresOptions.Parse(connection), TimeProvider.System, NullLoggerFactory.Instance));
        refused.Message.ShouldStartWith(message);
        refused.Message.ShouldNotContain('\n');
    }

    // the connections on which nodes listen; a node that has heard nothing for a while checks its connection
    private static string Listening(string database) =>
        $"FROM pg_stat_activity WHERE datname = '{database}' AND (query LIKE 'LISTEN%' OR query = 'SELECT 1')";

    // nodes begin to listen after they have opened
    private Task ListensAsync(string database, int nodes) => Eventually.HoldsAsync(
        async () => (long)(await Process.ExecuteAsync($"SELECT count(*) {Listening(database)}"))! == nodes);

    private static async Task CatchUpAsync(Node node, ManualTimeProvider time)
    {
        var caughtUp = node.Directory.CatchUpAsync().AsTask();
        // If a read was under way, the pause begins at its end. So time passes once more, but long before the call gives up.
        do
            time.Advance(PostgresWriter.PauseBetweenCatchUps);
        while (await Task.WhenAny(caughtUp, Task.Delay(TimeSpan.FromSeconds(2))) != caughtUp);
        await caughtUp;
    }

    private static async Task<string?> IdAsync(IUserDirectory directory, uint index)
    {
        var ids = new string?[1];
        await directory.FindIdsAsync(new[] { index }, ids);
        return ids[0];
    }

    // A server that only reports its version.
    private static async Task PretendToBeAsync(TcpListener listener, string version)
    {
        using var client = await listener.AcceptTcpClientAsync();
        var stream = client.GetStream();
        var buffer = new byte[1024];
        _ = await stream.ReadAsync(buffer);
        var parameter = Encoding.ASCII.GetBytes($"server_version\0{version}\0");
        await stream.WriteAsync((byte[])[
            (byte)'R', 0, 0, 0, 8, 0, 0, 0, 0, (byte)'S', 0, 0, 0, (byte)(4 + parameter.Length), .. parameter, (byte)'Z', 0, 0, 0, 5,
            (byte)'I']);
        while (await stream.ReadAsync(buffer) > 0)
        {
        }
    }

    private Task<Node> OpenAsync(string database) => Node.OpenAsync(Process, database, TimeProvider.System);

    private Task<Node> OpenAsync(Node beside, TimeProvider? time = null) =>
        Node.OpenAsync(Process, beside.Database, time ?? TimeProvider.System);

    /// <summary>A node's directory, and the changes that it reported.</summary>
    private sealed class Node : IAsyncDisposable
    {
        private Node(PostgresUserDirectory directory, string database)
        {
            Directory = directory;
            Database = database;
            directory.Changed += changes =>
            {
                foreach (var (user, claims) in changes.Claims)
                    Claims[user] = claims;
                foreach (var (user, visibility) in changes.Visibilities)
                    Visibilities[user] = visibility;
                foreach (var (user, account) in changes.Accounts)
                    Accounts[user] = account;
                Received.Enqueue(changes);
            };
        }

        public PostgresUserDirectory Directory { get; }

        public string Database { get; }

        public ConcurrentQueue<DirectoryChanges> Received { get; } = new();

        public ConcurrentDictionary<uint, IReadOnlyList<Claim>> Claims { get; } = new();

        public ConcurrentDictionary<uint, Visibility> Visibilities { get; } = new();

        public ConcurrentDictionary<uint, Account> Accounts { get; } = new();

        public static async Task<Node> OpenAsync(PostgresProcess process, string database, TimeProvider time) =>
            new(await PostgresUserDirectory.OpenAsync(process.Options(database), time, NullLoggerFactory.Instance), database);

        public Visibility Shows(uint user) => Visibilities.GetValueOrDefault(user, Visibility.Default);

        public ValueTask DisposeAsync() => Directory.DisposeAsync();
    }
}
