using System.Diagnostics;
using System.IO.Pipelines;
using Aglow.Benchmarks.Sockets;
using Aglow.Model;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Benchmarks.Million;

/// <summary>
/// A million sockets on one node, over a transport in memory, because one machine has no descriptors for them. Everything above the
/// transport is real: middleware, handshake, frames, hub.
/// </summary>
/// <remarks>
/// The clients live in the same process. Their CPU (a pong for each ping, reading each frame) and their memory (a small object and a pipe,
/// as Kestrel has one, too) count. What the kernel adds is measured with real sockets (<c>aglow bench sockets</c>).
/// </remarks>
internal sealed class MillionBenchmark : Benchmark
{
    // the connections' own users are not watched, because a connected user is online
    private const int FirstOwner = 10_000_000;
    private const int Watchers = 20;
    private const int MostOpening = 2000;
    private static readonly TimeSpan Batch = TimeSpan.FromMilliseconds(10);

    private readonly List<MemoryConnection> _connections = [];

    public override string Name => "million";

    public override string Measures =>
        "a million sockets over a transport in memory: memory, CPU of pings and ticks, deliveries, the drain of all";

    public override int DefaultPairs => 1;

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("sockets", "1m", "connections; memory is the slope between half of them and all"),
        new("ping", "10", "seconds between two pings of a connection; the lease is three times as long"),
        new("rate", "10000", "changes a second, half of them arrivals and half goodbyes; at most one for every 40 sockets"),
        new("seconds", "20", "seconds of changes"),
        new("idle", "20", "seconds without changes, at least twice the interval of pings"),
        new("drain", "30", "seconds in which all connections are sent away"),
    ];

    public override async Task RunAsync(Run run)
    {
        var sockets = (int)run.Settings.Number("sockets");
        var ping = (int)run.Settings.Number("ping");
        var users = Math.Max(1, sockets / Watchers);
        var counts = new MillionCounts(users);
        using var folder = new TemporaryFolder();
        var options = new AglowOptions
        {
            OpenMode = true,
            DataDirectory = folder.Path,
            HeartbeatSeconds = ping,
            LeaseSeconds = 3 * ping,
            MaxConnectionsPerAddress = int.MaxValue,
        };
        await using var opened = await EmbeddedPresence.OpenAsync(options, TimeProvider.System, NullLoggerFactory.Instance);
        var (app, connect) = await StartAsync(options, opened.Presence);
        await using (app)
        {
            // of Kestrel's own blocks, as on its connections
            using var pool = app.Services.GetRequiredService<IMemoryPoolFactory<byte>>().Create();
            var pipes = new PipeOptions(
                pool,
                readerScheduler: PipeScheduler.ThreadPool,
                writerScheduler: PipeScheduler.Inline,
                useSynchronizationContext: false);
            var half = await OpenAsync(run, connect, pipes, counts, sockets / 2, users, ping);
            var all = await OpenAsync(run, connect, pipes, counts, sockets - (sockets / 2), users, ping);
            var title = $"{sockets:#,0} sockets, each watches one user";
            var added = sockets - (sockets / 2);
            run.Add($"{title}: managed heap of each", "KB", [(all.Heap - half.Heap) / 1000.0 / added], Goal.Most(4));
            run.Add($"{title}: resident, of each", "KB", [(all.Resident - half.Resident) / 1000.0 / added], Goal.Most(4));
            await MeasureIdleAsync(run, title, sockets, ping);
            await MeasureChangesAsync(run, title, opened.Presence, counts, users);
            await MeasureDrainAsync(run, title, opened.Presence, counts);
        }
    }

    private static async Task<(WebApplication App, ConnectionDelegate Connect)> StartAsync(AglowOptions options, PresenceService presence)
    {
        ConnectionDelegate? connect = null;
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "Aglow" });
        builder.Services.AddRoutingCore();
        builder.Services.AddAglow(options, presence);
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.ConfigureEndpointDefaults(endpoint =>
            connect = endpoint.UseAglowSockets(isFirst: true).Build()));
        var app = builder.Build();
        app.Urls.Add("http://127.0.0.1:0");
        app.MapAglow();
        await app.StartAsync();
        return (app, connect!);
    }

    private async Task<(long Heap, long Resident)> OpenAsync(
        Run run, ConnectionDelegate connect, PipeOptions pipes, MillionCounts counts, int more, int users, int ping)
    {
        var began = Stopwatch.GetTimestamp();
        var goal = _connections.Count + more;
        while (_connections.Count < goal)
        {
            for (; _connections.Count < goal && _connections.Count - counts.OpenedCount < MostOpening;)
            {
                var connection = new MemoryConnection(_connections.Count, counts, pipes);
                _connections.Add(connection);
                connection.Say(Frames.Upgrade($"/ws?user_id={FirstOwner + _connections.Count}"));
                connection.Say(Frames.WriteText($$"""{"type":"watch","users":[{{_connections.Count % users}}]}"""));
                ThreadPool.UnsafeQueueUserWorkItem(
                    static one => _ = one.connect(one.connection), (connect, connection), preferLocal: false);
            }

            await Task.Delay(1);
        }

        await Wait.UntilAsync(() => counts.OpenedCount == goal && counts.Deliveries >= goal, 120, "all to be open");
        run.Progress($"{goal:#,0} connections, {more / Stopwatch.GetElapsedTime(began).TotalSeconds:#,0} a second");
        // every connection is pinged once, so that its read loop has run
        await Task.Delay(TimeSpan.FromSeconds(ping + 1));
        return (Cpu.Collect(), Cpu.ResidentBytes(Environment.ProcessId));
    }

    private static async Task MeasureIdleAsync(Run run, string title, int sockets, int ping)
    {
        var seconds = (int)run.Settings.Number("idle");
        var allocated = GC.GetTotalAllocatedBytes();
        var idle = await Sample.OfAsync(Cpu.OfThisProcess, () => Task.Delay(TimeSpan.FromSeconds(seconds)));
        run.Add(
            $"{title}, idle, ping every {ping} s: CPU of each a second, its client included", "us", [idle.CoresBusy * 1e6 / sockets]);
        run.Add($"{title}, idle: CPU of the node", "% of a core", [100 * idle.CoresBusy]);
        run.Add(
            $"{title}, idle: allocated for a ping and its pong", "bytes",
            [(GC.GetTotalAllocatedBytes() - allocated) / (idle.Seconds / ping * sockets)]);
    }

    private static async Task MeasureChangesAsync(Run run, string title, PresenceService presence, MillionCounts counts, int users)
    {
        // a user is away for two seconds at least, because a leave is confirmed for one
        var rate = Math.Min(run.Settings.Number("rate"), users / 2);
        var total = rate * run.Settings.Number("seconds") / 2;
        // half of the users are online, and each stays for half a round
        var expected = counts.Deliveries + ((long)(users - (users / 2)) * Watchers);
        await presence.HeartbeatPackedAsync(Users(users / 2, users - (users / 2), users));
        await Wait.UntilAsync(() => counts.Deliveries >= expected, 30, "half of the users to be shown online");
        List<Task> leaves = [];
        var (before, cpu, began) = (counts.Deliveries, Cpu.OfThisProcess(), Stopwatch.GetTimestamp());
        using var timer = new PeriodicTimer(Batch);
        for (long sent = 0; sent < total; await timer.WaitForNextTickAsync())
        {
            // as many as are due, also if the last tick was late
            var due = Math.Min(total, (long)(Stopwatch.GetElapsedTime(began).TotalSeconds * rate / 2));
            var (come, go) = (Users(sent, (int)(due - sent), users), Users(sent + (users / 2), (int)(due - sent), users));
            for (var i = 0; i < come.Length; i++)
                counts.Comes((int)come[i], began + ((sent + i) * 2 * Stopwatch.Frequency / rate));
            await presence.HeartbeatPackedAsync(come);
            leaves.Add(presence.LeaveAsync(go).AsTask());
            sent = due;
        }

        var passed = Stopwatch.GetElapsedTime(began).TotalSeconds;
        var (delivered, node) = (counts.Deliveries - before, Cpu.OfThisProcess() - cpu);
        await Task.WhenAll(leaves);
        expected = before + (2 * total * Watchers);
        await Wait.UntilAsync(() => counts.Deliveries >= expected, 30, "all changes to be delivered");
        var name = $"{title}, {rate:#,0} changes/s of users whom {Watchers} watch";
        run.Add($"{name}: deliveries", "deliveries/s", [delivered / passed]);
        run.Add($"{name}: CPU of the node, changes and clients included", "% of a core", [100 * node / passed]);
        run.Add($"{name}: lag p50", "ms", [counts.Lags.Quantile(0.5, 0)]);
        run.Add($"{name}: lag p99", "ms", [counts.Lags.Quantile(0.99, 0)]);
    }

    private static uint[] Users(long first, int count, int users)
    {
        var some = new uint[count];
        for (var i = 0; i < count; i++)
            some[i] = (uint)((first + i) % users);
        return some;
    }

    private async Task MeasureDrainAsync(Run run, string title, PresenceService presence, MillionCounts counts)
    {
        var over = TimeSpan.FromSeconds(run.Settings.Number("drain"));
        var (cpu, began) = (Cpu.OfThisProcess(), Stopwatch.GetTimestamp());
        await presence.Watchers.DrainAsync(over);
        await Wait.UntilAsync(() => counts.ClosedCount == _connections.Count, 30, "all to be closed");
        var last = _connections.Max(static one => one.ClosedAt);
        var took = Stopwatch.GetElapsedTime(began, last).TotalSeconds;
        run.Add($"{title}: drain of all over {over.TotalSeconds:0} s", "s", [took]);
        run.Add($"{title}: closed before their time", "connections", [_connections.Count(IsEarly)], Goal.Most(0));
        run.Add($"{title}: drain, CPU", "s", [Cpu.OfThisProcess() - cpu]);

        // a beat is the unit of the hub's times
        static bool IsEarly(MemoryConnection one) =>
            one.ClosesAt == 0 || Stopwatch.GetElapsedTime(one.ClosedAt, one.ClosesAt) > TimeSpan.FromMilliseconds(20);
    }
}
