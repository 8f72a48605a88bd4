using System.Threading.Tasks.Sources;
using Aglow.Model;
using Aglow.Storage;

namespace Aglow.Redis;

/// <summary>
/// Words of many users on one plane, read or written by one command a page (or several, where it is long), all at once.
/// </summary>
/// <remarks>
/// <code>
///   order    | page 17 bits | slot 16 | index 31 |   sorted: users of a page stand together, a user named twice stands twice, in order
///   places   where each different user begins in the order
///   words    what is written for each (of a user named twice: what would stand at the end), then what came back
///   runs     users of one page, at most <see cref="WordsPerCommand"/>: one BITFIELD each
/// </code>
/// Taken from a pool and given back, with its arrays and commands, so a batch allocates nothing once the pool is warm. Threading: its user fills and
/// reads it; between <see cref="SendAsync"/> and its end the connections' loops do.
/// </remarks>
internal sealed class WordBatch : IValueTaskSource
{
    /// <summary>
    /// The most words of one command. From 64 on a word costs Redis half of what it does alone and hardly less with more; 256 keep it from doing
    /// anything else for about 0.1 ms.
    /// </summary>
    public const int WordsPerCommand = 256;

    private readonly RedisCluster _cluster;
    private readonly List<WordsRequest> _runs = [];
    private ManualResetValueTaskSourceCore<bool> _core = new() { RunContinuationsAsynchronously = true };
    private ulong[] _order = new ulong[16];
    private int[] _places = new int[17];
    private uint[] _words = new uint[16];
    private bool _isWrite;
    private int _pending;
    private StoreUnavailableException? _failure;

    public WordBatch(RedisCluster cluster) => _cluster = cluster;

    /// <summary>Different users.</summary>
    public int Count { get; private set; }

    /// <summary>Users there is room for.</summary>
    public int Capacity => _order.Length;

    /// <summary>The plane.</summary>
    public Plane Plane { get; private set; }

    /// <summary>Why some of it failed; null where nothing did.</summary>
    public StoreUnavailableException? Failure => _failure;

    /// <summary>Takes the users of a batch in.</summary>
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

    /// <summary>The number of the user at this place.</summary>
    public uint UserOf(int place) => PageLayout.User(PageOf(place), SlotOf(place));

    /// <summary>The word at this place: what is to be written, or what came back.</summary>
    public ref uint Word(int place) => ref _words[place];

    /// <summary>What is to be written for each user: of a user named more than once, what would stand there at the end.</summary>
    public void FillWords(ReadOnlySpan<uint> words)
    {
        for (var place = 0; place < Count; place++)
            _words[place] = Winner(place, words);
    }

    /// <summary>What is to be written at this place.</summary>
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

    /// <summary>Sends all of it; completes when all is answered or has failed (<see cref="Failure"/>). Words that were not answered are <see cref="Pulse.Refused"/>.</summary>
    public ValueTask SendAsync(bool isWrite)
    {
        if (Count == 0)
            return default;
        _isWrite = isWrite;
        _core.Reset();
        var runs = 0;
        for (var start = 0; start < Count;)
        {
            var page = PageOf(start);
            var end = start + 1;
            while (end < Count && end - start < WordsPerCommand && PageOf(end) == page)
                end++;
            if (runs == _runs.Count)
                _runs.Add(new WordsRequest(this));
            _runs[runs++].Fill(page, start, end - start);
            start = end;
        }

        _pending = runs;
        for (var run = 0; run < runs; run++)
            _cluster.Send(_runs[run]);
        return new ValueTask(this, _core.Version);
    }

    /// <summary>What came back, to whoever asked, in their order.</summary>
    public void CopyTo(Span<uint> words)
    {
        for (var place = 0; place < Count; place++)
        {
            for (var i = _places[place]; i < _places[place + 1]; i++)
                words[Index(i)] = _words[place];
        }
    }

    /// <summary>The old words that writing these one after the other would have brought back.</summary>
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

    /// <summary>Users of a run whose answer was lost, so that what came back may be their own first write.</summary>
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

    void IValueTaskSource.GetResult(short token) => _core.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);

    private int SlotOf(int place) => (int)(_order[_places[place]] >> 31) & 0xFFFF;

    private int Index(int i) => (int)(_order[i] & int.MaxValue);

    private void Done(WordsRequest run, StoreUnavailableException? failure)
    {
        if (failure is not null)
        {
            _words.AsSpan(run.Start, run.Count).Fill(Pulse.Refused);
            Interlocked.CompareExchange(ref _failure, failure, null);
        }

        if (Interlocked.Decrement(ref _pending) == 0)
            _core.SetResult(true);
    }

    /// <summary>One command: BITFIELD or BITFIELD_RO on one page.</summary>
    private sealed class WordsRequest(WordBatch batch) : RedisRequest
    {
        // "SET u32" and "GET u32", as they are sent
        private static ReadOnlySpan<byte> Set => "$3\r\nSET\r\n$3\r\nu32\r\n"u8;

        private static ReadOnlySpan<byte> Get => "$3\r\nGET\r\n$3\r\nu32\r\n"u8;

        private int _page;

        public int Start { get; private set; }

        public int Count { get; private set; }

        public bool WasRepeated => MayHaveRun;

        public void Fill(int page, int start, int count)
        {
            Reset();
            (_page, Start, Count) = (page, start, count);
            Slot = RedisKeys.SlotOf(page);
        }

        public override void Write(RespWriter to)
        {
            var isWrite = batch._isWrite;
            to.Command(2 + (Count * (isWrite ? 4 : 3)));
            to.Part(isWrite ? "BITFIELD"u8 : "BITFIELD_RO"u8);
            RedisKeys.WritePage(to, batch.Plane, _page);
            for (var place = Start; place < Start + Count; place++)
            {
                to.Raw(isWrite ? Set : Get);
                to.Place((uint)batch.SlotOf(place));
                if (isWrite)
                    to.Part(batch._words[place]);
            }
        }

        public override void Complete(ReadOnlySpan<byte> frame)
        {
            var reader = new RespReader(frame);
            if (reader.ReadList() != Count)
                throw new RespException("the server answered a BITFIELD with another number of words.");
            for (var place = Start; place < Start + Count; place++)
            {
                var word = reader.ReadNumber();
                if (word is < 0 or > uint.MaxValue)
                    throw new RespException("the server answered a BITFIELD with what is no word.");
                batch._words[place] = (uint)word;
            }

            batch.Done(this, failure: null);
        }

        public override void Fail(StoreUnavailableException why) => batch.Done(this, why);
    }
}
