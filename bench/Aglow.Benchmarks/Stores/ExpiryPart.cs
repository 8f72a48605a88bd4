using System.Collections.Concurrent;
using System.Diagnostics;
using Aglow.Benchmarks.Baselines;
using Aglow.Heartbeats;
using Aglow.Redis;
using Aglow.Sweeping;
using StackExchange.Redis;
using RedisKey = Aglow.Benchmarks.Baselines.RedisKey;

namespace Aglow.Benchmarks.Stores;

/// <summary>
/// Among users who stay online, some go silent, evenly over ten seconds. Measures how late a notice comes for each of them, and its cost.
/// The lag counts from the end of the lease; a missing notice is infinitely late.
/// </summary>
/// <remarks>
/// <code>
///   SQL        a job every ten seconds deletes old rows and returns their users     PostgreSQL, MariaDB
///   Redis      keyspace notifications of expired keys: by default, and with the most active expiry
///   DynamoDB   TTL: within days, by the manual; the emulator deletes nothing
///   Aglow      the sweep
/// </code>
/// Rows and words hold whole seconds, so up to one second of every lag is rounding. Redis holds milliseconds.
/// </remarks>
internal static class ExpiryPart
{
    private const int BatchesASecond = 10;
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(6);
    private static readonly TimeSpan GoingSilent = TimeSpan.FromSeconds(10);

    public static async Task RunAsync(Run run)
    {
        var stores = StoresBenchmark.StoresOf(run);
        var plot = new Plot(
            "Notice that a user went offline: how late, after the lease", "seconds", StoresBenchmark.CommandOf(run, "expiry"));
        foreach (var store in stores)
        {
            await using var servers = new StoreServers();
            switch (store)
            {
                case StoreServers.Postgres or StoreServers.Maria:
                    await SqlJobAsync(run, plot, servers, store);
                    break;
                case StoreServers.RedisName:
                    await RedisNoticesAsync(run, plot, servers, "as it comes");
                    await RedisNoticesAsync(
                        run, plot, servers, "hz 500, active-expire-effort 10", ("hz", "500"), ("active-expire-effort", "10"));
                    break;
                case StoreServers.Dynamo:
                    await DynamoAsync(run, servers);
                    break;
                case StoreServers.AglowName:
                    await SweepAsync(run, plot);
                    break;
                case StoreServers.AglowOnRedis:
                    await NodeAsync(run, plot, servers);
                    break;
            }
        }

        plot.Save(run.Settings.Text("plots"), "offline-notice");
    }

    private static async Task SqlJobAsync(Run run, Plot plot, StoreServers servers, string store)
    {
        await using var table = await servers.TableAsync(store, ExpiringRow.Schema);
        var design = new ExpiringRow(table, Lease);
        var every = TimeSpan.FromSeconds(run.Settings.Number("job-seconds"));
        var staying = (uint)run.Settings.Number("expiry-users");
        await table.FillAsync(staying, DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 3600);
        var trial = new Trial(run, staying);
        var spent = 0.0;
        var notices = Task.Run(async () =>
        {
            using var timer = new PeriodicTimer(every);
            while (!trial.IsOver)
            {
                await timer.WaitForNextTickAsync();
                var before = design.CpuSeconds();
                foreach (var user in await design.ExpireAsync())
                    trial.Notified(user);
                spent += design.CpuSeconds() - before;
            }
        });
        await trial.GoSilentAsync(users => design.HeartbeatAsync(users));
        await trial.EndAsync();
        await notices;
        var name = $"{table.Database}, a job every {every.TotalSeconds:0} s";
        trial.Report(name, plot);
        run.Add($"{name}: the job", "CPU us/user told", [spent * 1e6 / trial.Delivered]);
        if (store == StoreServers.Postgres)
        {
            spent = design.CpuSeconds();
            await (await servers.PostgresAsync()).VacuumAsync(ExpiringRow.Schema.Name);
            run.Add($"{name}: cleaning up after it (VACUUM)", "CPU us/user told", [(design.CpuSeconds() - spent) * 1e6 / trial.Delivered]);
        }
    }

    private static async Task RedisNoticesAsync(
        Run run, Plot plot, StoreServers servers, string how, params (string Name, string Value)[] settings)
    {
        var server = await servers.RedisAsync();
        var redis = await server.ConnectAsync();
        await redis.ExecuteAsync("FLUSHALL");
        foreach (var (name, value) in ((string, string)[])[("notify-keyspace-events", "Ex"), .. settings])
            await redis.ExecuteAsync("CONFIG", "SET", name, value);
        var staying = (uint)run.Settings.Number("expiry-users");
        await new RedisKey(redis, server, TimeSpan.FromHours(1)).FillAsync(staying);
        var design = new RedisKey(redis, server, Lease);
        var trial = new Trial(run, staying);
        var notices = await redis.Multiplexer.GetSubscriber().SubscribeAsync(RedisChannel.Literal("__keyevent@0__:expired"));
        notices.OnMessage(message =>
        {
            if ((string?)message.Message is { } key && key.StartsWith("hb:", StringComparison.Ordinal))
                trial.Notified(uint.Parse(key.AsSpan(3)));
        });
        // the cost of its search for expired keys while no user goes silent, and while users do
        var idle = await Sample.OfAsync(design.CpuSeconds, () => Task.Delay(TimeSpan.FromSeconds(5)));
        await trial.GoSilentAsync(users => design.HeartbeatAsync(users));
        var busy = await Sample.OfAsync(design.CpuSeconds, trial.EndAsync);
        await notices.UnsubscribeAsync();
        trial.Report($"Redis expired events, {how}", plot);
        run.Add($"Redis expired events, {how}: server while notices are due", "% of a core", [100 * busy.CoresBusy]);
        run.Add($"Redis expired events, {how}: server while nobody goes", "% of a core", [100 * idle.CoresBusy]);
    }

    private static async Task DynamoAsync(Run run, StoreServers servers)
    {
        var design = (DynamoItem)(await servers.DesignsAsync(StoreServers.Dynamo, Lease))[0];
        await using var closed = design;
        await design.FillAsync(100);
        await Task.Delay(Lease + TimeSpan.FromSeconds(10));
        run.Add($"{design.Name}: items still there 10 s after their TTL", "of 100", [await design.CountAsync()]);
        run.Note("DynamoDB deletes items within a few days of their TTL (its manual; earlier editions said 48 hours), "
                + "and a stream can tell of it then; dynalite deletes none, so there is no lag to measure");
    }

    private static async Task SweepAsync(Run run, Plot plot)
    {
        await using var design = await AglowEmbedded.OpenAsync(Lease);
        await CountSweepAsync(
            run, plot, "Aglow, embedded: the sweep", design.Beliefs, design.FillAsync, users => design.HeartbeatAsync(users));
    }

    private static async Task NodeAsync(Run run, Plot plot, StoreServers servers)
    {
        var server = await servers.RedisOfAglowAsync();
        var redis = RedisAddress.Parse($"127.0.0.1:{server.Port}");
        await using var node = await RedisPresence.OpenAsync(
            AglowEmbedded.Options(Lease), redis, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance);
        var store = new AglowRedis(await servers.ConnectAsync(server), server, Lease);
        await CountSweepAsync(
            run, plot, "Aglow, a node on Redis: the sweep", node.Presence.Beliefs, store.FillAsync,
            async users => await node.Presence.HeartbeatPackedAsync(users));
    }

    // Users who stay are registered and offline. A sweep reads their pages all the same, and an online user costs it no more.
    private static async Task CountSweepAsync(
        Run run, Plot plot, string name, Beliefs beliefs, Func<uint, Task> fillAsync, Func<ReadOnlyMemory<uint>, ValueTask> heartbeatAsync)
    {
        var staying = (uint)run.Settings.Number("expiry-users");
        await fillAsync(staying);
        // the first users to expire are those of the filling
        await Task.Delay(Lease + TimeSpan.FromSeconds(12));
        var trial = new Trial(run, staying);
        beliefs.Changed += (definition, kind, users) =>
        {
            if (definition == beliefs.Default.Definition && kind == TransitionKind.Lapsed)
                trial.Notified(users);
        };
        await trial.GoSilentAsync(heartbeatAsync);
        var busy = await Sample.OfAsync(Cpu.OfThisProcess, trial.EndAsync);
        trial.Report(name, plot);
        run.Add($"{name}: this process while notices are due", "% of a core", [100 * busy.CoresBusy]);
    }

    /// <summary>
    /// The users who go silent, when they do, and when the notice came. Their numbers are above those of the users who stay.
    /// </summary>
    private sealed class Trial(Run run, uint first)
    {
        private readonly int _count = (int)run.Settings.Number("lapsing", least: 100);
        private readonly ConcurrentDictionary<uint, long> _due = new();
        private readonly ConcurrentBag<double> _lags = [];
        private readonly TaskCompletionSource _all = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _notified;

        public bool IsOver => _all.Task.IsCompleted;

        public int Delivered => Volatile.Read(ref _notified);

        /// <summary>Sends the last heartbeat of each user, in batches.</summary>
        public async Task GoSilentAsync(Func<ReadOnlyMemory<uint>, ValueTask> heartbeatAsync)
        {
            var batch = _count / (int)(GoingSilent.TotalSeconds * BatchesASecond);
            using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1.0 / BatchesASecond));
            for (var at = 0; at < _count; at += batch)
            {
                var users = Enumerable.Range(at, Math.Min(batch, _count - at)).Select(i => first + (uint)i).ToArray();
                var due = Stopwatch.GetTimestamp() + (long)(Lease.TotalSeconds * Stopwatch.Frequency);
                foreach (var user in users)
                    _due[user] = due;
                await heartbeatAsync(users);
                await timer.WaitForNextTickAsync();
            }
        }

        public void Notified(ReadOnlySpan<uint> users)
        {
            foreach (var user in users)
                Notified(user);
        }

        public void Notified(uint user)
        {
            if (!_due.TryRemove(user, out var due))
                return;
            _lags.Add((Stopwatch.GetTimestamp() - due) / (double)Stopwatch.Frequency);
            if (Interlocked.Increment(ref _notified) == _count)
                _all.TrySetResult();
        }

        /// <summary>Waits until all notices have come, or the time limit is over.</summary>
        public async Task EndAsync()
        {
            await Task.WhenAny(_all.Task, Task.Delay(Lease + TimeSpan.FromSeconds(run.Settings.Number("patience"))));
            _all.TrySetResult();
        }

        public void Report(string name, Plot plot)
        {
            var lags = _lags.Concat(Enumerable.Repeat(double.PositiveInfinity, _count - _lags.Count));
            double[] p50 = [Spread.Quantile(lags, 0.5)], p99 = [Spread.Quantile(lags, 0.99)];
            run.Add($"{name}: told of within {run.Settings.Number("patience")} s", $"of {_count:#,0}", [_lags.Count]);
            run.Add($"{name}: late, p50", "s", p50);
            run.Add($"{name}: late, p99", "s", p99);
            plot.Add(name, new Bar("p50", p50), new Bar("p99", p99));
        }
    }
}
