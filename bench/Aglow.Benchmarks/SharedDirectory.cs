using Aglow.AspNetCore.Access;
using Aglow.Model;
using Aglow.Postgres;
using Aglow.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace Aglow.Benchmarks;

/// <summary>The directory of many nodes on PostgreSQL: the figures of <see cref="DirectoryBenchmark"/>, and two nodes that register at once.</summary>
internal static class SharedDirectory
{
    private const int Callers = 4;

    public static async Task MeasureAsync(Run run, string connection)
    {
        var users = (int)run.Settings.Number("users");
        var added = (int)run.Settings.Number("new");
        var batch = (int)run.Settings.Number("batch");
        try
        {
            await using var directory = await OpenAsync(connection);
            if (directory.NextNumber != UserId.FirstDirectoryNumber)
                throw new BenchmarkException($"there are users in {directory} already: name an empty database.");
            run.Note($"{directory}; {await AskAsync(connection, "SELECT string_agg(name || ' = ' || current_setting(name), ', ') FROM unnest(ARRAY['shared_buffers', 'fsync', 'synchronous_commit']) AS name")}");
            await DirectoryBenchmark.FillAsync(run, directory, users, batch);
            await DirectoryBenchmark.SearchAsync(run, directory, users, ", just registered");
            await AskAsync(connection, "VACUUM ANALYZE aglow.users");
            var bytes = (long)(await AskAsync(connection, "SELECT pg_total_relation_size('aglow.users')"))!;
            run.Add(Figure.Of("on disk, indexes included", "bytes/user", [(double)bytes / users]));
            await DirectoryBenchmark.SearchAsync(run, directory, users, "");

            var uuids = new DirectoryBenchmark.Keys(users, added, batch);
            run.Add(Figure.Of($"new keys in batches of {batch}, one batch at a time", "keys/s", await DirectoryBenchmark.RegisterAsync(directory, uuids, added / 3, 1)));
            run.Add(Figure.Of($"new keys in batches of {batch}, {Callers} at a time", "keys/s", await DirectoryBenchmark.RegisterAsync(directory, uuids, added / 3, Callers)));
            await using var other = await OpenAsync(connection);
            var rates = await Task.WhenAll(
                DirectoryBenchmark.RegisterAsync(directory, uuids, added / 6, 1), DirectoryBenchmark.RegisterAsync(other, uuids, added / 6, 1));
            run.Add(Figure.Of("the same from two nodes at once, together", "keys/s", [.. rates[0].Zip(rates[1], static (one, two) => one + two)]));
            await directory.CatchUpAsync();
            var registered = (long)(await AskAsync(connection, "SELECT count(*) FROM aglow.users"))!;
            if (directory.NextNumber - UserId.FirstDirectoryNumber != registered)
                throw new BenchmarkException($"{directory.NextNumber - UserId.FirstDirectoryNumber} numbers were given to {registered} users.");
            await DirectoryBenchmark.KnownAsync(run, directory, uuids);
        }
        catch (Exception failed) when (failed is StoreUnavailableException or FormatException)
        {
            throw new BenchmarkException(failed.Message);
        }
    }

    private static Task<PostgresUserDirectory> OpenAsync(string connection) =>
        PostgresUserDirectory.OpenAsync(PostgresOptions.Parse(connection), TimeProvider.System, NullLoggerFactory.Instance);

    private static async Task<object?> AskAsync(string connection, string sql)
    {
        await using var source = NpgsqlDataSource.Create(connection);
        await using var command = source.CreateCommand(sql);
        command.CommandTimeout = 0;
        return await command.ExecuteScalarAsync();
    }
}
