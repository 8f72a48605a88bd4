using Aglow.Model;
using Aglow.Redis.Connections;
using Aglow.Storage;
using StackExchange.Redis;

namespace Aglow.Redis.Words;

/// <summary>
/// Reclaims memory that pages do not need. When a string grows, Redis allocates twice what it needs and never shrinks it.
/// </summary>
/// <remarks>
/// When a page had the same length in two sweeps, its memory use is queried once. If that exceeds the length by more than an eighth, a
/// script copies the page within the server. The copy has exactly its length. With 5 million of 10 million registered users online, a user
/// costs 8 bytes instead of 13 to 16. The copy takes the server about 20 µs for each page, once. Rejected: allocating each page at its full
/// size at once, which costs 65 MB in a deployment of a thousand users.
///
/// If the server does not allow scripts (a managed one without EVAL), pages stay as they are. The loops that read pages call this. If two
/// of them copy the same page at once, no harm is done.
/// </remarks>
internal sealed class PageTightener(RedisCluster cluster)
{
    // COPY allocates the exact length; RENAME replaces the page. One script, so no write comes between the two.
    private const string Script = "redis.call('COPY', KEYS[1], KEYS[2], 'REPLACE') return redis.call('RENAME', KEYS[2], KEYS[1])";

    // the overhead of the key itself, and rounding to the allocator's next size
    private const int Slack = 8 * 1024;

    private readonly int[]?[] _lengths = new int[Planes.Count][];
    private readonly bool[]?[] _seen = new bool[Planes.Count][];
    private bool _isRefused;

    /// <summary>Notes the length of a page that was just read.</summary>
    public async ValueTask NoteAsync(Plane plane, int page, int bytes)
    {
        var (lengths, seen) = (_lengths[(int)plane] ??= new int[PageLayout.Pages], _seen[(int)plane] ??= new bool[PageLayout.Pages]);
        if (lengths[page] != bytes)
        {
            (lengths[page], seen[page]) = (bytes, false);
            return;
        }

        if (seen[page] || _isRefused || bytes == 0)
            return;
        seen[page] = true;
        var key = RedisKeys.Page(plane, page);
        var slot = RedisKeys.SlotOf(page);
        try
        {
            var (used, _) = await cluster.SendAsync(
                slot,
                key,
                static (redis, key, flags) => redis.ExecuteAsync("MEMORY", ["USAGE", (RedisKey)key], flags),
                RedisCommandKind.Read);
            if (used.IsNull || (long)used <= bytes + (bytes / 8) + Slack)
                return;
            await cluster.RunScriptAsync(slot, Script, [key, RedisKeys.Copy(page)]);
        }
        catch (StoreUnavailableException)
        {
            // The server is away or does not allow it. If it is away, the next read logs that.
            _isRefused = !cluster.Map.Shards.Any(static shard => shard.IsAway);
        }
    }
}
