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

/// <summary>What is a shared directory's own: many nodes, notifications, and a server that is not as it should be.</summary>
[Collection(PostgresCollection.Name)]
public sealed class PostgresTests(PostgresServer server)
{
    private const uint First = UserId.FirstDirectoryNumber;

    private PostgresProcess Process => server.Process;

    // ---- many nodes -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Ten_nodes_that_start_at_once_make_one_directory_and_agree_on_every_key()
    {
        var database = await Process.CreateDatabaseAsync();
        var options = PostgresOptions.Parse(Process.Connection(database, more: "Maximum Pool Size=4"));
        var nodes = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => Task.Run(() => PostgresUserDirectory.OpenAsync(options, TimeProvider.System, NullLoggerFactory.Instance))));
        var keys = Enumerable.Range(0, 400).Select(i => $"key-{i}").ToArray();
        var given = await Task.WhenAll(nodes.Select((node, seed) => Task.Run(async () =>
        {
            // each in an order of its own, in several calls at once
            var mine = keys.ToArray();
            new Random(seed).Shuffle(mine);
            var numbers = new uint[mine.Length];
            var added = await Task.WhenAll(mine.Chunk(100).Select((some, i) => node.RegisterAsync(some, numbers.AsMemory(i * 100, 100)).AsTask()));
            return (Numbers: mine.Zip(numbers).OrderBy(pair => pair.First, StringComparer.Ordinal).ToArray(), Added: added.Sum());
        })));
        given.ShouldAllBe(one => one.Numbers.SequenceEqual(given[0].Numbers));
        given.Sum(one => one.Added).ShouldBe(keys.Length);
        // dense: what nobody needed was not given
        given[0].Numbers.Select(pair => pair.Second).Order().ShouldBe(Enumerable.Range(0, keys.Length).Select(i => First + (uint)i));
        foreach (var node in nodes)
            await node.DisposeAsync();
    }

    [Fact]
    public async Task Users_who_are_deleted_by_several_nodes_at_once_are_gone_once_and_nobody_waits_for_ever()
    {
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one);
        var numbers = new uint[50];
        await one.Directory.RegisterAsync([.. Enumerable.Range(0, numbers.Length).Select(i => $"user {i}")], numbers);
        // each follows all others, so that two deletions want the same rows
        await Task.WhenAll(numbers.Select(follower => one.Directory.FollowAsync(follower, numbers, follow: true, 100).AsTask()));
        var deleted = await Task.WhenAll(new[] { one, other }.SelectMany(node => numbers.Select(number => Task.Run(async () => await node.Directory.DeleteAsync(number)))));
        deleted.Count(gone => gone).ShouldBe(numbers.Length);
        (await one.Directory.DeletedNumbersAsync()).ShouldBe(numbers);
        (await other.Directory.SubscriptionsAsync(numbers[0])).ShouldBeEmpty();
    }

    // ---- what other nodes change ------------------------------------------------------------------------------------------------

    [Fact]
    public async Task What_a_node_changes_is_told_to_all_at_once()
    {
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one);
        await one.Directory.CatchUpAsync();
        await other.Directory.CatchUpAsync();
        other.Told.TryDequeue(out var all).ShouldBeTrue();
        all.IsComplete.ShouldBeTrue();

        await one.Directory.RegisterAsync(["alice", "bob"], new uint[2]);
        await Eventually.HoldsAsync(() => other.Directory.NextNumber == First + 2);
        var busy = new ManualStatus(ManualStatusKind.Busy);
        await one.Directory.SetManualStatusAsync(First, busy);
        await Eventually.HoldsAsync(() => other.Statuses.GetValueOrDefault(First) == busy);
        // its own, too, and before the call is over
        one.Statuses[First].ShouldBe(busy);
        await one.Directory.SetVisibilityAsync(First, OnlineVisibility.Nobody, null);
        await one.Directory.RelateAsync(First + 1, Relation.Blocked, [First, 7], add: true, 100);
        one.Shows(First).Online.ShouldBe(OnlineVisibility.Nobody);
        one.Shows(First + 1).Blocked.ShouldBe([7, First]);
        await Eventually.HoldsAsync(() => other.Shows(First).Online == OnlineVisibility.Nobody && other.Shows(First + 1).Blocked is [7, First]);
        await one.Directory.DeleteAsync(First);
        await Eventually.HoldsAsync(() => other.Deleted.Contains("alice") && other.Statuses[First] == ManualStatus.Auto);
        one.Deleted.ShouldContain("alice");
        // with what she showed, and what others said of her
        foreach (var node in new[] { one, other })
        {
            node.Shows(First).IsDefault.ShouldBeTrue();
            node.Shows(First + 1).Blocked.ShouldBe([7u]);
        }
    }

    [Fact]
    public async Task What_is_not_notified_of_is_read_within_ten_seconds()
    {
        var time = new ManualTimeProvider();
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one, time);
        await one.Directory.RegisterAsync(["alice"], new uint[1]);
        await CatchUpAsync(other, time);
        // its listener is cut off, and does not come back while its clock stands still: then there are two timers, its and the reader's
        await Process.ExecuteAsync("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'", one.Database);
        await Eventually.HoldsAsync(() => time.ArmedTimers == 2);
        await CatchUpAsync(other, time);

        var hidden = new ManualStatus(ManualStatusKind.Hidden, 77);
        await one.Directory.SetManualStatusAsync(5, hidden);
        await one.Directory.SetVisibilityAsync(6, OnlineVisibility.Nobody, null);
        await one.Directory.RelateAsync(7, Relation.Blocked, [6], add: true, 100);
        await one.Directory.DeleteAsync(First);
        await one.Directory.RegisterAsync(["bob"], new uint[1]);
        other.Directory.NextNumber.ShouldBe(First + 1);
        other.Statuses.ShouldBeEmpty();
        time.Advance(PostgresWriter.CatchUpInterval);
        await Eventually.HoldsAsync(() => other.Directory.NextNumber == First + 2);
        other.Statuses[5].ShouldBe(hidden);
        other.Shows(6).Online.ShouldBe(OnlineVisibility.Nobody);
        other.Shows(7).Blocked.ShouldBe([6u]);
        other.Deleted.ShouldContain("alice");
    }

    [Fact]
    public async Task Of_two_nodes_that_set_one_users_status_all_agree_on_who_was_last()
    {
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one);
        await one.Directory.CatchUpAsync();
        await other.Directory.CatchUpAsync();
        ManualStatusKind[] kinds = [ManualStatusKind.Online, ManualStatusKind.Away, ManualStatusKind.Busy, ManualStatusKind.Hidden];
        await Task.WhenAll(new[] { one, other }.Select((node, seed) => Task.Run(async () =>
        {
            var random = new Random(seed);
            for (var i = 0; i < 100; i++)
                await node.Directory.SetManualStatusAsync(7, new ManualStatus(kinds[random.Next(kinds.Length)]));
        })));
        var last = (await one.Directory.ManualStatusesAsync()).Single().Value;
        await Eventually.HoldsAsync(() => one.Statuses[7] == last && other.Statuses[7] == last);
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
        var expected = new Visibility { Online = OnlineVisibility.Nobody, LastSeen = LastSeenVisibility.Hidden, Blocked = [.. Enumerable.Range(0, 100).Select(i => (uint)i)] };
        await Eventually.HoldsAsync(() => one.Shows(7).IsSameAs(expected) && other.Shows(7).IsSameAs(expected));
    }

    [Fact]
    public async Task Tables_of_before_there_was_visibility_are_added_to_and_keep_what_they_have()
    {
        var database = await Process.CreateDatabaseAsync();
        await using (var node = await OpenAsync(database))
            await node.Directory.CreateAsync("alice", null);
        await Process.ExecuteAsync("DROP TABLE aglow.visibility, aglow.relation; UPDATE aglow.state SET version = 1", database);
        await using var again = await OpenAsync(database);
        await again.Directory.SetVisibilityAsync(First, OnlineVisibility.Nobody, null);
        (await again.Directory.VisibilitiesAsync()).Single().Key.ShouldBe(First);
        (await again.Directory.FindAsync(First))!.Name.ShouldBe("alice");
    }

    [Fact]
    public async Task What_is_shown_to_all_again_is_forgotten_when_everybody_has_heard_of_it()
    {
        await using var node = await OpenAsync(await Process.CreateDatabaseAsync());
        foreach (var user in new uint[] { 1, 2, 3 })
            await node.Directory.SetVisibilityAsync(user, OnlineVisibility.Nobody, null);
        await node.Directory.RelateAsync(2, Relation.Blocked, [1], add: true, 100);
        await node.Directory.SetVisibilityAsync(1, OnlineVisibility.Everyone, null);
        await node.Directory.SetVisibilityAsync(2, OnlineVisibility.Everyone, null);
        await using var connection = new NpgsqlConnection(Process.Connection(node.Database));
        await connection.OpenAsync();
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
        await PostgresChanges.ForgetAsync(connection, now - 60);
        (await KeptAsync()).ShouldBe("1,2,3");
        await PostgresChanges.ForgetAsync(connection, now + 60);
        (await KeptAsync()).ShouldBe("2,3");

        async Task<object?> KeptAsync() => await Process.ExecuteAsync("SELECT string_agg(number::text, ',' ORDER BY number) FROM aglow.visibility", node.Database);
    }

    [Fact]
    public async Task Who_was_away_for_long_is_told_everything()
    {
        var time = new ManualTimeProvider();
        await using var one = await OpenAsync(await Process.CreateDatabaseAsync());
        await using var other = await OpenAsync(one, time);
        await CatchUpAsync(other, time);
        await one.Directory.SetManualStatusAsync(5, new ManualStatus(ManualStatusKind.Away));
        await one.Directory.SetVisibilityAsync(6, OnlineVisibility.Nobody, null);
        await Process.StopAsync();
        time.Advance(TimeSpan.FromMinutes(31));
        await Process.RestartAsync();
        await Eventually.HoldsAsync(() =>
        {
            time.Advance(TimeSpan.FromMilliseconds(100));
            return other.Told.Count(changes => changes.IsComplete) == 2;
        });
        other.Statuses[5].Kind.ShouldBe(ManualStatusKind.Away);
        other.Shows(6).Online.ShouldBe(OnlineVisibility.Nobody);
    }

    // ---- search -------------------------------------------------------------------------------------------------------------------

    /// <summary>However few users are walked over and candidates taken, so that each way of searching has its turn, with trigrams and without.</summary>
    [Theory]
    [InlineData(20_000, 5_000, true)]
    [InlineData(3, 5_000, true)]
    [InlineData(3, 2, true)]
    [InlineData(7, 5_000, false)]
    public async Task Search_agrees_with_looking_at_every_user(int walked, int candidates, bool trigrams)
    {
        var database = await Process.CreateDatabaseAsync();
        await using var directory = await PostgresUserDirectory.OpenAsync(Process.Options(database), TimeProvider.System, NullLoggerFactory.Instance);
        directory.SearchLimits = new(walked, candidates, TimeSpan.FromMinutes(1), trigrams);
        // few letters, so that names meet; some that fold, some that mean something to LIKE, one beyond the basic plane
        string[] letters = ["a", "a", "b", "A", "B", "Å", "å", "σ", "ς", "Σ", "_", "%", "\\", "*", " ", "🌞", "1"];
        var random = new Random(walked + candidates);
        string Text(int least, int most) => string.Concat(Enumerable.Range(0, random.Next(least, most + 1)).Select(_ => letters[random.Next(letters.Length)]));
        var created = await Task.WhenAll(Enumerable.Range(0, 150).Select(i => directory.CreateAsync(Text(1, 9), i % 2 == 0 ? Text(1, 9) : null).AsTask()));
        var users = created.OfType<DirectoryUser>().OrderBy(user => user.Number).ToList();
        foreach (var user in users.Where((_, i) => i % 7 == 0).ToList())
        {
            await directory.DeleteAsync(user.Number);
            users.Remove(user);
        }

        for (var i = 0; i < 60; i++)
        {
            var query = Text(0, 4);
            var found = await UserDirectoryContract.AllAsync(directory, query, random.Next(1, 6));
            found.Select(user => user.Name).ShouldBe(Expected(users, query).Select(user => user.Name), $"\"{query}\"");
        }
    }

    [Fact]
    public async Task Without_trigrams_search_goes_on_and_says_what_to_do_and_where_they_come_later_the_index_is_made()
    {
        // whoever may not make extensions, in a schema that was made for them
        var database = await Process.CreateDatabaseAsync();
        var role = $"r{database}";
        await Process.ExecuteAsync($"CREATE ROLE {role} LOGIN PASSWORD 'x'; CREATE SCHEMA aglow AUTHORIZATION {role}", database);
        var options = PostgresOptions.Parse(Process.Connection(database, role, "x"));
        var logs = new Lines();
        await using (var directory = await PostgresUserDirectory.OpenAsync(options, TimeProvider.System, logs))
        {
            await directory.CreateAsync("marianne", null);
            (await directory.SearchAsync("iann", 10, null)).Users.Single().Name.ShouldBe("marianne");
        }

        logs.All.ShouldContain(line => line.Contains("CREATE EXTENSION pg_trgm"));
        await Process.ExecuteAsync("CREATE EXTENSION pg_trgm", database);
        await using (var directory = await PostgresUserDirectory.OpenAsync(options, TimeProvider.System, logs))
            (await directory.SearchAsync("iann", 10, null)).Users.Single().Name.ShouldBe("marianne");
        (await Process.ExecuteAsync("SELECT to_regclass('aglow.users_inside') IS NOT NULL", database)).ShouldBe(true);
    }

    // ---- a server that is not as it should be ---------------------------------------------------------------------------------------

    [Fact]
    public async Task A_server_that_is_restarted_is_away_and_back_by_itself()
    {
        var logs = new Lines();
        var options = Process.Options(await Process.CreateDatabaseAsync());
        int Away() => logs.All.Count(line => line.Contains("calls that need the directory get 503"));
        int Back() => logs.All.Count(line => line.Contains("is back after"));
        await using var directory = await PostgresUserDirectory.OpenAsync(options, TimeProvider.System, logs);
        await directory.RegisterAsync(["alice"], new uint[1]);
        // no caller notices: connections that were closed are made anew, for reading and for writing
        await Process.StopAsync();
        await Process.RestartAsync();
        (await directory.FindAsync(First))!.Name.ShouldBe("alice");
        (await directory.CreateAsync("bob", null))!.Number.ShouldBe(First + 1);
        await Eventually.HoldsAsync(() => Away() == Back());
        var before = Away();

        await Process.StopAsync();
        try
        {
            var away = await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.FindAsync(First));
            away.Message.ShouldBe($"PostgreSQL at {options} cannot be reached (Connection refused): start it, or name where it is with --postgres.");
            await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.CreateAsync("carol", null));
            await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.CatchUpAsync());
        }
        finally
        {
            await Process.RestartAsync();
        }

        await Eventually.HoldsAsync(() => Back() == before + 1);
        (await directory.CreateAsync("carol", null))!.Number.ShouldBe(First + 2);
        Away().ShouldBe(before + 1);
    }

    [Fact]
    public async Task A_command_that_fails_takes_nothing_of_the_others_with_it()
    {
        await using var node = await OpenAsync(await Process.CreateDatabaseAsync());
        await Process.ExecuteAsync("UPDATE aglow.state SET next_number = 4294967294", node.Database);
        // one number is left
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 20).Select(async i =>
        {
            try
            {
                return await node.Directory.CreateAsync($"user {i}", null) is not null ? "created" : "taken";
            }
            catch (StoreUnavailableException full)
            {
                return full.Message;
            }
        }).Append(Task.Run(async () =>
        {
            await node.Directory.SetManualStatusAsync(3, new ManualStatus(ManualStatusKind.Busy));
            return "set";
        })));
        outcomes.Count(outcome => outcome == "created").ShouldBe(1);
        outcomes.Count(outcome => outcome == "set").ShouldBe(1);
        outcomes.Count(outcome => outcome == "The user directory has given all of its 2,147,483,647 numbers.").ShouldBe(19);
    }

    [Fact]
    public async Task Where_all_connections_are_in_use_calls_say_so_and_do_not_wait_for_ever()
    {
        var database = await Process.CreateDatabaseAsync();
        // one writes, one listens
        var options = PostgresOptions.Parse(Process.Connection(database, more: "Maximum Pool Size=3;Timeout=1"));
        await using var directory = await PostgresUserDirectory.OpenAsync(options, TimeProvider.System, NullLoggerFactory.Instance);
        await directory.CreateAsync("alice", null);
        await using var blocker = new NpgsqlConnection(Process.Connection(database));
        await blocker.OpenAsync();
        await using var transaction = await blocker.BeginTransactionAsync();
        await using var lockTable = new NpgsqlCommand("LOCK TABLE aglow.users", blocker);
        await lockTable.ExecuteNonQueryAsync();
        var waiting = directory.FindAsync(First).AsTask();
        var refused = await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.FindAsync(First));
        refused.Message.ShouldBe($"All 3 connections to PostgreSQL at {options} are in use: raise Maximum Pool Size in --postgres.");
        await transaction.RollbackAsync();
        (await waiting)!.Name.ShouldBe("alice");
    }

    [Fact]
    public async Task What_cannot_be_used_is_said_in_one_line()
    {
        var database = await Process.CreateDatabaseAsync();
        await Process.ExecuteAsync($"CREATE ROLE n{database} LOGIN PASSWORD 'x' CONNECTION LIMIT 0; CREATE ROLE s{database} LOGIN PASSWORD 'x'; CREATE ROLE o{database} LOGIN PASSWORD 'x'");
        await Process.ExecuteAsync($"ALTER ROLE o{database} SET default_transaction_read_only = on");
        var at = $"127.0.0.1:{Process.Port}";
        await RefusesAsync(Process.Connection(database, password: "wrong"), $"PostgreSQL at {at}/{database} does not let aglow in");
        await RefusesAsync($"Host=127.0.0.1;Port={Process.Port};Username=aglow;Database={database}", $"PostgreSQL at {at}/{database} wants a password for aglow: set AGLOW_POSTGRES_PASSWORD.");
        await RefusesAsync(Process.Connection("nowhere"), $"PostgreSQL at {at}/nowhere has no such database: create it (createdb -O aglow nowhere), or name another.");
        await RefusesAsync(Process.Connection(database, $"n{database}", "x"), $"PostgreSQL at {at}/{database} has no connection left: raise its max_connections, or lower Maximum Pool Size (10) here.");
        await RefusesAsync(Process.Connection(database, $"s{database}", "x"), $"s{database} may not do this in PostgreSQL at {at}/{database} (permission denied for database {database})");
        await RefusesAsync(Process.Connection(database, $"o{database}", "x"), $"PostgreSQL at {at}/{database} is read-only: name the primary");
        await RefusesAsync("Host=127.0.0.1;Port=1;Database=x;Username=y", "PostgreSQL at 127.0.0.1:1/x cannot be reached (Connection refused): start it, or name where it is with --postgres.");
        await using (await OpenAsync(database))
            await Process.ExecuteAsync("UPDATE aglow.state SET version = 99", database);
        await RefusesAsync(Process.Connection(database), $"The directory in {at}/{database} was made by a newer Aglow (version 99 of its tables, this program knows 2): run that.");
    }

    [Fact]
    public async Task A_server_that_is_too_old_is_refused()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        var serving = PretendToBeAsync(listener, "12.4");
        await RefusesAsync($"Host=127.0.0.1;Port={port};Database=x;Username=y;SSL Mode=Disable;Server Compatibility Mode=NoTypeLoading", $"PostgreSQL at 127.0.0.1:{port}/x is version 12.4: 13 is the oldest that will do.");
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
            $"aglow: PostgreSQL at 127.0.0.1:{Process.Port}/postgres does not let aglow in (password authentication failed for user \"aglow\"): set the right user, and the password with AGLOW_POSTGRES_PASSWORD.\n");
        (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--postgres", "postgres://127.0.0.1/x"]);
        (code, errors).ShouldBe(
            (2, "aglow: --postgres is for nodes that share a Redis: set --redis, too, or leave it out; one server has its users in its folder.\n"));
        (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--redis", "127.0.0.1:1", "--postgres", "Server=x;Pasword=secret"]);
        (code, errors).ShouldBe(
            (2, "aglow: --postgres is not as it should be: set Host=…;Port=5432;Database=…;Username=…;Password=… or postgres://USER:PASSWORD@HOST:PORT/DATABASE.\n"));
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
            async () => await PostgresUserDirectory.OpenAsync(PostgresOptions.Parse(connection), TimeProvider.System, NullLoggerFactory.Instance));
        refused.Message.ShouldStartWith(message);
        refused.Message.ShouldNotContain('\n');
    }

    private static async Task CatchUpAsync(Node node, ManualTimeProvider time)
    {
        var caughtUp = node.Directory.CatchUpAsync().AsTask();
        time.Advance(PostgresWriter.PauseBetweenCatchUps);
        await caughtUp;
    }

    private static IEnumerable<DirectoryUser> Expected(List<DirectoryUser> users, string query)
    {
        query = FoldedText.Fold(query);
        string[] Fields(DirectoryUser user) => user.DisplayName is null ? [FoldedText.Fold(user.Name)] : [FoldedText.Fold(user.Name), FoldedText.Fold(user.DisplayName)];
        string? Beginning(DirectoryUser user) => Array.Find(Fields(user), field => field.StartsWith(query, StringComparison.Ordinal));
        var begin = users.Where(user => Beginning(user) is not null).OrderBy(user => Convert.ToHexString(Encoding.UTF8.GetBytes(Beginning(user)!)), StringComparer.Ordinal).ThenBy(user => user.Number);
        return query.EnumerateRunes().Count() < 3
            ? begin
            : begin.Concat(users.Where(user => Beginning(user) is null && Array.Exists(Fields(user), field => field.Contains(query, StringComparison.Ordinal))));
    }

    // As much of a server as says which version it is.
    private static async Task PretendToBeAsync(TcpListener listener, string version)
    {
        using var client = await listener.AcceptTcpClientAsync();
        var stream = client.GetStream();
        var buffer = new byte[1024];
        _ = await stream.ReadAsync(buffer);
        var parameter = Encoding.ASCII.GetBytes($"server_version\0{version}\0");
        await stream.WriteAsync((byte[])[(byte)'R', 0, 0, 0, 8, 0, 0, 0, 0, (byte)'S', 0, 0, 0, (byte)(4 + parameter.Length), .. parameter, (byte)'Z', 0, 0, 0, 5, (byte)'I']);
        while (await stream.ReadAsync(buffer) > 0)
        {
        }
    }

    private Task<Node> OpenAsync(string database) => Node.OpenAsync(Process, database, TimeProvider.System);

    private Task<Node> OpenAsync(Node beside, TimeProvider? time = null) => Node.OpenAsync(Process, beside.Database, time ?? TimeProvider.System);

    /// <summary>A node's directory, and what it was told.</summary>
    private sealed class Node : IAsyncDisposable
    {
        private Node(PostgresUserDirectory directory, string database)
        {
            Directory = directory;
            Database = database;
            directory.Changed += changes =>
            {
                foreach (var (user, status) in changes.Statuses)
                    Statuses[user] = status;
                foreach (var (user, visibility) in changes.Visibilities)
                    Visibilities[user] = visibility;
                foreach (var (_, name) in changes.Deleted)
                    Deleted.Add(name);
                Told.Enqueue(changes);
            };
        }

        public PostgresUserDirectory Directory { get; }

        public string Database { get; }

        public ConcurrentQueue<DirectoryChanges> Told { get; } = new();

        public ConcurrentDictionary<uint, ManualStatus> Statuses { get; } = new();

        public ConcurrentDictionary<uint, Visibility> Visibilities { get; } = new();

        public ConcurrentBag<string> Deleted { get; } = [];

        public static async Task<Node> OpenAsync(PostgresProcess process, string database, TimeProvider time) =>
            new(await PostgresUserDirectory.OpenAsync(process.Options(database), time, NullLoggerFactory.Instance), database);

        public Visibility Shows(uint user) => Visibilities.GetValueOrDefault(user, Visibility.Default);

        public ValueTask DisposeAsync() => Directory.DisposeAsync();
    }

    /// <summary>What was logged.</summary>
    private sealed class Lines : ILoggerFactory, ILogger
    {
        public ConcurrentQueue<string> All { get; } = new();

        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => All.Enqueue(formatter(state, exception));

        public void Dispose()
        {
        }
    }
}
