using Aglow.Sqlite;

namespace Aglow.Tests;

public sealed class SqliteWriterTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task One_failing_command_takes_nothing_of_its_neighbours_with_it()
    {
        var file = SqliteFile.Open(_folder.Path, "test.db", 1, 1, "CREATE TABLE t (a INTEGER PRIMARY KEY)", sealedFrom: 1);
        var connection = file.ConnectToWrite(1024);
        var insert = new SqliteStatement(connection, "INSERT INTO t VALUES (?1)");
        var commits = 0;
        var memory = 0;
        var writer = new SqliteWriter(connection, file, () => commits++);
        using var running = new ManualResetEventSlim();
        using var hold = new ManualResetEventSlim();
        var first = writer.RunAsync(() =>
        {
            running.Set();
            return hold.Wait(TimeSpan.FromSeconds(30));
        }).AsTask();
        running.Wait(TimeSpan.FromSeconds(30)).ShouldBeTrue();

        // all of these commands wait behind the first, so they form one group
        var commands = Enumerable.Range(0, 100).Select(i => writer.RunAsync(() =>
        {
            memory++;
            writer.OnUndo(() => memory--);
            insert.Bind(1, i).Run();
            return i % 10 == 3 ? throw new FormatException($"{i}") : i;
        }).AsTask()).ToArray();
        hold.Set();
        await first;
        for (var i = 0; i < commands.Length; i++)
        {
            if (i % 10 == 3)
                (await Should.ThrowAsync<FormatException>(commands[i])).Message.ShouldBe($"{i}");
            else
                (await commands[i]).ShouldBe(i);
        }

        memory.ShouldBe(90);
        commits.ShouldBe(2);
        await writer.FinishAsync();
        insert.Dispose();
        await writer.DisposeAsync();
        await Should.ThrowAsync<StoreUnavailableException>(async () => await writer.RunAsync(() => 1));

        using var reading = file.ConnectToRead(1024);
        using var count = new SqliteStatement(reading, "SELECT count(*) FROM t WHERE a % 10 <> 3");
        count.Step().ShouldBeTrue();
        count.Int64(0).ShouldBe(90);
    }
}
