using Aglow.Changes;
using Aglow.Durable;
using Aglow.Model;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Tests;

/// <summary>The feed of changes in its folder, after a backup is restored.</summary>
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

    private static async Task<ChangePage> ReadAsync(EmbeddedPresence store, string? after) =>
        await store.Presence.Changes!.ReadAsync(after, 1000);

    private static string Users(ChangePage page) => string.Join(' ', page.Changes.Select(static change => change.User.Number));

    private static Task<EmbeddedPresence> OpenAsync(string folder) => EmbeddedPresence.OpenAsync(
        new AglowOptions { DataDirectory = folder, LeaseSeconds = 3600 },
        TimeProvider.System,
        NullLoggerFactory.Instance);
}
