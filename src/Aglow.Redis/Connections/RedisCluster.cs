using System.Net;
using System.Runtime.InteropServices;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Storage;
using StackExchange.Redis;
using StackExchange.Redis.Availability;

namespace Aglow.Redis.Connections;

/// <summary>
/// Sends commands to a single server or a cluster. Retries failed commands for up to 2 s, and tracks which shards are away and since when.
/// </summary>
/// <remarks>
/// <code>
///   Send ─► is the shard away? ─► the library: the server of the slot
///             │ longer than 2 s       │ MOVED: ask for the map, then again          ASK: again, and the library follows
///             ▼                       │ LOADING, CLUSTERDOWN, … ─► again in 50 ms
///        fails at once                │ connection lost ─► again in 50 ms, marked: it may have been carried out
///                                     ▼ no answer within 2 s: fails
/// </code>
/// A shard is away from its first failure to its first good answer (<see cref="RedisShard"/>). A timeout counts as a failure only if the
/// shard has answered no other command within that time either.
///
/// Once an outage exceeds 2 s, commands to that shard fail at once. A probe (a write of one bit) detects when the shard is back. Then
/// <see cref="Recovered"/> reports the slots that could not be written, and for how long, before any answer of that shard reaches a caller.
///
/// Threading: any thread may call <see cref="SendAsync"/>, which holds a lock while it puts a command into the buffer. One loop ticks and
/// requests maps.
/// </remarks>
internal sealed class RedisCluster : IAsyncDisposable
{
    /// <summary>
    /// How long an answer may take, and how long callers wait for a server that is away: 2 s, the time that a person waits.
    /// </summary>
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(2);

    private const string Lost = "the connection was lost";
    private static readonly string NoAnswer = $"no answer within {Timeout.TotalSeconds:0.#} s";

    private static readonly TimeSpan TickInterval = TimeSpan.FromMilliseconds(50);
    // Nodes that notice the end of an outage at different times resume writes at different times, and no node's stall guard waits for
    // another's. So this interval is short.
    private static readonly TimeSpan ProbeInterval = TimeSpan.FromMilliseconds(100);
    // a node that only reads must also know whether other nodes can write
    private static readonly TimeSpan WriteInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ConfigureInterval = TimeSpan.FromSeconds(1);

    private readonly RedisConnections _connections;
    private readonly RedisMap _map;
    private readonly TimeProvider _time;
    private readonly RedisLog _log;
    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;
    private Task _configuring = Task.CompletedTask;
    private long _configuredAt;
    private long _redirections;
    private long _failures;
    private long _outages;

    private RedisCluster(RedisConnections connections, TimeProvider time, RedisLog log)
    {
        _connections = connections;
        _time = time;
        _log = log;
        var servers = connections.Commands.GetServers();
        var server = servers.FirstOrDefault(static s => s is { IsConnected: true, IsReplica: false })
            ?? servers.First(static s => s.IsConnected);
        Version = server.Version;
        IsCluster = server.ServerType == ServerType.Cluster;
        _map = new RedisMap(
            connections.Commands, IsCluster, time, log, (slots, since) => Recovered?.Invoke(slots, _time.GetElapsedTime(since)))
        {
            Changed = () => Interlocked.Increment(ref _outages),
        };
        connections.Commands.ConnectionFailed += OnConnectionFailed;
        connections.Commands.ConfigurationChanged += (_, _) => _map.Want();
        connections.Commands.HashSlotMoved += (_, _) => _map.Want();
    }

    /// <summary>
    /// Called when slots that could not be written become writable, with those slots and the length of the outage. The call comes before
    /// any answer for these slots reaches a caller. It must return at once.
    /// </summary>
    public Action<Func<int, bool>, TimeSpan>? Recovered { get; set; }

    /// <summary>The version of one of the servers.</summary>
    public Version Version { get; }

    /// <summary>Whether the server is a cluster.</summary>
    public bool IsCluster { get; }

    /// <summary>The connections for everything but pages.</summary>
    public ConnectionMultiplexer Commands => _connections.Commands;

    /// <summary>The owner of each slot.</summary>
    public RedisMap Map => _map;

    /// <summary>Commands that a server did not carry out because another server owns the slot.</summary>
    public long Redirections => Volatile.Read(ref _redirections);

    /// <summary>Commands that failed.</summary>
    public long Failures => Volatile.Read(ref _failures);

    /// <summary>A number that changes when a slot goes away, comes back or moves to another server.</summary>
    public long Outages => Volatile.Read(ref _outages);

    /// <summary>Whether at least one shard takes writes.</summary>
    public bool IsWritable => _map.Shards.Any(static shard => !shard.IsAway && !shard.RefusesWrites);

    /// <summary>Whether a write failed and none has succeeded since, on any shard.</summary>
    public bool IsSomeUnwritable => _map.Shards.Any(static shard => shard.HasFailed || shard.HasRefused);

    /// <summary>Whether at least one shard can be used.</summary>
    public bool IsReachable => _map.Shards.Any(static shard => !shard.IsAway);

    /// <summary>Connects, and reads the owner of each slot.</summary>
    /// <exception cref="StoreUnavailableException">None of the servers can be used; the message is one line.</exception>
    public static async Task<RedisCluster> ConnectAsync(ConfigurationOptions options, TimeProvider time, RedisLog log)
    {
        var cluster = new RedisCluster(await RedisConnections.OpenAsync(options, time), time, log);
        try
        {
            await cluster._map.RefreshAsync();
            if (cluster._map.Shards.Count == 0)
                throw new StoreUnavailableException(
                    $"Redis at {ServerNames.Of(options)} cannot be used: it has no primary that can be reached.");
            log.Connected(
                cluster.Version.ToString(),
                string.Join(", ", cluster._map.Shards.Select(static shard => shard.Name)),
                cluster._map.Shards.Count);
            cluster._loop = Task.Run(cluster.RunAsync);
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>Whether this slot's server has been away for longer than the timeout.</summary>
    public bool IsSlotAway(int slot) => _map[slot].IsAway;

    /// <summary>Whether this slot's server answers but refuses writes.</summary>
    public bool IsSlotRefused(int slot) => _map[slot] is { HasRefused: true, HasFailed: false };

    /// <summary>How long a slot could not be written; zero: it can be, as far as is known.</summary>
    public TimeSpan UnwritableFor(int slot) => _map[slot].UnwritableFor;

    /// <summary>Sends a command. It is answered or fails within about two timeouts.</summary>
    /// <param name="slot">The slot of its key.</param>
    /// <param name="state">Passed to <paramref name="send"/>.</param>
    /// <param name="send">Sends the command once, with the given flags.</param>
    /// <param name="kind">What the command does.</param>
    /// <exception cref="StoreUnavailableException">The command was not carried out, as far as is known.</exception>
    public async Task<RedisReply<T>> SendAsync<TState, T>(
        int slot, TState state, Func<IDatabase, TState, CommandFlags, Task<T>> send, RedisCommandKind kind)
    {
        var began = _time.GetTimestamp();
        var database = kind == RedisCommandKind.LongRead ? _connections.Long : _connections.Short;
        var flags = CommandFlags.DemandMaster | CommandFlags.NoRedirect;
        var (mayHaveRun, hasFreshMap) = (false, false);
        while (true)
        {
            var shard = _map[slot];
            if (shard.IsAway)
                throw Away(shard);
            if (kind == RedisCommandKind.Write && shard.RefusesWrites)
                throw Refused(shard);
            RedisErrorKind error;
            var sentAt = _time.GetTimestamp();
            var givenUp = shard.Owe();
            Task<T>? sent = null;
            try
            {
                sent = Write(database, state, flags, send);
                var answer = await sent.WaitAsync(givenUp);
                Worked(shard, sentAt, kind == RedisCommandKind.Write);
                return new RedisReply<T>(answer, mayHaveRun);
            }
            catch (OperationCanceledException) when (givenUp.IsCancellationRequested)
            {
                _ = sent!.ContinueWith(
                    static late => late.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
                error = Judge(shard, new TimeoutException(), ref mayHaveRun);
            }
            catch (Exception failure) when (RedisFaults.IsOfRedis(failure))
            {
                error = Judge(shard, failure, ref mayHaveRun);
            }
            finally
            {
                shard.Settle();
            }

            if (_stop.IsCancellationRequested || _time.GetElapsedTime(began) + TickInterval >= Timeout)
            {
                // whatever the error, the shard carried out nothing during this time, so it counts as away
                if (error != RedisErrorKind.ReadOnly || !shard.HasRefused)
                    shard.Failed("no server carries out its commands", _time.GetElapsedTime(began));
                throw error == RedisErrorKind.ReadOnly && shard.HasRefused ? Refused(shard) : Away(shard);
            }

            var isAsk = error == RedisErrorKind.Ask && flags.HasFlag(CommandFlags.NoRedirect);
            flags = CommandFlags.DemandMaster | (isAsk ? CommandFlags.None : CommandFlags.NoRedirect);
            if (error == RedisErrorKind.Moved && !hasFreshMap)
                await _map.RefreshAsync();
            else if (!isAsk)
                await Task.Delay(TickInterval, _time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            hasFreshMap |= error == RedisErrorKind.Moved;
        }
    }

    /// <summary>
    /// Reads a string over the connection for long answers, truncated to <paramref name="into"/>. Returns the full length in bytes.
    /// </summary>
    public async Task<int> ReadTextAsync<T>(int slot, string key, Memory<T> into)
        where T : unmanaged
    {
        var (text, _) = await SendAsync(
            slot, key, static (redis, key, flags) => redis.StringGetLeaseAsync(key, flags), RedisCommandKind.LongRead);
        if (text is null)
            return 0;
        using (text)
        {
            var bytes = MemoryMarshal.AsBytes(into.Span);
            var length = Math.Min(text.Length, bytes.Length);
            text.Span[..length].CopyTo(bytes);
            return length;
        }
    }

    /// <summary>Runs a script on keys of one slot.</summary>
    public async Task<RedisResult> RunScriptAsync(int slot, string script, RedisKey[] keys, params RedisValue[] values) => (await SendAsync(
        slot,
        (script, keys, values),
        static (redis, run, flags) => redis.ScriptEvaluateAsync(run.script, run.keys, run.values, flags | CommandFlags.NoScriptCache),
        RedisCommandKind.Script)).Value;

    /// <summary>The time of the primaries: see <see cref="RedisTime"/>.</summary>
    public Task<(double Seconds, long Stamp)> ReadTimeAsync() => RedisTime.ReadAsync(_connections.Commands, _map.Shards, _time);

    /// <summary>Makes the library check all servers again, which also renews subscriptions.</summary>
    public void Configure()
    {
        if (!_configuring.IsCompleted || _time.GetElapsedTime(_configuredAt) < ConfigureInterval || _stop.IsCancellationRequested)
            return;
        _configuredAt = _time.GetTimestamp();
        _configuring = ConfigureAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await Closing.AllAsync(
            async () => await _stop.CancelAsync(),
            async () => await _loop,
            async () => await _map.CloseAsync(),
            _connections.DisposeAsync,
            async () => await _configuring,
            Closing.Of(_stop));
    }

    // A lock admits one writer at a time. Without it, the library would queue the command for a thread of its own.
    private static Task<T> Write<TState, T>(
        IDatabase database, TState state, CommandFlags flags, Func<IDatabase, TState, CommandFlags, Task<T>> send)
    {
        lock (database)
            return send(database, state, flags);
    }

    // Returns why the command must be sent again, or throws.
    private RedisErrorKind Judge(RedisShard shard, Exception failure, ref bool mayHaveRun)
    {
        if (_stop.IsCancellationRequested)
            throw Away(shard);
        // the library itself refuses the command, because it still takes the server for a replica
        if (failure is RedisCommandException)
        {
            shard.Failed("it is not known as a primary yet", TimeSpan.Zero);
            return RedisErrorKind.ReadOnly;
        }

        var fault = new FaultContext(failure);
        // the library reports this for an ASK that it was told not to follow, and for an ASK to a server that it cannot reach
        if (fault.ConnectionFailureType == ConnectionFailureType.UnableToConnect)
        {
            Interlocked.Increment(ref _redirections);
            return RedisErrorKind.Ask;
        }

        mayHaveRun |= !fault.NotApplied;
        switch (fault.ErrorKind)
        {
            case RedisErrorKind.Moved:
                Interlocked.Increment(ref _redirections);
                break;
            case RedisErrorKind.TryAgain or RedisErrorKind.UnknownRedirectTarget:
                break;
            case RedisErrorKind.ConnectionFault:
                shard.Failed(shard.Reason is { Length: > 0 } known ? known : Lost, TimeSpan.Zero);
                break;
            case RedisErrorKind.ReadOnly:
                shard.Refused(failure.Message);
                _map.Want();
                break;
            case RedisErrorKind.Loading or RedisErrorKind.ClusterDown or RedisErrorKind.MasterDown:
                shard.Failed(failure.Message, TimeSpan.Zero);
                break;
            case RedisErrorKind.Timeout when shard.AnswersOthers:
                // the server answers other commands: it has a long queue, or this node lacks CPU time
                throw Failed(
                    $"Redis at {shard.Name} is too slow: no answer within {RedisConnections.AnswerTimeout.TotalSeconds:0.#} s.");
            case RedisErrorKind.Timeout:
                shard.Failed(NoAnswer, Timeout);
                throw Away(shard);
            case RedisErrorKind.OutOfMemory or RedisErrorKind.Misconfigured or RedisErrorKind.NoReplicas:
                shard.Refused(failure.Message);
                throw Refused(shard);
            default:
                throw Failed($"Redis at {shard.Name} answers \"{failure.Message}\".");
        }

        return fault.ErrorKind;
    }

    private void Worked(RedisShard shard, long sentAt, bool isWrite)
    {
        if (shard.Worked(sentAt, isWrite) is { Ticks: > 0 } away)
            _log.Back(shard.Name, away.TotalSeconds);
    }

    private void NoteChange(RedisShard shard)
    {
        if (shard.HasChanged())
            Interlocked.Increment(ref _outages);
    }

    // The change is counted before any caller receives the failure.
    private StoreUnavailableException Away(RedisShard shard)
    {
        NoteChange(shard);
        return Failed($"Redis at {shard.Name} is away{(shard.Reason is { Length: > 0 } reason ? $": {reason}" : "")}.");
    }

    private StoreUnavailableException Refused(RedisShard shard) => Failed($"Redis at {shard.Name} takes no writes: {shard.Refusal}");

    private StoreUnavailableException Failed(string why)
    {
        Interlocked.Increment(ref _failures);
        return new StoreUnavailableException(why);
    }

    private void OnConnectionFailed(object? sender, ConnectionFailedEventArgs failed)
    {
        _map.Want();
        if (failed.ConnectionType != ConnectionType.Interactive)
            return;
        if (_map.Shards.FirstOrDefault(shard => shard.Endpoint.Equals(failed.EndPoint)) is not { } shard)
            return;
        var isOwed = failed.FailureType == ConnectionFailureType.CircuitBreaker;
        // the library's text for a connection fault names the library's version, but no cause
        var cause = failed.Exception?.GetBaseException() is { } inner and not RedisConnectionException ? inner.Message : Lost;
        shard.Failed(isOwed ? NoAnswer : cause, TimeSpan.Zero);
    }

    // ---- the loop -------------------------------------------------------------------------------------------------------------

    private async Task RunAsync()
    {
        using var timer = new PeriodicTimer(TickInterval, _time);
        var (tickedAt, wasLate) = (_time.GetTimestamp(), false);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
            {
                // after a pause of this process, wait one tick so that answers that arrived meanwhile are read first
                wasLate = !wasLate && _time.GetElapsedTime(tickedAt) > Timeout / 2;
                tickedAt = _time.GetTimestamp();
                var isSomeAway = false;
                foreach (var shard in _map.Shards)
                {
                    if (!wasLate)
                        shard.GiveUp(NoAnswer);
                    isSomeAway |= shard.HasFailed || shard.HasRefused;
                    if (shard.IsNewlyAway())
                        _log.Away(shard.Name, shard.Reason, Timeout.TotalSeconds);
                    if (shard.IsNewlyRefusing())
                        _log.RefusesWrites(shard.Name, shard.Refusal);
                    Probe(shard);
                    NoteChange(shard);
                }

                _map.Tick(isSomeAway);
                if (isSomeAway)
                    Configure();
            }
        }
        catch (OperationCanceledException)
        {
            // stopped
        }
    }

    private void Probe(RedisShard shard)
    {
        var interval = shard.HasFailed || shard.HasRefused ? ProbeInterval : WriteInterval;
        if (_time.GetElapsedTime(Math.Max(shard.ProbedAt, shard.WroteAt)) < interval || !shard.Probe.IsCompleted)
            return;
        shard.ProbedAt = _time.GetTimestamp();
        for (var page = 0; page < PageLayout.Pages; page++)
        {
            if (_map[RedisKeys.SlotOf(page)] != shard)
                continue;
            shard.Probe = ProbeAsync(shard, RedisKeys.Probe(page));
            return;
        }
    }

    private async Task ProbeAsync(RedisShard shard, string key)
    {
        try
        {
            var sentAt = _time.GetTimestamp();
            await _connections.Short.StringSetBitAsync(key, 0, true, CommandFlags.DemandMaster | CommandFlags.NoRedirect);
            Worked(shard, sentAt, isWrite: true);
        }
        catch (Exception failure) when (RedisFaults.IsOfRedis(failure))
        {
            if (RedisFaults.RefusalIn(failure) is { } refusal)
                shard.Refused(refusal);
            _map.Want();
        }
    }

    private async Task ConfigureAsync()
    {
        try
        {
            await _connections.Commands.ConfigureAsync();
        }
        catch (Exception failure) when (RedisFaults.IsOfRedis(failure))
        {
            // the next tick tries again
        }
    }
}
