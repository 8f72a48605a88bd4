using System.Security.Cryptography;
using Aglow.Diagnostics;
using Aglow.Redis.Connections;
using Aglow.Storage;
using StackExchange.Redis;

namespace Aglow.Redis.Changes;

/// <summary>Leases with an expiry in Redis, for work that only one node may do at a time.</summary>
/// <remarks>
/// <code>
///   SET {p:changes}:lease:NAME TOKEN NX PX 5000 ─► ours ─► renewed once a second ─► released when the work ends
///                                  └► another node's: tried again within a second
/// </code>
/// A lease lasts <see cref="Lease"/>, so another node replaces a dead one within about 6 s. This node counts the lease from the moment
/// before its request. If it cannot renew the lease, it stops its work a second before the lease ends. A token is never reused. Each write
/// to the feed names its token, so a node that was paused past its lease writes nothing. If the work fails for an unexpected reason, it is
/// logged, and the work begins again after the pause. Threading: any thread.
/// </remarks>
internal sealed class RedisLeases(RedisCluster cluster, TimeProvider time, AglowLog log)
{
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan EndBefore = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private const string IfOurs = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end ";
    private const string Renew = IfOurs + "return redis.call('PEXPIRE', KEYS[1], ARGV[2])";
    private const string Release = IfOurs + "return redis.call('DEL', KEYS[1])";

    private readonly BackgroundWork _failures = new(time, log);

    /// <summary>Runs work while this node owns the name; see <see cref="Aglow.Changes.Shared.IChangeLog.RunOwnedAsync"/>.</summary>
    public async Task RunAsync(string name, Func<string, CancellationToken, Task> run, CancellationToken stop)
    {
        var key = (RedisKey)RedisKeys.Lease(name);
        while (!stop.IsCancellationRequested)
        {
            var token = RandomNumberGenerator.GetHexString(32, lowercase: true);
            var requestedAt = time.GetTimestamp();
            try
            {
                if (await TryTakeAsync(key, token))
                    await HoldAsync(key, token, requestedAt, run, stop);
            }
            catch (Exception failure)
            {
                _failures.Failed(name, failure);
            }

            await Task.Delay(Interval * (0.5 + (Random.Shared.NextDouble() / 2)), time, stop)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task HoldAsync(
        RedisKey key, string token, long renewedAt, Func<string, CancellationToken, Task> run, CancellationToken stop)
    {
        using var lost = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var work = Task.Run(() => run(token, lost.Token), CancellationToken.None);
        // a renewal may wait for Redis; the end of the lease must not wait for the renewal
        var renewal = Task.CompletedTask;
        while (!work.IsCompleted && !lost.IsCancellationRequested)
        {
            await Task.WhenAny(work, Task.Delay(Interval, time, lost.Token));
            if (time.GetElapsedTime(Volatile.Read(ref renewedAt)) > Lease - EndBefore)
                await lost.CancelAsync();
            else if (renewal.IsCompleted)
                renewal = RenewAsync();
        }

        try
        {
            await work;
        }
        catch (Exception failure) when (failure is StoreUnavailableException or OperationCanceledException)
        {
            // the loop tries again
        }
        finally
        {
            await renewal;
            await SendAsync(key, Release, [token]);
        }

        async Task RenewAsync()
        {
            var requestedAt = time.GetTimestamp();
            var isOurs = await SendAsync(key, Renew, [token, (long)Lease.TotalMilliseconds]);
            if (isOurs == false)
                await lost.CancelAsync();
            else if (isOurs == true)
                Volatile.Write(ref renewedAt, requestedAt);
        }
    }

    private async Task<bool> TryTakeAsync(RedisKey key, string token)
    {
        try
        {
            var (isTaken, _) = await cluster.SendAsync(
                RedisKeys.ChangesSlot,
                (key, token),
                static (redis, lease, flags) => redis.StringSetAsync(lease.key, lease.token, Lease, when: When.NotExists, flags: flags),
                RedisCommandKind.Write);
            return isTaken;
        }
        catch (StoreUnavailableException)
        {
            return false;
        }
    }

    // Null: Redis is away.
    private async Task<bool?> SendAsync(RedisKey key, string script, RedisValue[] values)
    {
        try
        {
            return (long)await cluster.RunScriptAsync(RedisKeys.ChangesSlot, script, [key], values) == 1;
        }
        catch (StoreUnavailableException)
        {
            return null;
        }
    }
}
