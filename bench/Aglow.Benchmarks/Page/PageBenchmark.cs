using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.Playwright;

namespace Aglow.Benchmarks.Page;

/// <summary>
/// The page in a real browser: how soon the first dots appear, and how many frames a second remain while a thousand people change.
/// </summary>
/// <remarks>
/// Uses the real server with registered users who are online. A load sends leaves and heartbeats for them at a steady rate, and a tab
/// without a user watches. The page's own animation callbacks count frames; they do not run while its main thread or its drawing is late.
/// The page also counts changes of dots, to prove that the work was done. A browser without a graphics processor draws in software, so a
/// person's browser is faster.
/// </remarks>
internal sealed class PageBenchmark : Benchmark
{
    private const string FirstDots = "performance.getEntriesByName('aglow:dots')[0]?.startTime ?? null";
    private const string Loaded = "performance.getEntriesByType('navigation')[0].loadEventEnd || null";

    // the script measures for this many milliseconds: the gaps between frames, and how many dots changed
    private const string CountFrames = """
        new Promise((done) => {
            const gaps = [];
            let changes = 0;
            let before;
            const observer = new MutationObserver((records) => (changes += records.length));
            observer.observe(document.getElementById('list'), { subtree: true, attributeFilter: ['data-status'] });
            const began = performance.now();
            const frame = (now) => {
                if (before !== undefined)
                    gaps.push(now - before);
                before = now;
                if (performance.now() - began < MILLISECONDS) {
                    requestAnimationFrame(frame);
                    return;
                }
                observer.disconnect();
                // both the row and its dot show the status
                done({ gaps, changes: changes / 2, seconds: (performance.now() - began) / 1000 });
            };
            requestAnimationFrame(frame);
        })
        """;

    public override string Name => "page";

    public override string Measures => "the page in Chromium: the first dots, and frames a second while many people change";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("users", "1000", "people listed at once"),
        new("changes", "50", "people who come or go in a second"),
        new("seconds", "5", "how long each sample of frames is"),
    ];

    public override async Task RunAsync(Run run)
    {
        var users = (int)run.Settings.Number("users");
        using var folder = new TemporaryFolder();
        // a lease that never expires, so that only sent messages cause changes
        using var server = await ServeProcess.StartAsync(cores: 0, folder.Path);
        var url = $"{Http.Local(server.Port)}";
        using var http = Http.Client(server.Port);
        var people = (await RegisterAsync(http, users)).ToDictionary(static number => number, static _ => true);
        using var playwright = await Playwright.CreateAsync();
        await using var chromium = await playwright.Chromium.LaunchAsync(
            new() { ExecutablePath = Programs.Find("chromium", "chromium"), Args = ["--no-sandbox"] });
        await MeasureFirstDotsAsync(run, chromium, url);
        // a desktop that shows some of the rows, and a large screen that shows all of them
        await MeasureFramesAsync(run, chromium, http, url, people, "on a desktop", 1440, 900);
        await MeasureFramesAsync(run, chromium, http, url, people, "on a wall that shows all of them", 3840, 9600);
    }

    // a window of its own, with an empty cache
    private static async Task<IPage> OpenAsync(IBrowser chromium, string url, int width, int height)
    {
        // the server allows no scripts but its own, and waiting for a condition adds one
        var tab = await chromium.NewPageAsync(new() { BypassCSP = true, ViewportSize = new() { Width = width, Height = height } });
        await tab.GotoAsync(url, new() { WaitUntil = WaitUntilState.Commit });
        return tab;
    }

    private static async Task<List<uint>> RegisterAsync(HttpClient http, int users)
    {
        List<uint> numbers = [.. Enumerable.Range(1, users).Select(static i => (uint)i)];
        foreach (var some in numbers.Chunk(10_000))
        {
            var profiles = some.Select(static number => new { user_id = number, user_name = $"person {number:00000}" });
            await Http.PostAsync(http, "/users/batch", new { users = profiles });
        }

        await PostAsync(http, "/heartbeat", numbers);
        return numbers;
    }

    private static async Task MeasureFirstDotsAsync(Run run, IBrowser chromium, string url)
    {
        run.Progress("first dots: a new tab, an empty cache");
        List<double> sinceStart = [], sinceLoad = [];
        // the first warms up the server and the browser
        for (var i = 0; i <= run.PairCount; i++)
        {
            var tab = await OpenAsync(chromium, url, 1440, 900);
            var dots = await (await tab.WaitForFunctionAsync(FirstDots)).JsonValueAsync<double>();
            var load = await (await tab.WaitForFunctionAsync(Loaded)).JsonValueAsync<double>();
            await tab.CloseAsync();
            if (i == 0)
                continue;
            sinceStart.Add(dots);
            sinceLoad.Add(Math.Max(0, dots - load));
        }

        run.Add("first dots drawn, after the page has loaded", "ms", sinceLoad, Goal.Most(300));
        run.Add("first dots drawn, after its address was entered", "ms", sinceStart);
    }

    private static async Task MeasureFramesAsync(
        Run run, IBrowser chromium, HttpClient http, string url, Dictionary<uint, bool> people, string where, int width, int height)
    {
        var (rate, seconds) = (run.Settings.Number("changes"), run.Settings.Number("seconds"));
        run.Progress($"{people.Count} people listed {where}, {rate} changes a second");
        var tab = await OpenAsync(chromium, url, width, height);
        await tab.WaitForFunctionAsync(
            $"document.querySelectorAll('.person').length === {people.Count} || (document.querySelector('#more:not([hidden])')?.click(), "
                + "false)");

        using var stop = new CancellationTokenSource();
        var load = ChangeAsync(http, people, rate, stop.Token);
        List<double> frames = [], worst = [], changes = [];
        for (var i = 0; i <= run.PairCount; i++)
        {
            var counted = await tab.EvaluateAsync<JsonElement>(CountFrames.Replace("MILLISECONDS", $"{seconds * 1000}"));
            if (i == 0)
                continue;
            var gaps = counted.GetProperty("gaps").EnumerateArray().Select(static gap => gap.GetDouble()).ToArray();
            var took = counted.GetProperty("seconds").GetDouble();
            frames.Add(gaps.Length / took);
            worst.Add(gaps.Max());
            changes.Add(counted.GetProperty("changes").GetDouble() / took);
        }

        await stop.CancelAsync();
        await load;
        await tab.CloseAsync();
        if (Spread.Of(changes).Median < rate * 0.9)
            throw new BenchmarkException(
                $"{Spread.Of(changes).Median:0.0} of {rate} changes a second were shown: the page or the load is behind.");
        run.Add($"frames, {people.Count} people {where}, {rate} changes a second", "frames/s", frames, Goal.Least(30));
        run.Add("  longest gap between two frames in a sample", "ms", worst);
        run.Add("  changes shown", "changes/s", changes);
    }

    // Toggles users in turn: ten requests a second, on schedule. The next load continues with the states.
    private static async Task ChangeAsync(HttpClient http, Dictionary<uint, bool> people, long rate, CancellationToken stop)
    {
        const int PerSecond = 10;
        uint[] users = [.. people.Keys];
        var (next, done) = (0L, 0L);
        var began = Stopwatch.GetTimestamp();
        while (!stop.IsCancellationRequested)
        {
            next++;
            var late = TimeSpan.FromSeconds((double)next / PerSecond) - Stopwatch.GetElapsedTime(began);
            if (late > TimeSpan.Zero)
                await Task.Delay(late, TimeProvider.System, CancellationToken.None);
            List<uint> going = [], coming = [];
            for (; done < next * rate / PerSecond; done++)
            {
                var user = users[done % users.Length];
                (people[user] ? going : coming).Add(user);
                people[user] = !people[user];
            }

            await PostAsync(http, "/offline", going);
            await PostAsync(http, "/heartbeat", coming);
        }
    }

    private static async Task PostAsync(HttpClient http, string path, List<uint> users)
    {
        if (users.Count > 0)
            (await Http.PostPackedAsync(http, path, CollectionsMarshal.AsSpan(users))).EnsureSuccessStatusCode().Dispose();
    }
}
