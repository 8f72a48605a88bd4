using Aglow.Model;
using Aglow.Redis.Connections;
using Aglow.Storage;
using Aglow.Users;
using StackExchange.Redis;

namespace Aglow.Redis.Agreement;

/// <summary>Makes nodes that share a Redis use the same <see cref="SharedSettings"/>. The first node writes them there.</summary>
/// <remarks>
/// <code>
///   start    none stored ─► SET NX           the same ─► continue      different ─► refused; with --adopt: SET
///   running  lost by Redis ─► SET NX         the same ─► continue      different ─► an error each minute, and a metric
/// </code>
/// A running node keeps its settings when another node changes the stored ones. Two alternatives were rejected. The node could take over
/// the new settings, but its clients use the old lease. It could stop, but then a change of settings would stop every node at once. So an
/// operator restarts the nodes one after the other.
/// </remarks>
internal sealed class NodeAgreement(RedisCluster cluster, AglowOptions options, IUserDirectory? directory, TimeProvider time, RedisLog log)
{
    private static readonly TimeSpan LogInterval = TimeSpan.FromMinutes(1);

    private readonly SharedSettings _mine = SharedSettings.Of(options, directory);
    private long _loggedAt;
    private volatile bool _isApart;

    /// <summary>Whether the stored settings differ from this node's.</summary>
    public bool IsApart => _isApart;

    /// <summary>Agrees with the nodes that share this Redis, or changes their settings.</summary>
    /// <exception cref="StoreUnavailableException">Their settings differ; the message is one line that names both.</exception>
    public async Task EnterAsync(bool adopts, string where)
    {
        while (true)
        {
            var stored = await ReadAsync();
            if (stored is null && await WriteAsync(When.NotExists))
                return;
            // another node wrote settings between the read and the write
            if (stored is null)
                continue;
            if (_mine.DifferenceFrom(stored) is not { } difference)
            {
                if (_mine.AddsTo(stored))
                    await WriteAsync(When.Always);
                return;
            }

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
    public async Task CheckAsync()
    {
        if (await ReadAsync() is not { } stored)
        {
            // the nodes with the new settings write them again
            if (!_isApart)
                await WriteAsync(When.NotExists);
            return;
        }

        var difference = _mine.DifferenceFrom(stored);
        if (difference is null && _isApart)
            log.SettingsAgree();
        _isApart = difference is not null;
        if (difference is null || (_loggedAt != 0 && time.GetElapsedTime(_loggedAt) < LogInterval))
            return;
        _loggedAt = time.GetTimestamp();
        log.SettingsDiffer(difference.Theirs, difference.Mine);
    }

    private async Task<SharedSettings?> ReadAsync()
    {
        var (text, _) = await cluster.SendAsync(
            RedisKeys.PagesSlot, RedisKeys.Settings, static (redis, key, flags) => redis.StringGetAsync(key, flags), RedisCommandKind.Read);
        return text.IsNullOrEmpty ? null : SharedSettings.Parse((string)text!);
    }

    // Whether this node's settings are stored now. If the answer to a write is lost, the result is false, and the settings are read again.
    private async Task<bool> WriteAsync(When when) =>
        (await cluster.SendAsync(
            RedisKeys.PagesSlot,
            (Text: _mine.ToString(), When: when),
            static (redis, settings, flags) => redis.StringSetAsync(RedisKeys.Settings, settings.Text, null, settings.When, flags),
            RedisCommandKind.Write)).Value;
}
