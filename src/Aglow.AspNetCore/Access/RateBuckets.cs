namespace Aglow.AspNetCore.Access;

/// <summary>
/// One rate for any number of callers: two seconds' worth at once, then so many a second. A bucket is one 64-bit word: the moment at which it will be full again.
/// </summary>
/// <remarks>
/// <code>
///   hash of who calls ─► | full at | full at | full at | ...   2^20 words, 8 MB, of which only the touched are in memory
///
///   full at, or now if that is later ─► + the cost ─► within two seconds from now? exchange it : refuse, and leave it as it is
/// </code>
/// A cost of more than a second's worth passes a bucket that is half full, and the word then lies further ahead: the caller waits until
/// it is paid. So nothing is refused for ever, and nobody gets more than the rate in the long run.
/// Threading: any number of threads, no lock, and no memory a call: of those who race for a word one exchanges it, and the others look again. A word in the past is a full bucket, so
/// there is nothing to refill on a timer and nothing to forget. The table is as large as it will ever be, whoever calls. Two who fall on one word share its bucket: so nobody ever gets more than the
/// rate, and of a million others one is refused along with somebody who calls too fast, until the server starts again with another hash. The rejected alternative, a bucket of its own for everybody
/// (as the framework has it), takes a lock a call, and memory for whoever comes with a new address.
/// </remarks>
internal sealed class RateBuckets
{
    // among 100,000 callers, of whom 100 call too fast, ten share a word with one of those
    private const int Words = 1 << 20;

    private readonly long[] _fullAt = new long[Words];
    private readonly TimeProvider _time;
    private readonly long _cost;
    private readonly long _most;

    /// <summary>Buckets of a rate, 1 a second at least.</summary>
    public RateBuckets(int perSecond, TimeProvider time)
    {
        _time = time;
        PerSecond = perSecond;
        // rounded up: never more than the rate
        _cost = ((time.TimestampFrequency - 1) / perSecond) + 1;
        _most = 2L * perSecond * _cost;
    }

    /// <summary>The rate.</summary>
    public int PerSecond { get; }

    /// <summary>Takes so many from the bucket that a hash of somebody leads to, or nothing where there are fewer in it.</summary>
    public bool TryTake(int who, int count = 1) => SecondsToWait(who, count) == 0;

    /// <summary>Takes so many and returns 0; or takes nothing and returns after how many seconds there are enough.</summary>
    public int SecondsToWait(int who, int count)
    {
        // the multiplication spreads hashes that differ in few bits (Knuth, The Art of Computer Programming, volume 3, 6.4)
        ref var word = ref _fullAt[((uint)who * 2_654_435_769) >> 12];
        var now = _time.GetTimestamp();
        var cost = count * _cost;
        while (true)
        {
            var was = Volatile.Read(ref word);
            var from = Math.Max(was, now);
            var over = from + Math.Min(cost, _most / 2) - now - _most;
            if (over > 0)
                return (int)Math.Min(((over - 1) / _time.TimestampFrequency) + 1, 3600);
            if (Interlocked.CompareExchange(ref word, from + cost, was) == was)
                return 0;
        }
    }
}
