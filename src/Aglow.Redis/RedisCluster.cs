using System.Collections.Concurrent;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Watching;

namespace Aglow.Redis;

/// <summary>
/// A server alone or a cluster, as one thing to send commands to: knows who has which slot, follows moves and failovers, and knows who is away since when.
/// </summary>
/// <remarks>
/// <code>
///   Send ─► who has the slot? ─► that server's connection for commands, or the one for pages
///                 ▲                       │ MOVED, ASK ─► there, at once        (and the map is asked for)
///                 │                       │ LOADING, CLUSTERDOWN, … ─► again in 50 ms
///          map, asked for anew            │ lost ─► again, marked: it may have been carried out
///                                         ▼ until the deadline, 2 s after it was sent first: then it fails
/// </code>
/// A shard is away from its first failure to its first good answer; once that is longer than the time-out, commands for it fail at once, and a probe (a write of one bit)
/// finds out when it is back. Then <see cref="Recovered"/> says which slots could not be written for how long, before any answer of that shard is given to anyone.
/// Threading: <see cref="Send"/> from any thread, without a lock; one loop ticks, asks for maps and sends again.
/// </remarks>
internal sealed class RedisCluster : IRedisRouter, IAsyncDisposable
{
    private const int MostRedirections = 8;
    private static readonly TimeSpan TickInterval = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan ProbeInterval = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan AskInterval = TimeSpan.FromMilliseconds(250);

    // a start has nobody who waits for an answer, and a process's first handshake over TLS reads all the certificates that its machine trusts: seconds, where the machine is busy
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(10);

    private readonly RedisOptions _options;
    private readonly TimeProvider _time;
    private readonly RedisLog _log;
    private readonly Lock _gate = new();
    private readonly Dictionary<RedisEndpoint, RedisServer> _servers = [];
    private readonly ConcurrentQueue<RedisRequest> _later = new();
    private readonly RedisServer[] _owners = new RedisServer[RedisKeys.Slots];
    private readonly CancellationTokenSource _stop = new();
    private ClusterMap _map;
    private Task _loop = Task.CompletedTask;
    private readonly List<Task> _retired = [];
    private bool _saidMapUnknown;
    private volatile bool _wantsMap;
    private long _askedAt;
    private long _redirections;
    private long _failures;
    private long _outages;

    private RedisCluster(RedisOptions options, TimeProvider time, RedisLog log, ClusterMap map, Version version, bool isCluster)
    {
        _options = options;
        _time = time;
        _log = log;
        _map = map;
        Version = version;
        IsCluster = isCluster;
        Apply(map);
    }

    /// <summary>
    /// Called with slots that could not be written for a while, now that they can be, and how long that was; before any answer of theirs is given to
    /// anyone. Returns at once.
    /// </summary>
    public Action<Func<int, bool>, TimeSpan>? Recovered { get; set; }

    /// <summary>The version of the server that was asked first.</summary>
    public Version Version { get; }

    /// <summary>Whether it is a cluster.</summary>
    public bool IsCluster { get; }

    /// <summary>Who has slots now.</summary>
    public IReadOnlyList<RedisEndpoint> Primaries => Volatile.Read(ref _map).Primaries;

    /// <summary>Commands that were sent on by a server that no longer has the slot.</summary>
    public long Redirections => Volatile.Read(ref _redirections);

    /// <summary>Commands that failed.</summary>
    public long Failures => Volatile.Read(ref _failures);

    /// <summary>A number that is another whenever some slot was lost, is back, or is another server's.</summary>
    public long Outages => Volatile.Read(ref _outages);

    /// <summary>Whether the server of this slot is away for longer than the time-out.</summary>
    public bool IsSlotAway(int slot) => IsAway(Volatile.Read(ref _owners[slot]));

    /// <summary>Servers with slots that are away for longer than the time-out.</summary>
    public int ServersAway
    {
        get
        {
            lock (_gate)
                return Primaries.Count(p => IsAway(_servers[p]));
        }
    }

    /// <summary>Whether some shard at least can be used.</summary>
    public bool IsReachable => ServersAway < Primaries.Count;

    /// <summary>Connects: asks the servers of the options, one after the other, for the map.</summary>
    /// <exception cref="StoreUnavailableException">None of them can be used; the message is one line.</exception>
    public static async Task<RedisCluster> ConnectAsync(RedisOptions options, TimeProvider time, RedisLog log)
    {
        var reason = "";
        foreach (var server in options.Endpoints)
        {
            try
            {
                var (map, version, isCluster) = await MapAnswer.AskAsync(
                    server, options with { Timeout = options.Timeout > StartTimeout ? options.Timeout : StartTimeout }, time, CancellationToken.None);
                log.Connected(version.ToString(), string.Join(", ", map.Primaries), map.Primaries.Count);
                var cluster = new RedisCluster(options, time, log, map, version, isCluster);
                cluster._loop = Task.Run(cluster.RunAsync);
                return cluster;
            }
            catch (Exception failure) when (failure is IOException or RedisRefusalException or RespException)
            {
                reason = $"Redis at {server} cannot be used: {failure.Message.TrimEnd('.')}.";
            }
        }

        throw new StoreUnavailableException(reason);
    }

    /// <summary>Sends a command; it is completed, or failed within some two time-outs.</summary>
    public void Send(RedisRequest request)
    {
        if (request.Deadline == 0)
            request.Deadline = _time.GetTimestamp() + (long)(_options.Timeout.TotalSeconds * _time.TimestampFrequency);
        var server = Volatile.Read(ref _owners[request.Slot]);
        if (!request.IsProbe && IsAway(server))
            FailOf(server, request);
        else
            server.ConnectionFor(request).Send(request);
    }

    /// <summary>Who has a slot.</summary>
    public RedisEndpoint OwnerOf(int slot) => Volatile.Read(ref _owners[slot]).Endpoint;

    /// <summary>Sends a command that is rare, and waits for its answer.</summary>
    public async Task<object?> CallAsync(int slot, params string[] parts)
    {
        var call = new RedisCall(slot, parts);
        Send(call);
        return await call.Answer;
    }

    /// <summary>What the primaries' clocks read, the median, and the timestamp of <see cref="TimeProvider"/> at which that was so. In seconds since 2020.</summary>
    public async Task<(double Seconds, long Stamp)> ReadTimeAsync()
    {
        var reads = Primaries.Select(ReadTimeAsync).ToArray();
        var ahead = new List<double>();
        StoreUnavailableException? away = null;
        foreach (var read in reads)
        {
            try
            {
                ahead.Add(await read);
            }
            catch (StoreUnavailableException failure)
            {
                away = failure;
            }
        }

        if (ahead.Count == 0)
            throw away!;
        ahead.Sort();
        var stamp = _time.GetTimestamp();
        return (ahead[ahead.Count / 2] + (stamp / (double)_time.TimestampFrequency), stamp);
    }

    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        await _loop;
        RedisServer[] servers;
        lock (_gate)
            servers = [.. _servers.Values];
        foreach (var server in servers)
            await server.DisposeAsync();
        await Task.WhenAll(_retired);
        while (_later.TryDequeue(out var request))
            FailOf(_owners[request.Slot], request);
        _stop.Dispose();
    }

    // ---- what connections tell ------------------------------------------------------------------------------------------------

    void IRedisRouter.Worked(RedisServer server)
    {
        var since = Interlocked.Exchange(ref server.AwaySince, 0);
        if (since == 0)
            return;
        Tell(slot => Volatile.Read(ref _owners[slot]) == server, since);
        if (!server.IsSaidAway)
            return;
        server.IsSaidAway = false;
        _log.Back(server.Endpoint.ToString(), _time.GetElapsedTime(since).TotalSeconds);
    }

    void IRedisRouter.Refused(RedisServer server, RedisRequest request, string error)
    {
        var words = error.Split(' ');
        switch (words[0])
        {
            case "MOVED" or "ASK" when words.Length >= 3 && ++request.Redirections <= MostRedirections && ReadEndpoint(words[2], server.Endpoint) is { } to:
                Interlocked.Increment(ref _redirections);
                request.Asking = words[0] == "ASK";
                _wantsMap |= words[0] == "MOVED";
                ServerAt(to).ConnectionFor(request).Send(request);
                break;
            case "TRYAGAIN" or "MOVED" or "ASK":
                SendAgain(request);
                break;
            case "LOADING" or "CLUSTERDOWN" or "MASTERDOWN" or "READONLY":
                MarkAway(server, error, TimeSpan.Zero);
                _wantsMap |= words[0] is not "LOADING";
                SendAgain(request);
                break;
            case "OOM" or "MISCONF" or "NOREPLICAS":
                MarkAway(server, error, TimeSpan.Zero);
                Fail(request, new StoreUnavailableException($"Redis at {server.Endpoint} takes no writes: {error}"));
                break;
            default:
                Fail(request, new StoreUnavailableException($"Redis at {server.Endpoint} answers \"{error}\"."));
                break;
        }
    }

    void IRedisRouter.Lost(RedisServer server, string reason, TimeSpan owedFor)
    {
        MarkAway(server, reason, owedFor);
        _wantsMap |= IsCluster && Primaries.Contains(server.Endpoint);
    }

    void IRedisRouter.Fail(RedisServer server, RedisRequest request) => FailOf(server, request);

    /// <inheritdoc/>
    public void SendAgain(RedisRequest request)
    {
        if (request.Deadline > _time.GetTimestamp() && !_stop.IsCancellationRequested)
            _later.Enqueue(request);
        else
            FailOf(_owners[request.Slot], request);
    }

    // That it is away is known before anybody hears of what failed by it.
    private void FailOf(RedisServer server, RedisRequest request)
    {
        NoteAway(server);
        Fail(request, new StoreUnavailableException($"Redis at {server.Endpoint} is away{(server.Reason is { Length: > 0 } reason ? $": {reason}" : "")}."));
    }

    // ---- the loop -------------------------------------------------------------------------------------------------------------

    private async Task RunAsync()
    {
        using var timer = new PeriodicTimer(TickInterval, _time);
        var asking = Task.CompletedTask;
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
            {
                RedisServer[] servers;
                lock (_gate)
                    servers = [.. _servers.Values];
                foreach (var server in servers)
                {
                    server.Tick();
                    Probe(server);
                    NoteAway(server);
                }

                for (var left = _later.Count; left > 0 && _later.TryDequeue(out var request); left--)
                    SendLater(request);
                if (_wantsMap && asking.IsCompleted && _time.GetElapsedTime(_askedAt) >= AskInterval)
                    asking = AskAsync();
            }
        }
        catch (OperationCanceledException)
        {
            // stopped
        }

        await asking;
    }

    private void SendLater(RedisRequest request)
    {
        if (request.Deadline <= _time.GetTimestamp())
            FailOf(_owners[request.Slot], request);
        else
            _owners[request.Slot].ConnectionFor(request).Send(request);
    }

    // Anybody who may know: those of the map, in random order, and those that the operator named.
    private async Task AskAsync()
    {
        _wantsMap = false;
        _askedAt = _time.GetTimestamp();
        var known = Volatile.Read(ref _map).Servers.ToArray();
        Random.Shared.Shuffle(known);
        var reason = "";
        foreach (var server in known.Concat(_options.Endpoints).Distinct())
        {
            try
            {
                var (map, _, _) = await MapAnswer.AskAsync(server, _options with { Timeout = _options.Timeout / 2 }, _time, _stop.Token);
                Apply(map);
                // asked again until everybody with slots answers: a failover takes seconds, and the map before it is no news
                lock (_gate)
                    _wantsMap |= map.Primaries.Count == 0 || map.Primaries.Any(p => Volatile.Read(ref _servers[p].AwaySince) != 0);
                return;
            }
            catch (Exception failure) when (failure is IOException or RedisRefusalException or RespException)
            {
                reason = $"{server}: {failure.Message}";
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }

        _wantsMap = true;
        if (!_saidMapUnknown)
            _log.MapUnknown(reason);
        _saidMapUnknown = true;
    }

    // Slots whose server was away and that another has now were away as long; whoever waits for the old one is sent to the new.
    private void Apply(ClusterMap map)
    {
        _saidMapUnknown = false;
        var moved = new Dictionary<(RedisServer Before, RedisServer After), HashSet<int>>();
        lock (_gate)
        {
            for (var slot = 0; slot < RedisKeys.Slots; slot++)
            {
                // a slot that nobody has is left where it was: whoever had it will say so
                if (map[slot] is not { } endpoint)
                {
                    if (_owners[slot] is null)
                        _owners[slot] = FindOrMake(map.Primaries.Count > 0 ? map.Primaries[0] : _options.Endpoints[0]);
                    continue;
                }

                var (before, after) = (_owners[slot], FindOrMake(endpoint));
                if (before == after)
                    continue;
                if (before is not null)
                {
                    if (!moved.TryGetValue((before, after), out var slots))
                        moved[(before, after)] = slots = [];
                    slots.Add(slot);
                }
                else
                {
                    Volatile.Write(ref _owners[slot], after);
                }
            }
        }

        foreach (var ((before, after), slots) in moved)
        {
            var since = Volatile.Read(ref before.AwaySince);
            if (since != 0)
            {
                Tell(slots.Contains, since);
                _log.FailedOver(before.Endpoint.ToString(), after.Endpoint.ToString(), _time.GetElapsedTime(since).TotalSeconds);
            }

            foreach (var slot in slots)
                Volatile.Write(ref _owners[slot], after);
        }

        Volatile.Write(ref _map, map);
        if (moved.Count == 0)
            return;
        Interlocked.Increment(ref _outages);
        _log.MapChanged(string.Join(", ", map.Primaries));
        foreach (var (before, _) in moved.Keys)
            before.Drain();
        Retire();
    }

    // Servers that have nothing to serve any more are let go; what was sent to one meanwhile comes back.
    private void Retire()
    {
        lock (_gate)
        {
            foreach (var server in _servers.Values.Where(server => Array.IndexOf(_owners, server) < 0).ToArray())
            {
                _servers.Remove(server.Endpoint);
                _retired.Add(server.DisposeAsync().AsTask());
            }

            _retired.RemoveAll(static task => task.IsCompleted);
        }
    }

    private void Probe(RedisServer server)
    {
        if (Volatile.Read(ref server.AwaySince) == 0 || _time.GetElapsedTime(server.ProbedAt) < ProbeInterval || !server.Commands.IsUp)
            return;
        server.ProbedAt = _time.GetTimestamp();
        var page = 0;
        while (page < PageLayout.Pages && _owners[RedisKeys.SlotOf(page)] != server)
            page++;
        if (page == PageLayout.Pages)
            return;
        var probe = new RedisCall(RedisKeys.SlotOf(page), isProbe: true, "SETBIT", RedisKeys.Probe(page), "0", "1");
        _ = probe.Answer.ContinueWith(static answer => answer.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        Send(probe);
    }

    // ---- servers --------------------------------------------------------------------------------------------------------------

    private bool IsAway(RedisServer server)
    {
        var since = Volatile.Read(ref server.AwaySince);
        return since != 0 && _time.GetElapsedTime(since) > _options.Timeout;
    }

    private void NoteAway(RedisServer server)
    {
        var isAway = IsAway(server);
        if (Interlocked.Exchange(ref server.IsKnownAway, isAway) != isAway)
            Interlocked.Increment(ref _outages);
    }

    private void MarkAway(RedisServer server, string reason, TimeSpan owedFor)
    {
        if (_stop.IsCancellationRequested)
            return;
        server.Reason = reason;
        Interlocked.CompareExchange(ref server.AwaySince, _time.GetTimestamp() - (long)(owedFor.TotalSeconds * _time.TimestampFrequency), 0);
        if (!IsAway(server) || server.IsSaidAway || !Primaries.Contains(server.Endpoint))
            return;
        server.IsSaidAway = true;
        _log.Away(server.Endpoint.ToString(), reason, _options.Timeout.TotalSeconds);
    }

    private void Tell(Func<int, bool> slots, long since) => Recovered?.Invoke(slots, _time.GetElapsedTime(since));

    private void Fail(RedisRequest request, StoreUnavailableException why)
    {
        Interlocked.Increment(ref _failures);
        request.Fail(why);
    }

    private async Task<double> ReadTimeAsync(RedisEndpoint server)
    {
        // TIME has no key: any slot of the server's will do
        var map = Volatile.Read(ref _map);
        var slot = 0;
        while (slot < RedisKeys.Slots - 1 && map[slot] != server)
            slot++;
        var sent = _time.GetTimestamp();
        var answer = await CallAsync(slot, "TIME");
        var received = _time.GetTimestamp();
        if (answer is not object?[] { Length: 2 } time || !long.TryParse(time[0] as string, out var seconds) || !long.TryParse(time[1] as string, out var micros))
            throw new StoreUnavailableException($"Redis at {server} does not tell the time.");
        return seconds - Pulse.EpochUnixSeconds + (micros / 1e6) - ((sent + received) / 2.0 / _time.TimestampFrequency);
    }

    private static RedisEndpoint? ReadEndpoint(string text, RedisEndpoint asked)
    {
        var colon = text.LastIndexOf(':');
        if (colon < 0 || !int.TryParse(text.AsSpan(colon + 1), out var port) || port is < 1 or > 65_535)
            return null;
        return new RedisEndpoint(colon == 0 || text[..colon] == "?" ? asked.Host : text[..colon], port);
    }

    private RedisServer ServerAt(RedisEndpoint endpoint)
    {
        lock (_gate)
            return FindOrMake(endpoint);
    }

    private RedisServer FindOrMake(RedisEndpoint endpoint)
    {
        if (!_servers.TryGetValue(endpoint, out var server))
            _servers[endpoint] = server = new RedisServer(endpoint, _options, _time, this);
        return server;
    }
}
