using Aglow.Model;
using Aglow.Storage;
using StackExchange.Redis;

namespace Aglow.Redis.Agreement;

/// <summary>Holds nodes that share a Redis to the same <see cref="SharedSettings"/>, which the first of them writes there.</summary>
/// <remarks>
/// <code>
///   start    nothing there ─► SET NX          the same ─► go on          others ─► refused, or SET where the operator says --adopt
///   running  gone ─► SET NX (Redis lost it)   the same ─► go on          others ─► an error a minute, and a metric
/// </code>
/// A node that runs keeps its settings when another node changes them for all. Rejected: it takes them over (its clients were told the old
/// lease), and it stops (a change of settings would end every node at once). So an operator restarts nodes one after the other.
/// </remarks>
internal sealed class NodeAgreement(RedisCluster cluster, AglowOptions options, TimeProvider time, RedisLog log)
{
    private static readonly TimeSpan SaidEvery = TimeSpan.FromMinutes(1);

    private readonly SharedSettings _mine = SharedSettings.Of(options);
    private long _saidAt;
    private volatile bool _isApart;

    /// <summary>Whether other nodes were started with other settings.</summary>
    public bool IsApart => _isApart;

    /// <summary>Agrees with the nodes that share this Redis, or changes their settings.</summary>
    /// <exception cref="StoreUnavailableException">They have others; the message is one line that names both.</exception>
    public async Task EnterAsync(bool adopts, string where)
    {
        while (true)
        {
            var stored = await ReadAsync();
            if (stored is null && await WriteAsync(When.NotExists))
                return;
            // another node wrote them meanwhile
            if (stored is null)
                continue;
            if (_mine.DifferenceFrom(stored) is not { } difference)
                return;
            if (!adopts)
                throw new StoreUnavailableException(
                    $"The nodes that share Redis at {where} have {difference.Theirs}, and this node has {difference.Mine}: they must "
                    + "agree. Start this node with their settings, or with --adopt to change them for all nodes.");
            await WriteAsync(When.Always);
            log.SettingsChanged(difference.Theirs, difference.Mine);
            return;
        }
    }

    /// <summary>Checks whether nodes still agree. Called every few seconds.</summary>
    public async Task LookAsync()
    {
        if (await ReadAsync() is not { } stored)
        {
            // whoever changed them writes them again
            if (!_isApart)
                await WriteAsync(When.NotExists);
            return;
        }

        var difference = _mine.DifferenceFrom(stored);
        if (difference is null && _isApart)
            log.SettingsAgree();
        _isApart = difference is not null;
        if (difference is null || (_saidAt != 0 && time.GetElapsedTime(_saidAt) < SaidEvery))
            return;
        _saidAt = time.GetTimestamp();
        log.SettingsDiffer(difference.Theirs, difference.Mine);
    }

    private async Task<SharedSettings?> ReadAsync()
    {
        var (text, _) = await cluster.SendAsync(
            RedisKeys.PagesSlot, RedisKeys.Settings, static (redis, key, flags) => redis.StringGetAsync(key, flags), RedisCommandKind.Read);
        return text.IsNullOrEmpty ? null : SharedSettings.Parse((string)text!);
    }

    // Whether it is this node's that stand there now. A write whose answer was lost says no, and they are read again.
    private async Task<bool> WriteAsync(When when) =>
        (await cluster.SendAsync(
            RedisKeys.PagesSlot,
            (Text: _mine.ToString(), When: when),
            static (redis, settings, flags) => redis.StringSetAsync(RedisKeys.Settings, settings.Text, null, settings.When, flags),
            RedisCommandKind.Write)).Value;
}
