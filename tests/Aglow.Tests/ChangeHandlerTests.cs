using System.Collections.Concurrent;
using Aglow.Changes;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Aglow.Tests;

/// <summary>An application's own consumers of the feed: <c>OnChange&lt;MyHandler&gt;()</c> and <see cref="IPresenceEvents"/>.</summary>
public class ChangeHandlerTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task A_handler_hears_everything_in_order_also_what_it_failed_at_and_what_happened_while_it_was_down()
    {
        using var folder = new TemporaryFolder();
        var heard = new Heard { FailsAt = 2 };
        using (var host = await StartAsync(folder.Path, heard))
        {
            var presence = host.Services.GetRequiredService<PresenceService>();
            var events = host.Services.GetRequiredService<IPresenceEvents>();
            var first = FirstAsync(events, 3);
            await presence.HeartbeatAsync(UserId.Parse("ann"));
            await presence.LeaveAsync(new[] { await presence.FindAsync(UserId.Parse("ann")) });
            // user 7 sends nothing more, so the lease expires
            await presence.HeartbeatAsync(UserId.Of(7));
            await heard.UntilAsync("ann Heartbeat", "ann Leave", "ann Leave", "7 Heartbeat", "7 Lapse");
            (await first).ShouldBe(["ann Heartbeat", "ann Leave", "7 Heartbeat"]);
            await host.StopAsync();
        }

        // the application runs without the handler, whose place stays
        using (var host = await StartAsync(folder.Path, null))
        {
            await host.Services.GetRequiredService<PresenceService>().HeartbeatAsync(UserId.Of(8));
            await host.StopAsync();
        }

        heard.Clear();
        using (var host = await StartAsync(folder.Path, heard))
        {
            await heard.UntilAsync("8 Heartbeat", "8 Lapse");
            await host.StopAsync();
        }

        // the feed is off and then on again: changes in between are lost, and the handler receives a gap
        using (var host = await StartAsync(folder.Path, null, hours: 0))
        {
            Should.Throw<InvalidOperationException>(() =>
                host.Services.GetRequiredService<IPresenceEvents>().GetAsyncEnumerator().MoveNextAsync().AsTask().GetAwaiter().GetResult())
                .Message.ShouldContain("ChangesHours");
            await host.StopAsync();
        }

        heard.Clear();
        using (var host = await StartAsync(folder.Path, heard))
        {
            await heard.UntilAsync("gap");
            await host.StopAsync();
        }

        (await Should.ThrowAsync<InvalidOperationException>(() => StartAsync(folder.Path, heard, hours: 0)))
            .Message.ShouldContain("ChangesHours");
        if (!OperatingSystem.IsWindows())
            File.GetUnixFileMode(Path.Combine(folder.Path, "consumers.db")).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    [Fact]
    public async Task A_new_handler_hears_what_happens_after_the_start_although_its_loop_begins_later()
    {
        using var folder = new TemporaryFolder();
        await using var opened = await EmbeddedPresence.OpenAsync(
            new AglowOptions { DataDirectory = folder.Path, LeaseSeconds = 3600 }, TimeProvider.System, NullLoggerFactory.Instance);
        var feed = opened.Presence.Changes!;
        await opened.Presence.HeartbeatAsync(1);
        var begin = (await feed.ReadAsync(IChangeFeed.Latest, 1)).Next;
        await opened.Presence.HeartbeatAsync(2);
        var heard = new Heard();
        // the first run begins there, and a later one at the stored place
        for (var user = 2u; user < 4; user++)
        {
            using var stop = new CancellationTokenSource();
            var loop = new ChangeHandlerLoop(feed, "test", TimeProvider.System, static failure => throw failure) { Begin = begin };
            var running = loop.RunAsync((change, _) => heard.Add($"{change!.User}"), stop.Token);
            await heard.UntilAsync([.. Enumerable.Range(2, (int)user - 1).Select(static number => $"{number}")]);
            await stop.CancelAsync();
            await running;
            await opened.Presence.HeartbeatAsync(user + 1);
        }
    }

    private static async Task<IHost> StartAsync(string folder, Heard? heard, int hours = 24)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.ClearProviders();
        builder.Services.AddAglow(o =>
        {
            o.DataDirectory = folder;
            // a lease may not end before a leave, however busy the disk is
            (o.LeaseSeconds, o.HeartbeatSeconds, o.ChangesHours) = (8, 1, hours);
        });
        if (heard is not null)
            builder.Services.AddSingleton(heard).OnChange<Handler>();
        var host = builder.Build();
        try
        {
            await host.StartAsync();
            return host;
        }
        catch
        {
            await host.StopAsync();
            host.Dispose();
            throw;
        }
    }

    private static async Task<string[]> FirstAsync(IPresenceEvents events, int count)
    {
        var first = new List<string>();
        using var limit = new CancellationTokenSource(Patience);
        await foreach (var change in events.WithCancellation(limit.Token))
        {
            first.Add($"{change.User} {change.Reason}");
            if (first.Count == count)
                break;
        }

        return [.. first];
    }

    private sealed class Handler(Heard heard) : IPresenceChangeHandler
    {
        public ValueTask OnChangeAsync(PresenceChange change, CancellationToken stop) => heard.Add($"{change.User} {change.Reason}");

        public ValueTask OnGapAsync(CancellationToken stop) => heard.Add("gap");
    }

    private sealed class Heard
    {
        private readonly ConcurrentQueue<string> _all = new();

        public int FailsAt { get; set; }

        public void Clear() => _all.Clear();

        public ValueTask Add(string what)
        {
            _all.Enqueue(what);
            return _all.Count == FailsAt ? throw new InvalidOperationException("not now") : default;
        }

        public async Task UntilAsync(params string[] expected)
        {
            using var limit = new CancellationTokenSource(Patience);
            while (_all.Count < expected.Length && !limit.IsCancellationRequested)
                await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
            _all.ShouldBe(expected);
        }
    }
}
