using System.Collections.Concurrent;
using Aglow.Model;
using Aglow.Redis.Connections;
using Aglow.Storage;
using StackExchange.Redis;

namespace Aglow.Redis.Words;

/// <summary>
/// Reads or writes words of many users on one plane: one command for each page (several for a long run), all sent at once.
/// </summary>
/// <remarks>
/// <code>
///   order    | page 17 bits | slot 16 | index 31 |   sorted: users of a page are adjacent; a repeated user appears repeatedly, in order
///   places   where each distinct user begins in the order
///   words    what is written for each user (if repeated: the word that would be stored last), then what came back
///   runs     users of one page, at most <see cref="WordsPerCommand"/>: one BITFIELD each
/// </code>
/// Batches come from a pool and return to it with their arrays and runs. A command still allocates its message and its answer. Threading:
/// the batch's user fills and reads it. During <see cref="SendAsync"/> the runs access it, each only its own part.
/// </remarks>
internal sealed class WordBatch(RedisCluster cluster, ConcurrentBag<WordBatch> pool) : IDisposable
{
    /// <summary>
    /// The most words in one command. From 64 words on, a word costs Redis half of what it costs alone, and more words save hardly
    /// anything. 256 words block Redis for about 0.1 ms.
    /// </summary>
    public const int WordsPerCommand = 256;

    // larger batches are rare, and their memory is released
    private const int MostPooled = 128 * 1024;

    private readonly List<WordsRun> _runs = [];
    private ulong[] _order = new ulong[16];
    private int[] _places = new int[17];
    private uint[] _words = new uint[16];
    private bool _isWrite;
    private StoreUnavailableException? _failure;

    private RedisCluster Cluster => cluster;

    /// <summary>The number of distinct users.</summary>
    public int Count { get; private set; }

    /// <summary>The plane.</summary>
    public Plane Plane { get; private set; }

    /// <summary>Why part of the batch failed; null: nothing failed.</summary>
    public StoreUnavailableException? Failure => _failure;

    /// <summary>Adds users to the batch.</summary>
    public void Fill(Plane plane, ReadOnlySpan<uint> users)
    {
        Plane = plane;
        _failure = null;
        if (_order.Length < users.Length)
        {
            var room = Math.Max(users.Length, _order.Length * 2);
            (_order, _places, _words) = (new ulong[room], new int[room + 1], new uint[room]);
        }

        var sorted = true;
        for (var i = 0; i < users.Length; i++)
        {
            _order[i] = ((ulong)PageLayout.Page(users[i]) << 47) | ((ulong)PageLayout.Slot(users[i]) << 31) | (uint)i;
            sorted &= i == 0 || _order[i - 1] < _order[i];
        }

        var order = _order.AsSpan(0, users.Length);
        if (!sorted)
            order.Sort();
        Count = 0;
        for (var i = 0; i < order.Length; i++)
        {
            if (i == 0 || order[i] >> 31 != order[i - 1] >> 31)
                _places[Count++] = i;
        }

        _places[Count] = users.Length;
    }

    /// <summary>The page of the user at this place.</summary>
    public int PageOf(int place) => (int)(_order[_places[place]] >> 47);

    /// <summary>The index of the user at this place.</summary>
    public uint UserOf(int place) => PageLayout.User(PageOf(place), SlotOf(place));

    /// <summary>The word at this place: the word to write, or the word that came back.</summary>
    public ref uint Word(int place) => ref _words[place];

    /// <summary>Sets the word to write for each user. For a repeated user it is the word that would be stored last.</summary>
    public void FillWords(ReadOnlySpan<uint> words)
    {
        for (var place = 0; place < Count; place++)
            _words[place] = Winner(place, words);
    }

    /// <summary>The word to write at this place.</summary>
    public uint Winner(int place, ReadOnlySpan<uint> words)
    {
        var winner = words[Index(_places[place])];
        for (var i = _places[place] + 1; i < _places[place + 1]; i++)
        {
            var word = words[Index(i)];
            if (Pulse.Supersedes(word, winner))
                winner = word;
        }

        return winner;
    }

    /// <summary>
    /// Sends the batch. Completes when every command is answered or has failed (<see cref="Failure"/>). Words without an answer are
    /// <see cref="Pulse.Refused"/>. The word of <see cref="UserId.Nobody"/> is known without a read.
    /// </summary>
    public Task SendAsync(bool isWrite)
    {
        _isWrite = isWrite;
        var sending = Count;
        // the highest index, so it has the last place
        if (!isWrite && Count > 0 && UserOf(Count - 1) == UserId.Nobody)
            _words[--sending] = Pulse.Never;
        var runs = 0;
        for (var start = 0; start < sending;)
        {
            var page = PageOf(start);
            var end = start + 1;
            while (end < sending && end - start < WordsPerCommand && PageOf(end) == page)
                end++;
            if (runs == _runs.Count)
                _runs.Add(new WordsRun(this));
            _runs[runs++].Fill(page, start, end - start);
            start = end;
        }

        if (runs == 1)
            return _runs[0].SendAsync();
        var sent = new Task[runs];
        for (var run = 0; run < runs; run++)
            sent[run] = _runs[run].SendAsync();
        return Task.WhenAll(sent);
    }

    /// <summary>Copies the words that came back, in the order of the caller's users.</summary>
    public void CopyTo(Span<uint> words)
    {
        for (var place = 0; place < Count; place++)
        {
            for (var i = _places[place]; i < _places[place + 1]; i++)
                words[Index(i)] = _words[place];
        }
    }

    /// <summary>The old words that separate writes in this order would have returned.</summary>
    public void CopyOldTo(ReadOnlySpan<uint> words, Span<uint> old)
    {
        for (var place = 0; place < Count; place++)
        {
            var stands = _words[place];
            for (var i = _places[place]; i < _places[place + 1]; i++)
            {
                var index = Index(i);
                old[index] = stands;
                if (stands != Pulse.Refused && Pulse.Supersedes(words[index], stands))
                    stands = words[index];
            }
        }
    }

    /// <summary>
    /// Forgets the old words of runs whose answer was lost, because the words that came back may be their own first write.
    /// </summary>
    public void ForgetLostAnswers()
    {
        for (var run = 0; run < _runs.Count && _runs[run].Start < Count; run++)
        {
            if (_runs[run].WasRepeated && _words[_runs[run].Start] != Pulse.Refused)
                _words.AsSpan(_runs[run].Start, _runs[run].Count).Clear();
            if (_runs[run].Start + _runs[run].Count == Count)
                break;
        }
    }

    /// <summary>Returns to the pool.</summary>
    public void Dispose()
    {
        if (_order.Length <= MostPooled)
            pool.Add(this);
    }

    private int SlotOf(int place) => (int)(_order[_places[place]] >> 31) & 0xFFFF;

    private int Index(int i) => (int)(_order[i] & int.MaxValue);

    /// <summary>One command: BITFIELD or BITFIELD_RO on one page.</summary>
    private sealed class WordsRun(WordBatch batch)
    {
        private BitFieldOperation[] _operations = [];
        private RedisKey _key;
        private int _page;

        public int Start { get; private set; }

        public int Count { get; private set; }

        public bool WasRepeated { get; private set; }

        public void Fill(int page, int start, int count)
        {
            (_page, Start, Count, WasRepeated) = (page, start, count, false);
            _key = RedisKeys.Page(batch.Plane, page);
            if (_operations.Length < count)
                _operations = new BitFieldOperation[Math.Max(count, Math.Min(WordsPerCommand, 2 * _operations.Length))];
            for (var i = 0; i < count; i++)
            {
                var place = BitFieldOffset.Element(batch.SlotOf(start + i));
                _operations[i] = batch._isWrite
                    ? BitFieldOperation.Set(BitFieldEncoding.UInt32, place, batch._words[start + i])
                    : BitFieldOperation.Get(BitFieldEncoding.UInt32, place);
            }
        }

        public async Task SendAsync()
        {
            try
            {
                var (answer, mayHaveRun) = await batch.Cluster.SendAsync(
                    RedisKeys.SlotOf(_page),
                    this,
                    static (redis, run, flags) => redis.StringBitFieldAsync(run._key, run._operations.AsMemory(0, run.Count), flags),
                    batch._isWrite ? RedisCommandKind.Write : RedisCommandKind.Read);
                using (answer)
                    Take(answer.Span);
                WasRepeated = mayHaveRun;
            }
            catch (StoreUnavailableException failure)
            {
                // a failed command may still be in a buffer, so its operations are not overwritten
                _operations = [];
                batch._words.AsSpan(Start, Count).Fill(Pulse.Refused);
                Interlocked.CompareExchange(ref batch._failure, failure, null);
            }
        }

        private void Take(ReadOnlySpan<long?> answer)
        {
            if (answer.Length != Count)
                throw new StoreUnavailableException("Redis answered a BITFIELD with another number of words.");
            for (var i = 0; i < answer.Length; i++)
                batch._words[Start + i] = answer[i] is >= 0 and <= uint.MaxValue and { } word
                    ? (uint)word
                    : throw new StoreUnavailableException("Redis answered a BITFIELD without a word.");
        }
    }
}
