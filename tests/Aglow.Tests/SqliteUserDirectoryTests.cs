using Aglow.Model;
using Aglow.Sqlite;
using Aglow.Storage;
using Aglow.Stores.Tests;
using Aglow.Users;
using Microsoft.Data.Sqlite;

namespace Aglow.Tests;

/// <summary>The contract with all names still in memory, and what is SQLite's own: files, restarts, a full disk.</summary>
public sealed class SqliteUserDirectoryTests : UserDirectoryContract, IDisposable
{
    private const uint First = UserId.FirstDirectoryNumber;

    private readonly TemporaryFolder _folder = new();

    private string UsersFile => _folder.File("users.db");

    private string NamesFile => _folder.File("names.db");

    public void Dispose() => _folder.Dispose();

    private protected override Task<IUserDirectory> OpenAsync(TimeProvider time) => Task.FromResult<IUserDirectory>(Open());

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Everything_is_there_after_a_restart(bool indexed)
    {
        await using (var directory = Open())
        {
            await directory.CreateAsync("alice", "Alice");
            await directory.RegisterAsync(["bob", "carol"], new uint[2]);
            await directory.FollowAsync(First, [5, First + 1], true, 10);
            await directory.SetManualStatusAsync(3, new ManualStatus(ManualStatusKind.Hidden, 77));
            await directory.DeleteAsync(First + 1);
            if (indexed)
                await directory.IndexAsync();
        }

        await using var again = Open();
        again.NextNumber.ShouldBe(First + 3);
        (await again.FindAsync(First))!.DisplayName.ShouldBe("Alice");
        var numbers = new uint[3];
        await again.FindNumbersAsync(["alice", "bob", "carol"], numbers);
        numbers.ShouldBe([First, 0, First + 2]);
        (await again.SubscriptionsAsync(First)).ShouldBe([5u]);
        (await again.ManualStatusesAsync()).ShouldBe([new(3, new ManualStatus(ManualStatusKind.Hidden, 77))]);
        (await again.DeletedNumbersAsync()).ShouldBe([First + 1]);
        (await AllAsync(again, "aro", 10)).Single().Name.ShouldBe("carol");
        (await AllAsync(again, "bob", 10)).ShouldBeEmpty();
        (await again.CreateAsync("alice", null)).ShouldBeNull();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_number_is_not_given_again_after_a_restart_though_its_user_was_the_last(bool indexed)
    {
        await using (var directory = Open())
        {
            await directory.RegisterAsync(["alice", "bob"], new uint[2]);
            if (indexed)
                await directory.IndexAsync();
            await directory.DeleteAsync(First + 1);
            await directory.DeleteAsync(First);
        }

        await using var again = Open();
        (await again.CreateAsync("bob", null))!.Number.ShouldBe(First + 2);
    }

    /// <summary>The files as a kill would leave them: copied while the directory is open, its WAL not checkpointed.</summary>
    [Fact]
    public async Task What_was_acknowledged_survives_a_kill_and_no_number_is_given_twice()
    {
        await using var directory = Open();
        for (var round = 0; round < 20; round++)
        {
            await directory.CreateAsync($"user {round}", null);
            if (round % 3 == 0)
                await directory.DeleteAsync(First + (uint)round);
            if (round % 5 == 0)
                await directory.IndexAsync();

            using var copy = new TemporaryFolder();
            foreach (var file in Directory.EnumerateFiles(_folder.Path))
                File.Copy(file, copy.File(Path.GetFileName(file)));
            await using var survivor = SqliteUserDirectory.Open(copy.Path, new ManualTimeProvider());
            survivor.NextNumber.ShouldBe(directory.NextNumber);
            var numbers = new uint[1];
            await survivor.FindNumbersAsync([$"user {round}"], numbers);
            numbers[0].ShouldBe(round % 3 == 0 ? 0 : First + (uint)round);
            (await survivor.CreateAsync($"user {round}", null))?.Number.ShouldBe(directory.NextNumber);
        }
    }

    [Fact]
    public void Another_programs_database_is_refused_and_left_as_it_was()
    {
        using (var connection = new SqliteConnection($"Data Source={UsersFile};Pooling=False"))
        {
            connection.Open();
            SqliteFile.Execute(connection, "CREATE TABLE user (number INTEGER PRIMARY KEY, name TEXT)");
        }

        RefusesToOpen(UsersFile, "another program");
    }

    [Theory]
    [InlineData("users.db")]
    [InlineData("names.db")]
    public void A_file_that_is_no_database_is_refused_and_left_as_it_was(string name)
    {
        File.WriteAllText(_folder.File(name), new string('x', 5000));
        RefusesToOpen(_folder.File(name), "not an Aglow file");
    }

    [Theory]
    [InlineData("users.db")]
    [InlineData("names.db")]
    public async Task A_damaged_file_is_refused_and_left_as_it_was(string name)
    {
        await (await OpenAsync(TimeProvider.System)).DisposeAsync();
        var bytes = File.ReadAllBytes(_folder.File(name));
        for (var i = 100; i < bytes.Length; i++)
            bytes[i] = (byte)(i * 31);
        File.WriteAllBytes(_folder.File(name), bytes);
        RefusesToOpen(_folder.File(name), "damaged");
    }

    [Theory]
    [InlineData("users.db")]
    [InlineData("names.db")]
    public async Task A_file_of_a_newer_version_is_refused_and_left_as_it_was(string name)
    {
        await (await OpenAsync(TimeProvider.System)).DisposeAsync();
        using (var connection = new SqliteConnection($"Data Source={_folder.File(name)};Pooling=False"))
        {
            connection.Open();
            SqliteFile.Execute(connection, "PRAGMA user_version = 99");
        }

        RefusesToOpen(_folder.File(name), "newer Aglow");
    }

    [Fact]
    public void A_folder_that_is_a_file_is_refused()
    {
        var path = _folder.File("file");
        File.WriteAllText(path, "");
        Should.Throw<DataFolderException>(() => SqliteUserDirectory.Open(path, new ManualTimeProvider())).Message.ShouldContain(path);
    }

    [Fact]
    public async Task A_lost_index_is_made_anew()
    {
        await using (var directory = Open())
        {
            await directory.CreateAsync("alice", "Liddell");
            await directory.IndexAsync();
        }

        File.Delete(NamesFile);
        await using var again = Open();
        (await again.CreateAsync("alice", null)).ShouldBeNull();
        (await AllAsync(again, "dde", 10)).Single().Name.ShouldBe("alice");
    }

    [Fact]
    public async Task The_index_of_another_users_file_is_refused()
    {
        await using (var directory = Open())
            await directory.CreateAsync("alice", null);
        File.Delete(UsersFile);
        RefusesToOpen(NamesFile, "move it away");
    }

    [Fact]
    public async Task An_index_that_is_ahead_of_a_restored_users_file_is_refused()
    {
        await using (var directory = Open())
            await directory.CreateAsync("alice", null);
        File.Copy(UsersFile, UsersFile + ".backup");
        await using (var directory = Open())
        {
            await directory.CreateAsync("bob", null);
            await directory.IndexAsync();
        }

        File.Move(UsersFile + ".backup", UsersFile, overwrite: true);
        RefusesToOpen(NamesFile, "move it away");
    }

    [Fact]
    public async Task A_full_disk_fails_callers_changes_nothing_and_passes()
    {
        await using var directory = Open();
        await directory.CreateAsync("alice", null);
        await directory.LimitPagesAsync(0);

        string[] keys = [.. Enumerable.Range(0, 5000).Select(i => $"key-{i}-{new string('x', 100)}")];
        var full = await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.RegisterAsync(keys, new uint[keys.Length]));
        full.Message.ShouldContain(UsersFile);
        full.Message.ShouldContain("disk is full");
        directory.NextNumber.ShouldBe(First + 1);
        var numbers = new uint[keys.Length];
        await directory.FindNumbersAsync(keys, numbers);
        numbers.ShouldAllBe(number => number == 0);
        (await directory.SearchAsync("key", 10, null)).Users.ShouldBeEmpty();
        await directory.IndexAsync();

        await directory.LimitPagesAsync(1 << 30);
        (await directory.RegisterAsync(keys, numbers)).ShouldBe(keys.Length);
        numbers.ShouldBe(Enumerable.Range(0, keys.Length).Select(i => First + 1 + (uint)i));
        (await AllAsync(directory, "key-77-", 10)).Single().Name.ShouldBe(keys[77]);
    }

    [Fact]
    public async Task A_small_command_passes_where_a_large_one_at_the_same_time_has_no_room()
    {
        await using var directory = Open();
        await directory.CreateAsync("alice", null);
        await directory.LimitPagesAsync(0);
        string[] keys = [.. Enumerable.Range(0, 5000).Select(i => $"key-{i}-{new string('x', 100)}")];
        var large = Enumerable.Range(0, 4).Select(_ => directory.RegisterAsync(keys, new uint[keys.Length]).AsTask()).ToArray();
        var small = Enumerable.Range(0, 20).Select(i => directory.CreateAsync($"u{i}", null).AsTask()).ToArray();
        foreach (var task in large)
            await Should.ThrowAsync<StoreUnavailableException>(task);
        (await Task.WhenAll(small)).Select(user => user!.Number).Order().ShouldBe(Enumerable.Range(1, 20).Select(i => First + (uint)i));
    }

    [Fact]
    public async Task Deleted_users_leave_the_index_and_their_names_the_disk()
    {
        await using (var directory = Open())
        {
            await directory.CreateAsync("indexed", "Display");
            await directory.IndexAsync();
            await directory.CreateAsync("waiting", null);
            await directory.CreateAsync("staying", null);
            await directory.DeleteAsync(First);
            await directory.DeleteAsync(First + 1);
            await directory.IndexAsync();
            await directory.IndexAsync();
            directory.NamesWaiting.ShouldBe(0);
        }

        Ask(UsersFile, "SELECT count(*) FROM deleted WHERE name IS NOT NULL OR display_name IS NOT NULL").ShouldBe(0);
        Ask(NamesFile, "SELECT count(*) FROM hash").ShouldBe(1);
        Ask(NamesFile, "SELECT count(*) FROM beginning").ShouldBe(1);
        Ask(NamesFile, "SELECT count(*) FROM gram WHERE gram MATCH '\"dex\"'").ShouldBe(0);
        Ask(NamesFile, "SELECT count(*) FROM gram WHERE gram MATCH '\"spl\"'").ShouldBe(0);
        Ask(NamesFile, "SELECT count(*) FROM gram WHERE gram MATCH '\"iti\"'").ShouldBe(0);
        Ask(NamesFile, "SELECT count(*) FROM gram WHERE gram MATCH '\"yin\"'").ShouldBe(1);
        Ask(NamesFile, "SELECT count(*) FROM dropped").ShouldBe(0);
    }

    [Fact]
    public async Task Names_are_indexed_a_second_after_the_last_one_came()
    {
        var time = new ManualTimeProvider();
        await using var directory = SqliteUserDirectory.Open(_folder.Path, time);
        await directory.CreateAsync("alice", null);
        directory.NamesWaiting.ShouldBe(1);
        var deadline = TimeProvider.System.GetTimestamp();
        while (directory.NamesWaiting > 0)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Yield();
            TimeProvider.System.GetElapsedTime(deadline).ShouldBeLessThan(TimeSpan.FromSeconds(30));
        }

        (await AllAsync(directory, "lic", 10)).Single().Name.ShouldBe("alice");
    }

    [Fact]
    public async Task Pages_that_cost_too_much_end_early_and_lose_nobody()
    {
        await using var directory = SqliteUserDirectory.Open(_folder.Path, new HastyTimeProvider());
        for (var i = 0; i < 50; i++)
            await directory.CreateAsync($"user {i:00}", i % 2 == 0 ? "Some user" : "User of old");
        for (var indexed = 0; indexed < 2; indexed++)
        {
            var found = await AllAsync(directory, "user", 100);
            found.Count.ShouldBe(50);
            found.Select(user => user.Number).Distinct().Count().ShouldBe(50);
            (await AllAsync(directory, "ser", 100)).Count.ShouldBe(50);
            (await directory.SearchAsync("ser", 100, null)).Users.Count.ShouldBeLessThan(50);
            await directory.IndexAsync();
        }
    }

    [Fact]
    public async Task Names_that_all_begin_alike_are_found_by_what_differs()
    {
        await using var directory = Open();
        string[] keys = [.. Enumerable.Range(0, 3000).Select(i => $"user_{i:0000}")];
        await directory.RegisterAsync(keys, new uint[keys.Length]);
        await directory.IndexAsync();
        directory.NamesWaiting.ShouldBe(0);
        (await AllAsync(directory, "user_1234", 3)).Select(user => user.Name).ShouldBe(["user_1234"]);
        (await AllAsync(directory, "ser_1234", 3)).Select(user => user.Name).ShouldBe(["user_1234"]);
        (await AllAsync(directory, "ser_123", 3)).Select(user => user.Name).ShouldBe(Enumerable.Range(1230, 10).Select(i => $"user_{i}"));
        (await AllAsync(directory, "user_12345", 3)).ShouldBeEmpty();
        (await AllAsync(directory, "user_3000", 3)).ShouldBeEmpty();
        (await AllAsync(directory, "ser_", 100)).Select(user => user.Name).ShouldBe(keys);
        (await AllAsync(directory, "user_", 100)).Select(user => user.Name).ShouldBe(keys);
    }

    [Fact]
    public async Task Readers_writers_and_the_index_at_once_find_each_name_exactly_once()
    {
        await using var directory = SqliteUserDirectory.Open(_folder.Path, TimeProvider.System);
        var registered = 0;
        var done = false;
        var indexing = Task.Run(async () =>
        {
            while (!Volatile.Read(ref done))
                await directory.IndexAsync();
        });
        var readers = Enumerable.Range(0, 2).Select(seed => Task.Run(async () =>
        {
            var random = new Random(seed);
            while (!Volatile.Read(ref done))
            {
                var known = Volatile.Read(ref registered);
                if (known == 0)
                    continue;
                var key = $"key-{random.Next(known):00000}-end";
                var numbers = new uint[1];
                await directory.FindNumbersAsync([key], numbers);
                numbers[0].ShouldBeGreaterThan(0u);
                (await AllAsync(directory, key, 2)).Select(user => user.Number).ShouldBe(numbers);
                (await AllAsync(directory, key[1..], 2)).Select(user => user.Number).ShouldBe(numbers);
                (await directory.CreateAsync(key, null)).ShouldBeNull();
            }
        })).ToArray();
        for (var i = 0; i < 100; i++)
        {
            await directory.RegisterAsync([.. Enumerable.Range(i * 30, 30).Select(k => $"key-{k:00000}-end")], new uint[30]);
            Volatile.Write(ref registered, (i + 1) * 30);
        }

        Volatile.Write(ref done, true);
        await Task.WhenAll([indexing, .. readers]);
        directory.NextNumber.ShouldBe(First + 3000);
    }

    private static long Ask(string file, string sql)
    {
        using var connection = new SqliteConnection($"Data Source={file};Mode=ReadOnly;Pooling=False");
        connection.Open();
        using var statement = new SqliteStatement(connection, sql);
        statement.Step();
        return statement.Int64(0);
    }

    private SqliteUserDirectory Open() => SqliteUserDirectory.Open(_folder.Path, new ManualTimeProvider());

    private void RefusesToOpen(string file, string why)
    {
        var before = File.ReadAllBytes(file);
        var refused = Should.Throw<DataFolderException>(Open);
        refused.Message.ShouldContain(file);
        refused.Message.ShouldContain(why);
        refused.Message.ShouldNotContain("\n");
        File.ReadAllBytes(file).ShouldBe(before);
    }

    /// <summary>Each look at this clock costs 10 ms.</summary>
    private sealed class HastyTimeProvider : TimeProvider
    {
        private long _ticks;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Interlocked.Add(ref _ticks, TimeSpan.TicksPerMillisecond * 10);
    }
}
