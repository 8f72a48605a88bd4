using Aglow.Changes;
using Aglow.Durable;
using Aglow.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Tests;

/// <summary>The feed of changes in its folder: after a backup is restored, and what a deletion leaves on disk.</summary>
public sealed class FeedFolderTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("aglow-tests-").FullName;

    private string Folder => Path.Combine(_root, "data");

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public async Task A_restored_backup_reports_a_gap_and_gives_every_change_since_to_cursors_of_the_original()
    {
        var copy = Path.Combine(_root, "copy");
        string before, newer;
        await using (var store = await OpenAsync(Folder))
        {
            await store.Presence.HeartbeatAsync(1);
            before = (await ReadAsync(store, null)).Next;
            await store.Presence.HeartbeatAsync(2);
            DataBackup.Copy(Folder, copy);
            await store.Presence.HeartbeatAsync(new uint[] { 3, 4, 5 });
            newer = (await ReadAsync(store, null)).Next;
        }

        string restored;
        await using (var store = await OpenAsync(copy))
        {
            await store.Presence.HeartbeatAsync(6);
            var page = await ReadAsync(store, newer);
            (page.IsGap, Users(page)).ShouldBe((true, "6"));
            restored = page.Next;
            page = await ReadAsync(store, before);
            (page.IsGap, Users(page)).ShouldBe((true, "2 6"));
            page = await ReadAsync(store, restored);
            (page.IsGap, Users(page)).ShouldBe((false, ""));
        }

        // a later start, and one of the original
        await using (var store = await OpenAsync(copy))
        {
            await store.Presence.HeartbeatAsync(7);
            var page = await ReadAsync(store, restored);
            (page.IsGap, Users(page)).ShouldBe((false, "7"));
            (await ReadAsync(store, newer)).IsGap.ShouldBeTrue();
        }

        await using (var store = await OpenAsync(Folder))
        {
            var page = await ReadAsync(store, before);
            (page.IsGap, Users(page)).ShouldBe((false, "2 3 4 5"));
        }
    }

    [Fact]
    public async Task A_feed_that_is_turned_off_leaves_nothing_on_disk()
    {
        await using (var store = await OpenAsync(Folder))
        {
            // above all flags, because the journal has indexes after words
            for (uint user = 1001; user < 1200; user++)
                await store.Presence.HeartbeatAsync(user);
        }

        var records = new List<byte[]>();
        using (var connection = PresenceFile.ConnectToRead(Path.Combine(Folder, "presence.db")))
        {
            using var rows = new SqliteStatement(connection, "SELECT records FROM changes");
            while (rows.Step())
                records.Add(rows.Blob(0).ToArray());
        }

        records.Sum(static row => row.Length).ShouldBe(199 * StoredChange.Bytes);
        CountOnDisk(records).ShouldBe(records.Count);
        // also while the server runs
        await using (await OpenAsync(Folder, changesHours: 0))
            CountOnDisk(records).ShouldBe(0);
        CountOnDisk(records).ShouldBe(0);
    }

    [Fact]
    public void Records_leave_the_disk_with_the_retention()
    {
        Directory.CreateDirectory(Folder);
        var path = Path.Combine(Folder, "presence.db");
        var records = new List<byte[]>();
        using (var file = PresenceFile.Open(path))
        {
            ChangeFile feed = null!;
            file.Write(() =>
            {
                feed = ChangeFile.Open(file.Connection);
                for (uint at = 1000; at < 1100; at++)
                {
                    // from a record in a page of many to a row with pages of its own
                    var row = new StoredChange[1 + ((at - 1000) * 41)];
                    Array.Fill(row, new StoredChange(at * 7919, at, PresenceStatus.Online, true, ChangeReason.Heartbeat));
                    feed.Append(at, row);
                    records.Add(System.Runtime.InteropServices.MemoryMarshal.AsBytes(row.AsSpan(0, 1)).ToArray());
                }
            });
            file.FoldWal();
            CountOnDisk(records).ShouldBe(100);
            file.Write(() => feed.Trim(1050, long.MaxValue));
            feed.Dispose();
        }

        CountOnDisk(records[..50]).ShouldBe(0);
        CountOnDisk(records[50..]).ShouldBe(50);
    }

    private int CountOnDisk(List<byte[]> records)
    {
        var file = File.ReadAllBytes(Path.Combine(Folder, "presence.db"));
        return records.Count(record => file.AsSpan().IndexOf(record) >= 0);
    }

    private static async Task<ChangePage> ReadAsync(EmbeddedPresence store, string? after) =>
        await store.Presence.Changes!.ReadAsync(after, 1000);

    private static string Users(ChangePage page) => string.Join(' ', page.Changes.Select(static change => change.User.Number));

    private static Task<EmbeddedPresence> OpenAsync(string folder, int changesHours = 24) => EmbeddedPresence.OpenAsync(
        new AglowOptions { DataDirectory = folder, LeaseSeconds = 3600, ChangesHours = changesHours },
        TimeProvider.System,
        NullLoggerFactory.Instance);
}
