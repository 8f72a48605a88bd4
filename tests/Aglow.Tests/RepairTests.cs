using System.Security.Cryptography;
using System.Text;
using Aglow.Changes;
using Aglow.Durable;
using Aglow.Repair;
using Aglow.Sqlite;

namespace Aglow.Tests;

/// <summary>A server refuses a damaged data folder with one line. A repair keeps the intact data and reports what is lost.</summary>
public sealed class RepairTests : IDisposable
{
    private const int People = 3000;

    private static readonly DateTimeOffset Now = new(2026, 11, 29, 12, 0, 0, TimeSpan.Zero);

    private readonly string _root = Directory.CreateTempSubdirectory("aglow-tests-").FullName;

    private string Folder => Path.Combine(_root, "data");

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public async Task A_whole_folder_is_good_and_a_repair_changes_nothing()
    {
        await WriteAsync();
        var before = Contents();
        FolderRepair.Check(Folder).ShouldAllBe(static file => file.Damage == null);
        FolderRepair.Run(Folder, Now).Damaged.ShouldBeNull();
        Contents().ShouldBe(before);
        Directory.GetDirectories(_root).ShouldBe([Folder]);
    }

    [Fact]
    public async Task A_damaged_page_of_users_loses_its_rows_and_no_others_and_no_index_is_given_twice()
    {
        await WriteAsync();
        // the leaf in the middle of the table of IDs
        var page = LeafOf("users.db", "user-1500"u8);
        Flip("users.db", (page * 2048) + 1000);
        (await RefusedAsync()).ShouldContain("users.db is damaged");

        var (files, damaged) = FolderRepair.Run(Folder, Now);
        files.Single(static file => file.File == "users.db").Lost.ShouldNotBeNull().ShouldContain("are kept");
        damaged.ShouldBe($"{Folder}/damaged-20261129-120000");
        File.Exists(Path.Combine(damaged!, "users.db")).ShouldBeTrue();

        await using var store = await OpenAsync();
        var kept = 0;
        for (var i = 0; i < People; i++)
        {
            var index = await store.Presence.FindAsync(IdOf(i));
            if (index == UserId.Nobody)
                continue;
            kept++;
            // a user has the same index as before, or none
            index.ShouldBe(UserId.FirstDirectoryNumber + (uint)i);
        }

        kept.ShouldBeInRange(People - 300, People - 1);
        var found = await store.Presence.SearchUsersAsync("person 2999", 10, null);
        found.Users.Select(static user => user.Id).ShouldBe(["user-2999"]);
        (await store.Presence.RegisterAsync(UserId.Parse("newcomer"))).ShouldBeGreaterThan(UserId.FirstDirectoryNumber + People - 1);
    }

    [Theory]
    [InlineData("a page")]
    [InlineData("half of the WAL")]
    [InlineData("the WAL")]
    [InlineData("the file")]
    public async Task After_a_repair_nobody_takes_over_another_users_words_and_no_index_is_shown(string lost)
    {
        await WriteKilledAsync();
        switch (lost)
        {
            case "a page":
                Flip("users.db", (LeafOf("users.db", "user-1500"u8) * 2048) + 1000);
                break;
            case "half of the WAL":
                Flip("users.db-wal", (int)new FileInfo(Path.Combine(Folder, "users.db-wal")).Length / 2);
                break;
            case "the WAL":
                File.Delete(Path.Combine(Folder, "users.db-wal"));
                break;
            default:
                File.Delete(Path.Combine(Folder, "users.db"));
                break;
        }

        FolderRepair.Run(Folder, Now).Files.Single(static file => file.File == "users.db").Lost.ShouldNotBeNull()
            .ShouldContain("users whose IDs are lost");
        for (var time = 0; time < 2; time++)
        {
            await using var store = await OpenAsync();
            for (var i = 0; i < 25; i++)
            {
                var stranger = await store.Presence.RegisterAsync(UserId.Parse($"stranger-{i}"));
                (await store.Presence.StatusAsync(stranger)).LastSeen.ShouldBe(0u);
            }

            var online = (await store.Presence.ListOnlineAsync(store.Presence.Definitions.Default, 10_000, null)).Users;
            var ids = new string?[online.Count];
            await store.Presence.FindIdsAsync(online.ToArray(), ids);
            online.Where((user, i) => user >= UserId.FirstDirectoryNumber && ids[i] is null).ShouldBeEmpty();
            online.ShouldContain(7u);
            var changes = (await store.Presence.Changes!.ReadAsync(null, 10_000)).Changes;
            changes.ShouldAllBe(static change => change.User.Key == null || change.User.Key.StartsWith("user-")
                || change.User.Key.StartsWith("late-"));
        }

        FolderRepair.Check(Folder).ShouldAllBe(static file => file.Damage == null);
    }

    [Fact]
    public void Users_whose_IDs_are_lost_leave_images_rows_and_the_feed()
    {
        Directory.CreateDirectory(Folder);
        const uint first = UserId.FirstDirectoryNumber;
        var page = PageLayout.Page(first);
        var words = new uint[PageLayout.Slot(first) + 2];
        // indexes of one page are 256 apart
        (words[^2], words[^1]) = (1000, 1001);
        using (var file = PresenceFile.Open(Path.Combine(Folder, "presence.db")))
        {
            using var known = new UserBits();
            known.Set(first, present: true);
            file.Write(() =>
            {
                file.WriteImage(Plane.Pulse, page, 1, 900, words);
                file.WriteState(file.State with { Images = 1 });
                file.Append(1, RowKind.Activity, 1000, 900, [first, 1000, first + 256, 1000, 5, 1000]);
                file.Append(2, RowKind.Resumed, 1000, 900, [uint.MaxValue - 1, 3]);
                using var feed = ChangeFile.Open(file.Connection);
                feed.Append(1000, [new StoredChange(first + 256, 1000, PresenceStatus.Online, true, ChangeReason.Heartbeat)]);
            });
            using var lost = new LostUsers(file, known);
            lost.Remove();
            (lost.Count, lost.Highest, lost.DropsFeed).ShouldBe((1, first + 256, true));
            ChangeFile.ReadUsers(file.Connection).ShouldBeEmpty();
            var rows = new List<uint[]>();
            file.ReadRows((_, _, _, entries) => rows.Add(entries.ToArray()));
            rows.ShouldBe([[first, 1000, 5, 1000], [uint.MaxValue - 1, 3]]);
        }

        var images = new List<uint[]>();
        PresenceFile.ReadImages(
            Path.Combine(Folder, "presence.db"), [(Plane.Pulse, page, page + 1)], (_, _, _, _, image) => images.Add(image[^2..].ToArray()));
        images.ShouldBe([[1000, 0]]);
    }

    [Theory]
    [InlineData("users.db", 1)]
    [InlineData("users.db", 2)]
    [InlineData("presence.db", 1)]
    [InlineData("presence.db", 2)]
    [InlineData("presence.db", 4)]
    public async Task A_folder_can_be_served_after_a_repair_whatever_page_was_damaged(string file, int page)
    {
        await WriteAsync();
        Flip(file, ((page - 1) * (file == "users.db" ? 2048 : 16384)) + 100);
        (await RefusedAsync()).ShouldContain(file);
        FolderRepair.Check(Folder).Single(one => one.File == file).Lost.ShouldNotBeNull();
        FolderRepair.Run(Folder, Now).Damaged.ShouldNotBeNull();
        for (var time = 0; time < 2; time++)
        {
            await using var store = await OpenAsync();
            var user = await store.Presence.RegisterAsync(UserId.Parse("after"));
            await store.Presence.HeartbeatAsync(user);
            (await store.Presence.StatusAsync(user)).IsOnline.ShouldBeTrue();
        }

        FolderRepair.Check(Folder).ShouldAllBe(static one => one.Damage == null);
    }

    [Theory]
    [InlineData("users.db")]
    [InlineData("presence.db")]
    [InlineData("users.db-sums")]
    [InlineData("presence.db-sums")]
    public async Task A_missing_file_is_said_and_the_others_are_kept(string file)
    {
        await WriteAsync();
        File.Delete(Path.Combine(Folder, file));
        (await RefusedAsync()).ShouldContain("missing");
        FolderRepair.Run(Folder, Now).Damaged.ShouldNotBeNull();
        await using var store = await OpenAsync();
        if (file != "users.db")
            (await store.Presence.FindAsync(IdOf(7))).ShouldBe(UserId.FirstDirectoryNumber + 7);
        if (file != "presence.db")
            (await store.Presence.StatusAsync(5)).IsOnline.ShouldBeTrue();
    }

    [Theory]
    [InlineData("users.db", "gone")]
    [InlineData("users.db", "cut")]
    [InlineData("presence.db", "gone")]
    [InlineData("presence.db", "cut")]
    [InlineData("consumers.db", "gone")]
    [InlineData("consumers.db", "cut")]
    public async Task A_check_says_that_the_last_changes_are_lost_with_a_wal(string file, string how)
    {
        await WriteKilledAsync();
        FolderRepair.Check(Folder).ShouldAllBe(static one => one.Damage == null);
        var wal = Path.Combine(Folder, file + "-wal");
        if (how == "cut")
            File.WriteAllBytes(wal, File.ReadAllBytes(wal)[..^1]);
        else
            File.Delete(wal);
        FolderRepair.Check(Folder).Single(one => one.File == file).Lost.ShouldNotBeNull().ShouldMatch(
            $"(^|; )the last changes, up to [1-9][0-9]* pages of {file}-wal");
    }

    [Theory]
    [InlineData("users.db")]
    [InlineData("presence.db")]
    [InlineData("consumers.db")]
    public async Task A_database_that_is_gone_is_not_begun_anew_in_silence(string file)
    {
        await WriteKilledAsync();
        File.Delete(Path.Combine(Folder, file));
        await ShouldBeRefusedAsync();
        // each of its other files alone shows that it was there
        var sums = Path.Combine(Folder, file + "-sums");
        File.Move(sums, sums + ".kept");
        await ShouldBeRefusedAsync();
        File.Move(sums + ".kept", sums);
        File.Delete(Path.Combine(Folder, file + "-wal"));
        await ShouldBeRefusedAsync();

        FolderRepair.Run(Folder, Now).Damaged.ShouldNotBeNull();
        await using var store = await OpenAsync();
        (await store.Presence.StatusAsync(5)).IsOnline.ShouldBe(file != "presence.db");

        async Task ShouldBeRefusedAsync()
        {
            (await RefusedAsync()).ShouldContain($"{file} is damaged (it is missing)");
            FolderRepair.Check(Folder).Single(one => one.File == file).Lost.ShouldNotBeNull().ShouldContain("all that is not in");
            Should.Throw<DataFolderException>(() => DataBackup.Copy(Folder, Path.Combine(_root, "backup")));
        }
    }

    [Fact]
    public async Task A_repair_that_is_interrupted_at_any_place_is_ended_by_the_next_one()
    {
        await WriteKilledAsync();
        Flip("users.db-wal", (int)new FileInfo(Path.Combine(Folder, "users.db-wal")).Length / 2);
        var before = Path.Combine(_root, "before");
        Copy(Folder, before);
        var damaged = FolderRepair.Run(Folder, Now).Damaged.ShouldNotBeNull();
        var made = Path.Combine(_root, "made");
        Copy(Folder, made);
        var old = Directory.GetFiles(damaged).Select(Path.GetFileName).ToHashSet();
        old.Count.ShouldBe(6);
        var moves = new List<(bool IsNew, string File)>();
        foreach (var name in new[] { "presence.db", "users.db" })
            moves.AddRange([(false, name), (false, name + "-wal"), (false, name + "-sums"), (true, name + "-sums"), (true, name)]);
        for (var done = 0; done <= moves.Count; done++)
        {
            Directory.Delete(Folder, recursive: true);
            Copy(before, Folder);
            var (from, to) = (Path.Combine(Folder, "repaired-20261129-120000"), Path.Combine(Folder, "damaged-20261129-120000"));
            Directory.CreateDirectory(from);
            Directory.CreateDirectory(to);
            foreach (var (_, file) in moves.Where(static move => move.IsNew))
                File.Copy(Path.Combine(made, file), Path.Combine(from, file));
            foreach (var (isNew, file) in moves.Take(done))
                File.Move(Path.Combine(isNew ? from : Folder, file), Path.Combine(isNew ? Folder : to, file));

            (await RefusedAsync()).ShouldContain("was interrupted");
            Should.Throw<DataFolderException>(() => FolderRepair.Check(Folder)).Message.ShouldContain("was interrupted");
            var (files, kept) = FolderRepair.Run(Folder, Now);
            files.ShouldAllBe(static file => file.Damage == null);
            kept.ShouldBe(to);
            Directory.GetFiles(to).Select(Path.GetFileName).ToHashSet().SetEquals(old).ShouldBeTrue();
            Directory.GetDirectories(Folder).ShouldBe([to]);
            await using var store = await OpenAsync();
            (await store.Presence.StatusAsync(5)).IsOnline.ShouldBeTrue();
        }
    }

    [Fact]
    public async Task What_a_repair_makes_is_inside_the_folder_and_belongs_to_its_owner()
    {
        await WriteKilledAsync();
        if (Environment.IsPrivilegedProcess)
            Shell($"chown -R 12345:12346 {Folder}");
        // a folder that was copied has no locks
        File.Delete(Path.Combine(Folder, "lock"));
        File.Delete(Path.Combine(Folder, "checkpoint.lock"));
        Flip("presence.db", 20_000);
        var around = Directory.GetFileSystemEntries(_root);
        FolderRepair.Check(Folder);
        Directory.GetDirectories(Folder).ShouldBeEmpty();
        FolderRepair.Run(Folder, Now).Damaged.ShouldNotBeNull();
        Directory.GetFileSystemEntries(_root).ShouldBe(around, ignoreOrder: true);
        File.Exists(Path.Combine(Folder, "lock")).ShouldBeTrue();
        var owners = Shell($"stat -c %u:%g {Folder} {Folder}/lock {Folder}/*.*").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        owners.Length.ShouldBeGreaterThan(6);
        owners.Distinct().ShouldBe([Shell($"stat -c %u:%g {Folder}").Trim()]);
    }

    [Theory]
    [InlineData("presence.db", "")]
    [InlineData("presence.db", "-wal")]
    [InlineData("presence.db", "-sums")]
    [InlineData("users.db", "")]
    [InlineData("users.db", "-wal")]
    [InlineData("users.db", "-sums")]
    [InlineData("consumers.db", "")]
    [InlineData("consumers.db", "-wal")]
    [InlineData("consumers.db", "-sums")]
    public async Task A_link_in_the_place_of_a_file_is_refused(string file, string beside)
    {
        await WriteKilledAsync();
        var (path, elsewhere) = (Path.Combine(Folder, file + beside), Path.Combine(_root, "elsewhere"));
        File.Move(path, elsewhere);
        File.CreateSymbolicLink(path, elsewhere);
        var refused = Should.Throw<DataFolderException>(() =>
        {
            using var opened = file switch
            {
                "presence.db" => PresenceFile.Open(path[..^beside.Length]),
                "users.db" => SqliteUserDirectory.OpenFile(Folder),
                _ => (IDisposable)SqliteConsumerStore.OpenFile(Folder),
            };
        });
        refused.Message.ShouldContain($"{path} is a link to {elsewhere}: remove it");
    }

    [Fact]
    public void Only_a_lock_that_somebody_holds_counts_as_held()
    {
        var folder = Directory.CreateDirectory(Folder).FullName;
        using (CheckpointLock.TryTake(folder).ShouldNotBeNull())
        {
            CheckpointLock.TryTake(folder).ShouldBeNull();
            CheckpointLock.TryTakeToRead(folder).ShouldBeNull();
        }

        using (CheckpointLock.TryTakeToRead(folder).ShouldNotBeNull())
            CheckpointLock.TryTake(folder).ShouldBeNull();
        Directory.Delete(Folder, recursive: true);
        Should.Throw<IOException>(() => CheckpointLock.TryTake(folder));
        Should.Throw<IOException>(() => CheckpointLock.TryTakeToRead(folder));
    }

    [Fact]
    public async Task A_wal_that_is_cut_by_damage_is_told_from_one_that_is_cut_by_a_crash()
    {
        await WriteAsync();
        var killed = Path.Combine(_root, "killed");
        await using (var store = await OpenAsync())
        {
            for (uint user = 1; user < 20; user++)
                await store.Presence.HeartbeatAsync(user + 100);
            Copy(Folder, killed);
        }

        var wal = Path.Combine(killed, "presence.db-wal");
        var bytes = File.ReadAllBytes(wal);
        // a transaction without its end, as a kill leaves it
        File.WriteAllBytes(wal, [.. bytes, .. bytes.AsSpan(32, 5000)]);
        await using (var store = await OpenAsync(killed))
            (await store.Presence.StatusAsync(119)).IsOnline.ShouldBeTrue();
        foreach (var length in new[] { 0, 16, bytes.Length / 2, bytes.Length - 1 })
        {
            var cut = Path.Combine(_root, $"cut-{length}");
            Copy(killed, cut);
            File.WriteAllBytes(Path.Combine(cut, "presence.db-wal"), bytes[..length]);
            File.Copy(Path.Combine(_root, "killed-sums"), Path.Combine(cut, "presence.db-sums"), overwrite: true);
            (await RefusedAsync(cut)).ShouldContain("presence.db-wal");
        }
    }

    [Fact]
    public async Task Damage_while_the_store_runs_stops_all_writes_before_it_spreads()
    {
        await WriteAsync();
        await using var directory = SqliteUserDirectory.Open(Folder, TimeProvider.System);
        await directory.RegisterAsync(["first"], new uint[1]);
        Flip("users.db-wal", 40);
        await Should.ThrowAsync<StoreUnavailableException>(async () =>
        {
            // the damage is found when the WAL is copied into the file, if not earlier
            for (var i = 0; i < 1000; i++)
                await directory.RegisterAsync([.. Enumerable.Range(0, 2000).Select(n => $"more-{i}-{n}")], new uint[2000]);
        });
    }

    [Fact]
    public async Task Statuses_of_the_demos_people_in_a_folder_use_up_no_indexes()
    {
        await WriteAsync();
        var rig = JournalRig.Begin(Folder, new ManualTimeProvider(TimeProvider.System.GetUtcNow()));
        rig.Journal.Add(Plane.Pulse, [UserId.FirstDemoNumber]);
        rig.Journal.Writer.Commit();
        await rig.StopAsync();
        Flip("users.db", (LeafOf("users.db", "user-1500"u8) * 2048) + 1000);
        FolderRepair.Run(Folder, Now).Damaged.ShouldNotBeNull();
        await using var store = await OpenAsync();
        (await store.Presence.RegisterAsync(UserId.Parse("newcomer"))).ShouldBeLessThan(UserId.FirstDirectoryNumber + (2 * People));
    }

    private static UserId IdOf(int i) => UserId.Parse($"user-{i}");

    private async Task WriteAsync()
    {
        await using var store = await OpenAsync();
        // in one commit, because each commit waits for the disk
        using var users = new UserBatch(People);
        for (var i = 0; i < People; i++)
            users.TryAdd(Encoding.UTF8.GetBytes($"{IdOf(i)}"), store.Presence.KnownKeys).ShouldBeTrue();
        await store.Presence.RegisterAsync(users);
        var indexes = users.Numbers.ToArray();
        await store.Presence.HeartbeatAsync(indexes);
        await store.Presence.HeartbeatAsync(Enumerable.Range(1, 50).Select(static i => (uint)i).ToArray());
        await store.Presence.WriteProfilesAsync(
            [.. indexes.Select((user, i) => new ProfileWrite(user, $"person {i}", $"Person number {i}"))], create: false);
        foreach (var user in indexes[..20])
            await store.Presence.RelateAsync(user, Relation.Blocked, [1, 2, 3], add: true);
    }

    // the folder as a kill leaves it: the last changes are in WALs
    private async Task WriteKilledAsync()
    {
        await WriteAsync();
        var killed = Path.Combine(_root, "killed");
        await using (var store = await OpenAsync())
        {
            for (var i = 0; i < 20; i++)
                await store.Presence.HeartbeatAsync(UserId.Parse($"late-{i}"));
            await store.Presence.Changes!.Consumers.WriteAsync("some", "{}");
            Copy(Folder, killed);
        }

        Directory.Delete(Folder, recursive: true);
        Directory.Move(killed, Folder);
    }

    private Task<EmbeddedPresence> OpenAsync(string? folder = null) => EmbeddedPresence.OpenAsync(
        new AglowOptions { DataDirectory = folder ?? Folder, LeaseSeconds = 3600 }, TimeProvider.System, NullLoggerFactory.Instance);

    private async Task<string> RefusedAsync(string? folder = null)
    {
        var line = (await Should.ThrowAsync<DataFolderException>(() => OpenAsync(folder))).Message;
        line.ShouldNotContain("\n");
        line.ShouldContain("aglow repair --keep-what-is-good");
        return line;
    }

    private void Flip(string file, int at)
    {
        var path = Path.Combine(Folder, file);
        using var handle = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        Span<byte> one = stackalloc byte[1];
        RandomAccess.Read(handle, one, at).ShouldBe(1);
        one[0] ^= 0x10;
        RandomAccess.Write(handle, one, at);
    }

    private int LeafOf(string file, ReadOnlySpan<byte> text)
    {
        var bytes = File.ReadAllBytes(Path.Combine(Folder, file)).AsSpan();
        for (var page = 0; page < bytes.Length / 2048; page++)
        {
            // 13: a leaf of a table
            if (bytes[page * 2048] == 13 && bytes.Slice(page * 2048, 2048).IndexOf(text) >= 0)
                return page;
        }

        throw new InvalidOperationException("no leaf has it");
    }

    private static string Shell(string command)
    {
        using var process = System.Diagnostics.Process.Start(
            new System.Diagnostics.ProcessStartInfo("sh", ["-c", command]) { RedirectStandardOutput = true, UseShellExecute = false })!;
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        process.ExitCode.ShouldBe(0);
        return output;
    }

    private string Contents() => string.Join(
        '\n',
        from file in Directory.GetFiles(Folder)
        where Path.GetFileName(file) != "pid"
        orderby file
        select $"{file} {Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(file)))}");

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var file in Directory.GetFiles(from, "*.db*"))
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        File.Copy(Path.Combine(to, "presence.db-sums"), to + "-sums", overwrite: true);
    }
}
