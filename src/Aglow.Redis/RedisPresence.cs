using Aglow.Changes.Shared;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Redis.Agreement;
using Aglow.Redis.Changes;
using Aglow.Redis.Connections;
using Aglow.Redis.Hints;
using Aglow.Redis.Replicas;
using Aglow.Storage;
using Aglow.Users;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace Aglow.Redis;

/// <summary>
/// Presence on one of many nodes that share a Redis. Opens and closes the connections, words, hints, time and the
/// <see cref="PresenceService"/> in order.
/// </summary>
/// <remarks>
/// <code>
///   open:   map of the cluster ─► its rules ─► its time ─► clock ─► hints ─► beliefs, from every page ─► loops
///   close:  loops ─► queued words are written ─► hints ─► connections ─► directory
/// </code>
/// Time is the median of the primaries' clocks, read once a second. A step of a node's own clock changes nothing. A suspended node has the
/// right time within a second of waking. If the servers' own clocks are wrong, every <c>last_seen</c> is wrong, and each node reports that
/// (<c>aglow_clock_wall_ahead_seconds</c>).
///
/// A node stores nothing. Any number of nodes may start and stop, and a lost node loses only its connections. Without a directory, user IDs
/// are integers below 2^31.
/// </remarks>
public sealed class RedisPresence : IOpenPresence
{
    // an answer that took longer may be wrong by half of this
    private static readonly TimeSpan ExactWithin = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan TickInterval = TimeSpan.FromSeconds(1);

    // a skew that users can notice: words differ by this many seconds
    private const double SkewSeconds = 2;

    private readonly RedisCluster _cluster;
    private readonly ConfigurationOptions _redis;
    private readonly RedisLog _log;
    private readonly IUserDirectory? _directory;
    private readonly AglowMetrics _metrics = new();
    private readonly CancellationTokenSource _stop = new();

    // in the order in which they are opened; null: not opened, or not in use
    private ReplicaConfirmations? _replicas;
    private RedisHints? _hints;
    private SharedChanges? _changes;
    private PresenceService? _presence;
    private Task _loop = Task.CompletedTask;
    private bool _isSkewLogged;

    private RedisPresence(RedisCluster cluster, ConfigurationOptions redis, IUserDirectory? directory, RedisLog log)
    {
        _cluster = cluster;
        _redis = redis;
        _directory = directory;
        _log = log;
    }

    /// <inheritdoc/>
    public PresenceService Presence => _presence!;

    /// <inheritdoc/>
    public string Where =>
        $"{ServerNames.Of(_redis)} ({(_cluster.IsCluster ? $"a cluster of {_cluster.Map.Shards.Count}" : "a server alone")}), users "
            + $"{(_directory is null ? "are numbers" : $"in {_directory}")}";

    /// <summary>Connects, reads every page and starts.</summary>
    /// <param name="options">Presence itself.</param>
    /// <param name="redis">How to reach the servers: <see cref="RedisAddress.Parse"/>, or options of StackExchange.Redis with your own
    /// login.</param>
    /// <param name="time">The source of time.</param>
    /// <param name="logs">Creates the logs.</param>
    /// <param name="directory">The users; null: user IDs are integers below 2^31. Once open, this object closes it.</param>
    /// <param name="rules">How the servers are used; null: the defaults of <see cref="RedisStoreOptions"/>.</param>
    /// <exception cref="StoreUnavailableException">The servers cannot be used; the message is one line.</exception>
    public static async Task<RedisPresence> OpenAsync(
        AglowOptions options,
        ConfigurationOptions redis,
        TimeProvider time,
        ILoggerFactory logs,
        IUserDirectory? directory = null,
        RedisStoreOptions? rules = null)
    {
        var log = new RedisLog(logs.CreateLogger("Aglow.Redis"));
        var opened = new RedisPresence(await RedisCluster.ConnectAsync(redis, time, log), redis, directory, log);
        try
        {
            await opened.StartAsync(options, rules ?? new RedisStoreOptions(), time, new AglowLog(logs.CreateLogger("Aglow")));
            return opened;
        }
        catch (Exception failure)
        {
            await opened.CloseAsync(failure);
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await Closing.AllAsync(() => CloseAsync(), () => _directory?.DisposeAsync() ?? default);
    }

    private async Task StartAsync(AglowOptions options, RedisStoreOptions rules, TimeProvider time, AglowLog events)
    {
        var watch = new StoreWatch(_cluster, options, _directory, time, _log);
        await watch.EnterAsync(rules.AllowsEviction, rules.AdoptsSettings, ServerNames.Of(_redis));
        var (seconds, stamp) = await _cluster.ReadTimeAsync();
        var guard = new StallGuard((uint)(2 * options.LongestIntervalSeconds));
        var clock = new Clock(time, guard, storeSeconds: seconds + time.GetElapsedTime(stamp).TotalSeconds);
        _cluster.Recovered = (slots, away) => Hold(clock, slots, away);
        if (rules.ReplicaWait != ReplicaWait.Off)
        {
            var connection = await RedisConnections.ConnectAsync(_redis, time);
            _replicas = new ReplicaConfirmations(connection, _cluster, rules.ReplicaWait == ReplicaWait.All, time, _log);
        }

        _hints = new RedisHints(_cluster, time, _log);
        var store = new RedisPlaneStore(_cluster, _replicas);
        if (_directory is not null && await store.EndOfWordsAsync(_directory.NextIndex) is > 0 and var end)
        {
            _log.DirectoryOlder(end - _directory.NextIndex);
            await _directory.ReserveAsync(end);
        }

        var changeLog = new RedisChangeLog(_cluster, time, events);
        if (options.ChangesHours > 0 && await changeLog.RefusalAsync() is { } refusal)
            _log.KeepsNoFeed(refusal);
        else if (options.ChangesHours > 0)
            _changes = new SharedChanges(changeLog, store, _directory, _hints, clock, options, events);
        _presence = new PresenceService(store, _directory, _hints, clock, options, _metrics, events, _changes);
        Observe(watch);
        await _hints.StartAsync();
        await _presence.StartAsync();
        if (_changes is not null)
            await _changes.RunAsync(_presence.Sweep, _presence.Beliefs.Default);
        _loop = Task.Run(() => RunAsync(watch, events));
    }

    // Closes all that is open, also after a start that failed halfway. The directory stays open.
    private ValueTask CloseAsync(Exception? failure = null) => Closing.AfterAsync(
        failure,
        async () => await _stop.CancelAsync(),
        async () => await _loop,
        async () => await (_presence?.StopAsync() ?? Task.CompletedTask),
        // the feed records the last leaves here; it reads pages, so it stops before the store closes
        () => _changes?.DisposeAsync() ?? default,
        () => _presence?.DisposeAsync() ?? default,
        () => _hints?.DisposeAsync() ?? default,
        () => _replicas?.DisposeAsync() ?? default,
        _cluster.DisposeAsync,
        Closing.Of(_metrics),
        Closing.Of(_stop));

    // Words of these slots could not be written for this long, so leases of their users are held back. The lease itself covers an outage
    // of less than 2 s.
    private static void Hold(Clock clock, Func<int, bool> slots, TimeSpan away)
    {
        if (away < Clock.StallAfter)
            return;
        var now = clock.Now;
        int[] pages = [.. Enumerable.Range(0, PageLayout.Pages).Where(page => slots(RedisKeys.SlotOf(page)))];
        clock.Guard.Stalled(now - Math.Min(now, (uint)Math.Ceiling(away.TotalSeconds)), now, pages);
    }

    private async Task RunAsync(StoreWatch watch, AglowLog log)
    {
        var comparing = Task.CompletedTask;
        var watching = watch.RunAsync(log, _stop.Token);
        await BackgroundLoop.RunAsync("store time", TickInterval, Presence.Clock.Time, log, Step, _stop.Token);
        await watching;
        await comparing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

        ValueTask Step()
        {
            _hints!.Tick();
            if (!comparing.IsCompleted)
                return default;
            var before = comparing;
            comparing = CompareTimeAsync();
            return new ValueTask(before);
        }
    }

    private async Task CompareTimeAsync()
    {
        var clock = Presence.Clock;
        try
        {
            var queriedAt = clock.Time.GetTimestamp();
            var (seconds, stamp) = await _cluster.ReadTimeAsync();
            if (clock.Time.GetElapsedTime(queriedAt) > ExactWithin)
                return;
            clock.Follow(seconds, stamp);
        }
        catch (StoreUnavailableException)
        {
            // monotonic time continues until the servers are back
            return;
        }

        // the skew of the wall clock against the servers' clocks
        var skew = clock.WallAheadSeconds - clock.ErrorSeconds;
        if (Math.Abs(skew) > SkewSeconds == _isSkewLogged)
            return;
        _isSkewLogged = !_isSkewLogged;
        if (_isSkewLogged)
            _log.Skewed(skew);
    }

    private void Observe(StoreWatch watch)
    {
        watch.Observe(_metrics);
        _changes?.Observe(_metrics);
        _replicas?.Observe(_metrics);
        _metrics.Gauge("aglow.redis.servers", "Redis servers that have words.", () => _cluster.Map.Shards.Count);
        _metrics.Gauge(
            "aglow.redis.servers.away",
            "Redis servers that have words and are away.",
            () => _cluster.Map.Shards.Count(static shard => shard.IsAway));
        _metrics.Gauge(
            "aglow.redis.servers.refusing",
            "Redis servers that have words and refuse writes.",
            () => _cluster.Map.Shards.Count(static shard => shard.RefusesWrites));
        _metrics.Count(
            "aglow.redis.redirections",
            "Commands that a server did not carry out since another has the slot.",
            () => _cluster.Redirections);
        _metrics.CountErrors("redis", () => _cluster.Failures);
        _hints!.Observe(_metrics);
    }
}
