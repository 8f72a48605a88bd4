using System.Diagnostics;
using Aglow.AspNetCore.Access;
using Aglow.Model;
using Aglow.Users;

namespace Aglow.Benchmarks;

/// <summary>
/// The user directory on SQLite: how fast users are registered, durably; how long a search takes; what a user costs on disk, and a
/// known key in memory.
/// </summary>
internal sealed class DirectoryBenchmark : Benchmark
{
    private const int Callers = 4;

    public override string Name => "directory";

    public override string Measures =>
        "the user directory, embedded or on PostgreSQL: registrations per second, every one durable; search latencies; bytes a user on disk, bytes a known key in memory.";

    public override IReadOnlyList<Option> Options =>
    [
        new("users", "10m", "users in the directory before the new keys"),
        new("new", "1m", "new keys whose first heartbeats are measured"),
        new("batch", "10k", "keys a batch"),
        new("searches", "200", "searches of each kind"),
        new("keys", "10m", "keys in the cache"),
        new("folder", "", "where the files go; default a temporary folder, removed afterwards"),
        new("postgres", "", "an empty database to measure instead: Host=…;Database=…;Username=…; takes minutes a million users"),
    ];

    public override async Task RunAsync(Run run)
    {
        if (run.Settings.Text("postgres") is { Length: > 0 } connection)
        {
            await SharedDirectory.MeasureAsync(run, connection);
            return;
        }

        KeyCacheMemory(run, (int)run.Settings.Number("keys"));

        var folder = run.Settings.Text("folder");
        var temporary = folder.Length == 0 ? Directory.CreateTempSubdirectory("aglow-bench-").FullName : null;
        try
        {
            await MeasureAsync(run, temporary ?? folder);
        }
        finally
        {
            if (temporary is not null)
                Directory.Delete(temporary, recursive: true);
        }
    }

    private static async Task MeasureAsync(Run run, string folder)
    {
        var users = (int)run.Settings.Number("users");
        var added = (int)run.Settings.Number("new");
        var batch = (int)run.Settings.Number("batch");
        var directory = SqliteUserDirectory.Open(folder, TimeProvider.System);
        try
        {
            if (directory.NextNumber != UserId.FirstDirectoryNumber)
                throw new BenchmarkException($"there are users in {folder} already: name an empty folder.");
            await FillAsync(run, directory, users, batch);
            await IndexedAsync(run, directory, "the last of them");
            var bytes = Directory.EnumerateFiles(folder, "*.db").Sum(file => new FileInfo(file).Length);
            run.Add(Figure.Of("on disk", "bytes/user", [(double)bytes / users]));
            await SearchAsync(run, directory, users, "");

            var uuids = new Keys(users, added, batch);
            run.Add(Figure.Of($"new keys in batches of {batch}, one batch at a time", "keys/s", await RegisterAsync(directory, uuids, added / 2, 1), Goal.Least(100_000)));
            run.Add(Figure.Of($"new keys in batches of {batch}, {Callers} at a time", "keys/s", await RegisterAsync(directory, uuids, added - (added / 2), Callers), Goal.Least(100_000)));
            if (directory.NextNumber - UserId.FirstDirectoryNumber != users + added)
                throw new BenchmarkException($"{directory.NextNumber - UserId.FirstDirectoryNumber} users are registered instead of {users + added}.");

            // at its worst: as much waits for the index as there will ever be, and it is being merged meanwhile
            run.Progress($"{directory.NamesWaiting} names wait for the index");
            await SearchAsync(run, directory, users, " while new keys wait");
            await directory.DisposeAsync();

            var opening = Stopwatch.StartNew();
            directory = SqliteUserDirectory.Open(folder, TimeProvider.System);
            run.Add(Figure.Of($"opening with {directory.NamesWaiting} names not indexed", "s", [opening.Elapsed.TotalSeconds]));
            await IndexedAsync(run, directory, "new keys");
            await KnownAsync(run, directory, uuids);
            await directory.DisposeAsync();
            opening.Restart();
            directory = SqliteUserDirectory.Open(folder, TimeProvider.System);
            run.Add(Figure.Of("opening with all names indexed", "s", [opening.Elapsed.TotalSeconds]));
        }
        finally
        {
            await directory.DisposeAsync();
        }
    }

    internal static async Task FillAsync(Run run, IUserDirectory directory, int users, int batch)
    {
        var named = new List<double>();
        var keys = new List<double>();
        var block = Math.Min(users, directory is SqliteUserDirectory ? 500_000 : 100_000);
        for (var from = 0; from < users; from += block)
        {
            var to = Math.Min(users, from + block);
            var watch = Stopwatch.StartNew();
            var names = Enumerable.Range(from, to - from).Where(DirectoryPeople.IsNamed).Select(DirectoryPeople.Named).ToArray();
            watch.Restart();
            await Parallel.ForEachAsync(names, new ParallelOptions { MaxDegreeOfParallelism = 1000 }, async (user, _) =>
            {
                if (await directory.CreateAsync(user.Name, user.DisplayName) is null)
                    throw new BenchmarkException($"{user.Name} was taken.");
            });
            named.Add(names.Length / watch.Elapsed.TotalSeconds);

            var batches = Enumerable.Range(from, to - from).Where(i => !DirectoryPeople.IsNamed(i)).Select(DirectoryPeople.Key).Chunk(batch).ToArray();
            watch.Restart();
            foreach (var chunk in batches)
                await directory.RegisterAsync(chunk, new uint[chunk.Length]);
            keys.Add(batches.Sum(b => b.Length) / watch.Elapsed.TotalSeconds);
            run.Progress($"{to:#,0} users; {names.Length / 1000}k created at {named[^1]:#,0}/s, {batches.Sum(b => b.Length) / 1000}k registered at {keys[^1]:#,0}/s{(directory is SqliteUserDirectory own ? $", {own.NamesWaiting:#,0} wait for the index" : "")}");
        }

        if (directory.NextNumber - UserId.FirstDirectoryNumber != users)
            throw new BenchmarkException($"{directory.NextNumber - UserId.FirstDirectoryNumber} users are registered instead of {users}.");
        run.Add(Figure.Of("filling: POST /users, 1,000 callers", "users/s", named));
        run.Add(Figure.Of($"filling: keys in batches of {batch}, indexed meanwhile", "keys/s", keys));
    }

    private static async Task IndexedAsync(Run run, SqliteUserDirectory directory, string what)
    {
        var waiting = directory.NamesWaiting;
        var watch = Stopwatch.StartNew();
        while (directory.NamesWaiting > 0)
            await directory.IndexAsync();
        if (waiting > 0)
            run.Add(Figure.Of($"merging {what} into the index", "names/s", [waiting / watch.Elapsed.TotalSeconds]));
    }

    /// <summary>Keys a second, by tenths of <paramref name="count"/>.</summary>
    internal static async Task<List<double>> RegisterAsync(IUserDirectory directory, Keys keys, int count, int callers)
    {
        var rates = new List<double>();
        var batches = keys.Take(count);
        foreach (var part in batches.Chunk(Math.Max(1, batches.Count / 10)))
        {
            var watch = Stopwatch.StartNew();
            await Parallel.ForEachAsync(part, new ParallelOptions { MaxDegreeOfParallelism = callers }, async (batch, _) =>
            {
                var added = await directory.RegisterAsync(batch, new uint[batch.Length]);
                if (added != batch.Length)
                    throw new BenchmarkException($"{added} of {batch.Length} keys were new.");
            });
            rates.Add(part.Sum(batch => batch.Length) / watch.Elapsed.TotalSeconds);
        }

        return rates;
    }

    /// <summary>The same keys again, as after a restart of a node: all known.</summary>
    internal static async Task KnownAsync(Run run, IUserDirectory directory, Keys keys)
    {
        var rates = new List<double>();
        foreach (var batch in keys.All.Take(50))
        {
            var watch = Stopwatch.StartNew();
            var numbers = new uint[batch.Length];
            await directory.FindNumbersAsync(batch, numbers);
            rates.Add(batch.Length / watch.Elapsed.TotalSeconds);
            if (numbers.Contains(0u))
                throw new BenchmarkException("a registered key was not found.");
        }

        run.Add(Figure.Of("looking up known keys", "keys/s", rates));
    }

    internal static async Task SearchAsync(Run run, IUserDirectory directory, int users, string when)
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
                // the first page, and a few more of it
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

            milliseconds.Sort();
            run.Add(Figure.Of($"search {kind.Name}{when}: p50", "ms", milliseconds));
            run.Add(Figure.Of("  p99", "ms", [milliseconds[(int)(milliseconds.Count * 0.99)]], Goal.Most(kind.Milliseconds)));
            run.Add(Figure.Of("  longest", "ms", [milliseconds[^1]]));
            if (empty > 0)
                run.Note($"search {kind.Name}{when}: {empty} of {milliseconds.Count} pages ended short of 20 with more to come, for they had cost enough");
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

        run.Add(Figure.Of($"key cache, {keys:#,0} UUIDs: resident, with the word's 4", "bytes/key", [((double)(Resident() - before) / keys) + sizeof(uint)], Goal.Most(120)));
        run.Add(Figure.Of("  its arrays at the least lucky size, with the word's 4", "bytes/key", [worst + sizeof(uint)], Goal.Most(120)));

        var random = new Random(3);
        var samples = new List<double>();
        var probes = Enumerable.Range(0, 100_000).Select(_ => System.Text.Encoding.UTF8.GetBytes(DirectoryPeople.Uuid(random.Next(keys)))).ToArray();
        for (var round = 0; round < 20; round++)
        {
            var watch = Stopwatch.StartNew();
            foreach (var probe in probes)
            {
                if (!cache.TryGet(probe, out _))
                    throw new BenchmarkException("a key was forgotten by a cache that is not full.");
            }

            samples.Add(watch.Elapsed.TotalNanoseconds / probes.Length);
        }

        run.Add(Figure.Of("  lookup", "ns/key", samples));
        GC.KeepAlive(cache);
    }

    private static long Resident()
    {
        GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        return Cpu.ResidentBytes(Environment.ProcessId);
    }

    /// <summary>New UUIDs, made before they are measured.</summary>
    internal sealed class Keys
    {
        private int _taken;

        public Keys(int from, int count, int batch) =>
            All = [.. Enumerable.Range(from, count).Select(DirectoryPeople.Uuid).Chunk(batch)];

        public List<string[]> All { get; }

        public List<string[]> Take(int count)
        {
            var batches = new List<string[]>();
            for (var keys = 0; keys < count && _taken < All.Count; keys += All[_taken - 1].Length)
                batches.Add(All[_taken++]);
            return batches;
        }
    }
}
