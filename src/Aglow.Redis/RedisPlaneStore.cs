using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Redis.Replicas;
using Aglow.Storage;
using Aglow.Watching;

namespace Aglow.Redis;

/// <summary>
/// Words in Redis or Valkey, alone or as a cluster: what many nodes share.
/// </summary>
/// <remarks>
/// <code>
///   {p:PAGE}:pulse   BITFIELD … SET u32 #SLOT WORD SET u32 #SLOT WORD …   all users of a page in one command; the old words come back
///                    BITFIELD_RO … GET u32 #SLOT …                        reads
///                    GET                                                  a page, for sweeps: 255 KiB at most, by a connection of its own
///   {p:pages}:pulse  a bit a page that was ever written, set before its first word; read by sweeps instead of a SCAN over a Redis that others may use, too
/// </code>
/// <b>A word never goes back in time</b>: an old word that is newer than the one written is put back, and what that brings back is looked at in turn: every
/// value that was overwritten is in somebody's hand until it, or a newer one, stands there again. For that moment readers see the older word, so
/// nobody may write one that is no longer online (<see cref="Renewals"/> reads first what waited long; a command is not sent after its 2 s). A script that compares first was
/// rejected: it costs Redis several times as much for each heartbeat, to prevent what takes a clock that is off, or two requests within a millisecond.
/// <b>Replies that are lost</b>: the command is sent again within its 2 s, and its old words are reported as <see cref="Pulse.Never"/>, so that everybody is told
/// to look. <b>Durability</b> is the servers' (append-only file): <see cref="Keep"/> has nothing to do. Leaves wait for a replica.
/// Pages of other planes that nobody wrote are not read: most applications report no activity and no kinds of devices, and reads cost half without. A page's first activity is
/// therefore seen by other nodes up to 10 s late (<see cref="PagesAsync"/>); of kinds a hint says so at once (<see cref="Expect"/>).
/// Threading: anything from any thread, no lock on the way of words.
/// </remarks>
public sealed class RedisPlaneStore : IPlaneStore
{
    private const byte Known = 2, Maybe = 1;

    // larger batches are rare, and their memory is given back
    private const int MostPooled = 128 * 1024;

    private readonly RedisCluster _cluster;
    // null where nothing waits for replicas
    private readonly ReplicaConfirmations? _replicas;
    private readonly ConcurrentBag<WordBatch> _pool = [];
    // a byte a page: whether this node knows it to be listed, or it may be; written under no lock, since setting twice does no harm
    private readonly byte[][] _listed = [.. Enumerable.Range(0, Planes.Count).Select(static _ => new byte[PageLayout.Pages])];
    private readonly bool[] _isInUse = [true, true, false, false, false, false];

    /// <summary>The words of a cluster, which is closed with this store.</summary>
    internal RedisPlaneStore(RedisCluster cluster, ReplicaConfirmations? replicas = null)
    {
        _cluster = cluster;
        _replicas = replicas;
        Tightener = new PageTightener(cluster);
        PageCounts = new RedisPageCounts(cluster);
    }

    /// <inheritdoc/>
    public IPageCounts PageCounts { get; }

    /// <summary>Takes back what pages were given too much of.</summary>
    internal PageTightener Tightener { get; }

    /// <inheritdoc/>
    public bool IsRemote => true;

    /// <inheritdoc/>
    public bool IsReachable => _cluster.IsReachable;

    /// <inheritdoc/>
    public bool IsWritable => _cluster.IsWritable;

    /// <inheritdoc/>
    public bool IsSomeUnwritable => _cluster.IsSomeUnwritable;

    /// <inheritdoc/>
    public TimeSpan UnwritableFor(int page) => _cluster.UnwritableFor(RedisKeys.SlotOf(page));

    /// <inheritdoc/>
    public bool IsPageRefused(int page) => _cluster.IsSlotRefused(RedisKeys.SlotOf(page));

    /// <inheritdoc/>
    public long Outages => _cluster.Outages;

    /// <inheritdoc/>
    public bool IsPageAway(int page) => _cluster.IsSlotAway(RedisKeys.SlotOf(page));

    /// <inheritdoc/>
    public bool IsKeepBacklogged => false;

    /// <inheritdoc/>
    public bool IsInUse(Plane plane) => _isInUse[(int)plane];

    /// <inheritdoc/>
    public void Expect(ReadOnlySpan<uint> users)
    {
        foreach (var plane in Planes.OfKinds)
        {
            _isInUse[(int)plane] = true;
            foreach (var user in users)
                _listed[(int)plane][PageLayout.Page(user)] = Math.Max(_listed[(int)plane][PageLayout.Page(user)], Maybe);
        }
    }

    /// <inheritdoc/>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<uint> ExchangeAsync(Plane plane, uint user, uint word)
    {
        var batch = Rent();
        try
        {
            await WriteAsync(batch, plane, user, word);
            if (!Pulse.Supersedes(word, batch.Word(0)))
                await PutBackAsync(plane, [(user, batch.Word(0))]);
            batch.ForgetLostAnswers();
            return batch.Word(0);
        }
        finally
        {
            Return(batch);
        }
    }

    /// <inheritdoc/>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask ExchangeAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, Memory<uint> old)
    {
        if (words.Length != users.Length || old.Length != users.Length)
            throw new ArgumentException("Users, words and old words are of one length.");
        if (users.IsEmpty)
            return;
        var batch = Rent();
        try
        {
            batch.Fill(plane, users.Span);
            batch.FillWords(words.Span);
            old.Span.Fill(Pulse.Refused);
            await ListPagesAsync(batch);
            await batch.SendAsync(isWrite: true);
            if (Overwritten(batch, words.Span) is { } newer)
                await PutBackAsync(plane, newer);
            batch.ForgetLostAnswers();
            batch.CopyOldTo(words.Span, old.Span);
            if (batch.Failure is { } failure)
                throw failure;
        }
        finally
        {
            Return(batch);
        }
    }

    /// <inheritdoc/>
    public async ValueTask ReplaceAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, uint latest)
    {
        if (users.IsEmpty)
            return;
        var batch = Rent();
        try
        {
            batch.Fill(plane, users.Span);
            batch.FillWords(words.Span);
            await batch.SendAsync(isWrite: true);
            // a newer word of a second that has come was written meanwhile
            if (Overwritten(batch, words.Span)?.FindAll(newer => Pulse.Second(newer.Word) <= latest) is { Count: > 0 } newer)
                await PutBackAsync(plane, newer);
            if (batch.Failure is { } failure)
                throw failure;
        }
        finally
        {
            Return(batch);
        }
    }

    /// <inheritdoc/>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask ReadAsync(Plane plane, ReadOnlyMemory<uint> users, Memory<uint> words)
    {
        if (plane != Plane.Pulse && !AnyListed(plane, users.Span))
        {
            words.Span[..users.Length].Clear();
            return;
        }

        var batch = Rent();
        try
        {
            batch.Fill(plane, users.Span);
            await batch.SendAsync(isWrite: false);
            if (batch.Failure is { } failure)
                throw failure;
            batch.CopyTo(words.Span);
        }
        finally
        {
            Return(batch);
        }
    }

    /// <inheritdoc/>
    /// <remarks>
    /// Reads the lists of all planes, so that this node knows of activity that others were the first to write on a page; and lists anew what it
    /// knows and a server that was lost without its last second has forgotten.
    /// </remarks>
    public async ValueTask<IReadOnlyList<int>> PagesAsync(Plane plane)
    {
        var lists = new Task<IReadOnlyList<int>>[Planes.Count];
        for (var i = 0; i < lists.Length; i++)
            lists[i] = ReadListAsync((Plane)i);
        return (await Task.WhenAll(lists))[(int)plane];
    }

    /// <inheritdoc/>
    public async ValueTask<ReadOnlyMemory<uint>> ReadPageAsync(Plane plane, int page, Memory<uint> scratch)
    {
        if (plane != Plane.Pulse && _listed[(int)plane][page] == 0)
            return default;
        var bytes = await _cluster.ReadTextAsync(RedisKeys.SlotOf(page), RedisKeys.Page(plane, page), scratch);
        var words = (bytes + sizeof(uint) - 1) / sizeof(uint);
        var whole = Math.Min(scratch.Length, (words + 63) & ~63);
        MemoryMarshal.AsBytes(scratch.Span[..whole])[bytes..].Clear();
        var used = scratch.Span[..words];
        if (BitConverter.IsLittleEndian)
            BinaryPrimitives.ReverseEndianness(used, used);
        await Tightener.NoteAsync(plane, page, bytes);
        return scratch[..whole];
    }

    /// <inheritdoc/>
    public async ValueTask EraseAsync(Plane plane, uint user)
    {
        // where nothing is, no page is made
        var before = new uint[1];
        await ReadAsync(plane, new[] { user }, before);
        if (before[0] == Pulse.Never)
            return;
        var batch = Rent();
        try
        {
            await WriteAsync(batch, plane, user, Pulse.Never);
        }
        finally
        {
            Return(batch);
        }
    }

    /// <inheritdoc/>
    public void Keep(Plane plane, ReadOnlySpan<uint> users)
    {
    }

    /// <inheritdoc/>
    public ValueTask KeptAsync() => default;

    /// <inheritdoc/>
    public ValueTask ReplicatedAsync(ReadOnlyMemory<uint> users, bool isLeave) => _replicas?.ConfirmAsync(users.Span, isLeave) ?? default;

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _cluster.DisposeAsync();

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask WriteAsync(WordBatch batch, Plane plane, uint user, uint word)
    {
        batch.Fill(plane, [user]);
        batch.FillWords([word]);
        await ListPagesAsync(batch);
        await batch.SendAsync(isWrite: true);
        if (batch.Failure is { } failure)
            throw failure;
    }

    private static List<(uint User, uint Word)>? Overwritten(WordBatch batch, ReadOnlySpan<uint> words)
    {
        List<(uint User, uint Word)>? newer = null;
        for (var place = 0; place < batch.Count; place++)
        {
            var old = batch.Word(place);
            if (old != Pulse.Refused && !Pulse.Supersedes(batch.Winner(place, words), old))
                (newer ??= []).Add((batch.UserOf(place), old));
        }

        return newer;
    }

    // Until nothing newer comes back: of two who do this at once, each leaves the newer of what they hold and what they overwrote.
    private async ValueTask PutBackAsync(Plane plane, List<(uint User, uint Word)> newer)
    {
        while (newer.Count > 0)
        {
            var batch = Rent();
            try
            {
                batch.Fill(plane, [.. newer.Select(static n => n.User)]);
                uint[] words = [.. newer.Select(static n => n.Word)];
                batch.FillWords(words);
                await batch.SendAsync(isWrite: true);
                newer = Overwritten(batch, words) ?? [];
                if (batch.Failure is { } failure)
                    throw failure;
            }
            finally
            {
                Return(batch);
            }
        }
    }

    private ValueTask ListPagesAsync(WordBatch batch)
    {
        var listed = _listed[(int)batch.Plane];
        List<int>? missing = null;
        for (var place = 0; place < batch.Count; place++)
        {
            var page = batch.PageOf(place);
            if (listed[page] != Known && (missing is null || missing[^1] != page))
                (missing ??= []).Add(page);
        }

        return missing is null ? default : ListAsync(batch.Plane, missing);
    }

    private async ValueTask ListAsync(Plane plane, List<int> pages)
    {
        await Task.WhenAll(pages.Select(page => _cluster.SendAsync(
            RedisKeys.PagesSlot,
            page,
            (redis, bit, flags) => redis.StringSetBitAsync(RedisKeys.Pages(plane), bit, true, flags),
            RedisCommandKind.Write)));
        _isInUse[(int)plane] = true;
        foreach (var page in pages)
            _listed[(int)plane][page] = Known;
    }

    private async Task<IReadOnlyList<int>> ReadListAsync(Plane plane)
    {
        var bits = new byte[(PageLayout.Pages + 7) / 8];
        await _cluster.ReadTextAsync<byte>(RedisKeys.PagesSlot, RedisKeys.Pages(plane), bits);
        var listed = _listed[(int)plane];
        var pages = new List<int>();
        List<int>? forgotten = null;
        for (var page = 0; page < PageLayout.Pages; page++)
        {
            if ((bits[page >> 3] & (0x80 >> (page & 7))) != 0)
                listed[page] = Known;
            else if (listed[page] == Known)
                (forgotten ??= []).Add(page);
            if (listed[page] == Known)
                pages.Add(page);
        }

        if (pages.Count > 0)
            _isInUse[(int)plane] = true;
        if (forgotten is not null)
            await ListAsync(plane, forgotten);
        return pages;
    }

    private bool AnyListed(Plane plane, ReadOnlySpan<uint> users)
    {
        var listed = _listed[(int)plane];
        foreach (var user in users)
        {
            if (listed[PageLayout.Page(user)] != 0)
                return true;
        }

        return false;
    }

    private WordBatch Rent() => _pool.TryTake(out var batch) ? batch : new WordBatch(_cluster);

    private void Return(WordBatch batch)
    {
        if (batch.Capacity <= MostPooled)
            _pool.Add(batch);
    }

}
