using System.Diagnostics;
using System.Text.Json;
using Aglow.Benchmarks.Sockets;
using Aglow.Model;
using Aglow.Users;
using Aglow.Watching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Benchmarks;

/// <summary>Claims: how fast they are set, how late watchers get their ends, and how much memory they need.</summary>
/// <remarks>
/// <code>
///   100,000 users online ─► a claim each, ends spread over a minute ─► ends sent to connections that watch 10,000 users each
/// </code>
/// One process with its data folder, and the server's own directory, hub and loop. A connection is a substitute that reads what the hub
/// sends, so the figures contain no network. The lateness is the time of the frame minus the second at which the claim ends.
/// </remarks>
internal sealed class ClaimsBenchmark : Benchmark
{
    private const int Watched = WatchHub.MaxWatches;
    private const int AtOnce = 1024;

    // the last claim must be set before the first one ends
    private const int SecondsToSet = 20;

    public override string Name => "claims";

    public override string Measures => "claims: the rate of setting them, the lateness of their ends, and their memory";

    public override IReadOnlyList<Option> Options { get; } =
    [
        new("users", "100000", "users, each with a claim"),
        new("seconds", "60", "time over which the claims end"),
    ];

    public override async Task RunAsync(Run run)
    {
        var (users, seconds) = ((int)run.Settings.Number("users"), (int)run.Settings.Number("seconds"));
        using var folder = new TemporaryFolder();
        // the long lease makes a second heartbeat unnecessary
        var options = new AglowOptions { DataDirectory = folder.Path, HeartbeatSeconds = 200, LeaseSeconds = 600, AwaySeconds = 600 };
        await using var node = await EmbeddedPresence.OpenAsync(options, TimeProvider.System, NullLoggerFactory.Instance);
        await node.Presence.HeartbeatPackedAsync(Enumerable.Range(0, users).Select(static user => (uint)user).ToArray());
        var ends = new long[users];
        var watchers = Watch(node.Presence, ends);
        await SetAsync(run, node.Presence, ends, seconds);
        await EndAsync(run, watchers, users, seconds);
    }

    private static Watcher[] Watch(PresenceService presence, long[] ends)
    {
        var watchers = new Watcher[(ends.Length + Watched - 1) / Watched];
        for (var i = 0; i < watchers.Length; i++)
        {
            watchers[i] = new Watcher(ends);
            var batch = new UserBatch(Watched);
            for (var user = i * Watched; user < Math.Min(ends.Length, (i + 1) * Watched); user++)
                batch.Add((uint)user);
            presence.Watchers.Open(watchers[i], "{\"type\":\"welcome\"}"u8.ToArray());
            presence.Watchers.Watch(watchers[i], batch, presence.Definitions.Default);
        }

        return watchers;
    }

    private static async Task SetAsync(Run run, PresenceService presence, long[] ends, int seconds)
    {
        var first = presence.Clock.Now + SecondsToSet;
        for (var user = 0; user < ends.Length; user++)
            ends[user] = Pulse.ToUnix(first + (uint)((long)user * seconds / ends.Length))!.Value;
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var clock = Stopwatch.StartNew();
        for (var user = 0; user < ends.Length; user += AtOnce)
        {
            await Task.WhenAll(Enumerable.Range(user, Math.Min(AtOnce, ends.Length - user)).Select(one => presence.SetClaimAsync(
                (uint)one,
                new Claim("calendar", ClaimStatus.Busy, StatusDetails.Of("In a meeting", "📅", Pulse.FromUnix(ends[one])))).AsTask()));
        }

        clock.Stop();
        if (presence.Clock.Now >= first)
            throw new BenchmarkException($"Setting took {clock.Elapsed.TotalSeconds:0} s, so the first have ended: use fewer --users.");
        var rate = ends.Length / clock.Elapsed.TotalSeconds;
        run.Add($"claims set, {AtOnce} at a time, each on disk before it is acknowledged", "claims/s", [rate]);
        var bytes = GC.GetTotalMemory(forceFullCollection: true) - before;
        run.Add("memory of a claim with a text, watched", "B", [bytes / (double)ends.Length]);
    }

    private static async Task EndAsync(Run run, Watcher[] watchers, int users, int seconds)
    {
        var limit = TimeSpan.FromSeconds(SecondsToSet + seconds + 30);
        var clock = Stopwatch.StartNew();
        while (watchers.Sum(static w => w.Ended) < users && clock.Elapsed < limit)
            await Task.Delay(100);
        var lags = new Lags();
        foreach (var late in watchers.SelectMany(static w => w.Late))
            lags.Add(late);
        var missing = users - watchers.Sum(static w => w.Ended);
        var title = $"{users:#,0} claims that end within {seconds} s: an end, told to a watcher, late by";
        run.Add($"{title}, p50", "ms", [lags.Quantile(0.5, missing)]);
        run.Add($"{title}, p99", "ms", [lags.Quantile(0.99, missing)], Goal.Most(1000));
        run.Add($"{title}, longest", "ms", [lags.Longest(missing)]);
    }

    /// <summary>Reads the records, and notes for each user when the claim was gone.</summary>
    private sealed class Watcher(long[] ends) : WatchConnection(UserId.Nobody)
    {
        private readonly HashSet<int> _claimed = [];
        private readonly List<double> _late = [];
        private int _ended;

        /// <summary>The number of ends that it received.</summary>
        public int Ended => Volatile.Read(ref _ended);

        /// <summary>The lateness in seconds; complete when all claims have ended.</summary>
        public IReadOnlyList<double> Late => _late;

        protected internal override TimeSpan TickInterval => TimeSpan.FromSeconds(10);

        protected internal override bool Send(ReadOnlySpan<byte> json)
        {
            var now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;
            var reader = new Utf8JsonReader(json);
            using var message = JsonDocument.ParseValue(ref reader);
            if (!message.RootElement.TryGetProperty("users", out var users))
                return true;
            foreach (var record in users.EnumerateArray())
            {
                var user = record.GetProperty("user_id").GetInt32();
                if (record.TryGetProperty("until", out _))
                {
                    _claimed.Add(user);
                }
                else if (_claimed.Remove(user))
                {
                    _late.Add(now - ends[user]);
                    Volatile.Write(ref _ended, _ended + 1);
                }
            }

            return true;
        }

        protected internal override bool Tick() => true;

        protected internal override bool Answer(ReadOnlySpan<byte> pingPayload) => true;

        protected internal override void Released()
        {
        }

        protected internal override void End(int code)
        {
        }
    }
}
