using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Sweeping;

namespace Aglow.Benchmarks;

/// <summary>
/// Heartbeats without a network: batches compared with plain random stores, the cost of a sweep, and the memory per user.
/// </summary>
/// <remarks>
/// The peer is the machine's own limit: <c>table[random] = word</c>, in the engine's own pages, with the same random numbers, without
/// lookups or comparisons. Each number occurs once per leg, so every exchange writes. A second, stricter peer also touches each word 32
/// stores ahead, as the engine does. Every leg is checked: the words are read back and summed.
/// </remarks>
internal sealed class EngineBenchmark : Benchmark
{
    private const int BatchSize = 1000;
    private const uint FirstSecond = 200_000_000;

    // the newest word so far, as a second: each leg writes a newer one
    private uint _second = FirstSecond;

    public override string Name => "engine";

    public override string Measures => "exchanges in batches compared with plain random stores in the same table; a sweep; memory per user";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("users", "10m,100m,1b", "registered users, one table after the other"),
        new("parts", "all", "exchange, sweep, memory"),
        new("ids", "16m", "random users a leg, each once"),
        new("active", "5m", "users online while sweeping and while memory is measured"),
        new("warm-up", "5", "seconds before the first pair of each table"),
    ];

    public override async Task RunAsync(Run run)
    {
        var parts = run.Settings.Choices("parts", "exchange", "sweep", "memory");
        foreach (var users in run.Settings.Numbers("users", least: 1_000_000))
        {
            if (users > 4_000_000_000)
                throw new UsageException($"--users {users}: numbers end at 2^32; measure up to 4b.");
            if (parts.Any(p => p != "memory"))
                await MeasureTableAsync(run, users, parts);
            if (parts.Contains("memory"))
            {
                await EngineMemory.MeasureAsync(run, users, activity: false);
                await EngineMemory.MeasureAsync(run, users, activity: true);
            }
        }
    }

    /// <summary>
    /// Writes a word for each number from 0 to <paramref name="users"/>, so that every page is touched.
    /// </summary>
    internal static void Register(MemoryPlaneStore store, Plane plane, long users, uint word)
    {
        var numbers = new uint[100_000];
        var words = new uint[numbers.Length];
        var old = new uint[numbers.Length];
        words.AsSpan().Fill(word);
        for (var first = 0L; first < users; first += numbers.Length)
        {
            var count = (int)Math.Min(numbers.Length, users - first);
            for (var i = 0; i < count; i++)
                numbers[i] = (uint)(first + i);
            store.Exchange(plane, numbers.AsSpan(0, count), words.AsSpan(0, count), old.AsSpan(0, count));
        }
    }

    /// <summary>Distinct random numbers below <paramref name="users"/>, unsorted; always the same.</summary>
    internal static uint[] RandomUsers(long users, long count)
    {
        var random = new Random(7);
        var drawn = new uint[Math.Min(users, count)];
        if (drawn.Length == users)
        {
            for (var i = 0; i < drawn.Length; i++)
                drawn[i] = (uint)i;
            random.Shuffle(drawn);
            return drawn;
        }

        var taken = new ulong[(users / 64) + 1];
        for (var i = 0; i < drawn.Length;)
        {
            var user = (uint)random.NextInt64(users);
            if ((taken[user / 64] & (1UL << (int)(user % 64))) != 0)
                continue;
            taken[user / 64] |= 1UL << (int)(user % 64);
            drawn[i++] = user;
        }

        return drawn;
    }

    private async Task MeasureTableAsync(Run run, long users, string[] parts)
    {
        var title = Title(users);
        await using var store = new MemoryPlaneStore(new PageBudget(PageLayout.Pages));
        Register(store, Plane.Pulse, users, ++_second);
        run.Note($"{title}: {HugeBytes() / (double)(store.Budget.Taken * 262_144L):P0} of the table in huge pages");
        var ids = RandomUsers(users, run.Settings.Number("ids"));
        var warmUp = TimeSpan.FromSeconds(run.Settings.Number("warm-up"));
        // most of a table of 10 million users is in the cache, where a plain store waits less
        var goal = users >= 50_000_000 ? 0.65 : 0.5;

        if (parts.Contains("exchange"))
        {
            var pairs = await Pairs.RunAsync(
                new Leg($"{title}: exchange, batches of {BatchSize:#,0}", () => Exchange(store, ids)),
                new Leg($"{title}: plain random stores", () => Store(store, ids)),
                run.PairCount,
                warmUp);
            run.Add($"{title}: exchanges a second against plain random stores", pairs, "exchange", Goal.Least(goal), inverse: true);
            pairs = await Pairs.RunAsync(
                new Leg($"{title}: exchange, batches of {BatchSize:#,0}", () => Exchange(store, ids)),
                new Leg($"{title}: plain random stores, touched ahead", () => Store(store, ids, ahead: 32)),
                run.PairCount,
                warmUp / 5);
            run.Add($"{title}: exchanges a second against plain random stores that are touched ahead", pairs, "exchange", inverse: true);
        }

        if (parts.Contains("sweep"))
            await MeasureSweepAsync(run, store, users, title);
    }

    private static async Task MeasureSweepAsync(Run run, MemoryPlaneStore store, long users, string title)
    {
        var options = new AglowOptions();
        var clock = new Clock(TimeProvider.System, new StallGuard(20));
        var definitions = new Definitions(options);
        using var beliefs = new Beliefs(definitions, new LocalTransitionBus());
        var sweep = new Sweep(store, clock, beliefs);
        var active = RandomUsers(users, run.Settings.Number("active"));
        // an hour ahead: these users stay online during the run, so the sweep has nothing to correct after its first pass
        Write(store, active, clock.Now + 3600);
        await sweep.PassAsync();
        if (beliefs.Default.Online != active.Length)
            throw new BenchmarkException($"the sweep found {beliefs.Default.Online} of {active.Length} users online.");

        var passes = new List<double>();
        for (var i = 0; i < run.PairCount + 3; i++)
        {
            var cpu = Cpu.OfThisProcess();
            await sweep.PassAsync();
            if (i >= 3)
                passes.Add((Cpu.OfThisProcess() - cpu) * 1000);
        }

        run.Add($"{title}: a sweep of every page", "CPU ms", passes, users == 10_000_000 ? Goal.Most(5) : null);
        await MeasureBeatsAsync(run, sweep, title);
    }

    // Runs the sweep's loop as in a server, for two whole passes in its steady state.
    private static async Task MeasureBeatsAsync(Run run, Sweep sweep, string title)
    {
        using var timer = new PeriodicTimer(Sweep.BeatInterval);
        double cpu = 0;
        long began = 0;
        // The first pass has no pages yet, the second reads them in full, and the third measures how long a pass takes from then on.
        for (var passes = 0; passes < 5 || Stopwatch.GetElapsedTime(began).TotalSeconds < 5;)
        {
            await timer.WaitForNextTickAsync();
            var before = Cpu.OfThisProcess();
            var completed = await sweep.BeatAsync();
            cpu += Cpu.OfThisProcess() - before;
            if (completed && ++passes == 3)
                (cpu, began) = (0, Stopwatch.GetTimestamp());
        }

        var share = cpu / Stopwatch.GetElapsedTime(began).TotalSeconds;
        run.Add($"{title}: a pass of the loop, over who is believed online", "ms", [sweep.LastPassCost.TotalMilliseconds]);
        run.Add($"{title}: sweep interval in force", "s", [sweep.Interval.TotalSeconds]);
        run.Add($"{title}: sweeping", "% of a core", [100 * share], Goal.Most(100 * Sweep.CoreShare));
    }

    private Sample Exchange(MemoryPlaneStore store, uint[] ids)
    {
        var word = ++_second;
        long sum = 0;
        var sample = Sample.Of(ids.Length, () => sum = ExchangeAll(store, ids, word));
        // checks the returned old words: each is from an earlier leg, and none was refused
        Expect(sum < (long)word * ids.Length && sum > (long)FirstSecond * ids.Length, "old words that are not the words that stood there");
        ExpectSum(store, ids, word);
        return sample;
    }

    private static long ExchangeAll(MemoryPlaneStore store, ReadOnlySpan<uint> ids, uint word)
    {
        Span<uint> words = stackalloc uint[BatchSize];
        Span<uint> old = stackalloc uint[BatchSize];
        words.Fill(word);
        long sum = 0;
        for (; !ids.IsEmpty; ids = ids[Math.Min(BatchSize, ids.Length)..])
        {
            var count = Math.Min(BatchSize, ids.Length);
            store.Exchange(Plane.Pulse, ids[..count], words[..count], old[..count]);
            sum += (long)old[0] * count;
        }

        return sum;
    }

    private unsafe Sample Store(MemoryPlaneStore store, uint[] ids, int ahead = 0)
    {
        var word = ++_second;
        // pages were allocated in order, so the table is one array
        var table = (nint)Unsafe.AsPointer(ref MemoryMarshal.GetReference(store.PageForLoading(Plane.Pulse, 0)));
        var sample = Sample.Of(ids.Length, () =>
        {
            if (ahead == 0)
                StoreAll((uint*)table, ids, word);
            else
                StoreAllAhead((uint*)table, ids, word, ahead);
        });
        long sum = 0;
        foreach (var id in ids)
            sum += ((uint*)table)[id];
        Expect(sum == (long)word * ids.Length, "stores that are not there");
        return sample;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static unsafe void StoreAll(uint* table, ReadOnlySpan<uint> ids, uint word)
    {
        foreach (var id in ids)
            table[id] = word;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static unsafe void StoreAllAhead(uint* table, ReadOnlySpan<uint> ids, uint word, int ahead)
    {
        for (var i = 0; i < ids.Length; i++)
        {
            if (i + ahead < ids.Length && Sse.IsSupported)
                Sse.Prefetch0(table + ids[i + ahead]);
            table[ids[i]] = word;
        }
    }

    private static void Write(MemoryPlaneStore store, uint[] ids, uint word)
    {
        var words = new uint[ids.Length];
        words.AsSpan().Fill(word);
        store.Exchange(Plane.Pulse, ids, words, new uint[ids.Length]);
    }

    private static void ExpectSum(MemoryPlaneStore store, uint[] ids, uint word)
    {
        var words = new uint[10_000];
        long sum = 0;
        for (var i = 0; i < ids.Length; i += words.Length)
        {
            var some = ids.AsSpan(i, Math.Min(words.Length, ids.Length - i));
            store.Read(Plane.Pulse, some, words);
            foreach (var one in words.AsSpan(0, some.Length))
                sum += one;
        }

        Expect(sum == (long)word * ids.Length, "exchanges that are not there");
    }

    private static void Expect(bool so, string otherwise)
    {
        if (!so)
            throw new BenchmarkException($"the check after a leg found {otherwise}: no figure of this run counts.");
    }

    private static long HugeBytes()
    {
        var line = File.ReadLines("/proc/self/smaps_rollup").First(l => l.StartsWith("AnonHugePages:", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]) * 1024;
    }

    internal static string Title(long users) =>
        users % 1_000_000_000 == 0 ? $"{users / 1_000_000_000} b users" : $"{users / 1_000_000.0:0.#} m users";
}
