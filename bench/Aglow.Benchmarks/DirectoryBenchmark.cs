using System.Diagnostics;
using Aglow.Benchmarks.Baselines;
using Aglow.Model;
using Aglow.Postgres;
using Aglow.Storage;
using Aglow.Users;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace Aglow.Benchmarks;

/// <summary>
/// The user directory, embedded or on PostgreSQL. Measures how fast IDs get indexes and profiles are written, durably, and how long a
/// search takes. Also the disk space per user, and the memory per known ID.
/// </summary>
internal sealed class DirectoryBenchmark : Benchmark
{
    private const int FillBatch = 200_000;

    public override string Name => "directory";

    public override string Measures =>
        "the user directory, embedded or on PostgreSQL: new IDs and profiles per second, every one durable; search latencies; bytes a "
            + "user on disk, bytes a known ID in memory.";

    public override IReadOnlyList<Option> Options =>
    [
        new("users", "10m", "users in the directory, each with an ID and a profile, before anything is measured"),
        new("new", "200k", "new IDs, and then profiles, that are measured"),
        new("batch", "10k", "IDs or profiles a batch"),
        new("searches", "200", "searches of each kind"),
        new("keys", "10m", "IDs in the cache; not with --postgres"),
        new("postgres", "no", "own: starts PostgreSQL, and measures that instead"),
    ];

    public override async Task RunAsync(Run run)
    {
        if (run.Settings.Choices("postgres", "own", "no") is ["own"])
        {
            await MeasurePostgresAsync(run);
            return;
        }

        KeyCacheMemory(run, (int)run.Settings.Number("keys"));
        using var folder = new TemporaryFolder();
        await using var directory = SqliteUserDirectory.Open(folder.Path, TimeProvider.System);
        await FillAsync(run, directory);
        await MeasureAsync(
            run,
            directory,
            least: 5_000,
            () => Task.FromResult(Directory.EnumerateFiles(folder.Path, "users.db*").Sum(file => new FileInfo(file).Length)));
    }

    private static async Task MeasurePostgresAsync(Run run)
    {
        await using var server = await PostgresServer.StartAsync(0, waitsForDisk: true);
        var connection = server.ConnectionString;
        // this makes the tables
        await (await OpenAsync()).DisposeAsync();
        await PostgresFill.RunAsync(run, connection, (int)run.Settings.Number("users"));
        await using var directory = await OpenAsync();
        const string ask = "SELECT string_agg(name || ' = ' || current_setting(name), ', ') "
            + "FROM unnest(ARRAY['shared_buffers', 'fsync', 'synchronous_commit']) AS name";
        run.Note($"{directory}; {await QueryAsync(ask)}");
        await MeasureAsync(run, directory, least: 3_000, async () =>
        {
            await QueryAsync("VACUUM ANALYZE aglow.ids, aglow.profile");
            return (long)(await QueryAsync("SELECT pg_total_relation_size('aglow.ids') + pg_total_relation_size('aglow.profile')"))!;
        });

        Task<PostgresUserDirectory> OpenAsync() => PostgresUserDirectory.OpenAsync(
            PostgresOptions.Parse(connection), TimeProvider.System, NullLoggerFactory.Instance);

        async Task<object?> QueryAsync(string sql)
        {
            await using var source = NpgsqlDataSource.Create(connection);
            await using var command = source.CreateCommand(sql);
            command.CommandTimeout = 0;
            return await command.ExecuteScalarAsync();
        }
    }

    private static async Task FillAsync(Run run, IUserDirectory directory)
    {
        var users = (int)run.Settings.Number("users");
        var batch = (int)run.Settings.Number("batch");
        var block = Math.Max(batch, users / 20);
        for (var from = 0; from < users; from += block)
        {
            var to = Math.Min(users, from + block);
            // larger batches than those measured, so that filling takes minutes and not an hour
            var ids = (await RegisterAsync(directory, from, to, Math.Max(batch, FillBatch))).Average();
            var profiles = (await WriteAsync(directory, from, to, Math.Max(batch, FillBatch))).Average();
            run.Progress($"{to:#,0} users; {ids:#,0} IDs/s, {profiles:#,0} profiles/s");
        }
    }

    private static async Task MeasureAsync(Run run, IUserDirectory directory, double least, Func<Task<long>> bytes)
    {
        var users = (int)run.Settings.Number("users");
        var added = (int)run.Settings.Number("new");
        var batch = (int)run.Settings.Number("batch");
        run.Add("on disk, indexes included", "bytes/user", [(double)await bytes() / Math.Max(1, users)]);
        AddRates(run, $"new IDs in batches of {batch}", "IDs/s", await RegisterAsync(directory, users, users + added, batch), 20_000);
        AddRates(run, $"new profiles in batches of {batch}", "profiles/s", await WriteAsync(directory, users, users + added, batch), least);
        AddRates(run, "the same profiles replaced", "profiles/s", await WriteAsync(directory, users, users + added, batch), least: 0);
        if (directory.NextIndex - UserId.FirstDirectoryNumber != users + added)
            throw new BenchmarkException($"{directory.NextIndex - UserId.FirstDirectoryNumber} indexes were given to {users + added} IDs.");
        await SearchAsync(run, directory, users + added);
    }

    // Every other batch copies the WAL into the file, so the median of the batches says little.
    private static void AddRates(Run run, string name, string unit, List<double> rates, double least)
    {
        run.Add(name, unit, rates);
        run.Add("  over all batches", unit, [rates.Count / rates.Sum(static rate => 1 / rate)], least > 0 ? Goal.Least(least) : null);
    }

    /// <summary>New IDs a second, batch by batch. Users get indexes in the order of their numbers.</summary>
    private static async Task<List<double>> RegisterAsync(IUserDirectory directory, int from, int to, int batch)
    {
        var rates = new List<double>();
        foreach (var ids in Enumerable.Range(from, to - from).Select(DirectoryPeople.Uuid).Chunk(batch))
        {
            var watch = Stopwatch.StartNew();
            if (await directory.RegisterAsync(ids, new uint[ids.Length]) is var given && given != ids.Length)
                throw new BenchmarkException($"{given} of {ids.Length} IDs were new.");
            rates.Add(ids.Length / watch.Elapsed.TotalSeconds);
        }

        return rates;
    }

    /// <summary>Profiles a second, batch by batch. The last profile of each batch must be found at once.</summary>
    private static async Task<List<double>> WriteAsync(IUserDirectory directory, int from, int to, int batch)
    {
        var rates = new List<double>();
        foreach (var some in Enumerable.Range(from, to - from).Chunk(batch))
        {
            ProfileWrite[] writes = [.. some.Select(i => new ProfileWrite(
                UserId.FirstDirectoryNumber + (uint)i, DirectoryPeople.Named(i).Name, DirectoryPeople.Named(i).DisplayName))];
            var watch = Stopwatch.StartNew();
            if (await directory.WriteProfilesAsync(writes, create: false) is { Conflict: not ProfileConflict.None } refused)
                throw new BenchmarkException($"{refused} for {writes[refused.ConflictAt]}.");
            rates.Add(writes.Length / watch.Elapsed.TotalSeconds);
            if ((await directory.SearchAsync(writes[^1].UserName!, 1, null)).Users is not [{ } found] || found.User != writes[^1].User)
                throw new BenchmarkException($"{writes[^1]} was not found.");
        }

        return rates;
    }

    private static async Task SearchAsync(Run run, IUserDirectory directory, int users)
    {
        var searches = (int)run.Settings.Number("searches");
        foreach (var kind in DirectoryQueries.Kinds(users))
        {
            var random = new Random(kind.Name.Length);
            var milliseconds = new List<double>();
            var empty = 0;
            for (var i = 0; i < searches; i++)
            {
                var query = kind.Make(random);
                string? cursor = null;
                // the first page and two more
                for (var page = 0; page < 3; page++)
                {
                    var watch = Stopwatch.StartNew();
                    var found = await directory.SearchAsync(query, 20, cursor);
                    milliseconds.Add(watch.Elapsed.TotalMilliseconds);
                    DirectoryQueries.Check(kind, query, found);
                    empty += found is { Next: not null, Users.Count: < 20 } ? 1 : 0;
                    if ((cursor = found.Next) is null)
                        break;
                }
            }

            run.Add($"search {kind.Name}: p50", "ms", milliseconds);
            run.Add("  p99", "ms", [Spread.Quantile(milliseconds, 0.99)], Goal.Most(kind.Milliseconds));
            run.Add("  longest", "ms", [milliseconds.Max()]);
            if (empty > 0)
                run.Note(
                    $"search {kind.Name}: {empty} of {milliseconds.Count} pages ended short of 20 with more to come, for they had cost "
                        + "enough");
        }
    }

    private static void KeyCacheMemory(Run run, int keys)
    {
        var cache = new KeyCache(keys * 2);
        Span<byte> utf8 = stackalloc byte[36];
        var before = Resident();
        var worst = 0.0;
        for (var i = 0; i < keys; i++)
        {
            System.Text.Encoding.UTF8.GetBytes(DirectoryPeople.Uuid(i), utf8);
            cache.Add(utf8, UserId.FirstDirectoryNumber + (uint)i);
            if (i >= keys / 10 && (i + 1) % (keys / 100) == 0)
                worst = Math.Max(worst, (double)cache.Bytes / (i + 1));
        }

        run.Add(
            $"key cache, {keys:#,0} UUIDs: resident, with the word's 4", "bytes/key",
            [((double)(Resident() - before) / keys) + sizeof(uint)], Goal.Most(120));
        run.Add("  its arrays at the least lucky size, with the word's 4", "bytes/key", [worst + sizeof(uint)], Goal.Most(120));
        GC.KeepAlive(cache);
    }

    private static long Resident()
    {
        GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        return Cpu.ResidentBytes(Environment.ProcessId);
    }
}
