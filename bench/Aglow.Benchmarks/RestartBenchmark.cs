using System.Diagnostics;
using Aglow.Diagnostics;
using Aglow.Durable;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Users;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Benchmarks;

/// <summary>
/// The embedded store on its disk: its size, and how long a start takes to read it.
/// </summary>
/// <remarks>
/// The folder is built through the store and a checkpoint, with the last <c>--active</c> users as arrivals in the journal, and left as
/// after a crash. A separate process then reads it, and so does the real server. The read is from disk if this user may drop the kernel's
/// caches, else from the page cache. Every read is checked: users registered, users online.
/// </remarks>
internal sealed class RestartBenchmark : Benchmark
{
    /// <summary>The hidden verb of the process that reads a folder: <c>restart-load FOLDER</c>.</summary>
    public const string Verb = "restart-load";

    public override string Name => "restart";

    public override string Measures => "the data folder: bytes on disk, and seconds from process start to ready";

    public override int DefaultPairs => 5;

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("users", "10m,1b", "registered users, one folder after the other"),
        new("active", "5m", "users who came online last: the journal that a start replays"),
        new("parts", "all", "load, server"),
        new("folder", "", "the parent of the data folders, kept for ./aglow serve --data FOLDER/USERS; default a temporary one, removed"),
    ];

    public override async Task RunAsync(Run run)
    {
        var parts = run.Settings.Choices("parts", "load", "server");
        foreach (var users in run.Settings.Numbers("users", least: 1_000_000))
        {
            var root = run.Settings.Text("folder");
            using var temporary = root.Length == 0 ? new TemporaryFolder() : null;
            var folder = temporary?.Path ?? Directory.CreateDirectory(Path.Combine(root, $"{users}")).FullName;
            var active = Math.Min(users, run.Settings.Number("active"));
            await BuildAsync(run, folder, users, active);
            // frees the memory of the built store before the read
            GC.Collect();
            if (parts.Contains("load"))
                await MeasureLoadsAsync(run, folder, users, active);
            if (parts.Contains("server"))
                await MeasureServerAsync(run, folder, users);
        }
    }

    /// <summary>Reads a folder in this process, and prints how long that took and what it contained.</summary>
    public static async Task<int> LoadAsync(string folder)
    {
        var journal = Journal.Open(Path.Combine(folder, "presence.db"), Log);
        // five seconds after the last run, however long the preparations took
        var clock = new Clock(new StandingTime(journal.LastAlive + 5), new StallGuard(20));
        await using var store = new JournaledPlaneStore(new PageBudget(2 * PageLayout.Pages), journal);
        var recovery = journal.Load(store, clock, 30);
        Console.WriteLine($"{recovery.Took.TotalSeconds} {recovery.Registered} {recovery.Online}");
        // ends at once, like a crash, so the next sample reads the same folder
        await journal.AbandonAsync();
        return 0;
    }

    private static AglowLog Log => new(NullLogger.Instance);

    private static async Task BuildAsync(Run run, string folder, long users, long active)
    {
        var title = EngineBenchmark.Title(users);
        run.Progress($"{title}: building the folder");
        var journal = Journal.Open(Path.Combine(folder, "presence.db"), Log);
        var clock = new Clock(TimeProvider.System, new StallGuard(20), journal.LastAlive);
        await using var store = new JournaledPlaneStore(new PageBudget(2 * PageLayout.Pages), journal);
        journal.Load(store, clock, 30);
        EngineBenchmark.Register(store, Plane.Pulse, users, clock.Now - 3600);
        // one word per page, so that each page is in the journal and its image is due
        journal.Add(Plane.Pulse, [.. store.Pages(Plane.Pulse).Select(page => PageLayout.User(page, 0))]);
        journal.Writer.Commit();
        journal.Writer.CheckpointNow();
        Arrive(store, clock.Now, users, active, journal);
        run.Add($"{title}: on disk", "bytes/user", [(double)BytesIn(folder) / users]);
        run.Add($"{title}: on disk", "MiB", [BytesIn(folder) / 1048576.0]);
        await journal.AbandonAsync();
        // a server refuses a folder without this file
        await using var directory = SqliteUserDirectory.Open(folder, TimeProvider.System);
    }

    // Brings users online on every page: the most expensive distribution.
    private static void Arrive(MemoryPlaneStore store, uint now, long users, long active, Journal journal)
    {
        for (var first = 0L; first < active; first += 1_000_000)
        {
            var numbers = new uint[Math.Min(active - first, 1_000_000)];
            for (var i = 0; i < numbers.Length; i++)
                numbers[i] = (uint)((first + i) * (users / active));
            var words = new uint[numbers.Length];
            words.AsSpan().Fill(now);
            store.Exchange(Plane.Pulse, numbers, words, words);
            store.Keep(Plane.Pulse, numbers);
            journal.Writer.Commit();
        }
    }

    private static async Task MeasureLoadsAsync(Run run, string folder, long users, long active)
    {
        var title = EngineBenchmark.Title(users);
        var goal = users <= 10_000_000 ? Goal.Most(1) : users <= 1_000_000_000 ? Goal.Most(15) : null;
        if (!DropCaches())
            run.Note("the kernel's caches cannot be dropped by this user: loads are from the page cache");
        var (loads, ready) = (new List<double>(), new List<double>());
        for (var i = 0; i < run.PairCount; i++)
        {
            DropCaches();
            var began = Stopwatch.GetTimestamp();
            using var reader = Child.Self(cores: 0, Verb, folder);
            var line = await reader.ReadLineAsync();
            ready.Add(Stopwatch.GetElapsedTime(began).TotalSeconds);
            await reader.Process.WaitForExitAsync();
            if (line.Split(' ') is not [var took, var registered, var online]
                || long.Parse(registered) != users
                || long.Parse(online) < active)
                throw new BenchmarkException(
                    $"the process that read {folder} found \"{line}\" instead of {users} users, {active} of them online: no figure of this "
                        + "run counts.");
            loads.Add(double.Parse(took));
        }

        run.Add($"{title}: words read", "s", loads);
        run.Add($"{title}: process start to words read", "s", ready, goal);
    }

    private static async Task MeasureServerAsync(Run run, string folder, long users)
    {
        var title = EngineBenchmark.Title(users);
        var ready = new List<double>();
        // one more call, which is not counted, so that everything is built
        for (var i = 0; i <= run.PairCount; i++)
        {
            DropCaches();
            using var http = Http.Client(Programs.FreePort());
            http.Timeout = TimeSpan.FromSeconds(1);
            var began = Stopwatch.GetTimestamp();
            using var server = Child.Start(
                Path.Combine(Machine.Root(), "aglow"), cores: 0, "serve", "--data", folder, "--urls", $"{http.BaseAddress}");
            server.DiscardOutput();
            var took = await ReadyAsync(server, http, began);
            if (i > 0)
                ready.Add(took);
        }

        run.Add($"{title}: process start of the server to ready", "s", ready, users <= 10_000_000 ? Goal.Most(1) : Goal.Most(15));
    }

    // Waits until a server is ready; returns the seconds since it began.
    private static async Task<double> ReadyAsync(Child server, HttpClient http, long began)
    {
        while (!server.Process.HasExited && Stopwatch.GetElapsedTime(began) < TimeSpan.FromMinutes(3))
        {
            try
            {
                using var answer = await http.GetAsync(new Uri("/health/ready", UriKind.Relative));
                if (answer.IsSuccessStatusCode)
                    return Stopwatch.GetElapsedTime(began).TotalSeconds;
            }
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
            {
                // the server does not listen yet
            }

            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System);
        }

        throw new BenchmarkException("the server was not ready within 3 minutes.");
    }

    private static long BytesIn(string folder) => Directory.GetFiles(folder).Sum(file => new FileInfo(file).Length);

    // Root only. The next read comes from the disk.
    private static bool DropCaches()
    {
        try
        {
            using (var sync = Process.Start("sync"))
                sync.WaitForExit();
            File.WriteAllText("/proc/sys/vm/drop_caches", "1\n");
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }

    private sealed class StandingTime(uint second) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeSeconds((long)Pulse.EpochUnixSeconds + second);

        public override long GetTimestamp() => 0;
    }
}
