namespace Aglow.AspNetCore.Access;

/// <summary>
/// One rate for any number of callers: a burst of two seconds' worth, then a fixed number per second. A bucket is one 64-bit word: the time
/// at which it is full again.
/// </summary>
/// <remarks>
/// <code>
///   hash of the caller ─► | full at | full at | full at | ...   2^20 words, 8 MB, in memory only as far as they are used
///
///   the later of "full at" and now ─► + the cost ─► within two seconds from now? exchange the word : refuse, and leave the word
/// </code>
/// A cost of more than a second's worth passes if the bucket is half full. The word then lies further ahead, and the caller waits until the
/// cost is paid. So no cost is refused for ever, and nobody exceeds the rate in the long run.
/// Threading: any number of threads; no lock, and no allocation per call. If threads race for a word, one exchanges it and the others
/// retry. A word in the past is a full bucket, so no timer refills buckets and no entry needs to be removed. The table has a fixed size.
/// Two callers whose hashes lead to one word share its bucket, so neither exceeds the rate. A caller who calls too fast causes refusals for
/// about one of a million others, until the server restarts with another hash.
/// Rejected alternative: a bucket object for each caller, as in the framework. It takes a lock per call, and memory for each new address.
/// </remarks>
internal sealed class RateBuckets
{
    // if 100 of 100,000 callers call too fast, about ten others share a word with one of them
    private const int Words = 1 << 20;

    private readonly long[] _fullAt = new long[Words];
    private readonly TimeProvider _time;
    private readonly long _cost;
    private readonly long _most;

    /// <summary>Creates buckets with a rate of at least 1 per second.</summary>
    public RateBuckets(int perSecond, TimeProvider time)
    {
        _time = time;
        PerSecond = perSecond;
        // rounded up, so that nobody exceeds the rate
        _cost = ((time.TimestampFrequency - 1) / perSecond) + 1;
        _most = 2L * perSecond * _cost;
    }

    public int PerSecond { get; }

    /// <summary>Takes <paramref name="count"/> from a caller's bucket. False: it has too few, and nothing is taken.</summary>
    public bool TryTake(int who, int count = 1) => SecondsToWait(who, count) == 0;

    /// <summary>
    /// Takes <paramref name="count"/> and returns 0. If the bucket has too few, takes nothing and returns the seconds until it has enough.
    /// </summary>
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
