using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using Aglow.Model;
using Aglow.Storage;

namespace Aglow.Redis;

/// <summary>
/// How many are online on each page, as nodes tell each other: one text a definition, so that reading all of them is one short command.
/// </summary>
/// <remarks>
/// <code>
///   {p:pages}:count:RULE   | claim 4 | online 4 | at 4 | online 4 | at 4 | …     words, most significant byte first: a page has numbers 1 + 2 PAGE and 2 + 2 PAGE
/// </code>
/// 2 KB at 10 million users. A key beside each page was rejected: a command a page for whoever only wants the sum. Any thread.
/// </remarks>
internal sealed class RedisPageCounts(RedisCluster cluster) : IPageCounts
{
    private const int HeadBytes = 4;
    private const int CountBytes = 8;

    /// <inheritdoc/>
    public async ValueTask<uint> ReadAsync(Definition definition, Memory<PageCount> counts)
    {
        var bytes = ArrayPool<byte>.Shared.Rent(HeadBytes + (counts.Length * CountBytes));
        try
        {
            var request = new RedisTextRequest(RedisKeys.PagesSlot, to => to.Part(RedisKeys.Counts(definition)), bytes);
            cluster.Send(request);
            var length = await request.Length;
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

    /// <inheritdoc/>
    public async ValueTask<uint> ClaimAsync(Definition definition, uint now) =>
        await cluster.CallAsync(RedisKeys.PagesSlot, ["BITFIELD", RedisKeys.Counts(definition), .. Set(0, now)]) is object?[] { Length: 1 } and [long before]
            ? (uint)before
            : throw new StoreUnavailableException("Redis answered a BITFIELD with what is no word.");

    /// <inheritdoc/>
    public async ValueTask WriteAsync(Definition definition, IReadOnlyList<(int Page, PageCount Count)> counts, uint claim)
    {
        List<string> command = ["BITFIELD", RedisKeys.Counts(definition), .. Set(0, claim)];
        foreach (var (page, count) in counts)
        {
            command.AddRange(Set(1 + (2 * page), count.Online));
            command.AddRange(Set(2 + (2 * page), count.At));
        }

        await cluster.CallAsync(RedisKeys.PagesSlot, [.. command]);
    }

    private static string[] Set(int place, uint word) => ["SET", "u32", $"#{place}", word.ToString(CultureInfo.InvariantCulture)];
}
