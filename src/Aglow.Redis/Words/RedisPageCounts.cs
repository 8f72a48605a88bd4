using System.Buffers.Binary;
using System.Buffers;
using Aglow.Model;
using Aglow.Redis.Connections;
using Aglow.Storage;
using StackExchange.Redis;

namespace Aglow.Redis.Words;

/// <summary>
/// How many users are online on each page, shared between nodes. One string for each definition, so one short command reads all of them.
/// </summary>
/// <remarks>
/// <code>
///   {p:pages}:count:RULE   | claim 4 | online 4 | at 4 | online 4 | at 4 | …     words, most significant byte first;
///                                                                                a page has words 1 + 2 PAGE and 2 + 2 PAGE
/// </code>
/// It takes 2 KB at 10 million users. Rejected: a key beside each page, because a caller that only wants the sum would send one command for
/// each page. Threading: any thread.
/// </remarks>
internal sealed class RedisPageCounts(RedisCluster cluster) : IPageCounts
{
    private const int HeadBytes = 4;
    private const int CountBytes = 8;

    public async ValueTask<uint> ReadAsync(Definition definition, Memory<PageCount> counts)
    {
        var bytes = ArrayPool<byte>.Shared.Rent(HeadBytes + (counts.Length * CountBytes));
        try
        {
            var length = await cluster.ReadTextAsync<byte>(RedisKeys.PagesSlot, RedisKeys.Counts(definition), bytes);
            Array.Clear(bytes, length, bytes.Length - length);
            for (var page = 0; page < counts.Length; page++)
            {
                var at = bytes.AsSpan(HeadBytes + (page * CountBytes), CountBytes);
                counts.Span[page] = new PageCount(BinaryPrimitives.ReadUInt32BigEndian(at), BinaryPrimitives.ReadUInt32BigEndian(at[4..]));
            }

            return BinaryPrimitives.ReadUInt32BigEndian(bytes);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    public async ValueTask<uint> ClaimAsync(Definition definition, uint now)
    {
        using var old = await WriteAsync(definition, [Set(0, now)]);
        return (uint?)old.Span[0] ?? throw new StoreUnavailableException("Redis answered a BITFIELD without a word.");
    }

    public async ValueTask WriteAsync(Definition definition, IReadOnlyList<(int Page, PageCount Count)> counts, uint claim)
    {
        List<BitFieldOperation> words = [Set(0, claim)];
        foreach (var (page, count) in counts)
        {
            words.Add(Set(1 + (2 * page), count.Online));
            words.Add(Set(2 + (2 * page), count.At));
        }

        (await WriteAsync(definition, [.. words])).Dispose();
    }

    private static BitFieldOperation Set(int place, uint word) =>
        BitFieldOperation.Set(BitFieldEncoding.UInt32, BitFieldOffset.Element(place), word);

    private async Task<Lease<long?>> WriteAsync(Definition definition, BitFieldOperation[] words) => (await cluster.SendAsync(
        RedisKeys.PagesSlot,
        (Key: (RedisKey)RedisKeys.Counts(definition), Words: words),
        static (redis, row, flags) => redis.StringBitFieldAsync(row.Key, row.Words, flags),
        RedisCommandKind.Write)).Value;
}
