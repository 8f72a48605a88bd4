using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Redis.Connections;
using Aglow.Redis.Replicas;
using Aglow.Redis.Words;
using Aglow.Storage;
using Aglow.Watching;

namespace Aglow.Redis;

/// <summary>Words in Redis or Valkey, a single server or a cluster, which many nodes share.</summary>
/// <remarks>
/// <code>
///   {p:PAGE}:pulse   BITFIELD … SET u32 #SLOT WORD SET u32 #SLOT WORD …   all users of a page in one command; returns the old words
///                    BITFIELD_RO … GET u32 #SLOT …                        reads
///                    GET                                                  a page, for sweeps: 255 KiB at most, on a separate connection
///   {p:pages}:pulse  a bit for each page that was ever written, set before its first word
/// </code>
/// Sweeps read the list of pages. A SCAN was rejected, because other applications may use the same Redis.
///
/// <b>A word never goes back in time.</b> If an old word is newer than the word that replaced it, the writer puts it back. It checks the
/// word that this returns in the same way, and repeats until nothing newer comes back. So some writer holds each overwritten word until
/// that word, or a newer one, is stored again. Readers see the older word for that moment. So no node may write a word that is no longer
/// online. <see cref="Renewals"/> therefore first reads words that waited long, and no command is sent after its 2 s. Rejected: a script
/// that compares first. Each heartbeat would cost Redis several times as much. The problem needs a wrong clock, or two requests within a
/// millisecond.
///
/// <b>Lost replies.</b> The command is sent again within its 2 s. Its old words are reported as <see cref="Pulse.Never"/>, so that every
/// node checks these users. <b>Durability</b> is the servers' (append-only file): <see cref="Keep"/> does nothing. Leaves wait for a
/// replica.
///
/// Pages of other planes that were never written are not read. Most applications report no activity and no kinds of devices, and reads cost
/// half as much without them. Other nodes therefore see a page's first activity up to 10 s late (<see cref="PagesAsync"/>). For kinds of
/// devices, a hint reports it at once (<see cref="Expect"/>).
///
/// Threading: any thread, without locks when reading and writing words.
/// </remarks>
internal sealed class RedisPlaneStore : IPlaneStore
{
    private const byte Known = 2, Maybe = 1;

    private readonly RedisCluster _cluster;
    // null: nothing waits for replicas
    private readonly ReplicaConfirmations? _replicas;
    private readonly ConcurrentBag<WordBatch> _pool = [];
    // A byte for each page of each plane: whether the page is listed, or may be. Written without a lock, because setting it twice does no
    // harm.
    private readonly byte[][] _listed = [.. Enumerable.Range(0, Planes.Count).Select(static _ => new byte[PageLayout.Pages])];
    private readonly bool[] _isInUse = [true, true, false, false, false, false];

    /// <summary>Stores words in a cluster. The store closes the cluster.</summary>
    public RedisPlaneStore(RedisCluster cluster, ReplicaConfirmations? replicas = null)
    {
        _cluster = cluster;
        _replicas = replicas;
        Tightener = new PageTightener(cluster);
        PageCounts = new RedisPageCounts(cluster);
    }

    public IPageCounts PageCounts { get; }

    /// <summary>Reclaims excess memory of pages.</summary>
    internal PageTightener Tightener { get; }

    public bool IsRemote => true;

    public bool IsReachable => _cluster.IsReachable;

    public bool IsWritable => _cluster.IsWritable;

    public bool IsSomeUnwritable => _cluster.IsSomeUnwritable;

    public TimeSpan UnwritableFor(int page) => _cluster.UnwritableFor(RedisKeys.SlotOf(page));

    public bool IsPageRefused(int page) => _cluster.IsSlotRefused(RedisKeys.SlotOf(page));

    public long Outages => _cluster.Outages;

    public bool IsPageAway(int page) => _cluster.IsSlotAway(RedisKeys.SlotOf(page));

    public bool IsKeepBacklogged => false;

    public bool IsInUse(Plane plane) => _isInUse[(int)plane];

    public void Expect(ReadOnlySpan<uint> users)
    {
        foreach (var plane in Planes.OfKinds)
        {
            _isInUse[(int)plane] = true;
            foreach (var user in users)
                _listed[(int)plane][PageLayout.Page(user)] = Math.Max(_listed[(int)plane][PageLayout.Page(user)], Maybe);
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<uint> ExchangeAsync(Plane plane, uint user, uint word)
    {
        using var batch = Rent();
        await WriteAsync(batch, plane, user, word);
        if (!Pulse.Supersedes(word, batch.Word(0)))
            await PutBackAsync(plane, [(user, batch.Word(0))]);
        batch.ForgetLostAnswers();
        return batch.Word(0);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask ExchangeAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, Memory<uint> old)
    {
        if (words.Length != users.Length || old.Length != users.Length)
            throw new ArgumentException("Users, words and old words are of one length.");
        if (users.IsEmpty)
            return;
        using var batch = Rent();
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

    public async ValueTask ReplaceAsync(Plane plane, ReadOnlyMemory<uint> users, ReadOnlyMemory<uint> words, uint latest)
    {
        if (users.IsEmpty)
            return;
        using var batch = Rent();
        batch.Fill(plane, users.Span);
        batch.FillWords(words.Span);
        await batch.SendAsync(isWrite: true);
        // a newer word was written meanwhile, and its second is not in the future
        if (Overwritten(batch, words.Span)?.FindAll(newer => Pulse.Second(newer.Word) <= latest) is { Count: > 0 } newer)
            await PutBackAsync(plane, newer);
        if (batch.Failure is { } failure)
            throw failure;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask ReadAsync(Plane plane, ReadOnlyMemory<uint> users, Memory<uint> words)
    {
        if (plane != Plane.Pulse && !AnyListed(plane, users.Span))
        {
            words.Span[..users.Length].Clear();
            return;
        }

        using var batch = Rent();
        batch.Fill(plane, users.Span);
        await batch.SendAsync(isWrite: false);
        if (batch.Failure is { } failure)
            throw failure;
        batch.CopyTo(words.Span);
    }

    // Reads the lists of all planes, so this node learns of pages that other nodes wrote first. It also restores entries that a server lost
    // with its last second of writes.
    public async ValueTask<IReadOnlyList<int>> PagesAsync(Plane plane)
    {
        var lists = new Task<IReadOnlyList<int>>[Planes.Count];
        for (var i = 0; i < lists.Length; i++)
            lists[i] = ReadListAsync((Plane)i);
        return (await Task.WhenAll(lists))[(int)plane];
    }

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

    public async ValueTask EraseAsync(Plane plane, uint user)
    {
        // do not create a page for a user without a word
        var before = new uint[1];
        await ReadAsync(plane, new[] { user }, before);
        if (before[0] == Pulse.Never)
            return;
        using var batch = Rent();
        await WriteAsync(batch, plane, user, Pulse.Never);
    }

    public void Keep(Plane plane, ReadOnlySpan<uint> users)
    {
    }

    public ValueTask KeptAsync() => default;

    public ValueTask ReplicatedAsync(ReadOnlyMemory<uint> users, bool isLeave) => _replicas?.ConfirmAsync(users.Span, isLeave) ?? default;

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

    // Repeats until nothing newer comes back. If two nodes do this at once, each leaves the newer of the words that it holds and
    // overwrites.
    private async ValueTask PutBackAsync(Plane plane, List<(uint User, uint Word)> newer)
    {
        while (newer.Count > 0)
        {
            using var batch = Rent();
            batch.Fill(plane, [.. newer.Select(static n => n.User)]);
            uint[] words = [.. newer.Select(static n => n.Word)];
            batch.FillWords(words);
            await batch.SendAsync(isWrite: true);
            newer = Overwritten(batch, words) ?? [];
            if (batch.Failure is { } failure)
                throw failure;
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

    /// <summary>One more than the highest index from <paramref name="from"/> on that ever had a word; 0: none had.</summary>
    /// <remarks>
    /// The length of a page shows its highest slot, also if that word was erased. Pages whose server is away are left out: indexes are
    /// given in order and go to 256 pages in turn, so the others end nearly at the same index.
    /// </remarks>
    internal async ValueTask<uint> EndOfWordsAsync(uint from)
    {
        var ends = await Task.WhenAll((await PagesAsync(Plane.Pulse))
            .Where(page => page >> 8 >= PageLayout.Page(from) >> 8)
            .Select(EndOfWordsOfAsync));
        return ends.Where(end => end > from).DefaultIfEmpty().Max();
    }

    private async Task<uint> EndOfWordsOfAsync(int page)
    {
        try
        {
            var (bytes, _) = await _cluster.SendAsync(
                RedisKeys.SlotOf(page),
                RedisKeys.Page(Plane.Pulse, page),
                static (redis, key, flags) => redis.StringLengthAsync(key, flags),
                RedisCommandKind.Read);
            return bytes < sizeof(uint) ? 0 : PageLayout.User(page, (int)(bytes / sizeof(uint)) - 1) + 1;
        }
        catch (StoreUnavailableException)
        {
            return 0;
        }
    }

    private WordBatch Rent() => _pool.TryTake(out var batch) ? batch : new WordBatch(_cluster, _pool);
}
