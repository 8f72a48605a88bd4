using System.Globalization;
using Aglow.Redis.Connections;
using StackExchange.Redis;

namespace Aglow.Redis.Replicas;

/// <summary>The rounds of one shard, and whether one of its replicas is in step.</summary>
/// <remarks>
/// A replica is in step if it is online and confirmed something within the last 3 s. Redis replicas confirm once a second. When the last
/// replica in step is lost, calls fail for 3 more seconds. So nothing is acknowledged that a failover at that moment would undo. After that
/// the primary acknowledges alone until a replica is back. Threading: any thread joins; one round is under way at a time.
/// </remarks>
internal sealed class ShardReplicas(
    ConnectionMultiplexer connection, RedisCluster cluster, RedisShard shard, TimeProvider time, RedisLog log)
{
    private const string Lag = "lag=";
    private const int LostAfterSeconds = 3;
    private static readonly TimeSpan LostAfter = TimeSpan.FromSeconds(LostAfterSeconds);
    // one second: replicas of a healthy shard need one round trip
    private const int WaitMilliseconds = 1000;
    private static readonly TimeSpan ReadInterval = TimeSpan.FromSeconds(5);

    private readonly Lock _gate = new();
    private Task<Confirmation> _running = Task.FromResult(Confirmation.Confirmed);
    private Task<Confirmation>? _next;
    private long _readAt;
    private int _inStep;
    private int _page;
    // whether a replica was ever in step, and the timestamp since which none confirms; 0: one does
    private bool _hadOne;
    private long _missingSince;
    private bool _isAloneLogged;

    /// <summary>Joins the next round, which begins after this call.</summary>
    public Task<Confirmation> JoinAsync(int page)
    {
        lock (_gate)
        {
            _page = page;
            if (_next is not null)
                return _next;
            if (_running.IsCompleted)
                return _running = RoundAsync(page);
            return _next = AfterAsync(_running);
        }
    }

    private async Task<Confirmation> AfterAsync(Task<Confirmation> before)
    {
        await before;
        int page;
        lock (_gate)
        {
            (_running, _next) = (_next!, null);
            page = _page;
        }

        return await RoundAsync(page);
    }

    private async Task<Confirmation> RoundAsync(int page)
    {
        // do not run under the lock of the caller that joins
        await Task.Yield();
        try
        {
            var server = connection.GetServer(shard.Endpoint);
            if (_readAt == 0 || _missingSince != 0 || time.GetElapsedTime(_readAt) > ReadInterval)
                await ReadAsync(server);
            if (_inStep == 0)
                return Missing();
            const CommandFlags flags = CommandFlags.DemandMaster | CommandFlags.NoRedirect;
            var written = server.ExecuteAsync("SETBIT", [(RedisKey)RedisKeys.Probe(page), 0, 1], flags);
            var waited = server.ExecuteAsync("WAIT", [1, WaitMilliseconds], flags);
            await Task.WhenAll(written, waited);
            if ((int)await waited > 0)
                return Confirmed();
            await ReadAsync(server);
            return Missing();
        }
        catch (Exception failure) when (RedisFaults.IsOfRedis(failure) || failure is ArgumentException)
        {
            cluster.Map.Want();
            return Confirmation.None;
        }
    }

    private Confirmation Confirmed()
    {
        if (!_hadOne || _isAloneLogged)
            log.Replica(shard.Name);
        (_hadOne, _isAloneLogged, _missingSince) = (true, false, 0);
        return Confirmation.Confirmed;
    }

    private Confirmation Missing()
    {
        if (!_hadOne && _inStep == 0)
            return Confirmation.Alone;
        if (_missingSince == 0)
            _missingSince = time.GetTimestamp();
        if (_inStep > 0 || time.GetElapsedTime(_missingSince) <= LostAfter)
            return Confirmation.None;
        if (!_isAloneLogged)
            log.NoReplica(shard.Name);
        _isAloneLogged = true;
        return Confirmation.Alone;
    }

    private async Task ReadAsync(IServer server)
    {
        _inStep = CountInStep(await server.InfoRawAsync("replication") ?? "");
        _readAt = time.GetTimestamp();
    }

    /// <summary>Counts the replicas in step from the answer to <c>INFO replication</c>.</summary>
    internal static int CountInStep(string info)
    {
        var count = 0;
        foreach (var line in info.Split('\n', StringSplitOptions.TrimEntries))
        {
            // slave0:ip=127.0.0.1,port=7003,state=online,offset=1234,lag=0
            if (!line.StartsWith("slave", StringComparison.Ordinal) || line.IndexOf(':') is not (> 0 and var colon))
                continue;
            var fields = line[(colon + 1)..].Split(',');
            var lag = Array.Find(fields, static field => field.StartsWith(Lag, StringComparison.Ordinal)) ?? Lag;
            if (int.TryParse(lag.AsSpan(Lag.Length), CultureInfo.InvariantCulture, out var seconds)
                && seconds <= LostAfterSeconds
                && fields.Contains("state=online"))
                count++;
        }

        return count;
    }
}
