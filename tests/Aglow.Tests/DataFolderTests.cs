using System.Text;
using Aglow.Durable;
using Microsoft.Data.Sqlite;

namespace Aglow.Tests;

public sealed class DataFolderTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("aglow-tests-").FullName;

    private string PresencePath => Path.Combine(_folder, "presence.db");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_folder_is_made_and_names_its_files()
    {
        using var folder = DataFolder.Open(Path.Combine(_folder, "a", "b"));
        folder.PresencePath.ShouldBe(Path.Combine(_folder, "a", "b", "presence.db"));
        Path.GetDirectoryName(folder.UsersPath).ShouldBe(folder.FullPath);
    }

    [Fact]
    public void A_second_server_is_told_who_holds_the_folder()
    {
        using (DataFolder.Open(_folder))
        {
            var line = Line(() => DataFolder.Open(_folder));
            line.ShouldContain($"process {Environment.ProcessId}");
            line.ShouldContain("AglowOptions.DataDirectory (--data)");
        }

        DataFolder.Open(_folder).Dispose();
    }

    [Fact]
    public void A_lock_that_nobody_holds_does_not_matter()
    {
        File.WriteAllText(Path.Combine(_folder, "lock"), "");
        File.WriteAllText(Path.Combine(_folder, "pid"), "12345\n");
        DataFolder.Open(_folder).Dispose();
    }

    [Fact]
    public void A_file_in_place_of_the_folder_is_refused()
    {
        var path = Path.Combine(_folder, "file");
        File.WriteAllText(path, "mine");
        Line(() => DataFolder.Open(path)).ShouldContain(path);
        File.ReadAllText(path).ShouldBe("mine");
    }

    [Theory]
    [InlineData("not a database at all, but long enough to have a header of one hundred bytes, which this sentence now has.")]
    [InlineData("short")]
    public void A_foreign_file_is_refused_and_left_alone(string content)
    {
        File.WriteAllText(PresencePath, content);
        Line(() => Journal.Open(PresencePath, Log)).ShouldContain("not an Aglow file");
        File.ReadAllText(PresencePath).ShouldBe(content);
        Directory.GetFiles(_folder).Length.ShouldBe(1);
    }

    [Fact]
    public void Another_programs_database_is_refused_and_left_alone()
    {
        Sql("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)");
        var before = File.ReadAllBytes(PresencePath);
        Line(() => Journal.Open(PresencePath, Log)).ShouldContain("not an Aglow file");
        File.ReadAllBytes(PresencePath).ShouldBe(before);
    }

    [Fact]
    public async Task A_newer_schema_is_refused()
    {
        await WriteUsersAsync();
        Sql("PRAGMA user_version = 4");
        Line(() => Journal.Open(PresencePath, Log)).ShouldContain("newer Aglow");
    }

    [Fact]
    public async Task A_file_without_words_of_single_devices_is_read_and_is_of_the_new_schema_then()
    {
        await WriteUsersAsync();
        Sql("PRAGMA user_version = 1");
        var rig = JournalRig.Begin(_folder);
        rig.Recovery.Registered.ShouldBeGreaterThan(0);
        await rig.Journal.AbandonAsync();
        await rig.Store.DisposeAsync();
        using var connection = new SqliteConnection($"Data Source={PresencePath};Pooling=False");
        connection.Open();
        using var version = connection.CreateCommand();
        version.CommandText = "PRAGMA user_version";
        version.ExecuteScalar().ShouldBe(3L);
    }

    [Fact]
    public async Task A_file_of_the_old_schema_from_a_clock_beyond_2053_is_refused()
    {
        await WriteUsersAsync();
        Sql("PRAGMA user_version = 1; UPDATE journal SET at = 1100000000");
        Line(() => Journal.Open(PresencePath, Log)).ShouldContain("later than 2053");
    }

    [Fact]
    public async Task A_flipped_bit_in_an_image_is_found()
    {
        await WriteUsersAsync();
        Flip("page", "words");
        Line(() => JournalRig.Begin(_folder)).ShouldContain("the checksum of page");
    }

    [Fact]
    public async Task A_flipped_bit_in_a_row_is_found()
    {
        await WriteUsersAsync();
        Flip("journal", "entries");
        Line(() => JournalRig.Begin(_folder)).ShouldContain("the checksum of row");
    }

    [Fact]
    public async Task A_flipped_bit_on_the_disk_is_found()
    {
        await WriteUsersAsync();
        // finds the words of the image in the file
        var bytes = File.ReadAllBytes(PresencePath);
        var word = BitConverter.GetBytes(_seen);
        var at = bytes.AsSpan().IndexOf([.. word, .. word, .. word, .. word]);
        at.ShouldBeGreaterThan(0);
        bytes[at + 5] ^= 0x10;
        File.WriteAllBytes(PresencePath, bytes);
        Line(() => JournalRig.Begin(_folder)).ShouldContain("not as written");
    }

    [Theory]
    [InlineData("DELETE FROM page WHERE id = (SELECT max(id) FROM page)", "page images where")]
    [InlineData("DELETE FROM journal WHERE position = (SELECT min(position) FROM journal)", "of the journal is missing")]
    [InlineData("UPDATE journal SET oldest = oldest + 1", "the checksum of row")]
    [InlineData("UPDATE page SET position = position + 1", "the checksum of page")]
    [InlineData("UPDATE state SET tick = tick + 1", "the checksum of its state")]
    public async Task What_was_changed_or_lost_is_found(string sql, string line)
    {
        await WriteUsersAsync();
        Sql(sql);
        Line(() => JournalRig.Begin(_folder)).ShouldContain(line);
    }

    [Fact]
    public async Task A_torn_header_is_found()
    {
        await WriteUsersAsync();
        using (var file = File.OpenWrite(PresencePath))
            file.Write(Encoding.ASCII.GetBytes("XXXX"));
        Line(() => Journal.Open(PresencePath, Log)).ShouldContain("not an Aglow file");
    }

    [Fact]
    public async Task A_file_cut_short_is_found()
    {
        await WriteUsersAsync();
        using (var file = File.OpenWrite(PresencePath))
            file.SetLength(file.Length / 2);
        Line(() => JournalRig.Begin(_folder)).ShouldContain("damaged");
    }

    [Fact]
    public async Task A_log_that_cannot_be_written_is_one_line_and_changes_nothing()
    {
        await WriteUsersAsync();
        var before = File.ReadAllBytes(PresencePath);
        Directory.CreateDirectory(PresencePath + "-wal");
        Line(() => JournalRig.Begin(_folder)).ShouldContain("cannot be opened for writing");
        File.ReadAllBytes(PresencePath).ShouldBe(before);
    }

    [Fact]
    public void An_empty_file_is_a_new_one()
    {
        File.WriteAllText(PresencePath, "");
        Journal.Open(PresencePath, Log).LastAlive.ShouldBe(0u);
    }

    private static AglowLog Log => new(NullLogger.Instance);

    private uint _seen;

    // Returns the message of the exception, which must be one line.
    private static string Line(Action open)
    {
        var line = Should.Throw<DataFolderException>(open).Message;
        line.ShouldNotContain("\n");
        return line;
    }

    // Writes the images of two pages and three rows after them, and ends as a crash would.
    private async Task WriteUsersAsync()
    {
        var rig = JournalRig.Begin(_folder);
        for (uint user = 0; user < 1000; user++)
        {
            rig.Heartbeat(user * 256);
            rig.Heartbeat((user * 256) + 1);
        }

        _seen = rig.Now;
        rig.Journal.Writer.Commit();
        rig.Journal.Writer.CheckpointNow();
        for (uint row = 0; row < 3; row++)
        {
            rig.Heartbeat(2 + (256 * row));
            rig.Journal.Writer.Commit();
        }

        await rig.Journal.AbandonAsync();
        await rig.Store.DisposeAsync();
        // copies the WAL into the file, without marking a clean stop
        await Journal.Open(PresencePath, Log).DisposeAsync();
    }

    private void Flip(string table, string column) => Sql(
        $"UPDATE {table} SET {column} = CAST(substr({column}, 1, 2) || x'5A' || substr({column}, 4) AS BLOB)");

    private void Sql(string sql)
    {
        using var connection = new SqliteConnection($"Data Source={PresencePath};Pooling=False");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
        // The page sums would report any write from outside as damage. So make this a file of the version before the sums, whose own checks
        // must find the damage.
        File.Delete(PresencePath + "-sums");
        command.CommandText = "PRAGMA user_version";
        if (command.ExecuteScalar() is not 3L)
            return;
        command.CommandText = "PRAGMA user_version = 2";
        command.ExecuteNonQuery();
    }
}
