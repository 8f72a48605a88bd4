using System.Buffers.Binary;
using System.Globalization;
using Aglow.Changes;
using Aglow.Changes.Shared;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Redis.Connections;
using Aglow.Storage;
using StackExchange.Redis;

namespace Aglow.Redis.Changes;

/// <summary>The feed of changes in Redis: a stream of packed records and, in the same slot, the state that the feed has reported.</summary>
/// <remarks>
/// <code>
///   {p:changes}:feed        hash     generation, last, trimmed, bytes, heard, recorded, kept, began
///   {p:changes}:log         stream   LAST-0 ─► a: second, r: records of 12 bytes (user, last seen, flags); no records: a gap
///   {p:changes}:told:PAGE   string   a bit for each user: reported online                                         up to 8 KiB
///   {p:changes}:facts       hash     index ─► the claim and the deletion that were reported
/// </code>
/// One script writes all four keys. It writes only if the writer still owns the lease and <c>last</c> has the value that the writer
/// expects. A failover that loses the server's newest second therefore loses it in all four keys, and the next write detects that. One
/// stream serves all pages: the server appends records in batches, and that takes less time than the writer's own reading of words.
/// Threading: any thread.
/// </remarks>
internal sealed class RedisChangeLog(RedisCluster cluster, TimeProvider time, AglowLog log) : IChangeLog
{
    private const string Append = """
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        if redis.call('HGET', KEYS[2], 'last') ~= ARGV[2] then return 0 end
        redis.call('HSET', KEYS[2], 'last', ARGV[3], 'trimmed', ARGV[4], 'bytes', ARGV[5], 'heard', ARGV[6], 'recorded', ARGV[7],
            'kept', ARGV[8])
        if ARGV[9] ~= '' then redis.call('XTRIM', KEYS[3], 'MINID', ARGV[9]) end
        local at = 12
        for i = 1, tonumber(ARGV[11]) do
            redis.call('XADD', KEYS[3], ARGV[at] .. '-0', 'a', ARGV[at + 1], 'r', ARGV[at + 2])
            at = at + 3
        end
        for i = 5, #KEYS do
            local bits = ARGV[at]
            for from = 1, #bits, 3 do
                local low, high, bit = string.byte(bits, from, from + 2)
                redis.call('SETBIT', KEYS[i], low + 256 * high, bit)
            end
            redis.call('EXPIRE', KEYS[i], ARGV[10] + 2592000)
            at = at + 1
        end
        while at < #ARGV do
            if ARGV[at + 1] == '0' then redis.call('HDEL', KEYS[4], ARGV[at])
            else redis.call('HSET', KEYS[4], ARGV[at], ARGV[at + 1]) end
            at = at + 2
        end
        for i = 2, 4 do redis.call('EXPIRE', KEYS[i], ARGV[10]) end
        return 1
        """;

    // The head is written last, so a feed without a head has not begun.
    private const string Begin = """
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        redis.call('DEL', KEYS[3])
        redis.call('HSET', KEYS[2], 'generation', ARGV[2], 'last', '0', 'trimmed', '0', 'bytes', '0', 'heard', ARGV[3], 'recorded', '0',
            'kept', '0', 'began', ARGV[4])
        return 1
        """;

    // what the feed needs of a server: scripts, streams, and trimming a stream by ID
    private const string Probe = "return redis.call('XTRIM', KEYS[1], 'MINID', '0')";

    // Like the expiry that the script sets: 30 days and the time for which the feed keeps changes. So the keys of a feed that is turned off
    // expire. State that expires is reported again.
    private static readonly TimeSpan ReportedExpires = TimeSpan.FromDays(31);

    private static readonly RedisValue[] HeadFields = ["generation", "last", "trimmed", "bytes", "heard", "recorded", "kept", "began"];

    private readonly RedisLeases _leases = new(cluster, time, log);

    public IConsumerStore Consumers { get; } = new RedisConsumerStore(cluster);

    /// <summary>Why this server cannot store a feed, in the server's own words; null: it can, or it is away.</summary>
    public async ValueTask<string?> RefusalAsync()
    {
        try
        {
            return (await cluster.SendAsync(
                RedisKeys.ChangesSlot, new RedisKey[] { RedisKeys.ChangesLog }, ProbeAsync, RedisCommandKind.Script)).Value;
        }
        catch (StoreUnavailableException)
        {
            return null;
        }
    }

    public Task RunOwnedAsync(string name, Func<string, CancellationToken, Task> run, CancellationToken stop) =>
        _leases.RunAsync(name, run, stop);

    public async ValueTask<ChangeLogHead?> HeadAsync()
    {
        var (fields, _) = await cluster.SendAsync(
            RedisKeys.ChangesSlot,
            (RedisKey)RedisKeys.ChangesFeed,
            static (redis, key, flags) => redis.HashGetAsync(key, HeadFields, flags),
            RedisCommandKind.Read);
        return fields[0].IsNull ? null : new ChangeLogHead(
            (uint)fields[0], (long)fields[1], (long)fields[2], (long)fields[3], (uint)fields[4], (long)fields[5], (long)fields[6],
            (uint)fields[7]);
    }

    public async ValueTask<IReadOnlyList<ChangeLogEntry>> ReadAsync(long after, int most)
    {
        var (entries, _) = await cluster.SendAsync(
            RedisKeys.ChangesSlot,
            (Key: (RedisKey)RedisKeys.ChangesLog, From: (RedisValue)string.Create(CultureInfo.InvariantCulture, $"{after + 1}-0"), most),
            static (redis, range, flags) => redis.StreamRangeAsync(range.Key, range.From, count: range.most, flags: flags),
            RedisCommandKind.LongRead);
        return
        [
            .. entries.Select(static entry => new ChangeLogEntry(
                long.Parse(((string)entry.Id!).Split('-')[0], CultureInfo.InvariantCulture),
                (uint)entry["a"],
                (ReadOnlyMemory<byte>)entry["r"])),
        ];
    }

    public async ValueTask ReadReportedAsync(int page, Memory<ulong> groups)
    {
        var bytes = new byte[groups.Length * sizeof(ulong)];
        await cluster.ReadTextAsync<byte>(RedisKeys.ChangesSlot, RedisKeys.Reported(page), bytes);
        for (var group = 0; group < groups.Length; group++)
            groups.Span[group] = Reversed(BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(group * sizeof(ulong))));
    }

    public async ValueTask<IReadOnlyDictionary<uint, long>> ReadFactsAsync()
    {
        var (rows, _) = await cluster.SendAsync(
            RedisKeys.ChangesSlot,
            (RedisKey)RedisKeys.ReportedFacts,
            static (redis, key, flags) => redis.HashGetAllAsync(key, flags),
            RedisCommandKind.LongRead);
        return rows.ToDictionary(static row => (uint)row.Name, static row => (long)row.Value);
    }

    public async ValueTask<bool> BeginAsync(
        string token, ChangeLogHead head, IReadOnlyList<(int Page, ulong[] Groups)> reported, IReadOnlyDictionary<uint, long> facts)
    {
        await DeleteAsync(RedisKeys.ReportedFacts);
        foreach (var (page, groups) in reported)
            await WriteReportedAsync(page, groups);
        foreach (var some in facts.Chunk(1000))
        {
            await cluster.SendAsync(
                RedisKeys.ChangesSlot,
                some.Select(static fact => new HashEntry(fact.Key, fact.Value)).ToArray(),
                static async (redis, rows, flags) =>
                {
                    await redis.HashSetAsync(RedisKeys.ReportedFacts, rows, flags);
                    return true;
                },
                RedisCommandKind.Write);
        }

        return await RunAsync(
            Begin,
            [RedisKeys.Lease(IChangeLog.Feed), RedisKeys.ChangesFeed, RedisKeys.ChangesLog],
            [token, head.Generation, head.AsOf, head.BeganAt]);
    }

    public async ValueTask<bool> AppendAsync(string token, ChangeLogWrite write)
    {
        List<RedisKey> keys = [RedisKeys.Lease(IChangeLog.Feed), RedisKeys.ChangesFeed, RedisKeys.ChangesLog, RedisKeys.ReportedFacts];
        var (before, after) = (write.Before, write.After);
        List<RedisValue> values =
        [
            token, before.Last, after.Last, after.Trimmed, after.Bytes, after.AsOf, after.Recorded, after.Kept,
            after.Trimmed == before.Trimmed ? RedisValue.EmptyString : after.Trimmed + 1, write.KeepSeconds, write.Entries.Count,
        ];
        foreach (var entry in write.Entries)
            values.AddRange([entry.Last, entry.At, entry.Records]);
        foreach (var page in write.Flips.GroupBy(static flip => PageLayout.Page(flip.User)))
        {
            keys.Add(RedisKeys.Reported(page.Key));
            values.Add(Packed(page));
        }

        foreach (var (user, value) in write.Facts)
            values.AddRange([user, value]);
        return await RunAsync(Append, [.. keys], [.. values]);
    }

    private static async Task<string?> ProbeAsync(IDatabase redis, RedisKey[] keys, CommandFlags flags)
    {
        try
        {
            await redis.ScriptEvaluateAsync(Probe, keys, flags: flags | CommandFlags.NoScriptCache);
            return null;
        }
        catch (RedisServerException failure) when (failure.Message.Contains("unknown", StringComparison.OrdinalIgnoreCase)
            || failure.Message.Contains("syntax", StringComparison.OrdinalIgnoreCase))
        {
            return failure.Message;
        }
    }

    private static byte[] Packed(IEnumerable<(uint User, bool Online)> flips)
    {
        var bytes = new List<byte>();
        foreach (var (user, online) in flips)
        {
            var slot = PageLayout.Slot(user);
            bytes.AddRange([(byte)slot, (byte)(slot >> 8), online ? (byte)1 : (byte)0]);
        }

        return [.. bytes];
    }

    private async ValueTask WriteReportedAsync(int page, ulong[] groups)
    {
        var key = (RedisKey)RedisKeys.Reported(page);
        if (!groups.AsSpan().ContainsAnyExcept(0ul))
        {
            await DeleteAsync(key);
            return;
        }

        var bytes = new byte[groups.Length * sizeof(ulong)];
        for (var group = 0; group < groups.Length; group++)
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(group * sizeof(ulong)), Reversed(groups[group]));
        await cluster.SendAsync(
            RedisKeys.ChangesSlot,
            (key, bytes),
            static (redis, reported, flags) => redis.StringSetAsync(reported.key, reported.bytes, ReportedExpires, flags: flags),
            RedisCommandKind.Write);
    }

    private Task<RedisReply<bool>> DeleteAsync(RedisKey key) => cluster.SendAsync(
        RedisKeys.ChangesSlot, key, static (redis, key, flags) => redis.KeyDeleteAsync(key, flags), RedisCommandKind.Script);

    private async ValueTask<bool> RunAsync(string script, RedisKey[] keys, RedisValue[] values) =>
        (long)await cluster.RunScriptAsync(RedisKeys.ChangesSlot, script, keys, values) == 1;

    // Redis numbers the bits of a string from the most significant bit of the first byte.
    private static ulong Reversed(ulong bits)
    {
        bits = ((bits >> 1) & 0x5555555555555555) | ((bits & 0x5555555555555555) << 1);
        bits = ((bits >> 2) & 0x3333333333333333) | ((bits & 0x3333333333333333) << 2);
        bits = ((bits >> 4) & 0x0F0F0F0F0F0F0F0F) | ((bits & 0x0F0F0F0F0F0F0F0F) << 4);
        return BinaryPrimitives.ReverseEndianness(bits);
    }
}
