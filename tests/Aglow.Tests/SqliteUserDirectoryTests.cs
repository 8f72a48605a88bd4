using System.Text;
using Aglow.Sqlite;
using Aglow.Stores.Tests;
using Microsoft.Data.Sqlite;

namespace Aglow.Tests;

/// <summary>The contract, and what only the SQLite backend has: files, restarts, a full disk.</summary>
public sealed class SqliteUserDirectoryTests : UserDirectoryContract, IDisposable
{
    private const uint First = UserId.FirstDirectoryNumber;

    private readonly TemporaryFolder _folder = new();

    private string UsersFile => _folder.File("users.db");

    public void Dispose() => _folder.Dispose();

    private static readonly Claim Hidden = new(Claim.UserSource, ClaimStatus.Hidden, SetAt: 5, ShownLastSeen: 77);
    private static readonly Claim Call =
        new("call", ClaimStatus.Busy, new StatusDetails("In a call", "📞", 3_000_000_000), -7, long.MaxValue);
    private static readonly Claim Quiet = Claim.Quiet(QuietHours.TryParse("mon,sun 22:00 07:00 Europe/Berlin")!);

    private protected override Task<IUserDirectory> OpenAsync(TimeProvider time) =>
        Task.FromResult<IUserDirectory>(SqliteUserDirectory.Open(_folder.Path, time));

    [Fact]
    public async Task A_read_that_starts_while_the_readers_close_does_not_wait_forever()
    {
        using var file = SqliteUserDirectory.OpenFile(_folder.Path);
        var readers = new UserReaders(file, new CursorSeal(new byte[16]), cacheKibibytes: 1024);
        using var started = new SemaphoreSlim(0);
        using var most = new ManualResetEventSlim();
        using var last = new ManualResetEventSlim();
        // as many as there are readers
        Task<int>[] reads = [.. Enumerable.Range(0, Environment.ProcessorCount + 2).Select(i => Task.Factory.StartNew(
            () => readers.RunAsync(_ =>
            {
                started.Release();
                (i == 0 ? last : most).Wait();
                return i;
            }).AsTask(),
            TaskCreationOptions.LongRunning).Unwrap())];
        foreach (var _ in reads)
            await started.WaitAsync();
        var closing = readers.DisposeAsync().AsTask();
        most.Set();
        await Task.WhenAll(reads[1..]);
        Task<int> late;
        do
            late = readers.RunAsync(static _ => 0).AsTask();
        while (late.IsCompletedSuccessfully);

        last.Set();
        await closing;
        await Task.WhenAny(late).WaitAsync(TimeSpan.FromSeconds(30));
        // it may have come just before the readers were closed
        if (!late.IsCompletedSuccessfully)
            await Should.ThrowAsync<StoreUnavailableException>(late);
    }

    [Fact]
    public async Task Everything_is_there_after_a_restart()
    {
        await using (var directory = Open())
        {
            await directory.RegisterAsync(["alice", "bob", "carol"], new uint[3]);
            await directory.WriteProfilesAsync([new(First, "alice", "Alice Liddell"), new(7, "seven", null)], create: true);
            await directory.FollowAsync(First, [5, First + 1], true, 10);
            await directory.SetClaimAsync(3, Hidden, 50);
            await directory.SetClaimAsync(3, Call, 50);
            await directory.SetClaimAsync(3, Quiet, 50);
            await directory.SetVisibilityAsync(4, OnlineVisibility.Nobody, null);
            await directory.RelateAsync(4, Relation.Blocked, [First + 1], add: true, limit: 10);
            await directory.SetDisabledAsync(5, true, 99);
            await directory.DeleteAsync(First + 1, 1_900_000_000);
            await directory.RevokeAsync(First + 2, 1_900_000_001);
        }

        await using var again = Open();
        again.NextIndex.ShouldBe(First + 3);
        var indexes = new uint[4];
        await again.FindIndexesAsync(["alice", "bob", "carol", "dave"], indexes);
        indexes.ShouldBe([First, First + 1, First + 2, 0]);
        (await again.FindProfileAsync(First))!.DisplayName.ShouldBe("Alice Liddell");
        (await again.FindProfileAsync(7))!.UserName.ShouldBe("seven");
        (await again.SubscriptionsAsync(First)).ShouldBe([5u, First + 1]);
        var (user, claims) = (await again.ClaimsAsync()).Single();
        user.ShouldBe(3u);
        claims.ShouldBe([Call, Quiet, Hidden], ignoreOrder: true);
        var shown = (await again.VisibilitiesAsync()).Single();
        (shown.Key, shown.Value.Online).ShouldBe((4u, OnlineVisibility.Nobody));
        shown.Value.Of(Relation.Blocked).ShouldBe([First + 1]);
        (await again.AccountsAsync()).OrderBy(static a => a.Key).ShouldBe(
        [
            new(5, new Account(IsDisabled: true, ShownLastSeen: 99)),
            new(First + 1, new Account(RevokedAt: 1_900_000_000, DeletedAt: 1_900_000_000)),
            new(First + 2, new Account(RevokedAt: 1_900_000_001)),
        ]);
        (await again.SearchAsync("dde", 10, null)).Users.Single().Id.ShouldBe("alice");
    }

    [Fact]
    public async Task A_deletion_finds_all_that_a_user_has_by_a_key_and_scans_no_table()
    {
        await using (Open())
        {
            // creates the file
        }

        using var connection = new SqliteConnection($"Data Source={UsersFile};Pooling=false");
        connection.Open();
        foreach (var sql in UserCommands.Deletion)
        {
            using var explain = connection.CreateCommand();
            explain.CommandText = $"EXPLAIN QUERY PLAN {sql}";
            explain.Parameters.AddWithValue("?1", 7);
            using var plan = explain.ExecuteReader();
            while (plan.Read())
            {
                // the index of names has one rowid look-up
                var step = plan.GetString(3);
                (step.StartsWith("SEARCH ", StringComparison.Ordinal) || step == "SCAN profile_text VIRTUAL TABLE INDEX 0:=")
                    .ShouldBeTrue($"{sql}: {step}");
            }
        }
    }

    /// <summary>The files as a kill would leave them: copied while the directory is open, its WAL not checkpointed.</summary>
    [Fact]
    public async Task What_was_acknowledged_survives_a_kill_and_an_id_keeps_its_index()
    {
        await using var directory = Open();
        for (var round = 0; round < 12; round++)
        {
            await directory.RegisterAsync([$"user {round}"], new uint[1]);
            if (round % 3 == 0)
                await directory.DeleteAsync(First + (uint)round, 1_900_000_000);

            using var copy = new TemporaryFolder();
            foreach (var file in Directory.EnumerateFiles(_folder.Path))
                File.Copy(file, copy.File(Path.GetFileName(file)));
            await using var survivor = SqliteUserDirectory.Open(copy.Path, TimeProvider.System);
            survivor.NextIndex.ShouldBe(directory.NextIndex);
            var indexes = new uint[2];
            await survivor.RegisterAsync([$"user {round}", "another"], indexes);
            indexes.ShouldBe([First + (uint)round, directory.NextIndex]);
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

        RefusesToOpen("another program");
    }

    [Fact]
    public void A_file_that_is_no_database_is_refused_and_left_as_it_was()
    {
        File.WriteAllText(UsersFile, new string('x', 5000));
        RefusesToOpen("not an Aglow file");
    }

    [Fact]
    public async Task A_damaged_file_is_refused_and_left_as_it_was()
    {
        await (await OpenAsync(TimeProvider.System)).DisposeAsync();
        var bytes = File.ReadAllBytes(UsersFile);
        for (var i = 100; i < bytes.Length; i++)
            bytes[i] = (byte)(i * 31);
        File.WriteAllBytes(UsersFile, bytes);
        RefusesToOpen("damaged");
    }

    /// <summary>An older version had manual statuses. They become the claims of the users themselves.</summary>
    [Fact]
    public async Task A_file_of_the_version_before_is_brought_to_this_one()
    {
        await (await OpenAsync(TimeProvider.System)).DisposeAsync();
        using (var connection = new SqliteConnection($"Data Source={UsersFile};Pooling=False"))
        {
            connection.Open();
            SqliteFile.Execute(
                connection,
                """
                DROP TABLE claim;
                CREATE TABLE manual_status (user INTEGER PRIMARY KEY, kind INTEGER NOT NULL, shown_last_seen INTEGER NOT NULL);
                INSERT INTO manual_status VALUES (3, 3, 0), (4, 4, 77);
                PRAGMA user_version = 2
                """);
        }

        File.Delete(UsersFile + "-sums");

        for (var time = 0; time < 2; time++)
        {
            await using var directory = Open();
            var claims = (await directory.ClaimsAsync()).ToDictionary(static c => c.Key, static c => c.Value);
            claims[3].ShouldBe([new Claim(Claim.UserSource, ClaimStatus.Busy)]);
            claims[4].ShouldBe([new Claim(Claim.UserSource, ClaimStatus.Hidden, ShownLastSeen: 77)]);
        }
    }

    [Theory]
    [InlineData(99, "newer Aglow")]
    [InlineData(1, "older Aglow")]
    public async Task A_file_of_another_version_is_refused_and_left_as_it_was(int version, string why)
    {
        await (await OpenAsync(TimeProvider.System)).DisposeAsync();
        using (var connection = new SqliteConnection($"Data Source={UsersFile};Pooling=False"))
        {
            connection.Open();
            SqliteFile.Execute(connection, $"PRAGMA user_version = {version}");
        }

        File.Delete(UsersFile + "-sums");
        RefusesToOpen(why);
    }

    [Fact]
    public void A_folder_that_is_a_file_is_refused()
    {
        var path = _folder.File("file");
        File.WriteAllText(path, "");
        Should.Throw<DataFolderException>(() => SqliteUserDirectory.Open(path, TimeProvider.System)).Message.ShouldContain(path);
    }

    [Fact]
    public async Task A_full_disk_fails_callers_changes_nothing_and_passes()
    {
        await using var directory = Open();
        await directory.RegisterAsync(["alice"], new uint[1]);
        await directory.LimitPagesAsync(0);

        string[] ids = [.. Enumerable.Range(0, 5000).Select(i => $"id-{i}-{new string('x', 100)}")];
        var full = await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.RegisterAsync(ids, new uint[ids.Length]));
        full.Message.ShouldContain(UsersFile);
        full.Message.ShouldContain("disk is full");
        directory.NextIndex.ShouldBe(First + 1);
        var indexes = new uint[ids.Length];
        await directory.FindIndexesAsync(ids, indexes);
        indexes.ShouldAllBe(index => index == 0);

        await directory.LimitPagesAsync(1 << 30);
        (await directory.RegisterAsync(ids, indexes)).ShouldBe(ids.Length);
        indexes.Order().ShouldBe(Enumerable.Range(0, ids.Length).Select(i => First + 1 + (uint)i));
    }

    [Fact]
    public async Task A_full_disk_shows_once_when_it_begins_and_once_when_it_ends()
    {
        using var log = new DirectoryLog();
        await using var directory = SqliteUserDirectory.Open(_folder.Path, TimeProvider.System, null, new AglowLog(log));
        await directory.RegisterAsync(["alice"], new uint[1]);
        await directory.LimitPagesAsync(0);
        string[] ids = [.. Enumerable.Range(0, 5000).Select(i => $"id-{i}-{new string('x', 100)}")];
        for (var i = 0; i < 3; i++)
        {
            await Should.ThrowAsync<StoreUnavailableException>(async () => await directory.RegisterAsync(ids, new uint[ids.Length]));
            directory.IsFailing.ShouldBeTrue();
        }

        // a small write has room, and ends nothing
        await directory.LimitPagesAsync(0);
        directory.IsFailing.ShouldBeTrue();
        log.Events.ShouldBe([3002]);

        // ends without a call
        await directory.LimitPagesAsync(1 << 30);
        SpinWait.SpinUntil(() => !directory.IsFailing && log.Events.Count == 2, TimeSpan.FromSeconds(30)).ShouldBeTrue();
        log.Events.ShouldBe([3002, 3003]);
    }

    private sealed class DirectoryLog : Microsoft.Extensions.Logging.ILogger, IDisposable
    {
        public System.Collections.Concurrent.ConcurrentQueue<int> Events { get; } = new();

        public void Dispose() => Events.Clear();

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(Microsoft.Extensions.Logging.LogLevel logLevel) => true;

        public void Log<TState>(
            Microsoft.Extensions.Logging.LogLevel logLevel, Microsoft.Extensions.Logging.EventId eventId, TState state,
            Exception? exception, Func<TState, Exception?, string> formatter) => Events.Enqueue(eventId.Id);
    }

    [Fact]
    public async Task A_small_command_passes_where_a_large_one_at_the_same_time_has_no_room()
    {
        await using var directory = Open();
        await directory.RegisterAsync(["alice"], new uint[1]);
        await directory.LimitPagesAsync(0);
        string[] ids = [.. Enumerable.Range(0, 5000).Select(i => $"id-{i}-{new string('x', 100)}")];
        var large = Enumerable.Range(0, 4).Select(_ => directory.RegisterAsync(ids, new uint[ids.Length]).AsTask()).ToArray();
        var small = Enumerable.Range(0, 20).Select(i => directory.RegisterAsync([$"u{i}"], new uint[1]).AsTask()).ToArray();
        foreach (var task in large)
            await Should.ThrowAsync<StoreUnavailableException>(task);
        (await Task.WhenAll(small)).ShouldAllBe(added => added == 1);
    }

    [Fact]
    public async Task What_a_deleted_user_was_called_and_wrote_is_nowhere_in_the_tables_and_files()
    {
        await using (var directory = Open())
        {
            await directory.RegisterAsync(["a", "b"], new uint[2]);
            await directory.WriteProfilesAsync([new(First, "gone away", "Persephone"), new(First + 1, "staying here", null)], create: true);
            await directory.SetClaimAsync(First, Call with { Details = new StatusDetails("what I said", null, 0) }, 50);
            await directory.SetClaimAsync(First + 1, Call with { Details = new StatusDetails("what stays", null, 0) }, 50);
            // enough other profiles, so that their deletion frees whole pages
            await directory.WriteProfilesAsync(
                [.. Enumerable.Range(0, 2000).Select(static i => new ProfileWrite((uint)i, $"gone away {i}", $"Persephone {i}"))],
                create: true);
            var gone = Enumerable.Range(0, 2000).Select(static i => (uint)i).Append(First);
            await Task.WhenAll(gone.Select(user => directory.DeleteAsync(user, 1_900_000_000).AsTask()));
        }

        foreach (var text in new[] { "gone away", "Persephone", "what I said" })
            FilesWith(text).ShouldBeEmpty(text);
        foreach (var text in new[] { "staying here", "what stays" })
            FilesWith(text).ShouldNotBeEmpty(text);
        QueryInt64("SELECT count(*) FROM profile").ShouldBe(1);
        QueryInt64("SELECT count(*) FROM profile_text WHERE profile_text MATCH '\"eph\"'").ShouldBe(0);
        QueryInt64("SELECT count(*) FROM profile_text WHERE profile_text MATCH '\"yin\"'").ShouldBe(1);
    }

    private IEnumerable<string> FilesWith(string text) => Directory.GetFiles(_folder.Path)
        .Where(file => Encoding.Latin1.GetString(File.ReadAllBytes(file)).Contains(text, StringComparison.OrdinalIgnoreCase));

    [Fact]
    public async Task A_page_that_read_many_rows_ends_early_and_loses_nobody()
    {
        await using var directory = Open();
        const int Users = UserSearch.MaxRows + 500;
        await directory.WriteProfilesAsync(
            [.. Enumerable.Range(0, Users).Select(i => new ProfileWrite((uint)i, $"user {i:00000}", i == Users - 1 ? "a user" : "user"))],
            create: true);
        // all names but one begin with the query, so part three of the search skips nearly all
        var found = new List<uint>();
        var shortPages = 0;
        string? cursor = null;
        do
        {
            var page = await directory.SearchAsync("user", 100, cursor);
            shortPages += page.Users.Count < 100 && page.Next is not null ? 1 : 0;
            found.AddRange(page.Users.Select(static u => u.User));
            cursor = page.Next;
        }
        while (cursor is not null);
        found.Order().ShouldBe(Enumerable.Range(0, Users).Select(static i => (uint)i));
        shortPages.ShouldBeGreaterThan(0);
    }

    [Fact]
    public async Task Readers_and_a_writer_at_once_find_each_name_exactly_once()
    {
        await using var directory = Open();
        var written = 0;
        var done = false;
        var readers = Enumerable.Range(0, 2).Select(seed => Task.Run(async () =>
        {
            var random = new Random(seed);
            // a reader that begins late, on a busy machine, still reads once
            for (var reads = 0; reads == 0 || !Volatile.Read(ref done);)
            {
                var known = Volatile.Read(ref written);
                if (known == 0)
                    continue;
                reads++;
                var user = random.Next(known);
                var name = $"name-{user:00000}-end";
                (await directory.SearchAsync(name, 2, null)).Users.Select(static u => u.User).ShouldBe([(uint)user]);
                (await directory.SearchAsync(name[1..], 2, null)).Users.Select(static u => u.User).ShouldBe([(uint)user]);
            }
        })).ToArray();
        for (var i = 0; i < 50; i++)
        {
            await directory.WriteProfilesAsync(
                [.. Enumerable.Range(i * 30, 30).Select(k => new ProfileWrite((uint)k, $"name-{k:00000}-end", null))], create: true);
            Volatile.Write(ref written, (i + 1) * 30);
        }

        Volatile.Write(ref done, true);
        await Task.WhenAll(readers);
    }

    private long QueryInt64(string sql)
    {
        using var connection = new SqliteConnection($"Data Source={UsersFile};Mode=ReadOnly;Pooling=False");
        connection.Open();
        using var statement = new SqliteStatement(connection, sql);
        statement.Step();
        return statement.Int64(0);
    }

    private SqliteUserDirectory Open() => SqliteUserDirectory.Open(_folder.Path, TimeProvider.System);

    private void RefusesToOpen(string why)
    {
        var before = File.ReadAllBytes(UsersFile);
        var refused = Should.Throw<DataFolderException>(Open);
        refused.Message.ShouldContain(UsersFile);
        refused.Message.ShouldContain(why);
        refused.Message.ShouldNotContain("\n");
        File.ReadAllBytes(UsersFile).ShouldBe(before);
    }
}
